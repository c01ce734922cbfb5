"""A label for each token: named entities (CoNLL-2003), parts of speech, the head of each word in a dependency tree."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.nn import init_bert
from kemm.objectives.base import Losses, Objective, Teacher, cross_entropy

if TYPE_CHECKING:
    from kemm.model import FusionModel


class TokenClassification(Objective):
    """Linear scores of each state of a stream against `batch[labels]` (B, L), `IGNORE` where there is none.

    Args:
        dim: Width of the stream.
        classes: Number of classes; where a word's head is told (microsoft/K-Adapter: lin-adapter.py), the places of the longest text.
        stream: The stream that is read.
        hidden: Width of a layer before the classifier, without activation (K-Adapter); None for none.
        labels: Entry of the batch that holds the labels.
        dropout: Rate before the classifier.
        view: See `Objective`.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        stream: str = "text",
        hidden: int | None = None,
        labels: str = "tags",
        dropout: float = 0.1,
        view: str = "main",
    ) -> None:
        super().__init__(view)
        self.stream, self.labels, self.needs = stream, labels, (labels,)
        self.dense = nn.Linear(dim, hidden) if hidden else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden or dim, classes)
        init_bert(self)

    def logits(self, streams: Streams) -> Tensor:
        """Scores (B, L, classes)."""
        return self.classifier(self.dropout(self.dense(streams[self.stream].x)))

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        labels = batch[self.labels]
        return cross_entropy(self.logits(streams)[:, : labels.shape[1]], labels)
