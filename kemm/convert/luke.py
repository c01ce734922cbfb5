"""LUKE (arXiv 2010.01057; studio-ousia/luke: luke/model.py, luke/pretraining/model.py), with its own keys and with transformers'."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kemm.convert import bert
from kemm.convert.plan import Plan, activation_named, norm_of
from kemm.convert.roberta import TIED, lm_head
from kemm.convert.signature import Signature
from kemm.convert.table import Converted, Table, Target, count, modules, prefix_of

LAYER = {old: new.removeprefix("attention.") for old, new in bert.LAYER.items()}
"""The modules of a layer and of an `EntityAwareLayer`, its further queries apart."""

QUERIES = ("w2e_query", "e2w_query", "e2e_query")
"""The further queries, in both."""

EMBEDDING = {"entity_embeddings": "table", "position_embeddings": "positions", "token_type_embeddings": "types"}
"""The tables of the entity embedding and of `MentionEncoder`'s."""


SIGNATURE = Signature(needs=(r"(luke\.)?entity_embeddings\.entity_embeddings\.weight",))


def luke(
    state: Mapping[str, Tensor],
    heads: int = 12,
    eps: float = 1e-5,
    activation: str = "gelu",
    padding_id: int = 1,
    aware: bool = False,
) -> Converted:
    """Converts a LUKE checkpoint, with or without its pooler and the heads of its pre-training.

    With entity-aware queries its layers are fusions; without, it is a text encoder that reads words and entities joined.

    Args:
        state: The checkpoint; `luke.` before the keys is possible.
        heads: Number of heads, which no key tells.
        eps: Epsilon of the norms.
        activation: Name of the layers' non-linearity.
        padding_id: The id of <pad>: 1 where it began as RoBERTa, 0 where as BERT.
        aware: Whether a checkpoint without entity-aware queries (pre-training has none) gets them, each beginning as `query`.
    """
    state = bert.modern(state)
    old = prefix_of(state, "luke.")
    depth = count(state, rf"{old}encoder\.layer\.(\d+)\.")
    given = f"{old}encoder.layer.0.attention.self.w2e_query.weight" in state
    aware = aware or given
    choices = {"norm": norm_of(eps), "activation": activation_named(activation)}
    offset = padding_id + 1 if padding_id else 0
    text = bert.text_arguments(state, 0 if aware else depth, heads, old) | choices | {"padding_id": padding_id, "offset": offset}
    dim = text["dim"]
    plan = Plan()
    plan.encode("text", "TextEncoder", text)
    plan.table |= bert.embeddings(f"{old}embeddings.")
    entity = _mention(plan, state, f"{old}entity_embeddings.", text)
    if aware:
        arguments = {"dim": dim, "heads": heads, "inner": text["inner"]} | choices
        for i in range(depth):
            layer = plan.fuse({"text": 0}, "EntityAwareLayer", arguments)
            plan.table |= _layer(f"{old}encoder.layer.{i}.", layer, given)
    else:
        plan.fuse({"text": 0, "mention": 0}, "Concat", {"streams": ["text", "mention"], "into": "text"})
        plan.table |= bert.layers(depth, f"{old}encoder.layer.")
        plan.fuse({"text": "top", "mention": 0}, "Split", {"joined": "text", "streams": ["text", "mention"]})
    if f"{old}pooler.dense.weight" in state:
        pooled, point = bert.pooler(len(plan.fusions), dim, old)
        plan.table |= pooled
        plan.fusions.append(point)
    _heads(plan, state, text, entity)
    words, entities = f"{old}embeddings.word_embeddings.weight", f"{old}entity_embeddings.entity_embeddings.weight"
    for decoder in ("lm_head.decoder.weight", "cls.predictions.decoder.weight"):
        plan.untie("masked_lm", state, decoder, words)
    tied = {"lm_head.decoder.weight": words, "cls.predictions.decoder.weight": words, "entity_predictions.decoder.weight": entities}
    # LUKE never trains BERT's next-sentence head.
    return plan.convert(
        state, [r".*position_ids", r"cls\.seq_relationship\..*"], TIED | tied | {"cls.predictions.decoder.bias": "cls.predictions.bias"}
    )


def _mention(plan: Plan, state: Mapping[str, Tensor], old: str, text: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the entities' encoder; answers with its arguments."""
    vectors = bert.of(state, f"{old}entity_embeddings.weight")
    arguments = {
        "num_entities": vectors.shape[0],
        "dim": text["dim"],
        "entity_dim": vectors.shape[1],
        "max_length": bert.of(state, f"{old}position_embeddings.weight").shape[0],
        "types": bert.of(state, f"{old}token_type_embeddings.weight").shape[0],
        "norm": text["norm"],
    }
    new = f"{plan.encode('mention', 'MentionEncoder', arguments)}embed."
    plan.table |= modules(EMBEDDING, old, new, ("weight",)) | modules({"LayerNorm": "norm"}, old, new)
    if vectors.shape[1] != text["dim"]:
        plan.table[f"{old}entity_embedding_dense.weight"] = f"{new}project.weight"
    return arguments


def _layer(old: str, new: str, given: bool) -> Table:
    """The table of an entity-aware layer; the further queries are its own, or copies of `query`."""
    table: Table = modules(LAYER, old, new)
    further = {f"attention.self.{name}": f"attention.{name}" for name in QUERIES}
    if given:
        return table | modules(further, old, new)
    for part in ("weight", "bias"):
        names = tuple(f"{new}attention.{name}.{part}" for name in ("query", *QUERIES))
        table[f"{old}attention.self.query.{part}"] = Target(names, lambda t: (t,) * 4)
    return table


def _heads(plan: Plan, state: Mapping[str, Tensor], text: Mapping[str, Any], entity: Mapping[str, Any]) -> None:
    """Adds the objectives of pre-training whose heads are there."""
    sizes = {"dim": text["dim"], "vocab_size": text["vocab_size"], "norm": text["norm"]}
    if "lm_head.bias" in state:
        plan.table |= lm_head(new=plan.aim("masked_lm", "MaskedLM", sizes))
    if "cls.predictions.bias" in state:
        plan.table |= bert.masked_lm(new=plan.aim("masked_lm", "MaskedLM", sizes | {"activation": text["activation"]}))
    widths = {"dim": text["dim"], "entity_dim": entity["entity_dim"]}
    if "entity_predictions.bias" in state:
        further = {"num_entities": entity["num_entities"], "norm": text["norm"], "activation": text["activation"]}
        new = plan.aim("entity", "MaskedMention", widths | further)
        plan.table |= modules(bert.TRANSFORM, "entity_predictions.", new) | {"entity_predictions.bias": f"{new}bias"}
    if "cls_entity_predictions.bias" in state:
        new = plan.aim("page", "PageEntity", widths)
        old = "cls_entity_predictions."
        plan.table |= {f"{old}decoder.weight": f"{new}project.weight", f"{old}bias": f"{new}project.bias"}
