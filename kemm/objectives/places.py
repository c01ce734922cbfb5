"""A label for marked places of a sample: a relation between two mentions, a mention's type (the heads of K-Adapter, LUKE, KnowBERT)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.nn import init_bert
from kemm.objectives.base import Losses, Objective, Teacher, cross_entropy

if TYPE_CHECKING:
    from kemm.model import FusionModel


class PlaceClassification(Objective):
    """Linear scores of the joined states at a sample's marked places against `batch[labels]` (B,).

    Args:
        dim: Width of the stream.
        classes: Number of classes.
        stream: The stream that is read.
        places: How many places are read of each sample.
        hidden: Width of a layer before the classifier, without activation (microsoft/K-Adapter: fac-adapter.py); None for none.
        labels: Entry of the batch that holds the labels.
        entry: Entry of the batch that holds the places (B, places), int64.
        dropout: Rate before the classifier.
        view: See `Objective`.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        stream: str = "text",
        places: int = 2,
        hidden: int | None = None,
        labels: str = "relation",
        entry: str = "places",
        dropout: float = 0.1,
        view: str = "main",
    ) -> None:
        super().__init__(view)
        self.stream, self.labels, self.entry, self.needs = stream, labels, entry, (entry, labels)
        self.dense = nn.Linear(places * dim, hidden) if hidden else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden or places * dim, classes)
        init_bert(self)

    def logits(self, streams: Streams, places: Tensor) -> Tensor:
        """Scores (B, classes) of the states at `places` (B, N)."""
        x = streams[self.stream].x  # (B, L, D)
        marked = x[torch.arange(len(x), device=x.device)[:, None], places]  # (B, N, D)
        return self.classifier(self.dropout(self.dense(marked.flatten(1))))

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        return cross_entropy(self.logits(streams, batch[self.entry]), batch[self.labels])
