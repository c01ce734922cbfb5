"""GPT-2 (openai/gpt-2: src/model.py), as transformers names it: projections are transposed, query, key and value are one."""

from collections.abc import Mapping

from torch import Tensor

from kemm.convert.bert import of
from kemm.convert.plan import Plan, activation_named, norm_of
from kemm.convert.signature import Signature
from kemm.convert.table import Converted, Table, Target, count, modules, prefix_of, transposed

PROJECTIONS = {"attn.c_proj": "attention.output", "mlp.c_fc": "feedforward.up", "mlp.c_proj": "feedforward.down"}
"""The projections of a block and of a `PreNormLayer`, one by one."""

NORMS = {"ln_1": "attention_norm", "ln_2": "feedforward_norm"}
"""The norms of a block and of a `PreNormLayer`."""


SIGNATURE = Signature(needs=(r"(transformer\.)?wte\.weight", r"(transformer\.)?h\.\d+\.attn\.c_attn\.weight"))


def gpt2(state: Mapping[str, Tensor], heads: int = 12, eps: float = 1e-5, activation: str = "gelu_new") -> Converted:
    """Converts a GPT-2 checkpoint; the objective `causal_lm` has no weight of its own where its head is the word table.

    Args:
        state: The checkpoint; `transformer.` before the keys, and the causal masks of old files, are possible.
        heads: Number of heads, which no key tells.
        eps: Epsilon of the norms.
        activation: Name of the non-linearity.
    """
    old = prefix_of(state, "transformer.")
    words = of(state, f"{old}wte.weight")
    depth = count(state, rf"{old}h\.(\d+)\.")
    text = {
        "vocab_size": words.shape[0],
        "dim": words.shape[1],
        "depth": depth,
        "heads": heads,
        "inner": of(state, f"{old}h.0.mlp.c_fc.bias").shape[0],
        "max_length": of(state, f"{old}wpe.weight").shape[0],
        "norm": norm_of(eps),
        "activation": activation_named(activation),
    }
    plan = Plan()
    new = plan.encode("text", "CausalTextEncoder", text)
    plan.table |= {f"{old}wte.weight": f"{new}embed.words.weight", f"{old}wpe.weight": f"{new}embed.positions.weight"}
    plan.table |= modules({"ln_f": f"layers.{depth}.norm"}, old, new)
    for i in range(depth):
        plan.table |= _layer(f"{old}h.{i}.", f"{new}layers.{i}.")
    plan.aim("causal_lm", "CausalLM", {"dim": text["dim"], "vocab_size": text["vocab_size"]})
    plan.untie("causal_lm", state, "lm_head.weight", f"{old}wte.weight")
    masks = r".*\.attn\.(bias|masked_bias)"
    return plan.convert(state, [masks], {"lm_head.weight": f"{old}wte.weight"})


def _layer(old: str, new: str) -> Table:
    table: Table = modules(NORMS, old, new)
    for source, target in PROJECTIONS.items():
        table |= {f"{old}{source}.weight": transposed(f"{new}{target}.weight"), f"{old}{source}.bias": f"{new}{target}.bias"}
    for part in ("weight", "bias"):
        names = tuple(f"{new}attention.{name}.{part}" for name in ("query", "key", "value"))
        table[f"{old}attn.c_attn.{part}"] = Target(names, lambda t: t.T.chunk(3) if t.dim() == 2 else t.chunk(3))
    return table
