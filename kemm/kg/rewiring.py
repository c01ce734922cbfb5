"""Facts, and the exchange of their tails that destroys them but keeps every degree."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Triple = tuple[int, int, int]
"""(head, relation, tail) as indices."""

ATTEMPTS = 10
"""Exchanges tried per fact; the chain of Maslov and Sneppen (2002) is customarily run for a small multiple of the number of edges."""


class Fact(NamedTuple):
    """A triple, and whether the graph also says it backwards."""

    triple: Triple
    mirrored: bool

    def triples(self, inverses: Sequence[int]) -> list[Triple]:
        """The one or two triples that say it."""
        head, relation, tail = self.triple
        return [self.triple, (tail, inverses[relation], head)] if self.mirrored else [self.triple]


def facts(triples: Sequence[Sequence[int]], inverses: Sequence[int]) -> list[Fact]:
    """Pairs up the triples that say the same in both directions, in the order of the triples.

    Args:
        triples: Rows (head, relation, tail), each once.
        inverses: Index of each relation's inverse, or -1; a symmetric relation is its own.
    """
    known = {(head, relation, tail) for head, relation, tail in triples}
    found: dict[Triple, Fact] = {}
    for head, relation, tail in triples:
        triple, mirror = (head, relation, tail), (tail, inverses[relation], head)
        mirrored = mirror in known and mirror != triple
        if mirrored and (mirror in found or inverses[relation] < relation):
            triple = mirror  # a pair is told in the relation that comes first
        found[triple] = Fact(triple, mirrored)
    return list(found.values())


def rewire(given: Sequence[Fact], inverses: Sequence[int], seed: int) -> list[Triple]:
    """Exchanges tails between random pairs of facts of a relation (Maslov and Sneppen 2002, "Specificity and Stability in Topology of
    Protein Networks").

    (a, r, b), (c, r, d) become (a, r, d), (c, r, b) unless one of these is already there or joins an entity to itself. So each entity's
    number of triples per relation and direction stays as it is, exactly.

    Args:
        given: The facts.
        inverses: Index of each relation's inverse, or -1.
        seed: Of the exchanges.
    """
    generator = np.random.default_rng(seed)
    present = {triple for fact in given for triple in fact.triples(inverses)}
    groups: defaultdict[tuple[int, bool], list[Triple]] = defaultdict(list)
    for fact in given:
        groups[fact.triple[1], fact.mirrored].append(fact.triple)
    for (relation, mirrored), rows in groups.items():
        symmetric = mirrored and inverses[relation] == relation
        size = ATTEMPTS * len(rows)
        pairs = zip(*generator.integers(0, len(rows), (2, size)).tolist(), generator.integers(0, 2, size).tolist(), strict=True)
        for i, j, turn in pairs:
            (a, _, b), (c, _, d) = rows[i], rows[j]
            if symmetric and turn:
                c, d = d, c  # an undirected edge has no head
            first, second = Fact((a, relation, d), mirrored), Fact((c, relation, b), mirrored)
            new = {*first.triples(inverses), *second.triples(inverses)}
            if a == d or c == b or not new.isdisjoint(present):
                continue
            for old in (rows[i], rows[j]):
                present.difference_update(Fact(old, mirrored).triples(inverses))
            present.update(new)
            rows[i], rows[j] = first.triple, second.triple
    return [triple for (_, mirrored), rows in groups.items() for row in rows for triple in Fact(row, mirrored).triples(inverses)]
