"""Which entities a surface form may mean, and how likely each is: the candidates of entity linking."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

from kemm.kg.graph import Graph

NOTHING = 1e-9
"""Weights below it are what rounding leaves of nothing."""


class Candidate(NamedTuple):
    """An entity's index and its prior probability given the surface form."""

    entity: int
    prior: float


class AliasIndex:
    """Surface form -> candidate entities, the most probable first.

    A form that is not known as it is written is looked up without regard to case and to white space.

    Args:
        entries: (surface, entity, weight > 0); the weights of a pair that comes again add up, and priors are in proportion to them.
    """

    def __init__(self, entries: Iterable[tuple[str, int, float]]) -> None:
        exact: defaultdict[str, defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))
        folded: defaultdict[str, defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))
        for surface, entity, weight in entries:
            if weight <= 0:
                raise ValueError(f"the weight of {surface!r} for entity {entity} is {weight}, expected more than 0")
            exact[surface][entity] += weight
            folded[_fold(surface)][entity] += weight
        self._exact = {surface: _rank(weights) for surface, weights in exact.items()}
        self._folded = {surface: _rank(weights) for surface, weights in folded.items()}

    @classmethod
    def from_graph(cls, graph: Graph, counts: Mapping[tuple[str, int], float] = {}, smoothing: float = 1.0) -> Self:
        """Names and aliases of a graph's entities.

        Args:
            graph: Gives the surface forms.
            counts: How often a (surface, entity) was seen in text; forms that the graph lacks come in by it.
            smoothing: Weight of each of the graph's own forms besides: without counts, the prior is uniform over the entities that share a
                form.
        """
        own = ((surface, index, smoothing) for index, entity in enumerate(graph.entities) for surface in entity.surfaces)
        seen = ((surface, entity, count) for (surface, entity), count in counts.items())
        return cls([*own, *seen])

    def __len__(self) -> int:
        return len(self._exact)

    def __iter__(self) -> Iterable[str]:
        return iter(self._exact)

    def __contains__(self, surface: str) -> bool:
        return surface in self._exact or _fold(surface) in self._folded

    def candidates(self, surface: str, limit: int = 30, without: Mapping[int, float] = {}) -> list[Candidate]:
        """The most probable entities of a surface form; the priors of those that are returned sum to 1.

        Args:
            surface: As it stands in the text; an unknown form has no candidates.
            limit: Of candidates (KnowBERT keeps 30).
            without: Entity -> weight that is taken off; entities of which nothing is left are no candidates.
        """
        found = self._exact.get(surface) or self._folded.get(_fold(surface), [])
        if without:
            left = {entity: weight - without.get(entity, 0.0) for entity, weight in found}
            found = _rank({entity: weight for entity, weight in left.items() if weight > NOTHING})
        total = sum(weight for _, weight in found[:limit])
        return [Candidate(entity, weight / total) for entity, weight in found[:limit]]


def _fold(surface: str) -> str:
    return " ".join(surface.casefold().split())


def _rank(weights: Mapping[int, float]) -> list[tuple[int, float]]:
    return sorted(weights.items(), key=lambda item: (-item[1], item[0]))
