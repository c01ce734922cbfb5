"""Mentions that name another entity of their kind: which, by what, and how often."""

import json
from pathlib import Path
from random import Random

import pytest
import torch

from kemm.data import ReplacedMentions, train_tokenizer
from kemm.data.candidates import LinkedMention
from kemm.data.replaced import replace
from kemm.data.source import EVALUATION
from kemm.kg import Entity, Graph, Relation, write_graph

KINDS = {"city": ["Rome", "Oslo", "Paris", "Lima"], "river": ["Nile", "Rhine"], "sea": ["Baltic"]}
NAMES = [name for names in KINDS.values() for name in names]
KIND = {name: kind for kind, names in KINDS.items() for name in names}
TEXT = "Rome and Oslo see the Nile, and Paris the Baltic; Lima, says Rome, sees none of it, nor does X."


def source(folder: Path, **options: float) -> ReplacedMentions:
    entities = [Entity(name.lower(), name, kind, (f"Old {name}",)) for name, kind in KIND.items()]
    write_graph(Graph(entities, [Relation("on", "on", "under")], torch.tensor([[0, 0, 1]])), folder / "graph")
    train_tokenizer([TEXT, *(f"Old {name}" for name in NAMES)], folder / "tokenizer.json", 300)
    mentions, place = [], 0
    for name in ("Rome", "Oslo", "Nile", "Paris", "Baltic", "Lima", "Rome", "X"):
        place = TEXT.index(name, place)
        mentions.append({"start": place, "end": place + len(name), "candidates": [], "entity": None if name == "X" else name.lower()})
        place += len(name)
    rows = [{"id": str(number), "text": TEXT, "mentions": mentions} for number in range(200)]
    (folder / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return ReplacedMentions(folder / "texts.jsonl", folder / "tokenizer.json", folder / "graph", max_length=64, **options)


def test_what_stands_there_is_another_name_of_the_kind_or_what_stood_there(tmp_path: Path) -> None:
    made = source(tmp_path)
    before = ["Rome", "Oslo", "Nile", "Paris", "Baltic", "Lima", "Rome"]
    seen: dict[int, set[str]] = {place: set() for place in range(7)}
    for row in range(200):
        version = made.replaced(row, 0)
        assert len(version.spans) == 7, "a mention of no known entity is none"
        outside, read = "", 0
        for place, ((start, end), changed) in enumerate(zip(version.spans, version.replaced, strict=True)):
            surface, kind = version.text[start:end], KIND[before[place]]
            others = {name for other in KINDS[kind] if other != before[place] for name in (other, f"Old {other}")}
            assert surface in others if changed else surface == before[place]
            seen[place] |= {surface} if changed else set()
            outside, read = outside + version.text[read:start] + "*", end
        assert outside + version.text[read:] == "* and * see the *, and * the *; *, says *, sees none of it, nor does X."
        assert not any(a and b for a, b in zip(version.replaced, version.replaced[1:], strict=False)), "two neighbours"
    assert seen[4] == set(), "the only sea"
    assert seen[0] == {name for other in ("Oslo", "Paris", "Lima") for name in (other, f"Old {other}")}


def test_shares_are_those_of_the_chances(tmp_path: Path) -> None:
    """The first is replaced with the rate, the second with the rate where the first was not."""
    made = source(tmp_path, rate=0.6)
    versions = [made.replaced(row, epoch).replaced for row in range(200) for epoch in range(10)]
    shares = torch.tensor(versions).double().mean(0).tolist()
    expected, before = [], 0.0
    for place in range(7):
        before = 0.0 if place == 4 else (1 - before) * 0.6
        expected.append(before)
    assert shares == pytest.approx(expected, abs=0.04)


def test_versions_come_round_and_evaluation_has_its_own(tmp_path: Path) -> None:
    made = source(tmp_path, versions=3)
    texts = [made.replaced(7, epoch).text for epoch in range(6)]
    assert texts[:3] == texts[3:] and len(set(texts)) == 3
    assert made.replaced(7, EVALUATION) == made.replaced(7, EVALUATION)
    assert [made.replaced(row, EVALUATION).text for row in range(20)] != [made.replaced(row, 0).text for row in range(20)]


def test_the_batch_says_where_and_which(tmp_path: Path) -> None:
    made = source(tmp_path)
    batch = made.batch([3, 5], 1)
    for place, row in enumerate((3, 5)):
        version = made.replaced(row, 1)
        assert batch["mention"]["replaced"][place].tolist() == version.replaced
        for (first, last), (start, end) in zip(batch["mention"]["spans"][place].tolist(), version.spans, strict=True):
            ids = batch["text"]["ids"][place, first : last + 1].tolist()
            assert made.reader.tokenizer.decode(ids).lower() == version.text[start:end].lower()
    short = ReplacedMentions(tmp_path / "texts.jsonl", tmp_path / "tokenizer.json", tmp_path / "graph", max_length=5)
    spans = short.batch([0], EVALUATION)["mention"]["spans"]
    assert 1 <= spans.shape[1] < 7, "mentions are cut off with their text"


def test_mentions_that_overlap_the_one_before_are_left_out() -> None:
    mentions = [LinkedMention(0, 8, (), "a"), LinkedMention(4, 8, (), "b"), LinkedMention(12, 15, (), "c")]
    found = replace("New York in May", mentions, [{}, {"x": ["?"]}, {"d": ["December"]}], 1.0, Random(0))
    assert found == ("New York in December", [(0, 8), (12, 20)], [False, True])


def test_options_out_of_range(tmp_path: Path) -> None:
    for options in ({"rate": 0.0}, {"rate": 1.5}, {"versions": 0}):
        with pytest.raises(ValueError, match=r"expected a rate in \(0, 1\] and at least one version"):
            source(tmp_path, **options)
