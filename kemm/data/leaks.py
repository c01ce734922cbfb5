"""Proof that training tells no held-out fact: it reads only the files that were built, and knows nothing of how they were made."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from kemm.data.passages import Passage, Span
from kemm.kg import read_graph
from kemm.kg.graph import Entity, Names

EVALUATED = ("val_unseen", "tune")
LINK_PARTS = ("links_valid.tsv", "links_test.tsv")
SEEN_IN_PICTURE = ("recognition", "visual")


class Secrets:
    """What must not be told: every fact on which an evaluated answer rests, and the held-out links.

    Args:
        folder: Of the graph.
        out: Of the files that were built.
    """

    def __init__(self, folder: Path, out: Path) -> None:
        graph, _ = read_graph(folder)
        self.entities: dict[str, Entity] = {entity.id: entity for entity in graph.entities}
        triples = [graph.names(row) for row in graph.triples.tolist()]
        symmetric = {relation.id for relation in graph.relations if relation.inverse == relation.id}
        self.pairs = {tuple(pair) for split in EVALUATED for row in _annotations(out, split) for pair in row["held_out"]}
        self.pairs |= {tuple(pair) for pairs in _read(out / "held_out.json").values() for pair in pairs}
        self.links: set[Names] = set()
        for name in LINK_PARTS:
            for line in (out / name).read_text(encoding="utf-8").splitlines():
                head, relation, tail = line.split("\t")
                self.links |= {(head, relation, tail), (tail, relation, head)} if relation in symmetric else {(head, relation, tail)}
        facts = {triple for triple in triples if triple[:2] in self.pairs or triple in self.links}
        facts |= {(head, relation, tail) for head, relation, tail in triples if relation in symmetric and (tail, relation) in self.pairs}
        self.facts = facts
        self.partners: dict[str, set[str]] = {}
        for head, _, tail in facts:
            self.partners.setdefault(head, set()).add(tail)
            self.partners.setdefault(tail, set()).add(head)
        self.owners: dict[str, set[str]] = {}
        for head, relation, tail in triples:
            if relation == "capital":
                self.owners.setdefault(tail, set()).add(head)
        forms: dict[str, set[str]] = {}
        for entity in graph.entities:
            for form in entity.surfaces:
                forms.setdefault(form, set()).add(entity.id)
        self.forms = forms
        self.called: dict[str, set[str]] = {}
        for entity in graph.entities:
            self.called.setdefault(entity.name, set()).add(entity.id)
        # China is not named by "South China Sea": longer names are known too, and come first.
        single = {self.entities[entity].name for entity in self.partners}
        longer = {name for name in self.called if any(word in single for word in name.split())}
        names = sorted(single | longer, key=len, reverse=True)
        self._pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, names)) + r")(?!\w)") if names else None

    def named(self, text: str, spans: Iterable[tuple[int, int]]) -> set[str]:
        """The entities whose very name stands in a text: outside annotated mentions, or as the whole of one (the San are not named by
        "San José")."""
        found = []
        for start, end in spans:
            found += [text[start:end]] if text[start:end] in self.called else []
            text = text[:start] + "\n" * (end - start) + text[end:]
        found += self._pattern.findall(text) if self._pattern else []
        return {entity for name in found for entity in self.called[name]}

    def joined(self, heads: Iterable[str], names: Collection[str]) -> Iterator[tuple[str, str]]:
        """The pairs that a secret fact joins, each once."""
        found = {frozenset((head, name)) for head in heads for name in self.partners.get(head, set()) & set(names)}
        for pair in sorted(map(sorted, found)):
            yield pair[0], pair[-1]

    def say(self, one: str, other: str) -> str:
        return str(next(fact for fact in sorted(self.facts) if {fact[0], fact[2]} == {one, other}))


def leaks(folder: Path, out: Path | None = None) -> list[str]:
    """Looks for facts of `val_unseen`, of `tune` and of the held-out links in all that training reads.

    A question tells a fact if its picture, or what it mentions, is joined to another such name or to an answer by a secret fact, whatever
    its relation; it also must not ask for a held-out (country, relation) pair, be the answer yes or no. A sentence tells a fact if both
    of its names stand in it, by annotation or by their letters, or if one does and its passage is about the other.

    Args:
        folder: The sources (the graph, and the order of the flags).
        out: What was built; `build` in the folder by default.

    Returns:
        A message for each leak; an empty list is the proof.
    """
    folder = Path(folder)
    out = Path(out) if out is not None else folder / "build"
    secrets = Secrets(folder, out)
    countries = list(yaml.safe_load((folder / "flags.yaml").read_text(encoding="utf-8"))["flags"])
    return [*_question_leaks(secrets, out, countries), *_text_leaks(secrets, out), *_link_leaks(secrets, out)]


def _question_leaks(secrets: Secrets, out: Path, countries: list[str]) -> Iterator[str]:
    texts = {row["question_id"]: row["question"] for row in _read(out / "train_questions.json")["questions"]}
    mentioned = {row["question_id"]: row["mentions"] for row in _read_lines(out / "train_mentions.jsonl")}
    for row in _annotations(out, "train"):
        if row["kind"] in SEEN_IN_PICTURE:
            continue
        number, pictured = row["question_id"], countries[row["image_id"] // 1000]
        known = [mention for mention in mentioned.get(number, ()) if mention["entity"]]
        gold = {mention["entity"] for mention in known}
        asked = {pictured} | gold | secrets.named(texts[number], [(mention["start"], mention["end"]) for mention in known])
        asked |= {owner for name in asked for owner in secrets.owners.get(name, ())}
        answers = {entity for answer in row["answers"] for entity in secrets.forms.get(answer["answer"], ())}
        where = f"train question {number} {texts[number]!r}"
        for one, other in secrets.joined(asked, asked | answers):
            yield f"{where} about {pictured} tells {secrets.say(one, other)}"
        for pair in _asked_pairs(row["kind"], row["relation"], pictured, gold, answers, secrets.owners):
            if pair in secrets.pairs:
                yield f"{where} about {pictured} asks for the held-out pair {pair}"


def _asked_pairs(
    kind: str, what: str, pictured: str, gold: Collection[str], answers: Collection[str], owners: Mapping[str, Collection[str]]
) -> Iterator[tuple[str, str]]:
    """The (country, relation) pairs that a question asks for, from its kind, its picture, what it mentions and its answers."""
    if kind == "two_hop":
        first, _, relation = what.partition("_")
        for country in [owner for name in gold for owner in owners.get(name, ())] if first == "capital" else answers:
            yield country, relation
            if first == "capital":
                yield country, "capital"
        if first == "neighbour":
            yield pictured, "borders"
        return
    yield pictured, what
    if kind == "comparison" or (kind == "yes_no" and what == "borders"):
        for entity in gold:
            yield entity, what


def _text_leaks(secrets: Secrets, out: Path) -> Iterator[str]:
    for where, sentence in _training_sentences(out):
        known = {sentence.entity, *(span.entity for span in sentence.spans)}
        names = known | secrets.named(sentence.text, [(span.start, span.end) for span in sentence.spans])
        for one, other in secrets.joined(names, names):
            # One name does not tell of two: "the flag of Niger" says nothing of the river, unless that is mentioned too.
            if secrets.entities[one].name != secrets.entities[other].name or {one, other} <= known:
                yield f"{where}: {sentence.text!r} tells {secrets.say(one, other)}"


def _training_sentences(out: Path) -> Iterator[tuple[str, Passage]]:
    """Every sentence that training reads, from the training text and the training parts of the other sets."""
    for number, row in enumerate(_read_lines(out / "train_text.jsonl"), start=1):
        spans = tuple(Span(mention["start"], mention["end"], mention["entity"]) for mention in row["mentions"])
        yield f"train_text.jsonl:{number}", Passage(str(number), row["entity"], row["text"], spans)
    for name in ("linking_train.jsonl", "linking_frames.jsonl"):
        for number, row in enumerate(_read_lines(out / name), start=1):
            spans = tuple(Span(mention["start"], mention["end"], mention["entity"]) for mention in row["mentions"])
            for sentence in Passage(row["id"], row["entity"], row["text"], spans).sentences():
                yield f"{name}:{number}", sentence
    for name, key in (("typing_train.json", "sent"), ("relation_train.json", "text")):
        for number, row in enumerate(_read(out / name)):
            spans = tuple(Span(start, end, entity) for entity, start, end, _ in row["ents"])
            yield f"{name}: row {number}", Passage(str(number), "", row[key], spans)


def _link_leaks(secrets: Secrets, out: Path) -> Iterator[str]:
    for number, line in enumerate((out / "links_train.tsv").read_text(encoding="utf-8").splitlines(), start=1):
        if tuple(line.split("\t")) in secrets.links:
            yield f"links_train.tsv:{number}: the held-out link {line!r}"


def _annotations(out: Path, split: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _read(out / f"{split}_annotations.json")["annotations"]
    return rows


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)
