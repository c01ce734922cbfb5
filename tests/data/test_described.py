"""Triples between described entities, the wrong ones beside them, and the descriptions that are made of passages."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from kemm.data import DescribedTriples, Descriptions, train_tokenizer
from kemm.kg import Entity, Graph, Relation, write_graph

LINES = {"Q0": "alpha one", "Q1": "beta two", "Q2": "gamma three", "Q3": "delta four", "Q5": "eta five"}
TRIPLES = [[0, 0, 1], [0, 0, 2], [1, 1, 2], [3, 1, 0], [4, 0, 1], [2, 0, 4]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    entities = [Entity(f"Q{i}", f"name{i}", "thing") for i in range(6)]
    relations = [Relation("near", "near"), Relation("of", "of", head=("thing",))]
    write_graph(Graph(entities, relations, torch.tensor(TRIPLES)), tmp_path)
    (tmp_path / "texts.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in LINES.items()))
    (tmp_path / "relations.tsv").write_text("near\tbeside it\nof\tpart of it\n")
    train_tokenizer([*LINES.values(), "beside part of it"], tmp_path / "tokenizer.json", 200)
    return tmp_path


def source(folder: Path, **arguments: Any) -> DescribedTriples:
    return DescribedTriples(folder, folder / "texts.tsv", folder / "tokenizer.json", **arguments)


def read(given: DescribedTriples, tokens: Any) -> list[str]:
    return [
        given.reader.tokenizer.decode(row[mask].tolist(), skip_special_tokens=False) for row, mask in zip(*tokens.values(), strict=True)
    ]


def test_triples_are_between_described_entities(folder: Path) -> None:
    given = source(folder)
    assert given.triples == TRIPLES[:4]
    batch = given.batch([3, 1], 0)
    assert read(given, batch["head"]) == ["[CLS] delta four [SEP]", "[CLS] alpha one [SEP]"]
    assert read(given, batch["tail"]) == ["[CLS] alpha one [SEP]", "[CLS] gamma three [SEP]"]
    assert {name: part.tolist() for name, part in batch["triple"].items()} == {"head": [4, 1], "relation": [2, 1], "tail": [1, 3]}
    assert set(batch) == {"id", "triple", "head", "tail", "negative_head", "negative_tail"}


def test_wrong_ends_are_wrong_and_equally_likely(folder: Path) -> None:
    given = source(folder, negatives=3)
    truth = {tuple(row) for row in TRIPLES}
    names = {f"[CLS] {text} [SEP]": int(name[1:]) for name, text in LINES.items()}
    seen: dict[str, list[int]] = {"negative_head": [], "negative_tail": []}
    for epoch in range(200):
        batch = given.batch([0], epoch)
        for end, found in seen.items():
            found += [names[text] for text in read(given, batch[end])]
    assert all((head, 0, 1) not in truth for head in seen["negative_head"])
    assert all((0, 0, tail) not in truth for tail in seen["negative_tail"])
    for end, right in (("negative_head", {1, 2, 3, 5}), ("negative_tail", {0, 3, 5})):
        shares = {entity: seen[end].count(entity) / 600 for entity in right}
        assert set(seen[end]) == right
        assert all(share == pytest.approx(1 / len(right), abs=0.07) for share in shares.values())


def test_wrong_ends_belong_to_sample_and_epoch(folder: Path) -> None:
    given = source(folder, negatives=4)
    together, alone = given.batch([0, 2], 5), given.batch([2], 5)
    assert torch.equal(together["negative_head"]["ids"][4:], alone["negative_head"]["ids"])
    assert any(not torch.equal(given.batch([2], epoch)["negative_head"]["ids"], alone["negative_head"]["ids"]) for epoch in range(5))


def test_relations_in_words(folder: Path) -> None:
    rel = source(folder, relations=folder / "relations.tsv")
    assert read(rel, rel.batch([0, 2], 0)["relation_text"]) == ["[CLS] beside it [SEP]", "[CLS] part of it [SEP]"]
    cond = source(folder, relations=folder / "relations.tsv", conditional=True)
    batch = cond.batch([2], 0)
    assert read(cond, batch["relation_head"]) == ["[CLS] beta two [SEP] part of it [SEP]"]
    assert read(cond, batch["relation_tail"]) == ["[CLS] gamma three [SEP] part of it [SEP]"]
    assert "relation_text" not in batch
    assert "relation_head.ids" in cond.reaches and cond.reaches["triple.relation"].size == 3


def test_held_out_triples_are_true_as_far_as_they_are_asked(folder: Path) -> None:
    (folder / "held.tsv").write_text("Q0\tnear\tQ2\n")
    assert source(folder, without=[folder / "held.tsv"]).triples == [TRIPLES[0], *TRIPLES[2:4]]
    held = source(folder, path=folder / "held.tsv", without=[folder / "held.tsv"])
    assert held.triples == [TRIPLES[1]]
    tails = {read(held, held.batch([0], epoch)["negative_tail"])[0] for epoch in range(60)}
    assert "[CLS] gamma three [SEP]" not in tails and len(tails) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Q0", r"texts.tsv:6: malformed: expected an id and a description with a tab between them, got 'Q0'"),
        ("Q4\t ", r"texts.tsv:6: malformed"),
        ("Q9\tnine", r"texts.tsv:6: unknown id: the id 'Q9' is not among the 6"),
        ("Q0\tagain", r"texts.tsv:6: duplicate: the id 'Q0' already has a description, 'alpha one'"),
    ],
)
def test_a_bad_line_is_named_or_counted(folder: Path, line: str, message: str) -> None:
    with (folder / "texts.tsv").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=message):
        source(folder)
    skipping = source(folder, on_bad="skip")
    assert sum(skipping.skipped.values()) == 1
    assert len(skipping) == 4


def test_what_is_missing_is_said(folder: Path) -> None:
    (folder / "texts.tsv").write_text("Q5\teta five\n")
    with pytest.raises(ValueError, match="none of 6 triples is between entities that"):
        source(folder)
    (folder / "relations.tsv").write_text("near\tbeside it\n")
    (folder / "texts.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in LINES.items()))
    with pytest.raises(ValueError, match="1 relations have no description, 'of' among them"):
        source(folder, relations=folder / "relations.tsv")
    (folder / "texts.tsv").write_text("Q0\talpha\nQ1\tbeta\n")
    (folder / "triples.tsv").write_text("Q0\tnear\tQ1\nQ0\tnear\tQ0\n")
    with pytest.raises(ValueError, match=r"the triple \[0, 0, 1\] has no wrong tail: all 2 entities are right"):
        source(folder)


def test_descriptions_are_made_of_sentences(folder: Path) -> None:
    text = "Name0 is big. It has name1. Name1 sleeps."
    mentions = [{"start": 0, "end": 5, "entity": "Q0"}, {"start": 21, "end": 26, "entity": "Q1"}, {"start": 28, "end": 33, "entity": "Q1"}]
    rows = [
        {"text": text, "entity": "Q0", "mentions": mentions},
        {"text": "Name1 rests.", "entity": "Q1", "mentions": [mentions[0] | {"entity": "Q1"}]},
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out, relations = folder / "out" / "texts.tsv", folder / "out" / "relations.tsv"
    make = Descriptions(folder, folder / "rows.jsonl", out, relations)
    make()
    assert out.read_text().splitlines() == [
        "Q0\tname0, thing. Name0 is big.",
        "Q1\tname1, thing. Name1 rests. It has name1. Name1 sleeps.",
    ]
    assert relations.read_text().splitlines() == ["near\tnear: anything to anything", "of\tof: thing to anything"]
    kept = out.stat().st_mtime_ns
    make()
    assert out.stat().st_mtime_ns == kept
    os.utime(folder / "rows.jsonl", ns=(kept + 10**9, kept + 10**9))
    make()
    assert out.stat().st_mtime_ns > kept
    short = Descriptions(folder, folder / "rows.jsonl", out, relations, longest=20).entity_lines()
    assert short[1] == ("Q1", "name1, thing. Name1 rests.")


def test_a_bad_text_is_named(folder: Path) -> None:
    (folder / "rows.jsonl").write_text(json.dumps({"text": "x", "entity": "Q0", "mentions": [3]}) + "\n")
    with pytest.raises(ValueError, match=r"rows.jsonl:1: malformed: expected a mention with start, end and entity, got 3"):
        Descriptions(folder, folder / "rows.jsonl", folder / "a.tsv", folder / "b.tsv")()
