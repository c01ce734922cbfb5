"""ERNIE of Tsinghua (arXiv 1905.07129; thunlp/ERNIE: code/knowledge_bert/modeling.py)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from kemm.convert.bert import LAYER as BERT_LAYER
from kemm.convert.bert import TRANSFORM, embeddings, masked_lm, modern, next_sentence, of, pooler, text_arguments
from kemm.convert.plan import instance
from kemm.convert.signature import Signature, places
from kemm.convert.table import Converted, Table, count, modules, prefix_of, split, translate

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


SIGNATURE = Signature(
    needs=(r"(bert\.)?encoder\.layer\.\d+\.intermediate\.dense_ent\.weight",), told=places({"heads": ("num_attention_heads",)})
)


def ernie(
    state: Mapping[str, Tensor], heads: int = 12, entity_heads: int = 4, vectors: Tensor | None = None, graded: bool = False
) -> Converted:
    """Converts an ERNIE checkpoint; which of its layers are `sim`, `mix` and `norm` is read from the keys.

    The released checkpoints hold no entity vectors, they stand in `kg_embed/entity2vec.vec`.

    Args:
        state: The checkpoint, with or without `bert.` before its keys, with or without the heads of its pre-training, or with that of a
            task: typing, classification of a text or of a pair, or extractive question answering.
        heads: Heads of the text, which no key tells.
        entity_heads: Heads of the entities (4, a constant of the original).
        vectors: The entity vectors (N, D'), the first for id 1; without them the table has only row 0, "no entity".
        graded: Whether the classifier is that of STS-B, whose labels are distributions; no key tells.
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
    heads_table, objectives, weights = _heads(state, dim, vocab_size, entity_dim, graded)
    words = f"{bert}embeddings.word_embeddings.weight"
    result, report = translate(state, table | heads_table, tied={"cls.predictions.decoder.weight": words})
    nothing = of(state, f"{bert}embeddings.LayerNorm.weight").new_zeros(1, entity_dim)
    rows = nothing if vectors is None else torch.cat([nothing, vectors])
    result["network.encoders.entity.embed.table.weight"] = rows
    entity = {"num_entities": len(rows), "dim": entity_dim, "frozen": True}
    encoders = {
        "text": {"class_path": "kemm.encoders.TextEncoder", "init_args": text},
        "entity": {"class_path": "kemm.encoders.EntityEncoder", "init_args": entity},
    }
    config = {"network": {"encoders": encoders, "fusions": points}, "objectives": objectives, "weights": weights}
    return Converted(result, config, report)


def _heads(
    state: Mapping[str, Tensor], dim: int, vocab_size: int, entity_dim: int, graded: bool
) -> tuple[Table, dict[str, Any], dict[str, float]]:
    """The table, the objectives and their weights of the heads that the checkpoint has."""
    table: Table = {}
    objectives: dict[str, Any] = {}
    weights: dict[str, float] = {}
    if "cls.predictions.bias" in state:
        table |= masked_lm()
        objectives["masked_lm"] = instance("kemm.objectives.MaskedLM", {"dim": dim, "vocab_size": vocab_size})
    if "cls.seq_relationship.weight" in state:
        table |= next_sentence()
        objectives["next_sentence"] = instance("kemm.objectives.Classification", {"dim": dim})
    if "cls.predictions_ent.transform.dense.weight" in state:
        table |= modules(TRANSFORM, "cls.predictions_ent.", "objectives.entity.")
        objectives["entity"] = instance("kemm.objectives.EntityDenoising", {"dim": dim, "entity_dim": entity_dim})
    if "typing.weight" in state:
        table["typing.weight"] = "objectives.typing.classifier.weight"
        arguments = {"dim": dim, "classes": len(state["typing.weight"]), "labels": "types", "bias": False}
        objectives["typing"] = instance("kemm.objectives.MultiLabelClassification", arguments)
    if "classifier.weight" in state:
        table |= modules({"classifier": "objectives.classification.classifier"})
        arguments = {"dim": dim, "classes": len(state["classifier.weight"]), "labels": "label"}
        kind = "GradedClassification" if graded else "Classification"
        objectives["classification"] = instance(f"kemm.objectives.{kind}", arguments)
    if "qa_outputs.weight" in state:
        ends = ("first", "last")
        for part in ("weight", "bias"):
            table[f"qa_outputs.{part}"] = split(*(f"objectives.{end}.score.{part}" for end in ends))
        for end in ends:
            objectives[end] = instance("kemm.objectives.PlaceSelection", {"dim": dim, "labels": end, "padded": True})
            weights[end] = 0.5
    return table, objectives, weights


def _aggregator(text: Mapping[str, Any], entity_dim: int, entity_heads: int) -> dict[str, Any]:
    """The config of an aggregator; without entity heads, of a `mix` layer."""
    arguments = {"dim": text["dim"], "entity_dim": entity_dim, "heads": text["heads"], "inner": text["inner"]}
    if not entity_heads:
        return {"class_path": "kemm.fusion.EntityMix", "init_args": arguments}
    return {"class_path": "kemm.fusion.EntityAggregator", "init_args": arguments | {"entity_heads": entity_heads}}
