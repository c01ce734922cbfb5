"""The entities that a text mentions, as LUKE reads them."""

import json
from pathlib import Path

import torch

from kemm.data import LinkedTexts, train_tokenizer
from kemm.kg import Entity, Graph, Relation, passage_key, write_graph

TEXT = "New York lies on the Hudson River, the Hudson in the sea."


def test_mentions_have_their_entity_and_all_its_tokens(tmp_path: Path) -> None:
    entities = [Entity(name, name, "place") for name in ("york", "hudson")]
    write_graph(Graph(entities, [Relation("on", "on", "under")], torch.tensor([[0, 0, 1]])), tmp_path / "graph")
    train_tokenizer([TEXT] * 3, tmp_path / "tokenizer.json", 200)
    found = {name: [TEXT.index(name), TEXT.index(name) + len(name)] for name in ("New York", "Hudson River", "sea")}
    gold = {"New York": "york", "Hudson River": "hudson", "sea": None}
    mentions = [
        {"start": start, "end": end, "candidates": [["york", 0.5], ["hudson", 0.5]], "entity": gold[name]}
        for name, (start, end) in found.items()
    ]
    rows = [{"id": "a", "text": TEXT, "mentions": mentions}, {"id": "b", "text": "Nothing", "mentions": []}]
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    source = LinkedTexts(tmp_path / "texts.jsonl", tmp_path / "tokenizer.json", tmp_path / "graph", max_length=32)
    batch = source.batch([0, 1], 0)
    mention, words = batch["mention"], source.reader([TEXT, "Nothing"])
    assert mention["ids"].tolist() == [[1, 2, 0], [0, 0, 0]]
    assert (mention["positions"][1] == -1).all()
    for place, (start, end) in enumerate(found.values()):
        first, last = words.spans(0, [(start, end)])[0]
        expected = list(range(first, last + 1))
        positions = mention["positions"][0, place].tolist()
        assert positions == expected + [-1] * (len(positions) - len(expected))
    assert source.reaches["mention.ids"].size == 3
    assert source.reaches["mention.positions"].size == 32


def test_a_text_tells_its_id(tmp_path: Path) -> None:
    """Whatever the file and the line, the same id is the same passage; unless it is that by chance only."""
    write_graph(Graph([Entity("a", "a", "x")], [Relation("on", "on")], torch.empty(0, 3).long()), tmp_path / "graph")
    train_tokenizer([TEXT], tmp_path / "tokenizer.json", 200)

    def passages(names: str, **options: bool) -> list[int]:
        rows = [json.dumps({"id": name, "text": TEXT, "mentions": []}) for name in names]
        (tmp_path / "texts.jsonl").write_text("\n".join(rows))
        source = LinkedTexts(tmp_path / "texts.jsonl", tmp_path / "tokenizer.json", tmp_path / "graph", **options)
        return source.batch(range(len(names)), 0)["passage"].tolist()

    assert passages("abc") == [passage_key(name) for name in "abc"]
    assert passages("xc") == [passage_key("x"), passages("abc")[2]]
    assert passages("abc", own=False) == [-1, -1, -1]
