"""Questions of the Atlas with words and pictures, in the official VQA v2 format."""

import functools
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kemm.data.bases import Base, Bases
from kemm.data.facts import MOST_ANSWERS, Facts, HeldOut, answer_counts
from kemm.data.mentions import AliasMatcher
from kemm.data.wordings import Wording, Wordings

SPLITS: dict[str, range] = {
    "train": range(700),
    "tune": range(700, 750),
    "val_seen": range(750, 850),
    "val_wordings": range(850, 900),
    "val_unseen": range(900, 1000),
}
"""The variants of pictures that each split shows: no two share one."""
TRAIN = {"visual": 4600, "recognition": 1600, "one_hop": 7600, "two_hop": 3000, "yes_no": 3600, "comparison": 1600}
SEEN = {"visual": 260, "recognition": 195, "one_hop": 745, "two_hop": 320, "yes_no": 320, "comparison": 160}
UNSEEN = {"one_hop": 800, "two_hop": 500, "yes_no": 480, "comparison": 220}
TUNE = {"one_hop": 600, "two_hop": 300, "yes_no": 400, "comparison": 200}
QUOTAS = {"train": TRAIN, "tune": TUNE, "val_seen": SEEN, "val_wordings": SEEN, "val_unseen": UNSEEN}
FULL_NAME = re.compile(r"\b(?:Republic|Kingdom|Union|Federation|States|State|Emirate|Emirates|Commonwealth|Principality|Sultanate|Duchy)\b")
ISLANDS = re.compile(r"Islands$|^(?:Bahamas|Comoros|Gambia|Maldives|Netherlands|Philippines)$")
"""Names of countries that take an article; all full names do ("the Republic of ...", "the United States")."""
PER_BASE = 6
"""A question is asked at most as often in an evaluation split, with other words or another picture each time."""


@dataclass(frozen=True)
class Question:
    """A question with its picture and the place of the entity that it mentions."""

    base: Base
    wording: Wording
    text: str
    span: tuple[int, int]
    image: int


class Asker:
    """Turns what can be asked into the questions of the splits.

    Args:
        facts: Of the graph.
        bases: What training, "unseen" and "tune" may ask.
        wordings: Of the questions.
        matcher: Tells which surface forms are unambiguous, and finds mentions.
        countries: In the order of the picture ids: picture = 1000 * place of the country + variant.
        seed: Of all choices.
    """

    def __init__(
        self, facts: Facts, bases: Mapping[str, Bases], wordings: Wordings, matcher: AliasMatcher, countries: Sequence[str], seed: int
    ) -> None:
        self.facts, self.bases, self.wordings, self.matcher, self.countries, self.seed = facts, bases, wordings, matcher, countries, seed
        self.places = {country: place for place, country in enumerate(countries)}
        self._found = functools.cache(matcher.find)
        self.entities = {entity.id: entity for entity in facts.graph.entities}

    def ask(self) -> dict[str, list[Question]]:
        """The questions of each split, in mixed order."""
        asked = {"train": self._split("train", self.bases["train"].all())}
        seen: dict[tuple[str, str], list[Base]] = {}
        for base in dict.fromkeys(question.base for question in asked["train"]):
            if len(base.answers) <= MOST_ANSWERS:
                seen.setdefault((base.kind, base.what), []).append(base)
        for split, name in (("tune", "tune"), ("val_seen", ""), ("val_unseen", "unseen"), ("val_wordings", "")):
            asked[split] = self._split(split, self.bases[name].all() if name else seen)
        return asked

    def _split(self, split: str, groups: Mapping[tuple[str, str], Sequence[Base]]) -> list[Question]:
        questions: list[Question] = []
        for kind, quota in QUOTAS[split].items():
            mine = {what: bases for (of, what), bases in groups.items() if of == kind}
            # A group's share grows with its size, but slowly: few countries have a river, and that should be learnt too.
            weights = {what: len(bases) ** 0.5 for what, bases in mine.items()}
            for what, bases in sorted(mine.items()):
                number = round(quota * weights[what] / sum(weights.values()))
                questions += self._group(split, kind, what, bases, number)
        random.Random(f"{self.seed}/{split}").shuffle(questions)
        return questions

    def _group(self, split: str, kind: str, what: str, bases: Sequence[Base], number: int) -> Iterator[Question]:
        mix = random.Random(f"{self.seed}/{split}/{kind}/{what}")
        wordings = list(self.wordings.of(kind, what, "unseen" if split == "val_wordings" else "asked"))
        limit = number if split == "train" else min(number, PER_BASE * len(bases))
        sides = {answer: [base for base in bases if base.answers[0][0] == answer] for answer in ("yes", "no")}
        used: set[tuple[int, str]] = set()
        if sides["yes"] or sides["no"]:
            # The same wordings, equally often, for yes and for no: a wording alone tells nothing.
            limit = limit if split == "train" else min(limit, 2 * PER_BASE * min(map(len, sides.values())))
            for side in sides.values():
                yield from self._series(split, self._prefer(side, split, mix), wordings, limit // 2, mix, used)
        else:
            yield from self._series(split, self._prefer(bases, split, mix), wordings, limit, mix, used)

    def _prefer(self, bases: Sequence[Base], split: str, mix: random.Random) -> list[Base]:
        """Mixed; comparisons of which both facts are held out come first."""
        mixed = sorted(bases, key=repr)
        mix.shuffle(mixed)
        name = {"val_unseen": "unseen", "tune": "tune"}.get(split, "")
        if name and bases[0].kind == "comparison":
            mixed.sort(key=lambda base: any(self.bases[name].status(pair) != name for pair in base.pairs))
        return mixed

    def _series(
        self, split: str, bases: Sequence[Base], wordings: Sequence[Wording], number: int, mix: random.Random, used: set[tuple[int, str]]
    ) -> Iterator[Question]:
        shift = {base: mix.randrange(len(wordings)) for base in bases} if number > len(wordings) else {}
        for place in range(number):
            base = bases[place % len(bases)]
            turn = place // len(bases)
            # Statements go through the wordings in order, so that yes and no are balanced in each; other questions start anywhere.
            step = place if base.answers[0][0] in ("yes", "no") else shift.get(base, 0) + turn + place * (not shift)
            wording = wordings[step % len(wordings)]
            for _ in range(20):
                question = self._question(split, base, wording, mix)
                if (question.image, question.text) not in used:
                    used.add((question.image, question.text))
                    yield question
                    break

    def _question(self, split: str, base: Base, wording: Wording, mix: random.Random) -> Question:
        article, surface = self.surface(base.entity, mix) if base.entity else ("", "")
        text, span = wording.fill(surface, article)
        country = base.country or self._elsewhere(split, base, mix)
        return Question(base, wording, text, span, 1000 * self.places[country] + mix.choice(SPLITS[split]))

    def _elsewhere(self, split: str, base: Base, mix: random.Random) -> str:
        """A country that has nothing to do with a question, and together with which it states no secret fact."""
        owners = self.facts.heads("capital", base.entity)
        near = {country for owner in owners for country in (owner, *self.facts.near(owner))}
        rules = self.bases["train" if split in ("train", "val_seen", "val_wordings") else "unseen" if split == "val_unseen" else "tune"]
        while True:
            country = mix.choice(self.countries)
            if country not in near and not rules.tells_secret(country, base):
                return country

    def surface(self, entity: str, mix: random.Random | None) -> tuple[str, str]:
        """(article with a space or "", surface form): mostly the name, at times another form that means nothing else; always the name
        without `mix`."""
        known = self.entities[entity]
        forms = [form for form in known.aliases if form != known.name and len(self.matcher.candidates(form)) == 1]
        if known.kind == "country":
            forms = [form.removeprefix("the ") for form in forms if FULL_NAME.search(form)]
        else:
            forms = [form for form in forms if known.kind == "currency" and " " in form and not form.endswith("s")]
        form = mix.choice(forms) if mix is not None and forms and mix.random() < 0.2 else known.name
        article = "the " if known.kind == "country" and (FULL_NAME.search(form) or ISLANDS.search(form)) else ""
        return article, form

    # ---- the official format

    def rows(self, question: Question, number: int, held: HeldOut) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """The entries of a question in the files of questions, annotations and mentions."""
        base = question.base
        answers = [answer for (answer, _), count in zip(base.answers, answer_counts(len(base.answers)), strict=True) for _ in range(count)]
        random.Random(f"{self.seed}/{number}").shuffle(answers)
        usual = base.answers[0][0]
        secret = set().union(*held.pairs.values())
        annotation = {
            "question_type": f"{base.kind} {base.what}",
            "multiple_choice_answer": usual,
            "answers": [{"answer": answer, "answer_confidence": "yes", "answer_id": place} for place, answer in enumerate(answers, 1)],
            "image_id": question.image,
            "answer_type": "yes/no" if usual in ("yes", "no") else "number" if usual.isdigit() else "other",
            "question_id": number,
            "kind": base.kind,
            "relation": base.what,
            "wording": question.wording.id,
            "entities": {answer: entity for answer, entity in base.answers if entity},
            "pairs": [list(pair) for pair in base.pairs],
            "held_out": [list(pair) for pair in base.pairs if pair in secret],
            "pictured": bool(base.country),
        }
        asked = {"image_id": question.image, "question": question.text, "question_id": number}
        return asked, annotation, {"question_id": number, "mentions": self.mentions(question)}

    def mentions(self, question: Question) -> list[dict[str, Any]]:
        """The mentions of a question; the one of its slot has its entity, others have theirs where the form means one thing only."""
        start, end = question.span
        rows = []
        for mention in self._found(question.text):
            ids = [entity for entity, _ in mention.candidates]
            if mention.start < end and start < mention.end:
                continue
            rows.append(self._mention(mention.start, mention.end, mention.surface, mention.candidates, ids[0] if len(ids) == 1 else None))
        if end > start:
            surface = question.text[start:end]
            rows.append(self._mention(start, end, surface, self.matcher.candidates(surface), question.base.entity))
        return sorted(rows, key=lambda row: row["start"])

    @staticmethod
    def _mention(start: int, end: int, surface: str, candidates: Sequence[tuple[str, float]], entity: str | None) -> dict[str, Any]:
        listed = [[name, round(prior, 6)] for name, prior in candidates]
        return {"start": start, "end": end, "surface": surface, "candidates": listed, "entity": entity}


def answer_list(annotations: Sequence[Mapping[str, Any]], facts: Facts, relations: Sequence[str]) -> list[dict[str, Any]]:
    """The vocabulary of answers: those of training, and the names of all entities that can answer a relation, the most frequent in
    training first.

    An answer that two entities share (Djibouti, a country and its capital) has an entry for each.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for annotation in annotations:
        for answer in annotation["answers"]:
            counts[answer["answer"], annotation["entities"].get(answer["answer"], "")] += 1
    able = {tail for head, relation, tail in facts.triples if relation in relations} | set(facts.countries)
    for entity in sorted(able):
        counts[facts.names[entity], entity] += 0
    ranked = sorted(counts, key=lambda key: (-counts[key], key))
    return [{"answer": answer, "entity": entity or None} for answer, entity in ranked]
