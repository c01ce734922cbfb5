"""Graph files: there and back, and one message per bad line."""

import json
from pathlib import Path

import pytest
import torch

from kemm.kg import Entity, Graph, Relation, read_graph, read_names, read_triples, write_graph

ENTITIES = [{"id": "a", "name": "A"}, {"id": "b", "name": "B", "kind": "thing", "aliases": ["Bé"]}]
RELATIONS = [{"id": "r", "name": "R", "inverse": "r", "symmetric": True, "head": "thing|place", "functional": False}]


def folder(path: Path, entities: str = "", relations: str = "", triples: str | bytes = "a\tr\tb\n") -> Path:
    (path / "entities.jsonl").write_text(entities or "".join(json.dumps(row) + "\n" for row in ENTITIES), encoding="utf-8")
    (path / "relations.jsonl").write_text(relations or "".join(json.dumps(row) + "\n" for row in RELATIONS), encoding="utf-8")
    (path / "triples.tsv").write_bytes(triples if isinstance(triples, bytes) else triples.encode())
    return path


def test_there_and_back(tmp_path: Path) -> None:
    graph, skipped = read_graph(folder(tmp_path))
    assert graph.entities == (Entity("a", "A"), Entity("b", "B", "thing", ("Bé",)))
    assert graph.relations == (Relation("r", "R", inverse="r", head=("thing", "place")),)
    assert graph.triples.tolist() == [[0, 0, 1]]
    assert skipped == {}
    write_graph(graph, tmp_path / "copy")
    copy, _ = read_graph(tmp_path / "copy")
    assert (copy.entities, copy.relations) == (graph.entities, graph.relations)
    assert torch.equal(copy.triples, graph.triples)
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["entities.jsonl", "relations.jsonl", "triples.tsv"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, _ = read_graph(folder(tmp_path))
    monkeypatch.setattr(Graph, "names", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_graph(graph, tmp_path)
    assert (tmp_path / "triples.tsv").read_text() == "a\tr\tb\n"
    assert len(list(tmp_path.iterdir())) == 3


BAD_TRIPLES = [
    ("a\tr\tb\na\tr\tc\n", r"triples.tsv:2: unknown id: the tail 'c' is not among the 2 entities and 1 relations", "unknown id"),
    ("x\ts\tb\n", r"triples.tsv:1: unknown id: the head 'x' and the relation 's' is not among", "unknown id"),
    ("a\tr\tb\nb\tr\ta\na\tr\tb\n", r"triples.tsv:3: duplicate: the triple \('a', 'r', 'b'\) is already in line 1", "duplicate"),
    ("a\tr\n", r"triples.tsv:1: malformed: expected head, relation and tail with tabs between them, got 'a\\tr'", "malformed"),
    ("a\tr\tb\n\n", r"triples.tsv:2: malformed", "malformed"),
    ("a\t\tb\n", r"triples.tsv:1: malformed", "malformed"),
    (b"a\tr\tb\na\tr\t\xff\n", r"triples.tsv:2: malformed: byte 5 of the line is not UTF-8", "malformed"),
]


@pytest.mark.parametrize(("triples", "message", "reason"), BAD_TRIPLES)
def test_bad_triples(tmp_path: Path, triples: str | bytes, message: str, reason: str) -> None:
    folder(tmp_path, triples=triples)
    with pytest.raises(ValueError, match=message):
        read_graph(tmp_path)
    graph, skipped = read_graph(tmp_path, on_bad="skip")
    assert skipped == {reason: 1}
    assert len(graph) == triples.count("\n" if isinstance(triples, str) else b"\n") - 1


BAD_ENTITIES = [
    ('{"id": "a", "name": "A"', r"entities.jsonl:1: malformed: not JSON, .* at character"),
    ("[1]", r"entities.jsonl:1: malformed: expected a JSON object, got '\[1\]'"),
    ('{"id": "a", "nam": "A"}', r"malformed: unknown key 'nam'"),
    ('{"id": "a"}', r"malformed: the key 'name' is missing or empty"),
    ('{"id": "", "name": "A"}', r"malformed: the key 'id' is missing or empty"),
    ('{"id": "a", "name": 3}', r"malformed: 'name' is 3, expected a str"),
    ('{"id": "a", "name": "A", "aliases": ["x", 3]}', r"malformed: 'aliases' is \['x', 3\], expected a list of strings"),
    ('{"id": "a", "name": "A", "name": "B"}', r"malformed: a key occurs twice"),
    ('{"id": "a\\tb", "name": "A"}', r"malformed: the id 'a\\tb' holds a tab or a line break"),
    ('{"id": "b", "name": "A"}\n{"id": "b", "name": "B"}', r"entities.jsonl:2: duplicate: the id 'b' is already in line 1"),
]


@pytest.mark.parametrize(("line", "message"), BAD_ENTITIES)
def test_bad_entities(tmp_path: Path, line: str, message: str) -> None:
    folder(tmp_path, entities=line + '\n{"id": "z", "name": "Z"}\n', triples="")
    with pytest.raises(ValueError, match=message):
        read_graph(tmp_path)
    graph, skipped = read_graph(tmp_path, on_bad="skip")
    assert sum(skipped.values()) == 1
    assert graph.entities[-1].id == "z"


def test_bad_relations(tmp_path: Path) -> None:
    folder(tmp_path, relations='{"id": "r", "name": "R", "inverse": "s", "symmetric": true}\n')
    with pytest.raises(ValueError, match="'symmetric' is True, but 'inverse' is 's' and the id is 'r'"):
        read_graph(tmp_path)
    folder(tmp_path, relations='{"id": "r", "name": "R", "functional": 1}\n')
    with pytest.raises(ValueError, match="'functional' is 1, expected a bool"):
        read_graph(tmp_path)


def test_missing_file_and_unknown_policy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"entities.jsonl: no such file"):
        read_graph(tmp_path)
    with pytest.raises(ValueError, match="on_bad is 'ignore', expected 'error' or 'skip'"):
        read_graph(tmp_path, on_bad="ignore")  # type: ignore[arg-type]


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    graph, _ = read_graph(folder(tmp_path, triples=b"\xef\xbb\xbfa\tr\tb\r\nb\tr\ta\r\n"))
    assert graph.triples.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_triples_of_a_graph_and_bare_ones(tmp_path: Path) -> None:
    graph, _ = read_graph(folder(tmp_path))
    (tmp_path / "valid.tsv").write_text("b\tr\ta\nb\tr\tq\n")
    with pytest.raises(ValueError, match=r"valid.tsv:2: unknown id: the tail 'q'"):
        read_triples(tmp_path / "valid.tsv", graph)
    triples, skipped = read_triples(tmp_path / "valid.tsv", graph, on_bad="skip")
    assert (triples.tolist(), skipped) == ([[1, 0, 0]], {"unknown id": 1})
    assert read_names(tmp_path / "valid.tsv") == ([("b", "r", "a"), ("b", "r", "q")], {})
