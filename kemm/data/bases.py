"""What is asked: each question of the Atlas before it has words and a picture."""

import random
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from kemm.data.facts import ASKED, EVERYBODY, MOST_ANSWERS, Facts, HeldOut, Pair
from kemm.data.flags import FlagDrawer
from kemm.data.visual import sights
from kemm.kg.graph import Names

CONFIRMED = ("capital", "continent", "official_language", "currency", "borders", "coast", "river", "member_of")
COMPARED = ("currency", "official_language", "continent")
FOLLOWED = ("official_language", "currency", "continent")
CHOSEN_BY = ("currency", "official_language")
FALSE_EACH = 4
"""Wrong statements for each (country, relation)."""
MOST_TRAINING_ANSWERS = 10
"""In training an open question may have an answer for each annotator: a target, where a score would be unfair."""
MOST_CHOSEN_BY = 4
"""A neighbour with more official languages is not chosen by one: Zimbabwe's sixteen would be a third of such questions."""
BETWEEN = frozenset(
    {
        *("country:russia", "country:turkiye", "country:kazakhstan", "country:azerbaijan", "country:georgia", "country:armenia"),
        *("country:cyprus", "country:egypt", "country:indonesia", "country:timor-leste", "country:panama", "country:trinidad-and-tobago"),
    }
)
"""Countries that lie on two continents, or that some count to another one: they are not asked whether they lie on a wrong one, nor
compared."""


@dataclass(frozen=True)
class Base:
    """A question.

    Args:
        kind: visual, recognition, one_hop, two_hop, yes_no or comparison.
        what: The relation or other group of wordings.
        country: Whose flag is shown; "" for one that has nothing to do with the question.
        entity: What the question mentions, or "".
        answers: (answer, entity id or "") of each right answer, the most usual first.
        pairs: The (country, relation) pairs that the answer rests on; the one that gives the answer comes first.
        stated: The true facts that question and answer say together.
        others: Further pairs that the answer says something about: a neighbour's currency is not the one that is asked for.
    """

    kind: str
    what: str
    country: str
    entity: str
    answers: tuple[tuple[str, str], ...]
    pairs: tuple[Pair, ...] = ()
    stated: tuple[Names, ...] = ()
    others: tuple[Pair, ...] = ()


class Bases:
    """All questions that one split may ask.

    Args:
        facts: Of the graph.
        drawer: Of the flags.
        held: What training must not see.
        split: "train", "unseen" or "tune".
        seed: Of the wrong statements.
    """

    def __init__(self, facts: Facts, drawer: FlagDrawer, held: HeldOut, split: str, seed: int) -> None:
        self.facts, self.drawer, self.held, self.split, self.seed = facts, drawer, held, split, seed
        secret = held.secret if split == "train" else held.link_set
        self.secret = {frozenset((head, tail)) for head, _, tail in secret}

    def all(self) -> dict[tuple[str, str], list[Base]]:
        """(kind, what) -> the questions that keep the split's rule."""
        found: dict[tuple[str, str], list[Base]] = {}
        makers = [self._one_hop(), self._capital_hop(), self._neighbour_hop(), self._statements(), self._comparisons()]
        for maker in ([self._seen()] if self.split == "train" else []) + makers:
            for base in maker:
                if self.allowed(base):
                    found.setdefault((base.kind, base.what), []).append(base)
        return found

    def status(self, pair: Pair) -> str:
        """ "unseen", "tune", "blocked" or "free"."""
        for split, pairs in self.held.pairs.items():
            if pair in pairs:
                return split
        return "blocked" if pair in self.held.blocked else "free"

    def allowed(self, base: Base) -> bool:
        """Whether the split may ask this.

        Training rests on free pairs alone, and no two names that stand together in a question are those of a secret fact, whatever the
        relation. In the other splits the answer rests on one of the split's own pairs, and on no held-out link.
        """
        states = [self.status(pair) for pair in base.pairs]
        usable = {"free", "blocked"} if base.kind == "yes_no" else {"free"}
        if self.tells_secret(base.country, base) or any(fact in self.held.link_set for fact in base.stated):
            return False
        if self.split == "train":
            return set(states) <= usable and not {"unseen", "tune"} & {self.status(pair) for pair in base.others}
        # In a comparison either of the two facts may be the one that is held out.
        first = states if base.kind == "comparison" else states[:1]
        return self.split in first and set(states) <= {self.split, *usable}

    def tells_secret(self, country: str, base: Base) -> bool:
        """Whether a name of a question or its picture, and another such name or an answer, are joined by a secret fact.

        Names are taken by their letters: "French" is the language and what is France's. A capital stands for its country as well. What
        can be read off the picture says nothing else.
        """
        if base.kind in ("recognition", "visual"):
            return False
        asked = self.facts.namesakes(base.entity) if base.entity else set()
        asked = {country, *asked, *(owner for name in asked for owner in self.facts.heads("capital", name))}
        named = asked.union(*(self.facts.namesakes(entity) for _, entity in base.answers if entity))
        return any(frozenset((head, name)) in self.secret for head in asked for name in named)

    def named(self, entities: Iterable[str]) -> tuple[tuple[str, str], ...]:
        return tuple((self.facts.names[entity], entity) for entity in entities)

    # ---- the kinds

    def _seen(self) -> Iterator[Base]:
        for country in self.drawer.countries:
            yield Base("recognition", "country", country, "", self.named([country]))
            for sight in sights(self.drawer, country):
                colour = f"colour:{sight.answer}"
                yield Base("visual", sight.what, country, sight.entity, ((sight.answer, colour if colour in self.facts.names else ""),))

    def _one_hop(self) -> Iterator[Base]:
        for country in self.facts.countries:
            for relation in ASKED:
                tails = self.facts.answers(country, relation)
                if 1 <= len(tails) <= (MOST_TRAINING_ANSWERS if self.split == "train" else MOST_ANSWERS):
                    stated = tuple((country, relation, tail) for tail in tails)
                    yield Base("one_hop", relation, country, "", self.named(tails), ((country, relation),), stated)

    def _capital_hop(self) -> Iterator[Base]:
        for country in self.facts.countries:
            for capital in self.facts.tails(country, "capital"):
                for relation in FOLLOWED:
                    tails = self.facts.answers(country, relation)
                    if 1 <= len(tails) <= MOST_ANSWERS and len(self.facts.heads("capital", capital)) == 1:
                        stated = ((country, "capital", capital), *((country, relation, tail) for tail in tails))
                        pairs = ((country, relation), (country, "capital"))
                        yield Base("two_hop", f"capital_{relation}", "", capital, self.named(tails), pairs, stated)

    def _neighbour_hop(self) -> Iterator[Base]:
        for country in self.facts.countries:
            around = self.facts.tails(country, "borders")
            for relation in CHOSEN_BY:
                for tail in dict.fromkeys(tail for other in around for tail in self.facts.tails(other, relation)):
                    users = [other for other in around if tail in self.facts.tails(other, relation)]
                    if len(users) == 1 < len(around) and len(self.facts.tails(users[0], relation)) <= MOST_CHOSEN_BY:
                        (user,) = users
                        pairs = ((country, "borders"), (user, relation))
                        others = tuple((other, relation) for other in around if other != user)
                        stated = ((country, "borders", user), (user, relation, tail))
                        yield Base("two_hop", f"neighbour_{relation}", country, tail, self.named(users), pairs, stated, others)

    def _statements(self) -> Iterator[Base]:
        for country in self.facts.countries:
            for relation in CONFIRMED:
                tails = self.facts.answers(country, relation)
                for tail in tails:
                    stated = ((country, relation, tail),)
                    if stated[0] not in self.held.link_set:
                        yield self._statement(country, relation, tail, "yes", stated)
                for tail in self._wrong(country, relation) if tails else ():
                    yield self._statement(country, relation, tail, "no", ())

    def _statement(self, country: str, relation: str, tail: str, answer: str, stated: tuple[Names, ...]) -> Base:
        mirrored = ((tail, relation),) if relation in self.facts.symmetric else ()
        return Base("yes_no", relation, country, tail, ((answer, ""),), ((country, relation), *mirrored), stated)

    def _wrong(self, country: str, relation: str) -> list[str]:
        """Plausible entities that are wrong: they belong to countries near by, or, where the graph lists the important ones only, farther
        off."""
        facts = self.facts
        right, near = set(facts.tails(country, relation)), facts.near(country)
        own = {tail for other in ("capital", "largest_city") for tail in facts.tails(country, other)}
        if relation == "borders":
            pool: Collection[str] = near
        elif relation == "continent":
            pool = [] if country in BETWEEN else sorted({tail for other in facts.countries for tail in facts.tails(other, relation)})
        elif relation in ("coast", "river"):
            beside = {country, *facts.tails(country, "borders")} | ({*near} if relation == "coast" else set())
            homes = [home for continent in facts.tails(country, "continent") for home in facts.heads("continent", continent)]
            pool = {tail for home in homes for tail in facts.tails(home, relation)}
            pool = [
                tail for tail in pool if not beside & set(facts.heads(relation, tail)) and not any(self._within(tail, sea) for sea in right)
            ]
        else:
            pool = {tail for other in near for tail in facts.tails(other, relation)}
            pool |= own if relation == "capital" else set()
        wrong = sorted(set(pool) - right - {EVERYBODY, country})
        return random.Random(f"{self.seed}/{country}/{relation}").sample(wrong, min(FALSE_EACH, len(wrong)))

    def _within(self, one: str, other: str) -> bool:
        """Whether one body of water lies in the other, over any number of steps."""
        for inner, outer in ((one, other), (other, one)):
            front, known = [inner], {inner}
            while front:
                front = [up for place in front for up in self.facts.tails(place, "located_in") if up not in known]
                known |= set(front)
            if outer in known:
                return True
        return False

    def _comparisons(self) -> Iterator[Base]:
        facts = self.facts
        for relation in COMPARED:
            users = [
                country
                for country in facts.countries
                if facts.tails(country, relation) and not (relation == "continent" and country in BETWEEN)
            ]
            for country in users:
                same = [
                    other
                    for tail in facts.tails(country, relation)
                    for other in facts.heads(relation, tail)
                    if other in users and other != country
                ]
                pool = users if relation == "continent" else [other for other in facts.near(country) if other in users]
                for answer, others in (
                    ("yes", dict.fromkeys(same)),
                    ("no", [other for other in pool if other not in same and other != country]),
                ):
                    mix = random.Random(f"{self.seed}/{country}/{relation}/{answer}")
                    for other in mix.sample(list(others), min(2 * FALSE_EACH, len(others))) if self.split == "train" else others:
                        shared = [tail for tail in facts.tails(country, relation) if tail in facts.tails(other, relation)]
                        stated = tuple((end, relation, tail) for tail in shared for end in (country, other))
                        pairs = ((country, relation), (other, relation))
                        yield Base("comparison", relation, country, other, ((answer, ""),), pairs, stated)
