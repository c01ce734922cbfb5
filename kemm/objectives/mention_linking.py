"""Which of all entities does a mention mean? Entities as Experts' entity linking (arXiv 2004.07202, section 3; google-research/language:
mentionmemory/tasks/eae_task.py)."""

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.objectives.base import Losses, Objective, Teacher, cross_entropy

if TYPE_CHECKING:
    from kemm.model import FusionModel


class MentionLinking(Objective):
    """Negative log-likelihood of the true entity over the softmax of a mention's vector against the whole table, row 0 ("none") apart:

        p(e | m) = exp(q_m . E_e) / sum_j exp(q_m . E_j)

    Read from `<mention>_query`, it is the supervision of the memory's access: `MemoryAttention` scores the rows that it finds by the same
    products. Read from a `MentionQuery` above the last layer, it is the entity prediction of the output. Mentions whose entity is unknown
    (0) do not count.

    Args:
        stream: Vectors (B, E, D') of the mentions.
        entity: The encoder whose table holds the entities.
        mention: Entry of the batch with the true entities `gold` (B, E).
        view: See `Objective`.
    """

    def __init__(self, stream: str = "mention_query", entity: str = "entity", mention: str = "mention", view: str = "main") -> None:
        super().__init__(view)
        self.stream, self.entity, self.mention = stream, entity, mention
        self.needs = (f"{mention}.gold", f"{mention}.spans")

    def limits(self, network: "FusionModel") -> dict[str, int]:
        return {f"{self.mention}.ids": len(network.table(self.entity))}

    def logits(self, x: Tensor, network: "FusionModel") -> Tensor:
        """Scores (..., N) of all entities for vectors (..., D'); that of "none" is the lowest number."""
        scores = F.linear(x, network.table(self.entity))
        return F.pad(scores[..., 1:], (1, 0), value=float("-inf"))

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        given = batch[self.mention]
        counted = (given["gold"] > 0) & (given["spans"][..., 0] >= 0)
        return cross_entropy(self.logits(streams[self.stream].x[counted], network), given["gold"][counted])
