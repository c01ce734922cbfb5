"""Denoising entity auto-encoding (dEA; ERNIE, arXiv 1905.07129, section 3.4, equation 6; thunlp/ERNIE: code/run_pretrain.py)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kemm.batch import IGNORE, Batch
from kemm.encoders import EntityEncoder
from kemm.fusion.base import Streams
from kemm.nn import Draws, gather
from kemm.objectives.base import Losses, Objective, Teacher, View, cross_entropy
from kemm.objectives.masked_lm import Transform

if TYPE_CHECKING:
    from kemm.model import FusionModel


class EntityDenoising(Objective):
    """Which entity is this token's? Scores its text state against the vectors of all entities of the batch (of all ranks), and against
    that of "none", row 0, where some place has none.

    Of the aligned tokens, `replaced` get another entity of the batch, `masked` get none, the rest keep theirs; all are predicted.

    Args:
        dim: Width of the text.
        entity_dim: Width of the entities.
        replaced: Share of the aligned tokens that get a random entity of the batch.
        masked: Share that get none.
        text: The stream that is read.
        entity: The input that is corrupted, ids (B, T) with 0 = none, and the encoder whose table holds the vectors.
        view: See `Objective`.
    """

    def __init__(
        self,
        dim: int,
        entity_dim: int,
        replaced: float = 0.05,
        masked: float = 0.15,
        text: str = "text",
        entity: str = "entity",
        view: str = "main",
    ) -> None:
        super().__init__(view)
        self.replaced, self.masked, self.text, self.entity = replaced, masked, text, entity
        self.needs = (f"{entity}.ids",)
        self.transform = Transform(dim, entity_dim)

    def corrupt(self, batch: Batch, before: dict[str, View], draws: Draws) -> Batch:
        entity = batch[self.entity]
        ids: Tensor = entity["ids"]  # (B, T)
        aligned = (ids > 0) & entity.get("mask", torch.ones_like(ids, dtype=torch.bool))
        present = torch.bincount(gather((ids * aligned).flatten())).nonzero()[:, 0]
        entities = present[present > 0] if len(present) > 1 else present
        chance = draws.uniform("entity", ids.shape[1])
        other = entities[draws.integers("other entity", len(entities), ids.shape[1])]
        corrupted = torch.where(chance < self.replaced, other, ids)
        corrupted = corrupted.masked_fill((chance >= self.replaced) & (chance < self.replaced + self.masked), 0)
        corrupted = corrupted.masked_fill(~aligned, 0)
        mask = corrupted > 0
        mask[:, 0] = True  # [CLS] sees, and is seen, without an entity of its own
        labels = torch.searchsorted(present, ids).masked_fill(~aligned, IGNORE)
        hidden = {**entity, "ids": corrupted, "mask": mask, "labels": labels, "candidates": present}
        return {**batch, self.entity: hidden}

    def logits(self, x: Tensor, candidates: Tensor) -> Tensor:
        """Scores (..., N) of text states (..., D) against candidates (N, D')."""
        return self.transform(x) @ candidates.T

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        entity = batch[self.entity]
        counted = entity["labels"] != IGNORE
        encoder = network.encoder(self.entity)
        assert isinstance(encoder, EntityEncoder)
        candidates = encoder.rows(entity["candidates"])
        return cross_entropy(self.logits(streams[self.text].x[counted], candidates), entity["labels"][counted])
