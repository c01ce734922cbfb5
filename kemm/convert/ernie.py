"""ERNIE of Tsinghua (arXiv 1905.07129; thunlp/ERNIE: code/knowledge_bert/modeling.py)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kemm.convert.bert import LAYER as BERT_LAYER
from kemm.convert.bert import TRANSFORM, embeddings, heads_config, masked_lm, modern, next_sentence, of, pooler, text_arguments
from kemm.convert.table import Converted, count, modules, prefix_of, translate

MIX = {name: target for name, target in BERT_LAYER.items() if name.startswith("attention.")} | {
    "intermediate.dense": "fuse.up",
    "intermediate.dense_ent": "fuse.entity_up",
    "output.dense": "fuse.down",
    "output.dense_ent": "fuse.entity_down",
    "output.LayerNorm": "fuse.norm",
    "output.LayerNorm_ent": "fuse.entity_norm",
}
"""The modules of a `mix` layer and of `EntityMix`."""

NORM = MIX | {
    "attention.self_ent.query": "entity_attention.attention.query",
    "attention.self_ent.key": "entity_attention.attention.key",
    "attention.self_ent.value": "entity_attention.attention.value",
    "attention.output_ent.dense": "entity_attention.attention.output",
    "attention.output_ent.LayerNorm": "entity_attention.norm",
}
"""The modules of a `norm` layer and of `EntityAggregator`."""


def ernie(state: Mapping[str, Tensor], heads: int = 12, entity_heads: int = 4, vectors: Tensor | None = None) -> Converted:
    """Converts an ERNIE checkpoint; which of its layers are `sim`, `mix` and `norm` is read from the keys.

    The released checkpoints hold no entity vectors, they stand in `kg_embed/entity2vec.vec`.

    Args:
        state: The checkpoint, with or without `bert.` before its keys, with or without the heads of its pre-training.
        heads: Heads of the text, which no key tells.
        entity_heads: Heads of the entities (4, a constant of the original).
        vectors: The entity vectors (N, D'), the first for id 1; without them the table has only row 0, "no entity".
    """
    state = modern(state)
    bert = prefix_of(state, "bert.")
    depth = count(state, rf"{bert}encoder\.layer\.(\d+)\.")
    text = text_arguments(state, 0, heads, bert) | {"padding_id": None}  # the original's word table trains [PAD] too
    dim, vocab_size = text["dim"], text["vocab_size"]
    mixes = [i for i in range(depth) if f"{bert}encoder.layer.{i}.intermediate.dense_ent.weight" in state]
    if not mixes:
        raise ValueError("no layer of the checkpoint has 'intermediate.dense_ent.weight': this is a BERT, and no ERNIE")
    entity_dim = state[f"{bert}encoder.layer.{mixes[0]}.intermediate.dense_ent.weight"].shape[1]
    table, height = embeddings(f"{bert}embeddings."), 0
    points: list[dict[str, Any]] = []
    for i in range(depth):
        old = f"{bert}encoder.layer.{i}."
        if i not in mixes:
            table |= modules(BERT_LAYER, old, f"network.encoders.text.layers.{height}.")
            height += 1
            continue
        attends = f"{old}attention.self_ent.query.weight" in state
        table |= modules(NORM if attends else MIX, old, f"network.fusions.{len(points)}.")
        points.append({"at": {"text": height, "entity": 0}, "fusion": _aggregator(text, entity_dim, entity_heads if attends else 0)})
    text["depth"] = height
    pooled, point = pooler(len(points), dim, bert)
    table |= pooled
    points.append(point)
    objectives = {}
    if "cls.predictions.bias" in state:
        table |= masked_lm() | next_sentence() | modules(TRANSFORM, "cls.predictions_ent.", "objectives.entity.")
        denoising = {"class_path": "kemm.objectives.EntityDenoising", "init_args": {"dim": dim, "entity_dim": entity_dim}}
        objectives = heads_config(dim, vocab_size) | {"entity": denoising}
    result, report = translate(state, table, tied={"cls.predictions.decoder.weight": f"{bert}embeddings.word_embeddings.weight"})
    nothing = of(state, f"{bert}embeddings.LayerNorm.weight").new_zeros(1, entity_dim)
    rows = nothing if vectors is None else torch.cat([nothing, vectors])
    result["network.encoders.entity.embed.table.weight"] = rows
    entity = {"num_entities": len(rows), "dim": entity_dim, "frozen": True}
    encoders = {
        "text": {"class_path": "kemm.encoders.TextEncoder", "init_args": text},
        "entity": {"class_path": "kemm.encoders.EntityEncoder", "init_args": entity},
    }
    return Converted(result, {"network": {"encoders": encoders, "fusions": points}, "objectives": objectives}, report)


def _aggregator(text: Mapping[str, Any], entity_dim: int, entity_heads: int) -> dict[str, Any]:
    """The config of an aggregator; without entity heads, of a `mix` layer."""
    arguments = {"dim": text["dim"], "entity_dim": entity_dim, "heads": text["heads"], "inner": text["inner"]}
    if not entity_heads:
        return {"class_path": "kemm.fusion.EntityMix", "init_args": arguments}
    return {"class_path": "kemm.fusion.EntityAggregator", "init_args": arguments | {"entity_heads": entity_heads}}
