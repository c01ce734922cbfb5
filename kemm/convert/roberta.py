"""RoBERTa (arXiv 1907.11692), as transformers names it: BERT with one segment, positions from 2 on, and another head."""

from collections.abc import Mapping

from torch import Tensor

from kemm.convert.bert import embeddings, layers, modern, pooler, text_arguments
from kemm.convert.plan import Plan, activation_named, norm_of
from kemm.convert.signature import Signature
from kemm.convert.table import Converted, Table, count, modules, prefix_of

TIED = {"lm_head.decoder.bias": "lm_head.bias"}
"""What its head has twice, the word table apart."""


def lm_head(old: str = "lm_head.", new: str = "objectives.masked_lm.") -> Table:
    """The table of the masked-LM head; its decoder is the word table, and tied."""
    return modules({"dense": "transform.dense", "layer_norm": "transform.norm"}, old, new) | {f"{old}bias": f"{new}bias"}


SIGNATURE = Signature(
    needs=(
        r"(roberta\.)?embeddings\.word_embeddings\.weight",
        r"(roberta\.)?embeddings\.token_type_embeddings\.weight",
        r"(roberta\.)?encoder\.layer\.\d+\.attention\.self\.query\.weight",
    ),
    lacks=(
        r"cls\..*",  # BERT
        r".*\.dense_ent\.weight",  # ERNIE
        r"entity_embeddings\..*",  # LUKE
        r"(rel_embeddings|ent_embeddings(_n)?)\.weight",  # CoLAKE
        r".*adapter\.\d+\.down_project\.weight",  # K-Adapter
    ),
)


def roberta(state: Mapping[str, Tensor], heads: int = 12, eps: float = 1e-5, activation: str = "gelu", padding_id: int = 1) -> Converted:
    """Converts a checkpoint of RoBERTa, or of XLM-RoBERTa or CamemBERT, with or without its pooler and its masked-LM head.

    Args:
        state: The checkpoint; `roberta.` before the keys, and `gamma` and `beta`, are possible.
        heads: Number of heads, which no key tells.
        eps: Epsilon of the norms.
        activation: Name of the layers' non-linearity (the head's is GELU).
        padding_id: The id of <pad>; positions begin behind it.
    """
    state = modern(state)
    old = prefix_of(state, "roberta.")
    depth = count(state, rf"{old}encoder\.layer\.(\d+)\.")
    norm = norm_of(eps)
    choices = {"norm": norm, "activation": activation_named(activation), "padding_id": padding_id, "offset": padding_id + 1}
    text = text_arguments(state, depth, heads, old) | choices
    plan = Plan()
    plan.encode("text", "TextEncoder", text)
    plan.table |= embeddings(f"{old}embeddings.") | layers(depth, f"{old}encoder.layer.")
    if f"{old}pooler.dense.weight" in state:
        pooled, point = pooler(0, text["dim"], old)
        plan.table |= pooled
        plan.fusions.append(point)
    if "lm_head.bias" in state:
        plan.table |= lm_head()
        plan.aim("masked_lm", "MaskedLM", {"dim": text["dim"], "vocab_size": text["vocab_size"], "norm": norm})
    words = f"{old}embeddings.word_embeddings.weight"
    plan.untie("masked_lm", state, "lm_head.decoder.weight", words)
    return plan.convert(state, [r".*position_ids"], TIED | {"lm_head.decoder.weight": words})
