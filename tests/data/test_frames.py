"""Sentence frames: the reader, what fills a slot, and what the passages made of them must be."""

import re
from pathlib import Path

import pytest

from kemm.data.facts import Facts, hold_out
from kemm.data.frames import SLOT, Frames, read_demonyms
from kemm.data.mentions import AliasMatcher
from kemm.data.passage_sets import Sieve
from kemm.data.passages import Passage, read_passages
from kemm.kg import read_graph

ATLAS = Path(__file__).resolve().parents[2] / "data" / "atlas"
FILES = sorted((ATLAS / "frames").glob("*.txt"))


@pytest.fixture(scope="module")
def facts() -> Facts:
    return Facts(read_graph(ATLAS)[0])


@pytest.fixture(scope="module")
def sieve(facts: Facts) -> Sieve:
    return Sieve(AliasMatcher(facts.graph), {frozenset((head, tail)) for head, _, tail in hold_out(facts, 0).secret})


def made(tmp_path: Path, facts: Facts, text: str) -> Frames:
    (tmp_path / "some.txt").write_text(text, encoding="utf-8")
    return Frames([tmp_path / "some.txt"], facts, read_demonyms(ATLAS / "graph" / "countries.tsv"))


@pytest.fixture(scope="module")
def passages(facts: Facts, sieve: Sieve) -> list[Passage]:
    return list(Frames(FILES, facts, read_demonyms(ATLAS / "graph" / "countries.tsv")).passages(400, sieve, 0))


def named(passage: Passage) -> list[tuple[str, str]]:
    return [(passage.text[span.start : span.end], span.entity) for span in passage.spans]


def test_slots_are_filled_by_what_the_graph_says(tmp_path: Path, facts: Facts) -> None:
    frames = made(
        tmp_path, facts, "# heading\n\nIn {c.capital}, {c:adj} {c:folk} of {c} pay {c.currency:units}, not the {c.currency:unit}.\n"
    )
    nothing = Sieve(AliasMatcher(facts.graph), ())
    found = {passage.entity: dict(map(reversed, named(passage))) for passage in frames.passages(195, nothing, 0)}  # type: ignore[arg-type]
    assert len(found) == 195
    for passage in frames.passages(195, nothing, 0):
        if passage.entity == "country:germany":
            first = named(passage)[:6]
            assert first[0][1] in facts.tails("country:germany", "capital")
            assert first[1:3] == [("German", "country:germany"), ("Germans", "country:germany")]
            assert first[3][1] == "country:germany"
            assert first[4:] == [("euros", "currency:euro"), ("euro", "currency:euro")]


@pytest.mark.parametrize(
    ("frame", "fits"),
    [
        ("The {n} is near {c}.", lambda facts, c, x: x["n"] in facts.tails(c, "borders")),
        ("The {c:adj} rule of {w}.", lambda facts, c, x: x["w"] in facts.tails(c, "former_ruler")),
        ("The {river} meets the {river.mouth}.", lambda facts, c, x: x["river.mouth"] in facts.tails(x["river"], "mouth")),
        ("The town of {c.city} and {c.city2}.", lambda facts, c, x: x["c.city"] != x["c.city2"]),
        ("The {d}, the {e} and {c}.", lambda facts, c, x: len({x["d"], x["e"], c}) == 3),
        ("The state of {state}, {state.in}.", lambda facts, c, x: x["state.in"] in facts.tails(x["state"], "located_in")),
    ],
)
def test_slots_hang_together(tmp_path: Path, facts: Facts, frame: str, fits: object) -> None:
    slots = [match.group().strip("{}").split(":")[0] for match in SLOT.finditer(frame)]
    nothing = Sieve(AliasMatcher(facts.graph), ())
    seen = 0
    for passage in made(tmp_path, facts, frame + "\n").passages(60, nothing, 0):
        for place in range(0, len(passage.spans), len(slots)):
            entities = [span.entity for span in passage.spans[place : place + len(slots)]]
            assert fits(facts, passage.entity, dict(zip(slots, entities, strict=True)))  # type: ignore[operator]
            seen += 1
    assert seen > 20


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("The {moon} rises.", r"some.txt:2: the slot \{moon\} names no entity"),
        ("The {c.moon} rises.", r"some.txt:2: the slot \{c.moon\} names no entity"),
        ("The {c:big} rises.", r"some.txt:2: the slot \{c:big\} names no entity that is known, or no form among"),
        ("The {c rises.", r"some.txt:2: expected slots like \{c\}"),
        ("The {C} rises.", r"some.txt:2: expected slots like \{c\}"),
    ],
)
def test_a_broken_frame_is_named(tmp_path: Path, facts: Facts, line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(tmp_path, facts, f"The {{c}}.\n{line}\n")


def test_every_passage_has_three_to_six_sentences_of_one_country(passages: list[Passage], facts: Facts) -> None:
    assert len(passages) == 400
    assert len({passage.entity for passage in passages}) == 195
    assert all(passage.spans and passage.split == "train" for passage in passages)
    for passage in passages:
        for surface, entity in named(passage):
            forms = {form.lower() for form in next(e for e in facts.graph.entities if e.id == entity).surfaces}
            assert surface.lower() in forms, (surface, entity)


def test_no_passage_tells_a_secret(passages: list[Passage], sieve: Sieve) -> None:
    assert [passage.text for passage in passages for sentence in passage.sentences() if sieve.told(sentence)] == []


def test_the_same_seed_gives_the_same_passages(facts: Facts, sieve: Sieve, passages: list[Passage]) -> None:
    frames = Frames(FILES, facts, read_demonyms(ATLAS / "graph" / "countries.tsv"))
    again = list(frames.passages(20, sieve, 0))
    assert again == passages[:20]
    assert list(frames.passages(20, sieve, 1)) != again


def test_no_frame_is_there_twice_or_taken_from_a_passage(facts: Facts) -> None:
    frames = Frames(FILES, facts, {}).frames
    bare = [re.sub(r"[^a-z_]+", " ", SLOT.sub(" _ ", frame).lower()).strip() for frame in frames]
    assert len(set(bare)) == len(bare) > 1000
    written = set()
    for passage in read_passages(sorted((ATLAS / "passages").glob("*.txt")), facts.graph.entity_index):
        for sentence in passage.sentences():
            text = "".join("\0" if any(s.start <= i < s.end for s in sentence.spans) else letter for i, letter in enumerate(sentence.text))
            written.add(re.sub(r"[^a-z_]+", " ", re.sub("\0+", " _ ", text).lower()).strip())
    assert not written & set(bare)
