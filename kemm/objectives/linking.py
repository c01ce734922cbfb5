"""Entity linking: which candidate does a mention mean? Scores come from a fusion (KnowBERT's KAR), as the stream `<entity>_linking`."""

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from kemm.batch import IGNORE, Batch
from kemm.fusion.base import Streams
from kemm.objectives.base import Losses, Objective, Teacher, count_of, cross_entropy

if TYPE_CHECKING:
    from kemm.model import FusionModel


class EntityLinking(Objective):
    """Negative log-likelihood of the gold candidate over the softmax of each mention's candidates (KnowBERT, equation 9 of
    arXiv 1909.04164; allenai/kb: kb/entity_linking.py).

    The original counts the first candidate as gold where the gold entity is none of a mention's candidates; `strict` leaves such
    mentions out instead.

    Args:
        entity: Name of the candidates' input.
        stream: Stream of the scores (B, E, C, 1); `<entity>_linking` by default.
        strict: Whether mentions whose gold entity is no candidate are left out.
        view: See `Objective`.
    """

    def __init__(self, entity: str = "entity", stream: str = "", strict: bool = True, view: str = "main") -> None:
        super().__init__(view)
        self.entity, self.stream, self.strict = entity, stream or f"{entity}_linking", strict
        self.needs = (f"{entity}.gold",)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        return cross_entropy(self.scores(streams), self.labels(batch))

    def scores(self, streams: Streams) -> Tensor:
        """The scores (B, E, C) of the candidates."""
        return streams[self.stream].x[..., 0]

    def labels(self, batch: Batch) -> Tensor:
        """The place of the gold entity among the candidates (B, E), `IGNORE` where there is none to predict."""
        ids, gold = batch[self.entity]["ids"], batch[self.entity]["gold"]
        same = (ids == gold[..., None]) & (ids > 0)  # (B, E, C)
        counted = same.any(-1) if self.strict else (ids > 0).any(-1)
        return same.to(ids.dtype).argmax(-1).masked_fill(~counted, IGNORE)

    def decode(self, streams: Streams, batch: Batch) -> Tensor:
        """The entity (B, E) that each mention is linked to: its best candidate; 0 where it has none."""
        ids = batch[self.entity]["ids"]
        best = self.scores(streams).argmax(-1, keepdim=True)
        return ids.gather(-1, best)[..., 0]


class MarginEntityLinking(EntityLinking):
    """A margin around 0 for every candidate: max(0, margin - psi) for the gold one, max(0, margin + psi) for the others
    (KnowBERT, equation 10; allenai/kb: kb/entity_linking.py), mean over all candidates.

    Args:
        entity: Name of the candidates' input.
        stream: Stream of the scores (B, E, C, 1); `<entity>_linking` by default.
        margin: The margin.
        threshold: A mention is linked if its best score exceeds it.
        view: See `Objective`.
    """

    def __init__(self, entity: str = "entity", stream: str = "", margin: float = 0.2, threshold: float = 0.0, view: str = "main") -> None:
        super().__init__(entity, stream, True, view)
        self.margin, self.threshold = margin, threshold

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        ids, gold, scores = batch[self.entity]["ids"], batch[self.entity]["gold"], self.scores(streams)
        sign = (ids == gold[..., None]).to(scores.dtype) * 2 - 1
        losses = F.relu(self.margin - sign * scores)[ids > 0]
        return {"loss": (losses.sum(), count_of(losses))}

    def decode(self, streams: Streams, batch: Batch) -> Tensor:
        """The entity (B, E) that each mention is linked to: its best candidate if the score exceeds the threshold, else 0."""
        return super().decode(streams, batch).masked_fill(self.scores(streams).amax(-1) <= self.threshold, 0)
