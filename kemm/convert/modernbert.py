"""ModernBERT (arXiv 2412.13663; AnswerDotAI/ModernBERT), as transformers names it."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from kemm.convert.bert import of
from kemm.convert.plan import Plan, activation_named, norm_of
from kemm.convert.signature import Signature
from kemm.convert.table import Converted, count, modules, prefix_of, split

LAYER = {"attn.Wo": "attention.output", "mlp.Wi": "feedforward.up", "mlp.Wo": "feedforward.down", "mlp_norm": "feedforward_norm"}
"""The modules of a layer and of a `RotaryLayer`; the first has no norm before its attention."""


SIGNATURE = Signature(needs=(r"(model\.)?embeddings\.tok_embeddings\.weight", r"(model\.)?layers\.\d+\.attn\.Wqkv\.weight"))


def modernbert(
    state: Mapping[str, Tensor],
    heads: int = 12,
    eps: float = 1e-5,
    activation: str = "gelu",
    head_activation: str = "gelu",
    every: int = 3,
    layer_types: Sequence[str] = (),
    local_attention: int = 128,
    theta: float = 160_000.0,
    local_theta: float = 10_000.0,
    max_length: int = 8192,
    padding_id: int | None = 50283,
) -> Converted:
    """Converts a ModernBERT checkpoint, with or without its masked-LM head; no key tells what is not the width of something.

    Args:
        state: The checkpoint; `model.` before the keys is possible.
        heads: Number of heads.
        eps: Epsilon of the norms.
        activation: Name of the layers' non-linearity.
        head_activation: Name of the head's.
        every: Layers 0, `every`, ... see everything.
        layer_types: `full_attention` or `sliding_attention` for each layer, which newer files say instead.
        local_attention: Width of the window, both sides together.
        theta: Base of the wave lengths of layers that see everything.
        local_theta: Base of those of the others.
        max_length: Longest text in tokens.
        padding_id: The id of [PAD].

    Raises:
        ValueError: The layers that see everything are not at equal distances.
    """
    old = prefix_of(state, "model.")
    words = of(state, f"{old}embeddings.tok_embeddings.weight")
    depth = count(state, rf"{old}layers\.(\d+)\.")
    text = {
        "vocab_size": words.shape[0],
        "dim": words.shape[1],
        "depth": depth,
        "heads": heads,
        "inner": of(state, f"{old}layers.0.mlp.Wo.weight").shape[1],
        "max_length": max_length,
        "every": _every(layer_types) if layer_types else every,
        "window": local_attention // 2,
        "theta": theta,
        "local_theta": local_theta,
        "padding_id": padding_id,
        "norm": norm_of(eps, bias=False),
        "activation": activation_named(activation),
    }
    plan = Plan()
    new = plan.encode("text", "RotaryTextEncoder", text)
    norms = {"embeddings.norm": "embed.norm", "final_norm": f"layers.{depth}.norm"}
    plan.table |= modules({"embeddings.tok_embeddings": "embed.words"} | norms, old, new, ("weight",))
    for i in range(depth):
        layer, own = f"{old}layers.{i}.", f"{new}layers.{i}."
        plan.table |= modules(LAYER | ({"attn_norm": "attention_norm"} if i else {}), layer, own, ("weight",))
        plan.table[f"{layer}attn.Wqkv.weight"] = split(*(f"{own}attention.{name}.weight" for name in ("query", "key", "value")))
    if "decoder.bias" in state:
        arguments = {"dim": text["dim"], "vocab_size": text["vocab_size"], "norm": text["norm"], "bias": False}
        head = plan.aim("masked_lm", "MaskedLM", arguments | {"activation": activation_named(head_activation)})
        plan.table |= modules({"dense": "transform.dense", "norm": "transform.norm"}, "head.", head, ("weight",))
        plan.table["decoder.bias"] = f"{head}bias"
    table = f"{old}embeddings.tok_embeddings.weight"
    plan.untie("masked_lm", state, "decoder.weight", table)
    return plan.convert(state, tied={"decoder.weight": table})


def _every(types: Sequence[str]) -> int:
    """The distance of the layers that see everything."""
    places = [i for i, kind in enumerate(types) if kind == "full_attention"]
    every = places[1] if len(places) > 1 else len(types)
    if places != list(range(0, len(types), every)):
        raise ValueError(f"the layers that see everything are {places}, expected 0 and every further one at the same distance")
    return every
