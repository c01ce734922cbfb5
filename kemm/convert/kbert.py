"""BERT of UER, and K-BERT's classifier on it (arXiv 1909.07606; autoliuweijie/K-BERT: uer/, run_kbert_cls.py)."""

from collections.abc import Mapping

from torch import Tensor

from kemm.convert.bert import of
from kemm.convert.plan import Plan, instance
from kemm.convert.signature import Signature
from kemm.convert.table import Converted, Table, count, modules

LAYER = {
    "self_attn.linear_layers.0": "attention.attention.query",
    "self_attn.linear_layers.1": "attention.attention.key",
    "self_attn.linear_layers.2": "attention.attention.value",
    "self_attn.final_linear": "attention.attention.output",
    "feed_forward.linear_1": "feedforward.feedforward.up",
    "feed_forward.linear_2": "feedforward.feedforward.down",
}
"""The modules of a layer of UER and of `PostNormLayer`."""
NORMS = {"layer_norm_1": "attention.norm", "layer_norm_2": "feedforward.norm"}
EMBEDDING = {"word_embedding": "words", "position_embedding": "positions", "segment_embedding": "types"}
POOLS = {"first": "First", "mean": "PaddedMean", "max": "PaddedMax", "last": "End"}
"""UER's names of pooling; all but the first read padding, as there."""


SIGNATURE = Signature(needs=(r"embedding\.word_embedding\.weight", r"encoder\.transformer\.\d+\.self_attn\.linear_layers\.0\.weight"))


def kbert(state: Mapping[str, Tensor], heads: int = 12, pooling: str = "first") -> Converted:
    """Converts a BERT of UER, with K-BERT's classifier where it is there. It reads `positions` and pairwise masks of the batch as any text
    does, and segment `types`: 0 padding, 1 the text, 2 its second part.

    Args:
        state: The checkpoint.
        heads: Number of heads, which no key tells.
        pooling: What the classifier reads: "first", "mean", "max" or "last".
    """
    if pooling not in POOLS:
        raise ValueError(f"pooling is {pooling!r}, expected one of {list(POOLS)}")
    plan = Plan()
    words = of(state, "embedding.word_embedding.weight")
    dim, depth = words.shape[1], count(state, r"encoder\.transformer\.(\d+)\.")
    text = {
        "vocab_size": words.shape[0],
        "dim": dim,
        "depth": depth,
        "heads": heads,
        "inner": of(state, "encoder.transformer.0.feed_forward.linear_1.weight").shape[0],
        "max_length": of(state, "embedding.position_embedding.weight").shape[0],
        "types": of(state, "embedding.segment_embedding.weight").shape[0],
        "padding_id": None,
        "norm": instance("kemm.nn.UnbiasedNorm"),
    }
    new = plan.encode("text", "TextEncoder", text)
    plan.table |= modules(EMBEDDING, "embedding.", f"{new}embed.", ("weight",)) | norms(
        {"layer_norm": "norm"}, "embedding.", f"{new}embed."
    )
    for i in range(depth):
        old, to = f"encoder.transformer.{i}.", f"{new}layers.{i}."
        plan.table |= modules(LAYER, old, to) | norms(NORMS, old, to)
    if "output_layer_2.weight" in state:
        pool = instance(f"kemm.fusion.{POOLS[pooling]}")
        arguments = {"stream": "text", "name": "pooled", "dim": dim, "pool": pool, "activation": instance("torch.nn.Tanh")}
        plan.table |= modules({"output_layer_1": "project"}, "", plan.fuse({"text": "top"}, "Feature", arguments))
        classes = of(state, "output_layer_2.weight").shape[0]
        new = plan.aim("classification", "Classification", {"dim": dim, "classes": classes, "labels": "label"})
        plan.table |= modules({"output_layer_2": "classifier"}, "", new)
    return plan.convert(state, [r"target\..*"])


def norms(names: Mapping[str, str], old: str, new: str) -> Table:
    """The table of norms, whose parameters UER calls gamma and beta."""
    parts = {"gamma": "weight", "beta": "bias"}
    return {f"{old}{source}.{part}": f"{new}{target}.{own}" for source, target in names.items() for part, own in parts.items()}
