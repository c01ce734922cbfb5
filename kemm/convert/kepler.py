"""KEPLER (arXiv 1911.06136; THU-KEG/KEPLER: fairseq/models/roberta/model.py), and any RoBERTa of fairseq: `model` of its checkpoints."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from kemm.convert.bert import of
from kemm.convert.kadapter import NORM
from kemm.convert.plan import Plan, instance
from kemm.convert.signature import Signature, places
from kemm.convert.table import Converted, Target, count, modules, split

SENTENCE = "decoder.sentence_encoder."
LAYER = {
    "self_attn.out_proj": "attention.attention.output",
    "self_attn_layer_norm": "attention.norm",
    "fc1": "feedforward.feedforward.up",
    "fc2": "feedforward.feedforward.down",
    "final_layer_norm": "feedforward.norm",
}
"""The modules of a layer of fairseq and of `PostNormLayer`; query, key and value are one matrix there."""
DESCRIBED = ("head", "tail", "negative_head", "negative_tail", "relation_head", "relation_tail", "relation_text")
"""The descriptions that `DescribedLinks` reads."""


SIGNATURE = Signature(
    needs=(r"decoder\.sentence_encoder\.embed_tokens\.weight|ke_heads\.\w+\.relation_emb\.weight",),
    told=places({"heads": ("args.encoder_attention_heads", "cfg.model.encoder_attention_heads")}),
)


def kepler(state: Mapping[str, Tensor], heads: int = 12) -> Converted:
    """Converts a KEPLER checkpoint, or a RoBERTa without knowledge embedding.

    Args:
        state: The checkpoint's `model`.
        heads: Number of heads, which no key tells.
    """
    plan = Plan()
    words = of(state, f"{SENTENCE}embed_tokens.weight")
    depth = count(state, rf"{re.escape(SENTENCE)}layers\.(\d+)\.")
    text = {
        "vocab_size": words.shape[0],
        "dim": words.shape[1],
        "depth": depth,
        "heads": heads,
        "inner": of(state, f"{SENTENCE}layers.0.fc1.weight").shape[0],
        "max_length": of(state, f"{SENTENCE}embed_positions.weight").shape[0],
        "types": 0,
        "offset": 2,
        "padding_id": 1,
        "norm": NORM,
    }
    new = plan.encode("text", "TextEncoder", text)
    plan.table |= modules({"embed_tokens": "words", "embed_positions": "positions"}, SENTENCE, f"{new}embed.", ("weight",))
    plan.table |= modules({"emb_layer_norm": "norm"}, SENTENCE, f"{new}embed.")
    for i in range(depth):
        old, to = f"{SENTENCE}layers.{i}.", f"{new}layers.{i}."
        plan.table |= modules(LAYER, old, to)
        for part in ("weight", "bias"):
            names = [f"{to}attention.attention.{name}.{part}" for name in ("query", "key", "value")]
            plan.table[f"{old}self_attn.in_proj_{part}"] = split(*names)
    if "decoder.lm_head.bias" in state:
        new = plan.aim("masked_lm", "MaskedLM", {"dim": words.shape[1], "vocab_size": words.shape[0], "norm": NORM})
        plan.table |= modules({"dense": "transform.dense", "layer_norm": "transform.norm"}, "decoder.lm_head.", new)
        plan.table["decoder.lm_head.bias"] = f"{new}bias"
    links(plan, state)
    converted = plan.convert(state, IGNORED, {"decoder.lm_head.weight": f"{SENTENCE}embed_tokens.weight"})
    converted.config["network"]["share"] = dict.fromkeys(DESCRIBED, "text")
    return converted


IGNORED = (r"ke_heads\.\w+\.(gamma|emb_range)", r".*\.version")
"""What a config says (gamma), and what nothing reads."""


def links(plan: Plan, state: Mapping[str, Tensor]) -> None:
    """Adds the knowledge embeddings: to each a table of relations, whose row 0 is "none", and an objective with its gamma."""
    names = sorted({match[1] for match in (re.match(r"ke_heads\.(\w+)\.gamma", key) for key in state) if match})
    for name in names:
        old = f"ke_heads.{name}."
        relations = of(state, f"{old}relation_emb.weight")
        encoder, objective = ("relation", "links") if len(names) == 1 else (f"relation_{name}", f"links_{name}")
        new = plan.encode(encoder, "EntityEncoder", {"num_entities": len(relations) + 1, "dim": relations.shape[1]})
        scorer = instance("kemm.kg.TransE", {"p": 2.0})
        arguments = {"scorer": scorer, "margin": float(of(state, f"{old}gamma")), "relation": encoder}
        plan.aim(objective, "DescribedLinks", arguments)
        plan.table[f"{old}relation_emb.weight"] = Target((f"{new}embed.table.weight",), below)


def below(rows: Tensor) -> tuple[Tensor]:
    """Rows of a table that begins with one of zeros."""
    return (torch.cat([torch.zeros_like(rows[:1]), rows]),)
