"""ERNIE's way of showing texts, its rows of pre-training, all answers of triples (the originals' numbers: tests/parity)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kemm.batch import IGNORE
from kemm.data import MarkedRelatedMentions, MarkedTypedMentions, PretrainingRows, Triples, train_tokenizer
from kemm.data.ernie import mark_spans
from kemm.kg import Entity, Graph, Relation, write_graph

TEXT = "Niger borders Chad."
TYPED = {"sent": TEXT, "start": 14, "end": 18, "labels": ["country"], "ents": [["Q1", 0, 5, 0.9], ["Q2", 14, 18, 0.8]]}
RELATED = {"text": TEXT, "ents": [["Q2", 14, 18, 1.0], ["Q1", 0, 5, 1.0]], "label": "borders"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    entities = [Entity("Q0", "sea", "sea"), Entity("Q1", "Niger", "country"), Entity("Q2", "Chad", "country")]
    relations = [Relation("borders", "borders", "borders"), Relation("near", "near", "near_by")]
    write_graph(Graph(entities, relations, torch.tensor([[1, 0, 2], [1, 1, 0], [1, 1, 2]])), tmp_path)
    train_tokenizer([TEXT, "\u3002 # $"], tmp_path / "tokenizer.json", 90)
    return tmp_path


def read(kind: Any, folder: Path, row: dict[str, Any], **arguments: Any) -> tuple[list[str], list[int], list[str]]:
    """The tokens, the entities at them, and the tokens at the marked places."""
    path = folder / "rows.json"
    path.write_text(json.dumps([row]))
    source = kind(path, path, folder / "tokenizer.json", folder, **arguments)
    batch = source.batch([0], 0)
    tokens = [source.reader.tokenizer.id_to_token(token) for token in batch["text"]["ids"][0].tolist()]
    return tokens, batch["entity"]["ids"][0].tolist(), [tokens[place] for place in batch["places"][0].tolist()]


def test_marks_are_inserted_around_spans() -> None:
    text, inserted = mark_spans("a bc d", [(2, 4), (5, 6)], [("<", ">"), ("[", "]")])
    assert text == "a <bc> [d]"
    assert inserted == [(2, 1), (4, 1), (5, 1), (6, 1)]
    assert mark_spans("abc", [(0, 1), (1, 3)], [("<", ">"), ("[", "]")])[0] == "<a>[bc]"


def test_typing_and_relations(folder: Path) -> None:
    tokens, entities, places = read(MarkedTypedMentions, folder, TYPED)
    assert tokens == ["[CLS]", "niger", "borders", "\u3002", "chad", "\u3002", ".", "[SEP]"]
    assert entities == [0, 2, 0, 0, 3, 0, 0, 0] and places == ["chad"]
    tokens, entities, places = read(MarkedRelatedMentions, folder, RELATED)
    assert tokens == ["[CLS]", "$", "niger", "$", "borders", "#", "chad", "#", ".", "[SEP]"]
    assert entities == [0, 0, 2, 0, 0, 0, 3, 0, 0, 0] and places == ["chad", "niger"]


def entities(folder: Path, *ents: list[Any], **arguments: Any) -> list[int]:
    found = read(MarkedTypedMentions, folder, {**TYPED, "ents": list(ents)}, **arguments)[1]
    return [entity for entity in found if entity]


def test_which_entities_are_told(folder: Path) -> None:
    assert entities(folder, ["Q1", 0, 5, 0.3]) == []  # the confidence is the threshold
    assert entities(folder, ["Q1", 0, 5, 0.31]) == [2]
    assert entities(folder, ["Q1", 1, 5, 0.9]) == []  # inside a word
    assert entities(folder, ["Q1", 5, 13, 0.9]) == []  # at a space
    assert entities(folder, ["Q77", 0, 5, 0.9]) == []  # not in the graph
    assert entities(folder, ["Q1", 0, 5, 0.9], ["Q2", 0, 3, 0.4]) == [3]  # the last of those that begin at a place
    assert entities(folder, ["Q1", 0, 5, 0.9], ["Q77", 0, 5, 0.9]) == []
    assert entities(folder, ["Q2", 14, 18, 0.9], max_length=4) == []  # cut off
    with pytest.raises(ValueError, match="the entity is 7, expected a text"):
        entities(folder, [7, 0, 5, 0.9])
    with pytest.raises(ValueError, match="characters 0 to 99"):
        entities(folder, ["Q1", 0, 99, 0.9])


def rows_file(folder: Path, rows: Any, name: str = "rows") -> Path:
    save_file({name: torch.tensor(rows)}, folder / "rows.safetensors")
    return folder / "rows.safetensors"


def test_rows_of_pretraining(folder: Path) -> None:
    row = [5, 6, 7, 1, 1, 0, 0, 1, 0, -1, 9, -1, -1, 0, 3, 0, 0, 0]
    source = PretrainingRows(rows_file(folder, [[*row, 1], [*row, -1]]))
    batch = source.batch([1, 0], 0)
    assert len(source) == 2 and batch["id"].tolist() == [1, 0]
    assert batch["text"]["ids"].tolist() == [[5, 6, 7]] * 2
    assert batch["text"]["mask"].tolist() == [[True, True, False]] * 2
    assert batch["text"]["types"].tolist() == [[0, 1, 0]] * 2
    assert batch["text"]["labels"].tolist() == [[IGNORE, 9, IGNORE]] * 2
    assert batch["entity"]["ids"].tolist() == [[0, 1, 4]] * 2
    assert batch["next_sentence"].tolist() == [IGNORE, 1]
    assert {name: reach.size for name, reach in source.reaches.items()} == {
        "text.ids": 8,
        "text.types": 2,
        "entity.ids": 5,
        "text.length": 3,
    }


def test_bad_rows_of_pretraining(folder: Path) -> None:
    with pytest.raises(ValueError, match="holds 8 numbers, expected 6 for each token and one more"):
        PretrainingRows(rows_file(folder, [[1] * 8]))
    with pytest.raises(ValueError, match=r"entity\.ids reach down to -1"):
        PretrainingRows(rows_file(folder, [[0, 1, 0, -1, -2, 0, 0]]))
    for rows, name in (([[1.0] * 7], "rows"), ([1] * 7, "rows"), ([[1] * 7], "ids")):
        with pytest.raises(ValueError, match="expected 'rows'"):
            PretrainingRows(rows_file(folder, rows, name))
    with pytest.raises(FileNotFoundError):
        PretrainingRows(folder / "absent.safetensors")


def test_triples_tell_all_right_answers(folder: Path) -> None:
    triple = Triples(folder, answers=True).batch([0, 1, 2], 0)["triple"]
    assert triple["tails"].tolist() == [[3, 0], [1, 3], [1, 3]]
    assert triple["heads"].tolist() == [[2], [2], [2]]
    assert "tails" not in Triples(folder).batch([0], 0)["triple"]
