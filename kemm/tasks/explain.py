"""What a network looked up to answer, in words: soft sets of entities, linked mentions, the relation that was asked, facts.

Streams say it by themselves: a soft set is a stream (B, K, 1) of weights whose `positions` are rows of the entity table, linking is a
stream (B, E, C, 1) of scores of candidates, and a `FactAttention` tells its facts and relations (see `kemm.fusion.facts`).
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from kemm.batch import Batch, Stream
from kemm.fusion import FactAttention, Streams
from kemm.kg import Graph

if TYPE_CHECKING:
    from kemm.model import FusionModel

SHOWN = 4
"""Entries that are told of each set, the heaviest first."""
LEAST = 0.01
"""Lighter entries are not told."""


class Found(NamedTuple):
    """One thing that was found: its text, its weight in [0, 1], and what tells it from others of that name."""

    text: str
    weight: float
    note: str = ""


class Lookup(NamedTuple):
    """What one step found, the heaviest first: `step` is the name of its stream, `kind` one of entities, mention, relations, facts,
    passages."""

    step: str
    kind: str
    found: tuple[Found, ...]


class _Words:
    """Names of the rows of entity and relation tables, whose row 0 is "none"."""

    def __init__(self, graph: Graph) -> None:
        self.entities, self.relations = graph.entities, graph.with_inverses().relations

    def entity(self, row: int) -> tuple[str, str]:
        if not 0 < row <= len(self.entities):
            return "(none)", ""
        entity = self.entities[row - 1]
        return entity.name, entity.kind

    def relation(self, row: int) -> str:
        return self.relations[row - 1].name if 0 < row <= len(self.relations) else "(none)"


def looked_up(streams: Streams, batch: Batch, network: "FusionModel", graph: Graph) -> list[list[Lookup]]:
    """What was looked up for each sample of a batch, step by step.

    Args:
        streams: The network's streams of the batch.
        batch: The batch, for the candidates of mentions.
        network: The network, for the facts of its memories.
        graph: The graph that the tables' rows are of, row 0 apart.
    """
    words = _Words(graph)
    steps = {fusion.name: fusion for fusion in network.fusions if isinstance(fusion, FactAttention)}
    by_products = {f"{name}_{what}" for name in steps for what in ("facts", "relations")}
    samples: list[list[Lookup]] = []
    for name, stream in streams.items():
        if name in by_products or stream.x.shape[-1] != 1:
            continue
        told: list[list[Lookup]] = []
        if name in steps:
            told += [_relations(name, streams[f"{name}_relations"], words)]
            # The tails of the facts are the entities of the step's soft set, so these are not told again.
            told += [_facts(name, streams[f"{name}_facts"], steps[name].get_buffer("facts"), words)]
        elif stream.x.dim() == 3 and stream.positions is not None:
            told += [_entities(name, stream, words)]
        elif stream.x.dim() == 4 and name.endswith("_linking"):
            told += _mentions(name, stream, batch, words)
        if not samples:
            samples = [[] for _ in range(len(stream.x))]
        for listed in told:
            for sample, lookup in zip(samples, listed, strict=True):
                if lookup.found:
                    sample.append(lookup)
    return samples


def _entities(name: str, stream: Stream, words: _Words) -> list[Lookup]:
    assert stream.positions is not None
    rows, weights = _lists(stream.positions, stream.x[..., 0] * stream.mask)
    return [Lookup(name, "entities", _named(row, weight, words)) for row, weight in zip(rows, weights, strict=True)]


def _mentions(name: str, stream: Stream, batch: Batch, words: _Words) -> list[list[Lookup]]:
    """One list for each place of a mention: its candidates and the softmax of their scores."""
    step = name.removesuffix("_linking")
    ids = batch[step]["ids"] if stream.positions is None else stream.positions  # (B, E, C)
    # Lowest, not -inf: a padding mention has no candidate, and its softmax must be a number.
    scores = stream.x[..., 0].float().masked_fill(~stream.mask, torch.finfo(torch.float32).min)
    rows, weights = _lists(ids, scores.softmax(-1) * stream.mask)
    return [
        [Lookup(f"{step} {place + 1}", "mention", _named(rows[b][place], weights[b][place], words)) for b in range(len(rows))]
        for place in range(ids.shape[1])
    ]


def _relations(name: str, stream: Stream, words: _Words) -> list[Lookup]:
    (weights,) = _lists(stream.x[..., 0])
    return [Lookup(name, "relations", _heaviest(Found(words.relation(i), w) for i, w in enumerate(line, 1))) for line in weights]


def _facts(name: str, stream: Stream, facts: Tensor, words: _Words) -> list[Lookup]:
    assert stream.positions is not None
    triples, weights = _lists(facts[stream.positions], stream.x[..., 0])
    lookups = []
    for listed, line in zip(triples, weights, strict=True):
        found = (_fact(triple, weight, words) for triple, weight in zip(listed, line, strict=True))
        rest = Found("none of the facts", max(0.0, 1 - sum(line)))
        lookups.append(Lookup(name, "facts", _heaviest([*found, rest])))
    return lookups


def _fact(triple: Sequence[int], weight: float, words: _Words) -> Found:
    head, relation, tail = triple
    return Found(f"{words.entity(head)[0]} — {words.relation(relation)} → {words.entity(tail)[0]}", weight)


def _named(rows: Sequence[int], weights: Sequence[float], words: _Words) -> tuple[Found, ...]:
    total: dict[int, float] = {}
    for row, weight in zip(rows, weights, strict=True):
        total[row] = total.get(row, 0.0) + weight
    return _heaviest(Found(words.entity(row)[0], weight, words.entity(row)[1]) for row, weight in total.items())


def _heaviest(found: Iterable[Found]) -> tuple[Found, ...]:
    kept = sorted((one for one in found if one.weight >= LEAST), key=lambda one: -one.weight)
    return tuple(kept[:SHOWN])


def _lists(*tensors: Tensor) -> list[list[Any]]:
    return [tensor.detach().float().tolist() if tensor.is_floating_point() else tensor.tolist() for tensor in tensors]
