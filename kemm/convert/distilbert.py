"""DistilBERT (arXiv 1910.01108), as transformers names it: BERT without segments and pooler."""

from collections.abc import Mapping

from torch import Tensor

from kemm.convert.bert import of
from kemm.convert.plan import Plan, activation_named
from kemm.convert.signature import Signature
from kemm.convert.table import Converted, count, modules, prefix_of

LAYER = {
    "attention.q_lin": "attention.attention.query",
    "attention.k_lin": "attention.attention.key",
    "attention.v_lin": "attention.attention.value",
    "attention.out_lin": "attention.attention.output",
    "sa_layer_norm": "attention.norm",
    "ffn.lin1": "feedforward.feedforward.up",
    "ffn.lin2": "feedforward.feedforward.down",
    "output_layer_norm": "feedforward.norm",
}
"""The modules of a DistilBERT layer and of a `PostNormLayer`."""

HEAD = {"vocab_transform": "transform.dense", "vocab_layer_norm": "transform.norm"}
"""The modules of its masked-LM head and of `MaskedLM`; the decoder is the word table."""


SIGNATURE = Signature(
    needs=(r"(distilbert\.)?embeddings\.word_embeddings\.weight", r"(distilbert\.)?transformer\.layer\.\d+\.attention\.q_lin\.weight")
)


def distilbert(state: Mapping[str, Tensor], heads: int = 12, activation: str = "gelu", padding_id: int | None = 0) -> Converted:
    """Converts a DistilBERT checkpoint, with or without its masked-LM head.

    Args:
        state: The checkpoint; `distilbert.` before the keys is possible.
        heads: Number of heads, which no key tells.
        activation: Name of the non-linearity.
        padding_id: The id of [PAD].
    """
    old = prefix_of(state, "distilbert.")
    words = of(state, f"{old}embeddings.word_embeddings.weight")
    depth = count(state, rf"{old}transformer\.layer\.(\d+)\.")
    non_linearity = activation_named(activation)
    text = {
        "vocab_size": words.shape[0],
        "dim": words.shape[1],
        "depth": depth,
        "heads": heads,
        "inner": of(state, f"{old}transformer.layer.0.ffn.lin1.weight").shape[0],
        "max_length": of(state, f"{old}embeddings.position_embeddings.weight").shape[0],
        "types": 0,
        "padding_id": padding_id,
        "activation": non_linearity,
    }
    plan = Plan()
    new = plan.encode("text", "TextEncoder", text)
    tables = {"word_embeddings": "words", "position_embeddings": "positions"}
    plan.table |= modules(tables, f"{old}embeddings.", f"{new}embed.", ("weight",))
    plan.table |= modules({"LayerNorm": "norm"}, f"{old}embeddings.", f"{new}embed.")
    for i in range(depth):
        plan.table |= modules(LAYER, f"{old}transformer.layer.{i}.", f"{new}layers.{i}.")
    if "vocab_transform.weight" in state:
        arguments = {"dim": text["dim"], "vocab_size": text["vocab_size"], "activation": non_linearity}
        head = plan.aim("masked_lm", "MaskedLM", arguments)
        plan.table |= modules(HEAD, "", head) | {"vocab_projector.bias": f"{head}bias"}
    table = f"{old}embeddings.word_embeddings.weight"
    plan.untie("masked_lm", state, "vocab_projector.weight", table)
    return plan.convert(state, [r".*position_ids"], {"vocab_projector.weight": table})
