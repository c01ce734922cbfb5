"""Sentence trees of K-BERT: the paper's example, what is cut, and rows of the data sets with facts in them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kemm.data import Injection, RelatedMentions, TypedMentions, train_tokenizer
from kemm.data.injection import Word, inject, padded, read_branches
from kemm.kg import Entity, Graph, Relation, write_graph

TEXT = "Tim Cook visits Beijing now"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    entities = [Entity("Q0", "Apple"), Entity("Q1", "Tim Cook"), Entity("Q2", "Beijing"), Entity("Q3", "China")]
    relations = [Relation("ceo", "leads"), Relation("capital", "capital of"), Relation("in", "lies in"), Relation("near", "near")]
    triples = torch.tensor([[1, 0, 0], [2, 1, 3], [2, 2, 3], [1, 3, 2], [2, 3, 1]])
    write_graph(Graph(entities, relations, triples), tmp_path)
    train_tokenizer([TEXT, "Apple Beijing China capital of leads lies in near"], tmp_path / "tokenizer.json", 120)
    rows = [{"text": TEXT, "ents": [["Q1", 0, 8, 1.0], ["Q2", 16, 23, 1.0]], "label": "near"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    typed = [{"sent": TEXT, "start": 16, "end": 23, "labels": ["city"], "ents": rows[0]["ents"]}]
    (tmp_path / "typed.json").write_text(json.dumps(typed))
    return tmp_path


def related(folder: Path, **arguments: Any) -> RelatedMentions:
    layout = Injection(folder, **{key: arguments.pop(key) for key in ("most", "without", "types") if key in arguments})
    return RelatedMentions(folder / "rows.json", folder / "rows.json", folder / "tokenizer.json", folder, layout=layout, **arguments)


def words(source: Any, ids: torch.Tensor) -> list[str]:
    return [source.reader.tokenizer.id_to_token(int(token)) for token in ids]


def test_the_papers_example() -> None:
    """Figure 2: Tim Cook (CEO Apple) is visiting Beijing (capital China; is_a City) now; one token a word here."""
    tree = [Word([0]), Word([1, 2], [[3, 4]]), Word([5]), Word([6]), Word([7], [[8, 9], [10, 11]]), Word([12])]
    part = inject(tree, 20)
    assert part.ids.tolist() == list(range(13))
    assert part.positions.tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 6, 7, 6, 7, 6]
    assert part.places == [0, 1, 2, 5, 6, 7, 12]
    trunk = [0, 1, 2, 5, 6, 7, 12]
    branches = {3: [1, 2, 3, 4], 4: [1, 2, 3, 4], 8: [7, 8, 9], 9: [7, 8, 9], 10: [7, 10, 11], 11: [7, 10, 11]}
    sees = {place: [*trunk, *(other for other, seen in branches.items() if place in seen)] for place in trunk} | branches
    for row in range(13):
        assert part.visible[row].nonzero()[:, 0].tolist() == sorted(sees[row]), row


def test_a_sequence_is_cut_and_padded() -> None:
    parts = [inject([Word([1], [[2, 3]]), Word([4])], 3), inject([Word([5])], 3)]
    batch = padded(parts, 9)
    assert batch["ids"].tolist() == [[1, 2, 3], [5, 9, 9]]
    assert batch["positions"].tolist() == [[0, 1, 2], [0, 2, 2]]
    assert batch["mask"][1].int().tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert parts[0].places == [0, 3]


def test_facts_stand_behind_their_mentions(folder: Path) -> None:
    source = related(folder)
    batch = source.batch([0], 0)
    assert words(source, batch["text"]["ids"][0]) == (
        ["[CLS]", "tim", "cook", "leads", "apple", "visits", "beijing", "capital", "of", "china", "lies", "in", "china", "now", "[SEP]"]
    )
    assert batch["places"].tolist() == [[1, 6]]
    assert batch["text"]["positions"][0].tolist() == [0, 1, 2, 3, 4, 3, 4, 5, 6, 7, 5, 6, 7, 5, 6]
    assert batch["text"]["types"].sum() == 0
    assert "entity" not in batch


def test_what_is_asked_is_not_told(folder: Path) -> None:
    """Typing asks about one mention only, so there the fact between the two is told; it is the first of the graph after the others."""
    assert "near" not in words(related(folder, most=9), related(folder, most=9).batch([0], 0)["text"]["ids"][0])
    files = (folder / "typed.json", folder / "typed.json", folder / "tokenizer.json", folder)
    typed = TypedMentions(*files, layout=Injection(folder, most=9))
    assert words(typed, typed.batch([0], 0)["text"]["ids"][0]).count("near") == 2


def test_held_out_facts_are_not_told(folder: Path) -> None:
    (folder / "held.tsv").write_text("Q2\tcapital\tQ3\n")
    source = related(folder, without=[folder / "held.tsv"])
    assert "capital" not in words(source, source.batch([0], 0)["text"]["ids"][0])


def test_a_place_that_was_cut_off_is_the_first(folder: Path) -> None:
    batch = related(folder, max_length=6).batch([0], 0)
    assert batch["text"]["ids"].shape == (1, 6)
    assert batch["places"].tolist() == [[1, 0]]


def test_no_fact_is_a_plain_text(folder: Path) -> None:
    batch = related(folder, most=0, types=1).batch([0], 0)
    assert batch["text"]["positions"][0].tolist() == list(range(7))
    assert batch["text"]["mask"].all()
    assert batch["text"]["types"].tolist() == [[1] * 7]


def test_branches_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "facts.spo"
    path.write_text("a\tis\tb\na\tin\tb\nc\tis\td\nbroken\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"facts.spo:4: malformed: expected head, relation and tail"):
        read_branches(path)
    assert read_branches(path, on_bad="skip") == {"a": ["isb", "inb"], "c": ["isd"]}
    assert read_branches(path, predicate=False, on_bad="skip") == {"a": ["b"], "c": ["d"]}
