"""Entity disambiguation by LUKE's masked entities (Yamada et al., "Global Entity Disambiguation with BERT", arXiv 1909.00426, section 3;
studio-ousia/luke: examples/entity_disambiguation)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.nn import BertNorm, Draws
from kemm.objectives import MaskedMention
from kemm.tasks.base import Row, Scores, Task
from kemm.tasks.linking import linking_rows, linking_scores

if TYPE_CHECKING:
    from kemm.model import FusionModel


class EntityDisambiguation(MaskedMention, Task):
    """Trains as `MaskedMention`; evaluated with all entities hidden: a mention means the candidate that scores best at its place.

    The mentions of the candidates' entry are those of the entities, in their order.

    Args:
        dim: Width of the entities' states.
        entity_dim: Width of the table.
        num_entities: Rows of the table.
        mask_id: The row that hidden entities get.
        rate: Share of the entities that are hidden in training.
        specials: Rows that are never hidden.
        entity: See `MaskedMention`.
        candidate: Entry of the batch that holds the candidates (see `CandidateInput`).
        norm: Makes the norm of a width.
        activation: The non-linearity.
        view: See `Objective`.
    """

    def __init__(
        self,
        dim: int,
        entity_dim: int,
        num_entities: int,
        mask_id: int,
        rate: float = 0.15,
        specials: Sequence[int] = (0,),
        entity: str = "mention",
        candidate: str = "candidate",
        norm: Callable[[int], nn.Module] = BertNorm,
        activation: Callable[[Tensor], Tensor] = F.gelu,
        view: str = "main",
    ) -> None:
        super().__init__(dim, entity_dim, num_entities, mask_id, rate, specials, entity, norm, activation, view)
        self.candidate = candidate
        self.needs = (*self.needs, f"{candidate}.gold")

    def choose(self, known: Tensor, draws: Draws) -> Tensor:
        return super().choose(known, draws) if self.training else known

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        candidates = batch[self.candidate]
        scores = self.logits(streams[self.entity].x, network).gather(-1, candidates["ids"])  # (B, E, C)
        return linking_rows(scores, batch["id"], candidates)

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        return linking_scores(rows)
