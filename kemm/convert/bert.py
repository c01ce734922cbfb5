"""BERT (google-research/bert as pytorch-pretrained-bert and transformers name it): its parts, which most other systems contain too."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kemm.convert.plan import Plan, activation_named, norm_of
from kemm.convert.signature import Signature
from kemm.convert.table import Converted, State, Table, count, modules, prefix_of

LAYER = {
    "attention.self.query": "attention.attention.query",
    "attention.self.key": "attention.attention.key",
    "attention.self.value": "attention.attention.value",
    "attention.output.dense": "attention.attention.output",
    "attention.output.LayerNorm": "attention.norm",
    "intermediate.dense": "feedforward.feedforward.up",
    "output.dense": "feedforward.feedforward.down",
    "output.LayerNorm": "feedforward.norm",
}
"""The modules of a BERT layer and of a `PostNormLayer`."""

TRANSFORM = {"transform.dense": "transform.dense", "transform.LayerNorm": "transform.norm"}
"""The modules that a prediction head begins with."""


def modern(state: Mapping[str, Tensor]) -> State:
    """The state with the norms' `gamma` and `beta` called `weight` and `bias`, and a head's bias where only its decoder has it."""
    old = {"gamma": "weight", "beta": "bias"}
    heads = ((key.rpartition("."), tensor) for key, tensor in state.items())
    named = {f"{head}{dot}{old.get(last, last)}": tensor for (head, dot, last), tensor in heads}
    for head in ("lm_head.", "cls.predictions."):
        if f"{head}decoder.bias" in named and f"{head}bias" not in named:
            named[f"{head}bias"] = named.pop(f"{head}decoder.bias")
    return named


def embeddings(old: str = "embeddings.", new: str = "network.encoders.text.embed.") -> Table:
    """The table of word, position and segment embeddings and their norm."""
    tables = {"word_embeddings": "words", "position_embeddings": "positions", "token_type_embeddings": "types"}
    return modules(tables, old, new, ("weight",)) | modules({"LayerNorm": "norm"}, old, new)


def layers(depth: int, old: str = "encoder.layer.", new: str = "network.encoders.text.layers.") -> Table:
    """The table of all layers."""
    table: Table = {}
    for i in range(depth):
        table |= modules(LAYER, f"{old}{i}.", f"{new}{i}.")
    return table


def masked_lm(old: str = "cls.predictions.", new: str = "objectives.masked_lm.") -> Table:
    """The table of the masked-LM head; its decoder is the word table, and tied."""
    return modules(TRANSFORM, old, new) | {f"{old}bias": f"{new}bias"}


def next_sentence(old: str = "cls.seq_relationship", new: str = "objectives.next_sentence.classifier") -> Table:
    """The table of the next-sentence head."""
    return modules({old: new})


def text_arguments(state: Mapping[str, Tensor], depth: int, heads: int, old: str = "") -> dict[str, Any]:
    """What `TextEncoder` is built with.

    Args:
        state: The checkpoint.
        depth: Number of layers of the encoder; fusions may hold others.
        heads: Number of heads, which no key tells.
        old: What precedes `embeddings.` and `encoder.` in the keys.
    """
    words = of(state, f"{old}embeddings.word_embeddings.weight")
    return {
        "vocab_size": words.shape[0],
        "dim": words.shape[1],
        "depth": depth,
        "heads": heads,
        "inner": of(state, f"{old}encoder.layer.0.intermediate.dense.weight").shape[0],
        "max_length": of(state, f"{old}embeddings.position_embeddings.weight").shape[0],
        "types": of(state, f"{old}embeddings.token_type_embeddings.weight").shape[0],
    }


def of(state: Mapping[str, Tensor], key: str) -> Tensor:
    """A tensor of a checkpoint whose shape tells the architecture.

    Raises:
        ValueError: It is not there.
    """
    if key not in state:
        raise ValueError(f"the checkpoint has no {key!r}, and its shape tells the architecture; it begins with {sorted(state)[:3]}")
    return state[key]


def pooler(point: int, dim: int, old: str = "", names: tuple[str, str] = ("text", "pooled")) -> tuple[Table, dict[str, Any]]:
    """The table and the fusion point of BERT's pooler.

    Args:
        point: Its place among the fusions.
        dim: Width of the text.
        old: What precedes `pooler.` in the keys.
        names: The stream that it reads and the one that it makes.
    """
    arguments = {"stream": names[0], "name": names[1], "dim": dim, "activation": {"class_path": "torch.nn.Tanh"}}
    fusion = {"class_path": "kemm.fusion.Feature", "init_args": arguments}
    return modules({f"{old}pooler.dense": f"network.fusions.{point}.project"}), {"at": {names[0]: "top"}, "fusion": fusion}


def heads_config(dim: int, vocab_size: int) -> dict[str, Any]:
    """The objectives of BERT's pre-training, named `masked_lm` and `next_sentence`."""
    return {
        "masked_lm": {"class_path": "kemm.objectives.MaskedLM", "init_args": {"dim": dim, "vocab_size": vocab_size}},
        "next_sentence": {"class_path": "kemm.objectives.Classification", "init_args": {"dim": dim}},
    }


SIGNATURE = Signature(
    needs=(
        r"(bert\.)?embeddings\.word_embeddings\.weight",
        r"(bert\.)?embeddings\.token_type_embeddings\.weight",
        r"(bert\.)?encoder\.layer\.\d+\.attention\.self\.query\.weight",
    ),
    lacks=(
        r"lm_head\..*",  # RoBERTa
        r".*\.dense_ent\.weight",  # ERNIE
        r"entity_embeddings\..*",  # LUKE
        r"bert\.(?!embeddings\.|encoder\.layer\.|pooler\.).*",  # ViLBERT, LXMERT
        r"bert\.embeddings\.projection\..*",  # VisualBERT
    ),
)


def bert(
    state: Mapping[str, Tensor], heads: int = 12, eps: float = 1e-12, activation: str = "gelu", padding_id: int | None = 0
) -> Converted:
    """Converts a BERT checkpoint, with or without its pooler and the heads of its pre-training.

    Args:
        state: The checkpoint; `bert.` before the keys, and `gamma` and `beta`, are possible.
        heads: Number of heads, which no key tells.
        eps: Epsilon of the norms.
        activation: Name of the non-linearity.
        padding_id: The id of [PAD].
    """
    state = modern(state)
    old = prefix_of(state, "bert.")
    depth = count(state, rf"{old}encoder\.layer\.(\d+)\.")
    choices = {"norm": norm_of(eps), "activation": activation_named(activation)}
    text = text_arguments(state, depth, heads, old) | choices | {"padding_id": padding_id}
    plan = Plan()
    plan.encode("text", "TextEncoder", text)
    plan.table |= embeddings(f"{old}embeddings.") | layers(depth, f"{old}encoder.layer.")
    if f"{old}pooler.dense.weight" in state:
        pooled, point = pooler(0, text["dim"], old)
        plan.table |= pooled
        plan.fusions.append(point)
    if "cls.predictions.bias" in state:
        plan.table |= masked_lm()
        plan.aim("masked_lm", "MaskedLM", {"dim": text["dim"], "vocab_size": text["vocab_size"]} | choices)
    if "cls.seq_relationship.weight" in state:
        plan.table |= next_sentence()
        plan.aim("next_sentence", "Classification", {"dim": text["dim"]})
    words = f"{old}embeddings.word_embeddings.weight"
    plan.untie("masked_lm", state, "cls.predictions.decoder.weight", words)
    tied = {"cls.predictions.decoder.weight": words, "cls.predictions.decoder.bias": "cls.predictions.bias"}
    return plan.convert(state, [r".*position_ids"], tied)
