"""A label for a whole sample, read from one feature or several: next sentence, image-text matching by given labels, relations, answers."""

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.nn import init_bert
from kemm.objectives.base import Losses, Objective, Teacher, binary_cross_entropy, count_of, cross_entropy

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Classification(Objective):
    """Linear scores of features against `batch[labels]` (B,).

    Args:
        dim: Width of the combined features.
        classes: Number of classes.
        features: Streams whose first places are combined (BERT's pooled text; ViLBERT's two poolers).
        labels: Entry of the batch that holds the labels.
        product: Whether features are multiplied (ViLBERT) or added.
        dropout: Rate before the classifier.
        view: See `Objective`.
        bias: Whether the classifier has a bias.
    """

    def __init__(
        self,
        dim: int,
        classes: int = 2,
        features: Sequence[str] = ("pooled",),
        labels: str = "next_sentence",
        product: bool = True,
        dropout: float = 0.1,
        view: str = "main",
        bias: bool = True,
    ) -> None:
        super().__init__(view)
        self.features, self.labels, self.product, self.needs = tuple(features), labels, product, (labels,)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(dim, classes, bias=bias)
        init_bert(self.classifier)

    def logits(self, streams: Streams) -> Tensor:
        """Scores (B, classes)."""
        features = (streams[name].x[:, 0] for name in self.features)
        return self.classifier(self.dropout(reduce(torch.mul if self.product else torch.add, features)))

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        return cross_entropy(self.logits(streams), batch[self.labels])


class MultiLabelClassification(Classification):
    """Any number of labels a sample: binary cross-entropy of each against `batch[labels]` (B, classes), 0 or 1 (ERNIE's and CoLAKE's
    typing; thunlp/ERNIE: code/knowledge_bert/modeling.py, BertForEntityTyping; txsun1997/CoLAKE: finetune/run_typing.py)."""

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        return binary_cross_entropy(self.logits(streams), batch[self.labels])


class SoftClassification(Classification):
    """Several labels a sample, each with a weight: KL(`batch[labels]` (B, classes) || softmax), the weights as they are (the answers of
    VisualBERT's VQA, whose soft scores do not sum to 1; uclanlp/visualbert: modeling.py, TrainVisualBERTObjective)."""

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        logits, weights = self.logits(streams), batch[self.labels]
        hits = weights.gather(1, logits.argmax(-1, keepdim=True))
        count = count_of(logits[:, 0])
        return {"loss": (self.divergence(logits.log_softmax(-1), weights), count), "accuracy": (hits.sum(), count)}

    def divergence(self, log_probabilities: Tensor, weights: Tensor) -> Tensor:
        """The summed loss of (B, classes)."""
        return F.kl_div(log_probabilities, weights, reduction="sum")


class GradedClassification(SoftClassification):
    """`SoftClassification` with the cross-entropy -sum w log p instead of the divergence: a graded similarity as a distribution over its
    two ends (STS-B in ERNIE, thunlp/ERNIE: code/knowledge_bert/modeling.py, BertForSTSB)."""

    def divergence(self, log_probabilities: Tensor, weights: Tensor) -> Tensor:
        return -(weights * log_probabilities).sum()
