"""Entities known by their place in the graph alone: no vector is learned for any one of them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from kemm.batch import CandidateInput, EntityInput, Stream
from kemm.encoders.base import Encoder
from kemm.kg import read_known


class IncidentEmbedding(nn.Module):
    """`Linear([log(1 + n); k])`, n_r the number of edges of relation r that leave an entity, read backwards too: the relational context of
    NodePiece (Galkin et al., arXiv 2106.12144, section 3.2) without its anchors; k marks the kinds of the entity. Entities that training
    never met have vectors as good as others.

    Args:
        dim: Width.
        graph: Folder of the graph; rows are its entities from 1 on, row 0 is "no entity".
        without: Files of triples that must not be known.
        shuffled: Seed of the control that exchanges tails within each relation; None for the true graph.
    """

    marks: Tensor

    def __init__(self, dim: int, graph: Path, without: Sequence[Path] = (), shuffled: int | None = None) -> None:
        super().__init__()
        self.marks: Tensor
        known = read_known(graph, without, shuffled).with_inverses()
        head, relation, _ = known.triples.unbind(1)
        counts = torch.zeros(known.num_entities + 1, known.num_relations)
        counts.index_put_((head + 1, relation), torch.ones(len(head)), accumulate=True)
        kinds_of = [entity.kind.split("|") for entity in known.entities]
        names = sorted({kind for listed in kinds_of for kind in listed})
        kinds = torch.zeros(known.num_entities + 1, len(names))
        for row, listed in enumerate(kinds_of, 1):
            kinds[row, [names.index(kind) for kind in listed]] = 1
        self.register_buffer("marks", torch.cat([counts.log1p(), kinds], 1), persistent=False)
        self.project = nn.Linear(self.marks.shape[1], dim)

    def forward(self, entity: EntityInput | CandidateInput) -> Stream:
        ids = entity["ids"]
        return Stream(self.project(self.marks[ids]), entity.get("mask", ids != 0))  # (B, L, D), or (B, E, C, D) for candidates


class GraphEncoder(Encoder):
    """A graph's entities as an encoder of no layers.

    Args:
        dim: Width.
        graph: Folder of the graph; rows are its entities from 1 on, row 0 is "no entity".
        without: Files of triples that must not be known.
        shuffled: Seed of the control that exchanges tails within each relation; None for the true graph.
    """

    def __init__(self, dim: int, graph: Path, without: Sequence[Path] = (), shuffled: int | None = None) -> None:
        embed = IncidentEmbedding(dim, graph, without, shuffled)
        super().__init__(embed)
        self.dim, self.limits = dim, {"ids": len(embed.marks)}

    @property
    def table(self) -> Tensor:
        """The vectors of all entities, (N, D)."""
        embed = self.embed
        assert isinstance(embed, IncidentEmbedding)
        return embed.project(embed.marks)
