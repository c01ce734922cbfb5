"""The facts of the Atlas by relation, and which of them are kept from training."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kemm.kg import Graph
from kemm.kg.graph import Names

ASKED = (
    "capital",
    "continent",
    "subregion",
    "official_language",
    "currency",
    "borders",
    "largest_city",
    "highest_point",
    "river",
    "coast",
    "member_of",
    "former_ruler",
)
"""Relations of a country that questions ask about."""
LINKED = ("borders", "official_language", "member_of", "coast", "river", "located_in")
"""Relations whose triples are held out for link prediction: heads have several tails, so that one can go."""
EVERYBODY = "organization:united-nations"
"""Nearly all countries belong to it: it is neither asked for nor held out."""
MOST_ANSWERS = 3
"""An open question has at most as many right answers: ten annotators, spread over more, would give none of them full marks."""
LINK_SHARE, UNSEEN_SHARE, TUNE_SHARE = 0.04, 0.12, 0.06

Pair = tuple[str, str]
"""(country id, relation id): what a question asks."""


class Facts:
    """A graph read by head and relation.

    Args:
        graph: Of the Atlas.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names = {entity.id: entity.name for entity in graph.entities}
        self.kinds = {entity.id: entity.kind for entity in graph.entities}
        self.triples: list[Names] = [graph.names(row) for row in graph.triples.tolist()]
        tails: defaultdict[Pair, list[str]] = defaultdict(list)
        heads: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.joined: Counter[frozenset[str]] = Counter()
        for head, relation, tail in self.triples:
            tails[head, relation].append(tail)
            heads[relation, tail].append(head)
            self.joined[frozenset((head, tail))] += 1
        self._tails, self._heads = dict(tails), dict(heads)
        self._bearers: defaultdict[str, set[str]] = defaultdict(set)
        for entity in graph.entities:
            for form in entity.surfaces:
                self._bearers[form].add(entity.id)
        self.countries = sorted(entity.id for entity in graph.entities if entity.kind == "country")
        self.symmetric = {relation.id for relation in graph.relations if relation.inverse == relation.id}

    def tails(self, head: str, relation: str) -> list[str]:
        return self._tails.get((head, relation), [])

    def heads(self, relation: str, tail: str) -> list[str]:
        return self._heads.get((relation, tail), [])

    def namesakes(self, entity: str) -> set[str]:
        """The entities that an entity's name may mean, itself among them."""
        return self._bearers[self.names[entity]]

    def answers(self, country: str, relation: str) -> list[str]:
        """The tails that an open question may be answered with."""
        return [tail for tail in self.tails(country, relation) if tail != EVERYBODY]

    def near(self, country: str) -> list[str]:
        """Countries that lie near: neighbours, neighbours' neighbours, those of the same subregion; not the country itself."""
        found = dict.fromkeys(self.tails(country, "borders"))
        for other in list(found):
            found |= dict.fromkeys(self.tails(other, "borders"))
        for region in self.tails(country, "subregion"):
            found |= dict.fromkeys(self.heads("subregion", region))
        return [other for other in found if other != country]


@dataclass(frozen=True)
class HeldOut:
    """What training must not see.

    Args:
        links: Held-out triples of link prediction by part; of a symmetric relation both directions are in the same part.
        pairs: The (country, relation) pairs of each evaluation split, "unseen" and "tune".
        facts: The triples of those pairs, symmetric ones in both directions, by split.
        blocked: Pairs of which some fact is held out, but which no split asks: their full list of answers may not be named.
    """

    links: dict[str, list[Names]]
    pairs: dict[str, set[Pair]]
    facts: dict[str, set[Names]]
    blocked: set[Pair]

    @property
    def link_set(self) -> set[Names]:
        return {triple for part in ("valid", "test") for triple in self.links[part]}

    @property
    def secret(self) -> set[Names]:
        """Every triple that training must not state."""
        return self.link_set | self.facts["unseen"] | self.facts["tune"]


def backwards(triple: Names) -> Names:
    return triple[2], triple[1], triple[0]


def hold_out_links(facts: Facts, seed: int) -> dict[str, list[Names]]:
    """4 % of each relation with several tails, 2 in 5 of them for validation.

    A triple can go if its head keeps another tail, its tail another head, and no other triple joins the two, which would give it away.
    """
    parts: dict[str, list[Names]] = {"valid": [], "test": []}
    for relation in LINKED:
        both = relation in facts.symmetric
        known = sorted(triple for triple in facts.triples if triple[1] == relation and (not both or triple[0] < triple[2]))
        random.Random(f"{seed}/links/{relation}").shuffle(known)
        tails, heads = Counter(triple[0] for triple in known), Counter(triple[2] for triple in known)
        chosen: list[Names] = []
        touched: set[str] = set()
        for head, _, tail in known:
            if len(chosen) >= LINK_SHARE * len(known):
                break
            alone = facts.joined[frozenset((head, tail))] == (2 if both else 1)
            if alone and tail != EVERYBODY and tails[head] > 1 and heads[tail] > 1 and not touched & {head}:
                chosen.append((head, relation, tail))
                touched |= {head, tail} if both else {head}
                tails[head] -= 1
                heads[tail] -= 1
        for place, triple in enumerate(chosen):
            parts["valid" if place % 5 < 2 else "test"] += [triple, backwards(triple)] if both else [triple]
    held = {triple for part in parts.values() for triple in part}
    return {"train": [triple for triple in facts.triples if triple not in held], **parts}


class _Choice:
    """Pairs taken for the evaluation splits, with all that would give them away."""

    def __init__(self, facts: Facts, blocked: set[Pair], seed: int) -> None:
        self.facts, self.blocked, self.seed = facts, blocked, seed
        self.owner: dict[Pair, str] = {}

    def group(self, pair: Pair) -> set[Pair]:
        """The pairs of the same country that say the same: a subregion tells the continent; a shared tail is one fact under two names."""
        country, relation = pair
        group = {pair}
        for other in ASKED:
            shared = set(self.facts.tails(country, other)) & set(self.facts.tails(country, relation))
            if shared or {relation, other} == {"continent", "subregion"}:
                group.add((country, other))
        return {member for member in group if self.facts.tails(*member)}

    def free(self, pair: Pair, split: str) -> bool:
        """Whether a pair and its group can be taken: nothing of it is another split's, and borders keep clear of the other split's."""
        for country, relation in self.group(pair):
            around = self.facts.tails(country, relation) if relation in self.facts.symmetric else []
            for near in (country, *around):
                if (near, relation) in self.blocked or self.owner.get((near, relation), split) != split:
                    return False
        return True

    def take(self, split: str, relation: str, share: float, preferred: Iterable[str]) -> None:
        facts = self.facts
        known = [country for country in facts.countries if facts.answers(country, relation)]
        quota = round(share * len(known))
        mix = random.Random(f"{self.seed}/{split}/{relation}")
        first = [country for country in sorted(set(preferred)) if country in known]
        rest = list(known)
        mix.shuffle(first)
        mix.shuffle(rest)
        taken = sum(self.owner.get((country, relation)) == split for country in known)
        for country in (*first[: (quota + 1) // 2], *rest):
            pair = country, relation
            if taken >= quota:
                break
            if pair not in self.owner and len(facts.answers(*pair)) <= MOST_ANSWERS and self.free(pair, split):
                self.owner |= dict.fromkeys(self.group(pair), split)
                taken += 1


def hold_out(facts: Facts, seed: int) -> HeldOut:
    """Chooses what training must not see: links first, then about 12 % of the pairs for "unseen" and 6 % for "tune".

    Half of the languages and currencies are those of the neighbours of countries whose borders are held out, and of countries whose
    capital is, so that there are questions of two hops with neither hop seen.
    """
    links = hold_out_links(facts, seed)
    touched = {pair for part in ("valid", "test") for head, relation, tail in links[part] for pair in ((head, relation), (tail, relation))}
    choice = _Choice(facts, touched, seed)
    for split, share in (("unseen", UNSEEN_SHARE), ("tune", TUNE_SHARE)):
        for relation in sorted(ASKED, key=lambda name: name not in ("borders", "capital")):
            mine = [pair for pair, owner in choice.owner.items() if owner == split]
            around = [tail for country, asked in mine if asked == "borders" for tail in facts.tails(country, "borders")]
            ruled = [country for country, asked in mine if asked == "capital"]
            choice.take(split, relation, share, {*around, *ruled} if relation in ("official_language", "currency", "continent") else ())
    pairs = {split: {pair for pair, owner in choice.owner.items() if owner == split} for split in ("unseen", "tune")}
    stated = {split: _facts(facts, pairs[split]) for split in pairs}
    blocked = touched | {(head, relation) for part in stated.values() for head, relation, _ in part} - pairs["unseen"] - pairs["tune"]
    return HeldOut(links, pairs, stated, blocked - pairs["unseen"] - pairs["tune"])


def _facts(facts: Facts, pairs: Iterable[Pair]) -> set[Names]:
    found: set[Names] = set()
    for country, relation in pairs:
        for tail in facts.tails(country, relation):
            triple = (country, relation, tail)
            found |= {triple, backwards(triple)} if relation in facts.symmetric else {triple}
    return found


def answer_counts(number: int) -> Sequence[int]:
    """How many of ten annotators give each of 1 to 10 right answers: 10; 5 and 5; 4, 3 and 3; ... the most usual one first."""
    return [10 // number + (place < 10 % number) for place in range(number)]
