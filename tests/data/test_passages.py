"""Passages: markup, sentences, and what the written ones must be."""

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from kemm.data.mentions import AliasMatcher
from kemm.data.passage_sets import Sieve
from kemm.data.passages import Passage, Span, count_senses, join, read_passages, split_passages
from kemm.kg import Graph, read_graph

ATLAS = Path(__file__).resolve().parents[2] / "data" / "atlas"
FILES = sorted((ATLAS / "passages").glob("*.txt"))
AMBIGUOUS = (
    *("Georgia", "Niger", "Congo", "Guinea", "Dominica", "Korea", "Ireland", "Luxembourg", "Mexico", "Panama", "Kuwait", "Singapore"),
    *("dollar", "franc", "crown", "peso"),
)


@pytest.fixture(scope="module")
def graph() -> Graph:
    return read_graph(ATLAS)[0]


@pytest.fixture(scope="module")
def passages(graph: Graph) -> list[Passage]:
    return split_passages(read_passages(FILES, graph.entity_index), 0)


# ---- the reader


def write(tmp_path: Path, text: str) -> list[Path]:
    (tmp_path / "some.txt").write_text(text, encoding="utf-8")
    return [tmp_path / "some.txt"]


def test_marks_become_offsets(tmp_path: Path) -> None:
    text = "# a:x\nÉire [[a:x|Foo bar]] and [[a:y|Baz]].\n\n# a:y\n[[a:y|One]] more.\n"
    first, second = read_passages(write(tmp_path, text), {"a:x", "a:y"})
    assert first == Passage("some-1", "a:x", "Éire Foo bar and Baz.", (Span(5, 12, "a:x"), Span(17, 20, "a:y")))
    assert (second.id, second.entity, second.text) == ("some-2", "a:y", "One more.")
    assert first.row()["mentions"][0] == {"start": 5, "end": 12, "entity": "a:x"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# a:q\nText.\n", r"some.txt:1: the heading 'a:q' is not the id"),
        ("# a:x\nA [[a:q|b]].\n", r"some.txt:2: column 3: the id 'a:q' of the mention 'b'"),
        ("# a:x\nA [[a:x|b.\n", r"some.txt:2: column 3: a broken mark '\[\['"),
        ("# a:x\nA [[a:x]] b.\n", r"some.txt:2: column 3: a broken mark"),
        ("# a:x\nA a:x|b]].\n", r"some.txt:2: column 8: a broken mark '\]\]'"),
        ("# a:x\nA [[a:x| b]].\n", r"some.txt:2: column 3: expected a surface form without outer spaces"),
        ("Text.\n", r"some.txt:1: expected a heading '# id' before the text 'Text.'"),
        ("# a:x\nOne.\nTwo.\n", r"some.txt:3: expected a heading"),
    ],
)
def test_faults_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_passages(write(tmp_path, text), {"a:x"})


def test_all_faults_are_listed_and_files_must_be_readable(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"(?s)2 faults.*:1: .*:2: "):
        read_passages(write(tmp_path, "# a:q\nA [[a:r|b]].\n"), {"a:x"})
    with pytest.raises(ValueError, match=r"absent\.txt: expected a readable UTF-8 file"):
        read_passages([tmp_path / "absent.txt"], {"a:x"})


def test_sentences_end_where_people_end_them() -> None:
    text = 'St. Kitts met J. Smith. "Really?" No! In 1999. The U.S. "Dollar" fell... It rose by 1.5 today.'
    start = text.index("Dollar")
    parts = Passage("p", "a:x", text, (Span(start, start + 6, "a:d"),)).sentences()
    assert [part.text for part in parts] == [
        "St. Kitts met J. Smith.",
        '"Really?"',
        "No!",
        "In 1999.",
        'The U.S. "Dollar" fell...',
        "It rose by 1.5 today.",
    ]
    (span,) = parts[4].spans
    assert parts[4].text[span.start : span.end] == "Dollar"
    assert join(Passage("p", "a:x", "", ()), parts) == Passage("p", "a:x", text, (Span(start, start + 6, "a:d"),))


# ---- the written passages


def test_there_are_enough_and_every_country_has_one(passages: list[Passage], graph: Graph) -> None:
    countries = {entity.id for entity in graph.entities if entity.kind == "country"}
    about = Counter(passage.entity for passage in passages)
    assert set(about) >= countries, sorted(countries - set(about))
    assert len([entity for entity in about if entity not in countries]) >= 200
    assert len(passages) >= 395 and max(about.values()) == 1
    assert len({passage.id for passage in passages}) == len(passages)


def test_they_are_paragraphs_of_sentences_with_mentions_in_order(passages: list[Passage]) -> None:
    for passage in passages:
        sentences = passage.sentences()
        assert 3 <= len(sentences) <= 6, (passage.id, [sentence.text for sentence in sentences])
        assert sum(len(sentence.spans) for sentence in sentences) == len(passage.spans) >= 3, passage.id
        ends = [0, *(span.end for span in passage.spans)]
        for end, span in zip(ends, passage.spans, strict=False):
            assert end <= span.start < span.end <= len(passage.text), (passage.id, span)
            surface = passage.text[span.start : span.end]
            assert surface == surface.strip() and "[" not in surface
            around = passage.text[: span.start][-1:] + passage.text[span.end :][:1]
            assert not any(letter.isalnum() for letter in around), (passage.id, surface, around)


def frame(sentence: Passage) -> str:
    """A sentence with its mentions taken out, and numbers with them."""
    text = sentence.text
    for span in reversed(sentence.spans):
        text = f"{text[: span.start]}_{text[span.end :]}"
    return " ".join(re.sub(r"\d+(?:[.,]\d+)*", "0", text).casefold().split())


def test_no_two_sentences_share_a_frame(passages: list[Passage]) -> None:
    frames: defaultdict[str, list[str]] = defaultdict(list)
    for passage in passages:
        for sentence in passage.sentences():
            frames[frame(sentence)].append(sentence.id)
    assert {text: ids for text, ids in frames.items() if len(ids) > 1} == {}


@pytest.mark.parametrize("form", AMBIGUOUS)
def test_ambiguous_forms_occur_in_both_senses(form: str, passages: list[Passage]) -> None:
    """The form by itself, or as the same word in another form (francs, Dominican)."""
    senses: Counter[str] = Counter()
    for passage in passages:
        for span in passage.spans:
            surface = passage.text[span.start : span.end]
            if surface.casefold() in (form.casefold(), f"{form}s".casefold(), f"{form}n".casefold()):
                senses[span.entity] += 1
    assert len(senses) >= 2, (form, senses)


def test_splits_and_ambiguous_test_mentions(passages: list[Passage], graph: Graph) -> None:
    sizes = Counter(passage.split for passage in passages)
    shares = [sizes[split] / len(passages) for split in ("train", "tune", "test")]
    assert all(abs(share - wanted) < 0.02 for share, wanted in zip(shares, (0.6, 0.1, 0.3), strict=True)), sizes
    counts = count_senses([passage for passage in passages if passage.split == "train"], graph)
    matcher, ambiguous, spans, known = AliasMatcher(graph, counts), 0, 0, 0
    for passage in passages:
        for span in passage.spans if passage.split == "test" else ():
            ids = [entity for entity, _ in matcher.candidates(passage.text[span.start : span.end])]
            spans, known = spans + 1, known + (span.entity in ids)
            ambiguous += len(ids) > 1 and span.entity in ids
    assert ambiguous >= 200
    assert known / spans > 0.97


# ---- the sieve


def test_the_sieve_drops_what_tells_a_secret(graph: Graph) -> None:
    secret = {frozenset(("country:france", "language:french")), frozenset(("country:niger", "river:niger"))}
    sieve = Sieve(AliasMatcher(graph), secret)

    def kept(text: str, entity: str, *spans: tuple[str, str]) -> list[str]:
        marks = tuple(Span(text.index(surface), text.index(surface) + len(surface), id) for surface, id in spans)
        return [sentence.text for sentence in sieve.clean(Passage("p", entity, text, marks))]

    assert kept("They speak French. They like tea.", "country:france") == ["They like tea."]
    assert kept("France has kings. Now France likes French.", "country:spain") == ["France has kings."]
    assert kept("French is spoken here.", "country:belgium", ("French", "language:french")) == ["French is spoken here."]
    assert kept("The Niger is wide.", "country:niger", ("Niger", "river:niger")) == []
    assert kept("Niger is hot.", "country:niger", ("Niger", "country:niger")) == ["Niger is hot."]
