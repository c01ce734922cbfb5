"""Candidates that hear of each other: which of them does the graph join with what the other mentions mean?

Collective linking (Globerson et al., "Collective Entity Resolution with Multi-Focal Attention", ACL 2016; Ganea and Hofmann, arXiv
1704.04920, section 4) scores pairs of candidates. Here the pairs are the graph's own edges, told apart by their relations:

n_r(i, a) = sum over mentions j != i and their candidates b of  w_jb exp(-decay |i - j|) [(a, r, b) is an edge]
E'_ia     = E_ia + W log(1 + n(i, a))

w are the priors, or what a knowledge attention below has linked so far; a further "relation" says that another mention means the same
entity. So "dollars" beside a mention of Canada tells the Canadian dollar from the others, whether or not training ever saw the two.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kemm.batch import Batch
from kemm.fusion.base import Fusion, Streams
from kemm.kg import read_known

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Edges(nn.Module):
    """Pairs of entities -> the relations that lead from one to the other, in both directions of reading.

    Args:
        graph: Folder of the graph; rows of the entity table are its entities from 1 on.
        without: Files of triples that must not be known.
        shuffled: Seed of the control that exchanges tails within each relation; None for the true graph.
    """

    keys: Tensor
    chosen: Tensor
    sets: Tensor

    def __init__(self, graph: Path, without: Sequence[Path] = (), shuffled: int | None = None) -> None:
        super().__init__()
        self.keys: Tensor
        self.chosen: Tensor
        self.sets: Tensor
        known = read_known(graph, without, shuffled).with_inverses()
        head, relation, tail = known.triples.unbind(1)
        self.rows, self.kinds = known.num_entities + 1, known.num_relations + 1
        keys, edge = (self.rows * (head + 1) + tail + 1).unique(return_inverse=True)
        relations = torch.zeros(len(keys), self.kinds, dtype=torch.bool)
        relations[edge, relation] = True
        # Few sets of relations ever join two entities: the rows of a small table, row 0 "none".
        sets, chosen = relations.unique(dim=0, return_inverse=True)
        none, same = torch.zeros(1, self.kinds), torch.zeros(1, self.kinds)
        same[0, -1] = 1
        self.register_buffer("keys", keys, persistent=False)
        self.register_buffer("chosen", chosen + 2, persistent=False)
        self.register_buffer("sets", torch.cat([none, same, sets.float()]), persistent=False)

    def forward(self, head: Tensor, tail: Tensor) -> Tensor:
        """The row of `sets` (...) for each pair of rows of the entity table: 0 where nothing joins them, 1 where they are one."""
        key = self.rows * head + tail
        place = torch.searchsorted(self.keys, key).clamp(max=len(self.keys) - 1)
        joined = torch.where(self.keys[place] == key, self.chosen[place], 0)
        return torch.where(head == tail, 1, joined)


class Neighbours(Fusion):
    """Adds to each candidate's vector how the graph joins it with what the other mentions of the text mean.

    Args:
        entity_dim: Width of the entities.
        graph: Folder of the graph.
        entity: Name of the entity stream: candidates (B, E, C, D).
        linking: Stream of scores (B, E, C, 1) that say what the mentions mean; "" for the priors.
        decays: For each, the mentions count less by exp(-decay) with every mention in between; 0 for the whole text alike.
        without: Files of triples that must not be known.
        shuffled: Seed of the control that exchanges tails within each relation; None for the true graph.
    """

    def __init__(
        self,
        entity_dim: int,
        graph: Path,
        entity: str = "entity",
        linking: str = "",
        decays: Sequence[float] = (0.0, 0.7),
        without: Sequence[Path] = (),
        shuffled: int | None = None,
    ) -> None:
        super().__init__()
        self.entity, self.linking, self.decays = entity, linking, tuple(decays)
        self.needs = (f"{entity}.ids", f"{entity}.priors", *([linking] if linking else []))
        self.edges = Edges(graph, without, shuffled)
        self.join = nn.Linear(len(self.decays) * self.edges.kinds, entity_dim, bias=False)

    def meant(self, streams: Streams, batch: Batch) -> Tensor:
        """The weight (B, E, C) of each candidate of a mention, 0 at padding."""
        given = batch[self.entity]
        if not self.linking:
            return given["priors"] * (given["ids"] > 0)
        scores, real = streams[self.linking].x[..., 0], given["ids"] > 0
        return scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(-1) * real

    def counts(self, ids: Tensor, weights: Tensor) -> Tensor:
        """n (B, E, C, decays * relations) of candidates (B, E, C)."""
        flat, width = ids.flatten(1), ids.shape[2]
        # Most places are padding, and pairs are quadratic: what is real goes first, and the rest is cut off.
        order = (flat == 0).int().argsort(dim=1, stable=True)[:, : int((flat > 0).sum(1).max())]  # (B, M)
        nodes, heavy, mention = flat.gather(1, order), weights.flatten(1).gather(1, order), order // width
        pairs = (nodes > 0)[:, :, None] & (nodes > 0)[:, None] & (mention[:, :, None] != mention[:, None])  # (B, M, M)
        sample, one, other = pairs.nonzero().unbind(1)
        chosen = self.edges(nodes[sample, one], nodes[sample, other])
        joined = chosen > 0
        sample, one, other, chosen = sample[joined], one[joined], other[joined], chosen[joined]
        distance = (mention[sample, one] - mention[sample, other]).abs().to(heavy.dtype)
        near = torch.stack([torch.exp(-decay * distance) for decay in self.decays], 1)  # (pairs, decays)
        amount = (heavy[sample, other, None] * near)[..., None] * self.edges.sets[chosen].to(heavy.dtype)[:, None]
        found = amount.new_zeros(flat.numel(), len(self.decays) * self.edges.kinds)
        return found.index_add(0, sample * flat.shape[1] + order[sample, one], amount.flatten(1)).unflatten(0, ids.shape)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        candidates = streams[self.entity]
        counts = self.counts(batch[self.entity]["ids"], self.meant(streams, batch).to(candidates.x.dtype))
        return {self.entity: candidates._replace(x=candidates.x + self.join(counts.log1p()))}
