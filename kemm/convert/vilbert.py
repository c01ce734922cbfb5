"""ViLBERT, of both repositories (jiasenlu/vilbert_beta, facebookresearch/vilbert-multi-task: vilbert/vilbert.py)."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from kemm.convert import bert
from kemm.convert.plan import Plan, instance
from kemm.convert.signature import Signature
from kemm.convert.table import Converted, count, modules, strip

CONNECTION = {
    "biattention.query2": "attentions.0.attention.query",
    "biattention.key1": "attentions.0.attention.key",
    "biattention.value1": "attentions.0.attention.value",
    "biOutput.dense2": "attentions.0.attention.output",
    "biOutput.LayerNorm2": "attentions.0.norm",
    "biattention.query1": "attentions.1.attention.query",
    "biattention.key2": "attentions.1.attention.key",
    "biattention.value2": "attentions.1.attention.value",
    "biOutput.dense1": "attentions.1.attention.output",
    "biOutput.LayerNorm1": "attentions.1.norm",
    "t_intermediate.dense": "feedforwards.0.feedforward.up",
    "t_output.dense": "feedforwards.0.feedforward.down",
    "t_output.LayerNorm": "feedforwards.0.norm",
    "v_intermediate.dense": "feedforwards.1.feedforward.up",
    "v_output.dense": "feedforwards.1.feedforward.down",
    "v_output.LayerNorm": "feedforwards.1.norm",
}
"""The modules of a connection layer, where 1 is the image and 2 the text, and of `CoAttention` of (text, region)."""

DYNAMIC = {
    **{old: new.replace("attention.attention.", "attention.") for old, new in bert.LAYER.items()},
    "attention.output.LayerNorm": "norm",
    "attention.self.dyLinear_q": "query_gate",
    "attention.self.dyLinear_k": "key_gate",
}
"""The modules of a vision layer with dynamic attention and of `DynamicLayer`."""

UNUSED = [r".*biOutput\.q_dense[12]\.(weight|bias)", r".*position_ids"]
"""In every checkpoint, and read by nothing."""

ENCODER = "bert.encoder."


SIGNATURE = Signature(needs=(r"bert\.v_embeddings\.image_embeddings\.weight", r"bert\.encoder\.c_layer\.\d+\.biattention\.query1\.weight"))


def vilbert(
    state: Mapping[str, Tensor],
    heads: int = 12,
    region_heads: int = 8,
    shared_heads: int = 8,
    text_at: Sequence[int] = (),
    region_at: Sequence[int] = (),
    product: bool = True,
    offset: int = 0,
) -> Converted:
    """Converts a pre-training checkpoint of ViLBERT.

    Args:
        state: The checkpoint; `module.` before the keys, and `gamma` and `beta`, are possible.
        heads: Heads of the text, which no key tells.
        region_heads: Heads of the regions.
        shared_heads: Heads of the co-attention.
        text_at: Text layers below each co-attention (`t_biattention_id`); as many as possible by default, as in all released configs.
        region_at: Region layers below each (`v_biattention_id`); as few as possible by default.
        product: Whether the two pooled features are multiplied or added (`fusion_method`).
        offset: Row of the first position (RoBERTa: 2).
    """
    state = strip(bert.modern(state), "module.")
    depth, region_depth, shared = (count(state, rf"bert\.encoder\.{kind}\.(\d+)\.") for kind in ("layer", "v_layer", "c_layer"))
    text_at, region_at = list(text_at or range(depth - shared, depth)), list(region_at or range(shared))
    if not len(text_at) == len(region_at) == shared:
        raise ValueError(f"the checkpoint has {shared} co-attentions, and they are placed at text {text_at} and regions {region_at}")
    text = bert.text_arguments(state, depth, heads, "bert.") | {"offset": offset}
    region = region_arguments(state, region_depth, region_heads)
    plan = Plan()
    plan.encode("text", "TextEncoder", text)
    plan.table |= bert.embeddings("bert.embeddings.") | bert.layers(depth, f"{ENCODER}layer.")
    add_connections(plan, state, text, region, shared_heads, text_at, region_at)
    new = plan.encode("region", "RegionEncoder", region)
    plan.table |= bert.layers(region["depth"], f"{ENCODER}v_layer.", f"{new}layers.")
    names = {"image_embeddings": "features", "image_location_embeddings": "boxes", "LayerNorm": "norm"}
    plan.table |= modules(names, "bert.v_embeddings.", f"{new}embed.")
    add_heads(plan, state, text, region, product)
    return plan.convert(state, UNUSED, {"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"})


def region_arguments(state: Mapping[str, Tensor], depth: int, heads: int) -> dict[str, Any]:
    """What `RegionEncoder` is built with."""
    dim, features = bert.of(state, "bert.v_embeddings.image_embeddings.weight").shape
    return {
        "feature_dim": features,
        "dim": dim,
        "depth": depth,
        "heads": heads,
        "inner": bert.of(state, f"{ENCODER}v_layer.0.intermediate.dense.weight").shape[0],
        "box_dim": bert.of(state, "bert.v_embeddings.image_location_embeddings.weight").shape[1],
    }


def add_connections(
    plan: Plan,
    state: Mapping[str, Tensor],
    text: dict[str, Any],
    region: dict[str, Any],
    heads: int,
    text_at: Sequence[int],
    region_at: Sequence[int],
) -> None:
    """Plans what happens between the layers: co-attentions, and vision layers that read the text (then `region` has no others)."""
    dynamic = f"{ENCODER}v_layer.0.attention.self.dyLinear_q.weight" in state
    reader = {"stream": "region", "reads": "text", "dim": region["dim"], "reads_dim": text["dim"]}
    reader |= {"heads": region["heads"], "inner": region["inner"]}
    inner = bert.of(state, "bert.t_pooler.dense.weight").shape[0]
    shared = {"streams": ["text", "region"], "dims": [text["dim"], region["dim"]], "heads": heads, "inner": inner}

    def read_text(first: int, last: int, height: int) -> None:
        for i in range(first, last):
            plan.table |= modules(DYNAMIC, f"{ENCODER}v_layer.{i}.", plan.fuse({"text": height, "region": 0}, "DynamicLayer", reader))

    below = 0
    for i, (height, region_height) in enumerate(zip(text_at, region_at, strict=True)):
        if dynamic:
            read_text(below, region_height, height)
        old, below = f"{ENCODER}c_layer.{i}.", region_height
        widths = [bert.of(state, f"{old}{stream}_intermediate.dense.weight").shape[0] for stream in "tv"]
        at = {"text": height, "region": 0 if dynamic else region_height}
        plan.table |= modules(CONNECTION, old, plan.fuse(at, "CoAttention", shared | {"feedforward": widths}))
    if dynamic:
        read_text(below, region["depth"], text_at[-1])
        region["depth"] = 0


def add_heads(plan: Plan, state: Mapping[str, Tensor], text: dict[str, Any], region: dict[str, Any], product: bool) -> None:
    """Plans the poolers and the three objectives."""
    inner = bert.of(state, "bert.t_pooler.dense.weight").shape[0]
    for name, old, width in (("text", "t", text["dim"]), ("region", "v", region["dim"])):
        arguments = {"stream": name, "name": f"{name}_pooled", "dim": width, "out": inner, "activation": instance("torch.nn.ReLU")}
        plan.table |= modules({"dense": "project"}, f"bert.{old}_pooler.", plan.fuse({name: "top"}, "Feature", arguments))
    plan.aim("masked_lm", "MaskedLM", {"dim": text["dim"], "vocab_size": text["vocab_size"]})
    plan.table |= bert.masked_lm()
    classes = bert.of(state, "cls.imagePredictions.decoder.weight").shape[0]
    # The global region is never hidden, and the data brings the labels.
    new = plan.aim("masked_region", "MaskedRegion", {"dim": region["dim"], "classes": classes, "rate": None, "fixed": 1})
    plan.table |= modules({**bert.TRANSFORM, "decoder": "decoder"}, "cls.imagePredictions.", new)
    features = ["text_pooled", "region_pooled"]
    new = plan.aim("matching", "Classification", {"dim": inner, "features": features, "labels": "mismatched", "product": product})
    plan.table |= modules({"bi_seq_relationship": "classifier"}, "cls.", new)
