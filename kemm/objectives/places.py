"""A label for marked places of a sample: a relation between two mentions, a mention's type (the heads of K-Adapter, LUKE, KnowBERT)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.nn import init_bert
from kemm.objectives.base import Losses, Objective, Teacher, binary_cross_entropy, cross_entropy

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
        features: Streams of the same width whose first places are joined before the marked ones (KnowBERT's pooled text; allenai/kb:
            kb/evaluation/classification_model.py).
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
        features: Sequence[str] = (),
    ) -> None:
        super().__init__(view)
        self.features, width = tuple(features), (len(features) + places) * dim
        self.stream, self.labels, self.entry, self.needs = stream, labels, entry, (entry, labels)
        self.dense = nn.Linear(width, hidden) if hidden else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden or width, classes)
        init_bert(self)

    def logits(self, streams: Streams, places: Tensor) -> Tensor:
        """Scores (B, classes) of the states at `places` (B, N)."""
        x = streams[self.stream].x  # (B, L, D)
        marked = x[torch.arange(len(x), device=x.device)[:, None], places]  # (B, N, D)
        joined = torch.cat([*(streams[name].x[:, 0] for name in self.features), marked.flatten(1)], -1)
        return self.classifier(self.dropout(self.dense(joined)))

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        return cross_entropy(self.logits(streams, batch[self.entry]), batch[self.labels])


class MultiLabelPlaceClassification(PlaceClassification):
    """Any number of labels of the marked places: binary cross-entropy of each against `batch[labels]` (B, classes), 0 or 1 (entity typing
    in K-Adapter and KnowBERT; microsoft/K-Adapter: examples/run_finetune_openentity_adapter.py)."""

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        return binary_cross_entropy(self.logits(streams, batch[self.entry]), batch[self.labels])
