"""Graphs as files: `entities.jsonl`, `relations.jsonl`, `triples.tsv`.

    entities.jsonl   {"id": "Q183", "name": "Germany", "kind": "country", "aliases": ["Federal Republic of Germany"]}
    relations.jsonl  {"id": "capital", "name": "capital", "inverse": "capital_of", "head": "country", "tail": "city|town"}
    triples.tsv      Q183<TAB>capital<TAB>Q64

Only `id` and `name` must be there. A relation may also say `symmetric`, which must then agree with `inverse` being its own id. An id holds
no tab.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from kemm.kg.graph import Entity, Graph, Names, Relation
from kemm.rows import Gate, OnBad, RowError, parse_object

Row = TypeVar("Row", Entity, Relation)

_ENTITY = {"id": str, "name": str, "kind": str, "aliases": list}
_RELATION = {"id": str, "name": str, "inverse": str, "head": str, "tail": str, "functional": bool, "symmetric": bool}


def read_graph(folder: str | Path, on_bad: OnBad = "error") -> tuple[Graph, dict[str, int]]:
    """Reads a folder.

    Args:
        folder: With `entities.jsonl`, `relations.jsonl` and `triples.tsv`.
        on_bad: "error" stops at the first line that is malformed, repeats an id or a triple, or names an unknown id; "skip" leaves such
            lines out.

    Returns:
        The graph, and how many lines were skipped for each reason.
    """
    gate, folder = Gate(on_bad), Path(folder)
    entities = _read_rows(folder / "entities.jsonl", _ENTITY, _entity, gate)
    relations = _read_rows(folder / "relations.jsonl", _RELATION, _relation, gate)
    graph = Graph(entities, relations, torch.empty(0, 3, dtype=torch.int64))
    triples = _resolve(folder / "triples.tsv", graph, gate)
    return graph.with_triples(triples), dict(gate.skipped)


def read_triples(path: str | Path, graph: Graph, on_bad: OnBad = "error") -> tuple[Tensor, dict[str, int]]:
    """Reads triples (N, 3) between the entities of a graph: a held-out part, for example. Skipped lines are counted as in `read_graph`."""
    gate = Gate(on_bad)
    return _resolve(Path(path), graph, gate), dict(gate.skipped)


def read_names(path: str | Path, on_bad: OnBad = "error") -> tuple[list[Names], dict[str, int]]:
    """Reads a file of triples whose entities are listed nowhere else; `Graph.from_names` takes them."""
    gate = Gate(on_bad)
    return [names for _, names in _named(Path(path), gate)], dict(gate.skipped)


def write_graph(graph: Graph, folder: str | Path) -> None:
    """Writes a folder that `read_graph` reads back equal; each file appears whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "entities.jsonl", (json.dumps(vars(entity), ensure_ascii=False) for entity in graph.entities))
    rows = (vars(relation) | {"head": "|".join(relation.head), "tail": "|".join(relation.tail)} for relation in graph.relations)
    _write(folder / "relations.jsonl", (json.dumps(row, ensure_ascii=False) for row in rows))
    _write(folder / "triples.tsv", ("\t".join(graph.names(row)) for row in graph.triples.tolist()))


def _write(path: Path, lines: Iterable[str]) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _named(path: Path, gate: Gate) -> Iterator[tuple[str, Names]]:
    seen: dict[Names, str] = {}
    for where, line in gate.lines(path):
        cells = line.split("\t")
        if len(cells) != 3 or not all(cells):
            gate.reject("malformed", where, f"expected head, relation and tail with tabs between them, got {line[:80]!r}")
            continue
        names = (cells[0], cells[1], cells[2])
        if names in seen:
            gate.reject("duplicate", where, f"the triple {names} is already in line {seen[names].rpartition(':')[2]}")
            continue
        seen[names] = where
        yield where, names


def _resolve(path: Path, graph: Graph, gate: Gate) -> Tensor:
    kept = []
    for where, names in _named(path, gate):
        known = (("head", graph.entity_index), ("relation", graph.relation_index), ("tail", graph.entity_index))
        unknown = [f"{part} {name!r}" for (part, index), name in zip(known, names, strict=True) if name not in index]
        if unknown:
            sizes = f"{graph.num_entities} entities and {graph.num_relations} relations"
            gate.reject("unknown id", where, f"the {' and the '.join(unknown)} is not among the {sizes} of the graph")
            continue
        kept.append(names)
    return graph.indices(kept)


def _read_rows(path: Path, keys: Mapping[str, type], make: Callable[[dict[str, Any]], Row], gate: Gate) -> list[Row]:
    rows: dict[str, Row] = {}
    lines: dict[str, str] = {}
    for where, line in gate.lines(path):
        with gate.row(where):
            row = make(_check(line, keys))
            if row.id in rows:
                raise RowError("duplicate", f"the id {row.id!r} is already in line {lines[row.id].rpartition(':')[2]}")
            rows[row.id], lines[row.id] = row, where
    return list(rows.values())


def _check(line: str, keys: Mapping[str, type]) -> dict[str, Any]:
    row = parse_object(line)
    unknown = [key for key in row if key not in keys]
    if unknown:
        raise RowError("malformed", f"unknown key {unknown[0]!r}, expected {list(keys)}")
    for key in ("id", "name"):
        if not row.get(key):
            raise RowError("malformed", f"the key {key!r} is missing or empty")
    for key, value in row.items():
        if type(value) is not keys[key]:
            raise RowError("malformed", f"{key!r} is {value!r}, expected a {keys[key].__name__}")
    if "\t" in row["id"] or "\n" in row["id"]:
        raise RowError("malformed", f"the id {row['id']!r} holds a tab or a line break")
    return row


def _entity(row: dict[str, Any]) -> Entity:
    aliases = row.pop("aliases", [])
    if not all(isinstance(alias, str) and alias for alias in aliases):
        raise RowError("malformed", f"'aliases' is {aliases!r}, expected a list of strings")
    return Entity(**row, aliases=tuple(aliases))


def _relation(row: dict[str, Any]) -> Relation:
    head, tail = (tuple(filter(None, row.pop(end, "").split("|"))) for end in ("head", "tail"))
    symmetric = row.pop("symmetric", None)
    if symmetric is not None and symmetric != (row.get("inverse") == row["id"]):
        raise RowError("malformed", f"'symmetric' is {symmetric}, but 'inverse' is {row.get('inverse', '')!r} and the id is {row['id']!r}")
    return Relation(**row, head=head, tail=tail)
