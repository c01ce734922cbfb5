"""Typing and relation classification files as batches, and what happens to bad ones."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kemm.data import RelatedMentions, TypedMentions, train_tokenizer
from kemm.kg import Entity, Graph, Relation, write_graph

TEXT = "Niger borders Chad."
TYPED = {"sent": TEXT, "start": 14, "end": 18, "labels": ["place", "country"], "ents": [["Q1", 0, 5, 0.9], ["Q2", 14, 18, 0.2]]}
PLAIN = {"sent": "The Niger", "start": 4, "end": 9, "labels": ["river"], "ents": []}
RELATED = {"text": TEXT, "ents": [["Q2", 14, 18, 1.0], ["Q1", 0, 5, 1.0]], "label": "borders"}
TACRED = {"text": TEXT, "ents": [["Niger", 0, 5], ["Chad", 14, 18]], "ann": [["Q1", 0, 5, 0.9]], "label": "no_relation"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    entities = [Entity("Q0", "sea", "sea"), Entity("Q1", "Niger", "country"), Entity("Q2", "Chad", "country")]
    relations = [Relation("borders", "borders", "borders")]
    write_graph(Graph(entities, relations, torch.tensor([[1, 0, 2], [2, 0, 1]])), tmp_path)
    train_tokenizer([TEXT, "The Niger"], tmp_path / "tokenizer.json", 80)
    return tmp_path


def write(folder: Path, rows: Any) -> Path:
    path = folder / "rows.json"
    path.write_text(json.dumps(rows))
    return path


def typed(folder: Path, rows: Any, labels: Any = None, **arguments: Any) -> TypedMentions:
    path = write(folder, rows)
    if labels is None:
        return TypedMentions(path, path, folder / "tokenizer.json", folder, **arguments)
    (folder / "train.json").write_text(json.dumps(labels))
    return TypedMentions(path, folder / "train.json", folder / "tokenizer.json", folder, **arguments)


def related(folder: Path, rows: Any, **arguments: Any) -> RelatedMentions:
    path = write(folder, rows)
    return RelatedMentions(path, path, folder / "tokenizer.json", folder, **arguments)


def words(source: Any, ids: torch.Tensor) -> list[str]:
    return [source.reader.tokenizer.id_to_token(int(token)) for token in ids]


def test_types_places_and_entities(folder: Path) -> None:
    source = typed(folder, [TYPED, PLAIN])
    batch = source.batch([1, 0], 0)
    assert source.labels.names == ["country", "place", "river"]
    assert batch["types"].tolist() == [[0, 0, 1], [1, 1, 0]]
    assert batch["id"].tolist() == [1, 0]
    tokens = words(source, batch["text"]["ids"][1])
    assert tokens[int(batch["places"][1, 0])] == "chad" and batch["places"].shape == (2, 1)
    expected = [2 if token == "niger" else 0 for token in tokens]  # index 1 is row 2; Q2 is not sure enough
    assert batch["entity"]["ids"][1].tolist() == expected
    assert batch["entity"]["mask"][1].tolist() == [place == 0 or bool(row) for place, row in enumerate(expected)]
    assert batch["entity"]["mask"][0].tolist() == [place == 0 for place in range(len(tokens))]


def test_relations_read_head_then_tail_and_what_is_annotated(folder: Path) -> None:
    source = related(folder, [RELATED, TACRED])
    batch = source.batch([0, 1], 0)
    assert source.labels.names == ["borders", "no_relation"]
    assert batch["label"].tolist() == [0, 1]
    tokens = words(source, batch["text"]["ids"][0])
    assert [[tokens[place] for place in row] for row in batch["places"].tolist()] == [["chad", "niger"], ["niger", "chad"]]
    assert batch["entity"]["ids"].sum(1).tolist() == [5, 2]


def test_a_mention_that_was_cut_off_is_read_at_the_first_token(folder: Path) -> None:
    assert typed(folder, [TYPED], max_length=3).batch([0], 0)["places"].tolist() == [[0]]


def test_no_entity_is_told_above_all_confidence(folder: Path) -> None:
    assert not related(folder, [RELATED], confidence=1.1).batch([0], 0)["entity"]["ids"].any()


BAD_TYPED = [
    ({**TYPED, "start": 15, "end": 40}, "the mention: characters 15 to 40"),
    ({**TYPED, "end": 14}, "the mention: characters 14 to 14"),
    ({**TYPED, "labels": ["country", 3]}, "'labels' is ['country', 3]"),
    ({**TYPED, "labels": ["moon"]}, "the label 'moon' is not among the 2"),
    ({**TYPED, "ents": [["Q9", 0, 5, 1.0]]}, "ents[0]: the entity 'Q9' is not among the 3"),
    ({**TYPED, "ents": [["Q1", 0]]}, "ents[0] is ['Q1', 0]"),
    ({**TYPED, "ents": [["Q1", 0, 5, "sure"]]}, "the confidence of 'Q1' is 'sure'"),
    ({**TYPED, "sent": ""}, "'sent' is ''"),
    ([TYPED], "expected an object"),
]


@pytest.mark.parametrize(("row", "message"), BAD_TYPED, ids=[message for _, message in BAD_TYPED])
def test_bad_rows_are_named_or_counted(folder: Path, row: Any, message: str) -> None:
    with pytest.raises(ValueError, match=r"rows\.json: \[1\]: ") as caught:
        typed(folder, [TYPED, row], [TYPED])
    assert message in str(caught.value)
    source = typed(folder, [TYPED, row], [TYPED], on_bad="skip")
    assert len(source) == 1 and sum(source.skipped.values()) == 1


@pytest.mark.parametrize("change", [{"ents": [["Q1", 0, 5, 1.0]]}, {"label": 3}, {"ents": [["Q1", 0, 5, 1.0], ["Q2", 14, 99, 1.0]]}])
def test_bad_relations(folder: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"rows\.json: \["):
        related(folder, [RELATED, {**RELATED, **change}])


def test_files_without_rows(folder: Path) -> None:
    with pytest.raises(ValueError, match="there is none"):
        typed(folder, [])
    with pytest.raises(ValueError, match="none is left"):
        typed(folder, [{**TYPED, "start": 90}], [TYPED], on_bad="skip")
    with pytest.raises(FileNotFoundError):
        TypedMentions(folder / "absent.json", folder / "absent.json", folder / "tokenizer.json", folder)
