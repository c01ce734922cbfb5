"""A label for a whole sample, read from one feature or several: next sentence, image-text matching by given labels, relations."""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.objectives.base import Losses, Objective, Teacher, cross_entropy

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Classification(Objective):
    """Linear scores of features against `batch[labels]` (B,).

    Args:
        dim: Width of the combined features.
        classes: Number of classes.
        features: Streams whose first places are combined (BERT's pooled text; ViLBERT's two poolers).
        labels: Entry of the batch that holds the labels.
        combine: Combines two features: `torch.mul` (ViLBERT) or `torch.add`.
        dropout: Rate before the classifier.
        view: See `Objective`.
    """

    def __init__(
        self,
        dim: int,
        classes: int = 2,
        features: Sequence[str] = ("pooled",),
        labels: str = "next_sentence",
        combine: Callable[[Tensor, Tensor], Tensor] = torch.mul,
        dropout: float = 0.1,
        view: str = "main",
    ) -> None:
        super().__init__(view)
        self.features, self.labels, self.combine, self.needs = tuple(features), labels, combine, (labels,)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(dim, classes)
        nn.init.normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

    def logits(self, streams: Streams) -> Tensor:
        """Scores (B, classes)."""
        return self.classifier(self.dropout(reduce(self.combine, (streams[name].x[:, 0] for name in self.features))))

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        return cross_entropy(self.logits(streams), batch[self.labels])
