"""VisualBERT (uclanlp/visualbert: visualbert/pytorch_pretrained_bert/modeling.py)."""

from collections.abc import Mapping

from torch import Tensor

from kemm.convert import bert
from kemm.convert.plan import Plan, instance
from kemm.convert.signature import Signature
from kemm.convert.table import Converted, count, modules, strip

REGION = {"position_embeddings_visual": "positions", "token_type_embeddings_visual": "types"}
"""The tables of the visual embeddings and of `AlignedRegionEmbedding`."""

BOTH = ["text", "region"]
BOTTOM = {"text": 0, "region": 0}


SIGNATURE = Signature(needs=(r"bert\.embeddings\.projection\.weight", r"bert\.embeddings\.token_type_embeddings_visual\.weight"))


def visualbert(state: Mapping[str, Tensor], heads: int = 12) -> Converted:
    """Converts a VisualBERT checkpoint: pre-training (`cls.`), VQA or NLVR2 (`classifier.` of many rows, or of two).

    With `bert.additional_layer` the text climbs alone, and that layer is the first in which it sees the regions ("bypass").

    Args:
        state: The checkpoint; `module.` before the keys, and `gamma` and `beta`, are possible.
        heads: Number of heads, which no key tells.
    """
    state = strip(bert.modern(state), "module.")
    depth = count(state, r"bert\.encoder\.layer\.(\d+)\.")
    bypass = "bert.additional_layer.output.dense.weight" in state
    text = bert.text_arguments(state, depth + bypass, heads, "bert.")
    dim, features = bert.of(state, "bert.embeddings.projection.weight").shape
    visual = {"feature_dim": features, "dim": dim, "max_length": text["max_length"], "types": text["types"]}
    region = {"feature_dim": features, "dim": dim, "depth": 0, "embed": instance("kemm.encoders.AlignedRegionEmbedding", visual)}
    norm = instance("torch.nn.LayerNorm", {"normalized_shape": dim, "eps": 1e-12})

    plan = Plan()
    new = plan.encode("text", "TextEncoder", text | {"embedding_norm": "torch.nn.Identity", "embedding_dropout": 0.0})
    plan.table |= {key: name for key, name in bert.embeddings("bert.embeddings.").items() if "LayerNorm" not in key}
    plan.table |= bert.layers(depth, "bert.encoder.layer.")
    if bypass:
        plan.table |= modules(bert.LAYER, "bert.additional_layer.", f"{new}layers.{depth}.")
    new = plan.encode("region", "RegionEncoder", region)
    plan.table |= modules({"projection": "features"}, "bert.embeddings.", f"{new}embed.")
    plan.table |= modules(REGION, "bert.embeddings.", f"{new}embed.", ("weight",))

    plan.fuse(BOTTOM, "AlignedPositions", {})
    new = plan.fuse(BOTTOM, "Concat", {"streams": BOTH, "into": "text", "norm": norm, "dropout": 0.1})
    plan.table |= modules({"LayerNorm": "norm"}, "bert.embeddings.", new)
    if bypass:
        plan.fuse(BOTTOM, "Split", {"joined": "text", "streams": BOTH})
        plan.fuse({"text": depth, "region": 0}, "Concat", {"streams": BOTH, "into": "text"})
    pooled = {"stream": "text", "name": "pooled", "dim": dim, "activation": instance("torch.nn.Tanh")}
    plan.table |= modules({"pooler.dense": "project"}, "bert.", plan.fuse({"text": "top"}, "Feature", pooled))
    if "cls.predictions.bias" in state:
        plan.objectives |= bert.heads_config(dim, text["vocab_size"])
        plan.table |= bert.masked_lm() | bert.next_sentence()
    elif "classifier.weight" in state:
        add_classifier(plan, *state["classifier.weight"].shape)
    return plan.convert(state, [r".*position_ids"], {"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"})


def add_classifier(plan: Plan, classes: int, dim: int) -> None:
    """Plans the head of NLVR2 (two classes, on the pooled state), or that of VQA (on the token before [SEP])."""
    arguments = {"dim": dim, "classes": classes}
    if classes == 2:
        new = plan.aim("nlvr", "Classification", arguments | {"labels": "label"})
    else:
        plan.fuse({"text": "top", "region": 0}, "Split", {"joined": "text", "streams": BOTH})
        last = instance("kemm.fusion.Last", {"before": 1})
        plan.fuse({"text": "top"}, "Pooled", {"stream": "text", "name": "answer", "pool": last})
        new = plan.aim("vqa", "SoftClassification", arguments | {"features": ["answer"], "labels": "scores"})
    plan.table |= modules({"classifier": "classifier"}, new=new)
