"""Link prediction: which tail, which head? Against all entities of the table (1-N scoring, Dettmers et al., arXiv 1707.01476, section 4;
the cross-entropy of Ruffinelli et al., "You CAN teach an old dog new tricks", ICLR 2020)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.kg import Scorer
from kemm.objectives.base import Losses, Objective, Teacher, cross_entropy

if TYPE_CHECKING:
    from kemm.model import FusionModel


class LinkPrediction(Objective):
    """Scores each triple's tail against all entities, and its head by the inverse relation.

    Reads `batch["triple"]` with `head`, `relation`, `inverse` (the relation that reads it backwards), `tail`, each (B,), rows of the
    tables (0 is none).

    Args:
        scorer: A scorer of `kemm.kg`, which has `score_tails(head, relation, entities)`.
        scale: Inverse temperature of the scores.
        triple: Name of the triples in the batch.
        entity: Encoder whose table holds the entities.
        relation: Encoder whose table holds the relations and their inverses.
        view: See `Objective`.
    """

    def __init__(
        self,
        scorer: Scorer,
        scale: float = 1.0,
        triple: str = "triple",
        entity: str = "entity",
        relation: str = "relation",
        view: str = "main",
    ) -> None:
        super().__init__(view)
        self.scorer, self.scale, self.triple, self.entity, self.relation = scorer, scale, triple, entity, relation
        self.needs = (f"{triple}.head",)

    def tables(self, network: "FusionModel") -> tuple[Tensor, Tensor]:
        """The vectors of all entities and of all relations."""
        return network.table(self.entity), network.table(self.relation)

    def limits(self, network: "FusionModel") -> dict[str, int]:
        entities, relations = self.tables(network)
        sizes = {"head": len(entities), "tail": len(entities), "relation": len(relations), "inverse": len(relations)}
        return {f"{self.triple}.{end}": size for end, size in sizes.items()}

    def queries(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Both directions of each triple as (subject, relation, answer), each (2 B,); rows of the tables."""
        triple = batch[self.triple]
        subject = torch.cat([triple["head"], triple["tail"]])
        return subject, torch.cat([triple["relation"], triple["inverse"]]), torch.cat([triple["tail"], triple["head"]])

    def scores(self, batch: Batch, network: "FusionModel") -> tuple[Tensor, Tensor]:
        """Scores (2 B, N) of all entities but row 0, and the place of the answer among them (2 B,)."""
        entities, relations = self.tables(network)
        subject, relation, answer = self.queries(batch)
        scores = self.scorer.score_tails(entities[subject], relations[relation], entities[1:])
        return self.scale * scores, answer - 1

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        return cross_entropy(*self.scores(batch, network))
