"""Word-knowledge graphs of texts: nodes, who sees whom, what is drawn, and files of texts."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kemm.borders import check_reach
from kemm.data import GraphTexts, RelatedMentions, WordGraphs, train_tokenizer
from kemm.data.known import Placed
from kemm.data.source import EVALUATION
from kemm.data.word_graph import blocks, build_graph, collate
from kemm.encoders import WordGraphEncoder
from kemm.kg import Entity, Graph, Relation, write_graph
from kemm.learner import Learner
from kemm.model import FusionModel
from kemm.objectives import MaskedLM, NodeMasking

TEXT = "Niger borders Chad. Cats sleep. Chad is dry."
MENTIONS = [{"start": 0, "end": 5, "entity": "Q1"}, {"start": 14, "end": 18, "entity": "Q2"}, {"start": 32, "end": 36, "entity": "Q2"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    entities = [Entity("Q0", "sea"), Entity("Q1", "Niger"), Entity("Q2", "Chad"), Entity("Q3", "franc"), Entity("Q4", "Africa")]
    relations = [Relation("borders", "borders", "borders"), Relation("currency", "currency"), Relation("in", "in")]
    triples = torch.tensor([[1, 0, 2], [2, 0, 1], [1, 1, 3], [2, 1, 3], [1, 2, 4], [2, 2, 4]])
    write_graph(Graph(entities, relations, triples), tmp_path)
    train_tokenizer([TEXT], tmp_path / "tokenizer.json", 100)
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": TEXT, "mentions": MENTIONS}) + "\n")
    rows = [{"text": TEXT, "ents": [["Q1", 0, 5, 1.0], ["Q2", 14, 18, 1.0]], "label": "borders"}]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    return tmp_path


def texts(folder: Path, layout: WordGraphs | None = None, **arguments: Any) -> GraphTexts:
    return GraphTexts(folder / "texts.jsonl", folder / "tokenizer.json", folder, layout or WordGraphs(folder), **arguments)


def test_nodes_positions_and_neighbours() -> None:
    facts = {"A": [("r", "X"), ("s", "B")], "B": [("r", "X")]}
    parts: list[Any] = [([7], None), ([8, 9], "A"), ([5], "B"), ([8, 9], "A"), ([4], None)]
    graph = build_graph(parts, facts.__getitem__, begin=[0], end=[2])
    assert graph.words == [0, 7, 8, 9, 4, 2]
    assert graph.entities == ["A", "B", "X"]
    assert graph.relations == ["r", "s", "r"]
    #                          [CLS] 7  8  9  4 [SEP]  A  B  X   r  s  r
    assert graph.positions == [0, 1, 4, 5, 6, 7, 2, 3, 4, 3, 3, 4]
    assert graph.places == [1, 6, 7, 2, 4]
    edges = {(6, 9), (9, 8), (6, 10), (10, 7), (7, 11), (11, 8)}
    for one in range(12):
        for other in range(12):
            text = one < 8 and other < 8
            expected = one == other or text or (one, other) in edges or (other, one) in edges
            assert bool(graph.visible[one, other]) == expected, (one, other)


def test_a_part_is_cut() -> None:
    graph = build_graph([([1, 2, 3], None), ([4], "A")], lambda _: [], longest=2)
    assert graph.words == [1, 2]
    assert graph.positions == [0, 1, 2]


def test_blocks_of_a_batch() -> None:
    one = build_graph([([7], None), ([8], 3)], lambda _: [(1, 4)])
    two = build_graph([([7, 6, 5], None)], lambda _: [])
    batch, moved = collate([one, two], (9, 1, 2))
    assert batch["ids"].tolist() == [[7, 9, 9, 3, 4, 1], [7, 6, 5, 1, 1, 2]]
    assert batch["kinds"].tolist() == [[0, 0, 0, 1, 1, 2]] * 2
    assert batch["positions"].tolist() == [[0, 0, 0, 1, 3, 2], [0, 1, 2, 0, 0, 0]]
    assert moved == [[0, 3, 4, 5], [0, 1, 2]]
    real = torch.tensor([[1, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0]]).bool()
    assert torch.equal(batch["mask"].diagonal(dim1=1, dim2=2), real)
    assert (batch["mask"] <= real[:, None]).all()
    assert torch.equal(batch["mask"][0, 1], real[0])


def test_sentences_stand_together_until_they_are_long_enough() -> None:
    assert list(blocks([3, 4, 5, 1], 6)) == [range(2), range(2, 4)]
    assert list(blocks([3, 4, 5, 1], 5)) == [range(2), range(2, 3), range(3, 4)]
    assert list(blocks([], 5)) == []


def test_a_text_is_its_blocks_with_entities(folder: Path) -> None:
    source = texts(folder, block=2)
    assert [block.text for block in source.blocks] == ["Niger borders Chad.", "Chad is dry."]
    batch = source.batch([0, 1], EVALUATION)
    graph = batch["text"]
    assert batch["id"].tolist() == [0, 1]
    tokens = [source.reader.tokenizer.id_to_token(i) for i in graph["ids"][0][graph["kinds"][0] == 0].tolist()]
    assert tokens == ["[CLS]", "borders", ".", "[SEP]"] + ["[PAD]"] * (len(tokens) - 4)
    # Row 0 is "none": Niger 2, Chad 3, then what they have facts about; each relation is there for each fact.
    assert graph["ids"][0][graph["kinds"][0] == 1].tolist() == [2, 3, 4, 5]
    assert graph["ids"][0][graph["kinds"][0] == 2].tolist() == [1, 2, 3, 1, 2, 3]


def test_the_entry_has_a_name(folder: Path) -> None:
    source = texts(folder, entry="graph")
    assert set(source.batch([0], 0)) == {"id", "graph"}
    assert {"graph.ids", "graph.entities", "graph.relations", "graph.length"} == set(source.reaches)
    assert source.reaches["graph.relations"].size == 4


def test_facts_are_drawn_anew_each_epoch_and_told_in_evaluation(folder: Path) -> None:
    source = texts(folder, WordGraphs(folder, most=2))
    counts = [int((source.batch([0], epoch)["text"]["kinds"] == 2).sum()) for epoch in range(40)]
    assert set(counts) == {1, 2, 4}  # a block of relations has one place at least
    assert counts == [int((source.batch([0], epoch)["text"]["kinds"] == 2).sum()) for epoch in range(40)]
    drawn = {tuple(source.batch([0], epoch)["text"]["ids"][0].tolist()) for epoch in range(40)}
    assert len(drawn) > 5
    assert int((source.batch([0], EVALUATION)["text"]["kinds"] == 2).sum()) == 4


def test_places_are_the_nodes_of_head_and_tail_and_nothing_tells_their_relation(folder: Path) -> None:
    files = (folder / "rows.json", folder / "rows.json", folder / "tokenizer.json", folder)
    source = RelatedMentions(*files, layout=WordGraphs(folder))
    batch = source.batch([0], EVALUATION)
    graph = batch["text"]
    assert graph["ids"][0, batch["places"][0]].tolist() == [2, 3]
    assert graph["kinds"][0, batch["places"][0]].tolist() == [1, 1]
    assert graph["ids"][0][graph["kinds"][0] == 2].tolist() == [2, 3, 2, 3]  # no "borders"


def test_a_mention_again_is_a_word() -> None:
    layout = WordGraphs.__new__(WordGraphs)
    layout.most, layout.share, layout.seed = 0, 0.0, 0

    class Silent:
        def facts(self, entity: int, hidden: Any) -> list[Any]:
            return []

    layout.knowledge = Silent()  # type: ignore[assignment]
    graph, nodes = layout.graph(Placed([1, 11, 12, 5, 11, 12, 2], {(1, 2): 7, (4, 5): 7}), 0, EVALUATION)
    assert graph.words == [1, 5, 11, 12, 2]
    assert graph.entities == [8]
    assert nodes == [0, 5, 5, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("row", "message", "reason"),
    [
        ({"mentions": []}, "the key 'text' is missing", "malformed"),
        ({"text": " ", "mentions": []}, "expected a text that is not blank", "empty"),
        ({"text": "x"}, "the key 'mentions' is missing", "malformed"),
        ({"text": "x", "mentions": [3]}, r"mentions\[0\] is 3, expected an object", "malformed"),
        (
            {"text": "x", "mentions": [{"start": 0, "end": 9}]},
            r"mentions\[0\]: characters 0 to 9, expected a part of the text's 1",
            "offset",
        ),
        ({"text": "x", "mentions": [{"start": 0, "end": 1, "entity": "Q9"}]}, "the entity 'Q9' is not among the 5", "unknown id"),
    ],
)
def test_a_bad_line_is_named_or_counted(folder: Path, row: dict[str, Any], message: str, reason: str) -> None:
    with (folder / "texts.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=rf"texts.jsonl:2: {reason}: .*{message}"):
        texts(folder)
    source = texts(folder, on_bad="skip")
    assert source.skipped == {reason: 1}
    assert len(source) == 1


def test_texts_without_entities_are_refused(folder: Path) -> None:
    (folder / "texts.jsonl").write_text(json.dumps({"text": "x", "mentions": []}) + "\n")
    with pytest.raises(ValueError, match="expected texts with entities of"):
        texts(folder)


def test_a_table_that_is_too_small_is_found(folder: Path) -> None:
    for sizes, message in (((100, 5, 4), "text.entities reaches 6"), ((100, 6, 3), "text.relations reaches 4")):
        network = FusionModel({"text": WordGraphEncoder(*sizes, 8, 1, 2)})
        learner = Learner(network, {"masked_lm": MaskedLM(8, 100, NodeMasking(0, 4, 100))})
        with pytest.raises(ValueError, match=message):
            check_reach(learner, "texts", texts(folder).reaches)
