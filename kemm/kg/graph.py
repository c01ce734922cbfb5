"""A knowledge graph: entities and relations with their names, triples as one int64 tensor.

Everything that trains or evaluates works on the tensor; networkx is a door in and out. A graph is never changed: each method gives a new
one.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from kemm.kg.rewiring import Fact, facts, rewire

Names = tuple[str, str, str]
"""(head id, relation id, tail id)."""


@dataclass(frozen=True)
class Entity:
    """A node.

    Args:
        id: Stable identifier, unique in its graph.
        name: What people call it.
        kind: Its type, such as "country".
        aliases: Other surface forms.
    """

    id: str
    name: str
    kind: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def surfaces(self) -> tuple[str, ...]:
        """The name and the aliases, each once."""
        return tuple(dict.fromkeys((self.name, *self.aliases)))


@dataclass(frozen=True)
class Relation:
    """A kind of edge.

    Args:
        id: Stable identifier, unique in its graph.
        name: What people call it.
        inverse: Id of the relation that reads it backwards, in the graph or not; the relation's own id if it is symmetric, "" if there is
            none.
        head: Kinds of entity that it starts from; any, if empty.
        tail: Kinds of entity that it leads to; any, if empty.
        functional: Whether a head has at most one tail.
    """

    id: str
    name: str
    inverse: str = ""
    head: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    functional: bool = False

    def backwards(self) -> "Relation":
        """The relation that `inverse` names, or one named after this relation if it is ""."""
        inverse = self.inverse or f"{self.id}_inverse"
        return Relation(inverse, inverse.replace("_", " "), inverse=self.id, head=self.tail, tail=self.head)


class Graph:
    """Entities, relations and the triples between them.

    Args:
        entities: In the order of their indices.
        relations: In the order of their indices.
        triples: (N, 3) int64, each row (head, relation, tail) as indices, each row once.
    """

    def __init__(self, entities: Sequence[Entity], relations: Sequence[Relation], triples: Tensor) -> None:
        self.entities, self.relations, self.triples = tuple(entities), tuple(relations), triples
        self.entity_index = {entity.id: index for index, entity in enumerate(self.entities)}
        self.relation_index = {relation.id: index for index, relation in enumerate(self.relations)}
        for what, given, index in (("entity", self.entities, self.entity_index), ("relation", self.relations, self.relation_index)):
            if len(index) < len(given):
                repeated = next(id for id, count in Counter(thing.id for thing in given).items() if count > 1)
                raise ValueError(f"the {what} id {repeated!r} occurs more than once")
        self._check(triples)

    def _check(self, triples: Tensor) -> None:
        if triples.dim() != 2 or triples.shape[1] != 3 or triples.dtype != torch.int64:
            raise ValueError(f"triples are {triples.dtype} of shape {tuple(triples.shape)}, expected torch.int64 of shape (N, 3)")
        limits = torch.tensor([self.num_entities, self.num_relations, self.num_entities])
        wrong = ((triples < 0) | (triples >= limits)).any(1).nonzero()[:, 0].tolist()
        if wrong:
            row = triples[wrong[0]].tolist()
            raise ValueError(f"triple {wrong[0]} is {row}, expected (head, relation, tail) below {limits.tolist()}; {len(wrong)} are so")
        if len(torch.unique(triples, dim=0)) < len(triples):
            repeated, count = Counter(map(tuple, triples.tolist())).most_common(1)[0]
            raise ValueError(f"the triple {self.names(repeated)} occurs {count} times")

    @property
    def num_entities(self) -> int:
        return len(self.entities)

    @property
    def num_relations(self) -> int:
        return len(self.relations)

    def __len__(self) -> int:
        return len(self.triples)

    def __repr__(self) -> str:
        return f"Graph({self.num_entities} entities, {self.num_relations} relations, {len(self)} triples)"

    def names(self, triple: Iterable[int]) -> Names:
        """Ids of a triple of indices."""
        head, relation, tail = triple
        return self.entities[head].id, self.relations[relation].id, self.entities[tail].id

    def indices(self, names: Iterable[Names]) -> Tensor:
        """Indices (N, 3) of triples of ids."""
        rows = [(self.entity_index[head], self.relation_index[relation], self.entity_index[tail]) for head, relation, tail in names]
        return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)

    @classmethod
    def from_names(cls, triples: Iterable[Names]) -> Self:
        """A graph from bare triples: names are ids, indices are in the order of the sorted ids, a repeated triple counts once."""
        rows = list(dict.fromkeys(triples))
        entities = sorted({name for head, _, tail in rows for name in (head, tail)})
        relations = sorted({relation for _, relation, _ in rows})
        graph = cls([Entity(id, id) for id in entities], [Relation(id, id) for id in relations], torch.empty(0, 3, dtype=torch.int64))
        return graph.with_triples(graph.indices(rows))

    def with_triples(self, triples: Tensor) -> Self:
        """The same entities and relations with other triples (N, 3)."""
        return type(self)(self.entities, self.relations, triples)

    # ---- reading the structure

    @cached_property
    def _by_head(self) -> tuple[Tensor, Tensor]:
        order = torch.argsort(self.triples[:, 0], stable=True)
        starts = torch.searchsorted(self.triples[order, 0].contiguous(), torch.arange(self.num_entities + 1))
        return self.triples[order][:, 1:], starts

    def neighbours(self, entity: int) -> Tensor:
        """Outgoing edges (n, 2) of an entity, rows (relation, tail); `with_inverses` makes the incoming ones outgoing."""
        edges, starts = self._by_head
        return edges[int(starts[entity]) : int(starts[entity + 1])]

    def degrees(self) -> Tensor:
        """Number of triples (num_entities,) in which an entity is head or tail."""
        return torch.bincount(self.triples[:, [0, 2]].flatten(), minlength=self.num_entities)

    @cached_property
    def inverses(self) -> tuple[int, ...]:
        """Index of each relation's inverse, -1 where the graph has none; naming it from either side is enough."""
        found = [self.relation_index.get(relation.inverse, -1) for relation in self.relations]
        for index, inverse in enumerate(found):
            if inverse >= 0 and found[inverse] < 0:
                found[inverse] = index
            elif inverse >= 0 and found[inverse] != index:
                other = self.relations[inverse]
                raise ValueError(
                    f"the inverse of {self.relations[index].id!r} is {other.id!r}, but that one's inverse is {other.inverse!r}"
                )
        return tuple(found)

    def facts(self) -> list[Fact]:
        """The triples, with a triple and the one that says the same backwards as one."""
        return facts(self.triples.tolist(), self.inverses)

    # ---- other graphs made of this one

    def with_inverses(self) -> Self:
        """Adds to each triple the one that reads it backwards; relations that are missing for it come after those of this graph."""
        inverses, relations = list(self.inverses), list(self.relations)
        for index, relation in enumerate(self.relations):
            if inverses[index] < 0:
                inverses[index] = len(relations)
                relations.append(relation.backwards())
        backwards = self.triples[:, [2, 1, 0]].clone()
        backwards[:, 1] = torch.tensor(inverses, dtype=torch.int64)[self.triples[:, 1]]
        both = torch.cat([self.triples, backwards]).numpy()
        _, first = np.unique(both, axis=0, return_index=True)
        return type(self)(self.entities, relations, torch.from_numpy(both[np.sort(first)]))

    def shuffled(self, seed: int) -> Self:
        """A control: the same shape, wrong facts. Tails are exchanged within each relation until nothing but the degrees is left.

        Every entity keeps its number of triples as head and as tail of each relation; symmetric relations stay symmetric, and a pair of
        inverse relations stays a pair. What the exchange cannot change stays: a relation with one head, or one that holds between all of
        its heads and tails.

        Args:
            seed: Of the exchanges.
        """
        return self.with_triples(torch.tensor(rewire(self.facts(), self.inverses, seed), dtype=torch.int64).reshape(-1, 3))

    def hold_out(self, number: int, seed: int) -> tuple[Self, Tensor]:
        """Takes facts out at random for evaluation.

        A fact goes with the triple that says it backwards, which would give it away, and only if its entities and its relation keep another
        fact.

        Args:
            number: Of facts.
            seed: Of the choice.

        Returns:
            The graph without them, and one triple (number, 3) of each.
        """
        known = self.facts()
        uses = Counter(end for fact in known for end in self._ends(fact))
        held: list[Fact] = []
        for index in np.random.default_rng(seed).permutation(len(known)).tolist():
            if len(held) == number:
                break
            ends = self._ends(known[index])
            if all(uses[end] > count for end, count in Counter(ends).items()):
                uses.subtract(ends)
                held.append(known[index])
        if len(held) < number:
            raise ValueError(
                f"{number} facts are to be held out, but only {len(held)} of {len(known)} leave their entities and relation another one"
            )
        gone = {triple for fact in held for triple in fact.triples(self.inverses)}
        kept = [row for row in self.triples.tolist() if tuple(row) not in gone]
        graph = self.with_triples(torch.tensor(kept, dtype=torch.int64).reshape(-1, 3))
        return graph, torch.tensor([fact.triple for fact in held], dtype=torch.int64).reshape(-1, 3)

    @staticmethod
    def _ends(fact: Fact) -> list[tuple[str, int]]:
        head, relation, tail = fact.triple
        return [("entity", head), ("entity", tail), ("relation", relation)]

    # ---- networkx

    def to_networkx(self) -> nx.MultiDiGraph:
        """Nodes are entity ids with `name`, `kind`, `aliases`; edges have the relation's id as key; the graph's `relations` hold the
        relations."""
        graph = nx.MultiDiGraph(relations=self.relations)
        for entity in self.entities:
            graph.add_node(entity.id, name=entity.name, kind=entity.kind, aliases=entity.aliases)
        graph.add_edges_from((head, tail, relation) for head, relation, tail in map(self.names, self.triples.tolist()))
        return graph

    @classmethod
    def from_networkx(cls, graph: nx.MultiDiGraph) -> Self:
        """The reverse of `to_networkx`, up to the order of the triples. Node attributes and `relations` may be missing: names are ids
        then."""
        entities = [
            Entity(str(id), data.get("name", str(id)), data.get("kind", ""), tuple(data.get("aliases", ())))
            for id, data in graph.nodes(data=True)
        ]
        named = [(str(head), str(relation), str(tail)) for head, tail, relation in graph.edges(keys=True)]
        relations = graph.graph.get("relations") or [Relation(id, id) for id in sorted({relation for _, relation, _ in named})]
        empty = cls(entities, relations, torch.empty(0, 3, dtype=torch.int64))
        unknown = sorted({relation for _, relation, _ in named} - empty.relation_index.keys())
        if unknown:
            raise ValueError(f"edges have the key {unknown[0]!r}, which is none of the graph's relations {sorted(empty.relation_index)}")
        return empty.with_triples(empty.indices(named))
