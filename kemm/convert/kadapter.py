"""K-Adapter (arXiv 2002.01808; microsoft/K-Adapter: fac-adapter.py): RoBERTa, its adapters, and the head that trained them."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from kemm.convert import bert
from kemm.convert.table import Converted, Table, count, modules, translate

NORM = {"class_path": "torch.nn.LayerNorm", "init_args": {"eps": 1e-5}}
"""The norm of RoBERTa."""


def kadapter(
    state: Mapping[str, Tensor],
    layers: Sequence[int] = (0, 11, 22),
    heads: int = 16,
    adapter_heads: int = 12,
    skip: int = 0,
    padding_id: int | None = 0,
) -> Converted:
    """Converts RoBERTa (`roberta.`) with the factual adapter (`adapter.`) and its relation head.

    Args:
        state: The checkpoint.
        layers: The heights of the adapters, 0 for the embedding.
        heads: Heads of RoBERTa, which no key tells.
        adapter_heads: Heads of the adapters.
        skip: The original's `adapter_skip_layers`: what follows adapter number c (from 1) reads its output plus that of adapter
            number c / skip (from 0), where c is a multiple of it; 0 for none.
        padding_id: The word without gradient through its embedding; 0 in the original, whose [PAD] is 1.
    """
    depth = count(state, r"roberta\.encoder\.layer\.(\d+)\.")
    number = count(state, r"adapter\.adapter\.(\d+)\.")
    if number != len(layers):
        raise ValueError(f"the checkpoint holds {number} adapters, and layers are given for {len(layers)}: {list(layers)}")
    text = bert.text_arguments(state, depth, heads, "roberta.") | {"offset": 2, "norm": NORM, "padding_id": padding_id}
    dim = text["dim"]
    table = bert.embeddings("roberta.embeddings.") | bert.layers(depth, "roberta.encoder.layer.")
    points: list[dict[str, Any]] = []
    previous = ""
    for i, height in enumerate(layers):
        name = f"adapter_{i}"
        table |= _adapter_table(state, f"adapter.adapter.{i}.", f"network.fusions.{len(points)}.")
        arguments = _adapter_arguments(state, f"adapter.adapter.{i}.", adapter_heads) | {"name": name, "dim": dim, "previous": previous}
        points.append({"at": {"text": height}, "fusion": {"class_path": "kemm.fusion.Adapter", "init_args": arguments}})
        previous = name
        if skip and (i + 1) % skip == 0:
            previous = f"{name}_skip"
            arguments = {"streams": [name, f"adapter_{(i + 1) // skip}"], "name": previous}
            points.append({"at": {"text": height}, "fusion": {"class_path": "kemm.fusion.Sum", "init_args": arguments}})
    table |= modules({"adapter.com_dense": f"network.fusions.{len(points)}.project"})
    join = {"streams": ["text", previous], "name": "knowing", "dims": [dim, dim]}
    points.append({"at": {"text": "top"}, "fusion": {"class_path": "kemm.fusion.Join", "init_args": join}})
    table |= modules({"adapter.dense": "objectives.relation.dense", "adapter.out_proj": "objectives.relation.classifier"})
    classes = bert.of(state, "adapter.out_proj.weight").shape[0]
    relation = {"dim": dim, "classes": classes, "stream": "knowing", "places": 2, "hidden": dim}
    pooled, point = bert.pooler(len(points), dim, "roberta.")
    result, report = translate(state, table | pooled, ignored=[r".*position_ids"])
    network = {
        "encoders": {"text": {"class_path": "kemm.encoders.TextEncoder", "init_args": text}},
        "fusions": [*points, point],
    }
    objectives = {"relation": {"class_path": "kemm.objectives.PlaceClassification", "init_args": relation}}
    return Converted(result, {"network": network, "objectives": objectives}, report)


def _adapter_table(state: Mapping[str, Tensor], old: str, new: str) -> Table:
    depth = count(state, rf"{old}encoder\.layer\.(\d+)\.")
    return modules({"down_project": "down", "up_project": "up"}, old, new) | bert.layers(depth, f"{old}encoder.layer.", f"{new}layers.")


def _adapter_arguments(state: Mapping[str, Tensor], old: str, heads: int) -> dict[str, Any]:
    return {
        "inner": bert.of(state, f"{old}down_project.weight").shape[0],
        "depth": count(state, rf"{old}encoder\.layer\.(\d+)\."),
        "heads": heads,
        "feedforward": bert.of(state, f"{old}encoder.layer.0.intermediate.dense.weight").shape[0],
    }
