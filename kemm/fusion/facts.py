"""Looking facts up: soft sets of entities, and steps along the edges of a graph that is kept as a memory of facts.

A soft set is a stream (B, K, 1) of weights whose `positions` are rows of the entity table. A step is Facts as Experts' fact memory
(arXiv 2007.00849, section 3.3: a key is made of a subject and a relation, its values are the objects), followed differentiably as
in the reified knowledge base (Cohen et al., arXiv 2002.06115, equation 2): the answers' weights are the next step's subjects.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import Batch, Stream
from kemm.fusion.base import Fusion, Streams
from kemm.fusion.memory import NOT_FOUND, MemoryFusion, full
from kemm.kg import read_graph, read_known

if TYPE_CHECKING:
    from kemm.model import FusionModel


class FeatureEntities(Fusion):
    """The entities that a feature shows: a softmax over the vectors of all entities of one kind (a country, from its flag).

    Args:
        feature: Stream of the feature (B, 1, D).
        name: Stream of the soft set.
        dim: Width of the feature.
        entity_dim: Width of the entities.
        graph: Folder of the graph.
        kind: Kind of the entities.
        entity: Encoder whose table holds the vectors.
        scale: Inverse temperature to begin with.
    """

    rows: Tensor

    def __init__(
        self,
        feature: str,
        name: str,
        dim: int,
        entity_dim: int,
        graph: Path,
        kind: str,
        entity: str = "entity",
        scale: float = 10.0,
    ) -> None:
        super().__init__()
        self.feature, self.name, self.entity = feature, name, entity
        self.needs = (feature,)
        rows = [row for row, e in enumerate(read_graph(graph)[0].entities, 1) if e.kind == kind]
        if not rows:
            raise ValueError(f"{graph}: no entity is of kind {kind!r}")
        self.tables = {entity: max(rows) + 1}
        self.register_buffer("rows", torch.tensor(rows), persistent=False)
        self.project = nn.Linear(dim, entity_dim)
        self.log_scale = nn.Parameter(torch.full((1,), math.log(scale)))

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        x = F.normalize(self.project(streams[self.feature].x[:, 0]), dim=-1)  # (B, D')
        entities = F.normalize(network.table(self.entity)[self.rows], dim=-1)  # (N, D')
        weights = (self.log_scale.exp() * x @ entities.T).softmax(-1)
        rows = self.rows.expand_as(weights)
        return {self.name: Stream(weights[..., None], torch.ones_like(rows, dtype=torch.bool), rows)}


class MentionEntities(Fusion):
    """The entities that one mention of the text means: a soft choice of the mention times the linking of each.

    Args:
        name: Stream of the soft set.
        dim: Width of the text.
        text: Stream whose state at a mention's first token says whether it is the one.
        entity: Candidates' input; the scores are the stream `<entity>_linking`.
    """

    def __init__(self, name: str, dim: int, text: str = "text", entity: str = "candidate") -> None:
        super().__init__()
        self.name, self.text, self.entity = name, text, entity
        self.needs = (f"{entity}.spans", f"{entity}_linking")
        self.choose = nn.Linear(dim, 1, bias=False)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        spans, ids = batch[self.entity]["spans"], batch[self.entity]["ids"]  # (B, E, 2), (B, E, C)
        text = streams[self.text].x
        starts = spans[..., :1].clamp(min=0).expand(-1, -1, text.shape[-1])
        real = (ids > 0).any(-1)  # (B, E)
        choice = self.choose(text.gather(1, starts))[..., 0].masked_fill(~real, -1e4).softmax(-1) * real
        linking = streams[f"{self.entity}_linking"].x[..., 0].softmax(-1)  # (B, E, C)
        weights = (choice[..., None] * linking * (ids > 0)).flatten(1)  # (B, E * C)
        return {self.name: Stream(weights[..., None], (ids > 0).flatten(1), ids.flatten(1))}


class FactAttention(MemoryFusion):
    """One step: from soft sets of subjects, along a relation that the question tells, to the soft set of objects.

        p_r = softmax(W q)            e = sum_s softmax(A q)_s sum_i p_si E_i
        query = n(U e) + n(sum_r p_r R_r)            key_f = n(U E_head) + n(R_relation)        (n: to length 1)
        p_f = softmax over the k nearest facts, and none, of (log p_r(relation) + scale * (n(U e) . n(U E_head) - 1), none)

    Query and key share U and the graph's relation vectors, so that a (subject, relation) pair that was never asked for is found as any
    other. What is found is scored by the probability of its relation itself, as in the reified knowledge base: however unlikely the
    right relation is to begin with, its gradient does not vanish (with a mean vector of relations instead, the first relation that
    explains a part of the answers is kept). Adds the stream `<name>_facts`, the weights with the facts' rows, and
    `<name>_relations`, p_r.

    Args:
        name: Stream of the objects.
        subjects: Streams of soft sets.
        question: Stream of the feature that is asked (B, 1, D).
        dim: Width of the question.
        entity_dim: Width of the entities and relations.
        graph: Folder of the graph; its inverse relations and facts are added.
        same: Name of another step, whose relation this one follows too ("the same, asked of another subject"); "" to ask its own.
        k: Number of facts that are retrieved; more than a subject has, or the right relation may never be seen.
        entity: Encoder whose table holds the entities' vectors.
        relation: Encoder whose table holds the relations' vectors, row 0 none, then each relation, then the inverse ones.
        scale: Inverse temperature of the match of the subject, to begin with. Where it is low, an entity whose vector lies near stands
            in for the subject: a capital for its country, so that two hops are learned as one, by heart.
        none: Score of finding nothing, to begin with; a perfect match has 0.
        without: Files of triples that the memory must not hold.
        shuffled: Seed of the control that exchanges tails within each relation; None for the true graph.
    """

    facts: Tensor

    def __init__(
        self,
        name: str,
        subjects: Sequence[str],
        question: str,
        dim: int,
        entity_dim: int,
        graph: Path,
        same: str = "",
        k: int = 128,
        entity: str = "entity",
        relation: str = "relation",
        scale: float = 12.0,
        none: float = -4.0,
        without: Sequence[Path] = (),
        shuffled: int | None = None,
    ) -> None:
        facts = read_known(graph, without, shuffled).with_inverses()
        super().__init__(len(facts), entity_dim)
        self.name, self.subjects, self.question, self.k = name, tuple(subjects), question, k
        self.same = f"{same}_relations" if same else ""
        self.needs = (question, self.same) if same else (question,)
        if len(self.subjects) == 1:
            self.unused = ("ask_subject.weight", "ask_subject.bias")
        self.entity, self.relation = entity, relation
        # Row 0 of both tables is "none", so ids are counted from 1.
        self.tables = {entity: facts.num_entities + 1, relation: facts.num_relations + 1}
        self.register_buffer("facts", facts.triples + 1, persistent=False)
        self.ask_relation = None if same else nn.Linear(dim, facts.num_relations)
        self.ask_subject = nn.Linear(dim, len(self.subjects))
        self.entity_key = nn.Linear(entity_dim, entity_dim, bias=False)
        self.log_scale = nn.Parameter(torch.full((1,), math.log(scale)))
        self.none = nn.Parameter(torch.full((1,), none))

    def entity_keys(self, entities: Tensor, rows: Tensor) -> Tensor:
        """n(U E) of rows (N,) of the table: (N, D')."""
        return F.normalize(self.entity_key(entities[rows]), dim=-1)

    def keys(self, network: "FusionModel") -> Tensor:
        entities, relations = (full(network.table(name)) for name in (self.entity, self.relation))
        return self.entity_keys(entities, self.facts[:, 0]) + F.normalize(relations, dim=-1)[self.facts[:, 1]]

    def wants(self, streams: Streams, batch: Batch) -> bool:
        return super().wants(streams, batch) and any(name in streams for name in self.subjects)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        entities, relations = network.table(self.entity), network.table(self.relation)
        question = streams[self.question].x[:, 0]  # (B, D)
        asked = streams[self.same].x[..., 0] if self.ask_relation is None else self.ask_relation(question).softmax(-1)  # (B, relations)
        known = [name for name in self.subjects if name in streams]
        share = self.ask_subject(question)[:, [self.subjects.index(name) for name in known]].softmax(-1)
        mean = torch.stack([soft_vector(streams[name], entities) for name in known], -1) @ share[..., None]  # (B, D', 1)
        subject = F.normalize(self.entity_key(mean[..., 0]), dim=-1)  # (B, D')
        rows = self.search(subject + F.normalize(asked @ relations[1 : asked.shape[1] + 1], dim=-1), self.k, network)  # (B, k)
        mask = rows >= 0
        rows = rows.clamp(min=0)
        head, relation, tail = self.facts[rows].unbind(-1)
        # Each distinct head is compared with all subjects at once: a product and a gather of numbers, instead of gathered vectors.
        heads, places = head.unique(return_inverse=True)
        match = (subject @ self.entity_keys(entities, heads).T).gather(1, places) - 1  # (B, k)
        scores = asked.clamp(min=1e-30).log().gather(1, relation - 1) + self.log_scale.exp() * match
        scores = torch.cat([scores.masked_fill(~mask, NOT_FOUND), self.none.expand(len(scores), 1)], 1)
        # Of nothing there are no facts.
        given = torch.stack([streams[name].x.sum((1, 2)) > 0 for name in known]).any(0)
        weights = scores.softmax(-1)[:, :-1, None] * given[:, None, None]  # (B, k, 1), none left out
        return {
            self.name: Stream(weights, mask, tail),
            f"{self.name}_facts": Stream(weights, mask, rows),
            f"{self.name}_relations": Stream(asked[..., None], torch.ones_like(asked, dtype=torch.bool)),
        }


class Intersection(Fusion):
    """The entities that are in two soft sets, weighted by the product, to a sum of 1.

    Args:
        one: A soft set.
        two: Another.
        name: Stream of the result, over the entities of the first.
    """

    def __init__(self, one: str, two: str, name: str) -> None:
        super().__init__()
        self.one, self.two, self.name = one, two, name
        self.needs = (one, two)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        one, two = streams[self.one], streams[self.two]
        weights = one.x * membership(one, two)[..., None]
        return {self.name: one._replace(x=weights / weights.sum(1, keepdim=True).clamp(min=1e-6))}


def soft_vector(entities: Stream, table: Tensor) -> Tensor:
    """The mean vector (B, D) of a soft set."""
    return torch.einsum("bk,bkd->bd", entities.x[..., 0], table[entities.positions])


def membership(one: Stream, two: Stream) -> Tensor:
    """How much of the second set's weight lies on each entity of the first: (B, K)."""
    assert one.positions is not None and two.positions is not None
    same = one.positions[:, :, None] == two.positions[:, None]  # (B, K, K')
    return torch.einsum("bij,bj->bi", same.to(two.x.dtype), two.x[..., 0])
