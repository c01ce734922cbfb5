"""Which place of a text? Extractive question answering has two such objectives, the answer's first token and its last (BERT, arXiv
1810.04805, section 4.2; SQuAD), each with the weight 0.5."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kemm.batch import IGNORE, Batch
from kemm.fusion.base import Streams
from kemm.nn import init_bert
from kemm.objectives.base import Losses, Objective, Teacher, cross_entropy

if TYPE_CHECKING:
    from kemm.model import FusionModel


class PlaceSelection(Objective):
    """Scores each place of a stream against `batch[labels]` (B,), the right place; one outside the text (it was cut off) is not counted.

    Args:
        dim: Width of the stream.
        stream: The stream that is read.
        labels: Entry of the batch that holds the place.
        padded: Whether padded places compete, as they do in the code of BERT and ERNIE (thunlp/ERNIE: code/knowledge_bert/modeling.py,
            BertForQuestionAnswering).
        dropout: Rate before the scores.
        view: See `Objective`.
    """

    def __init__(
        self, dim: int, stream: str = "text", labels: str = "first", padded: bool = False, dropout: float = 0.1, view: str = "main"
    ) -> None:
        super().__init__(view)
        self.stream, self.labels, self.padded, self.needs = stream, labels, padded, (labels,)
        self.reads_padding = padded
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(dim, 1)
        init_bert(self)

    def competing(self, streams: Streams) -> Tensor:
        """Bool (B, L): the places that compete."""
        real = streams[self.stream].real()
        return torch.ones_like(real) if self.padded else real

    def logits(self, streams: Streams) -> Tensor:
        """Scores (B, L)."""
        scores = self.score(self.dropout(streams[self.stream].x))[..., 0]
        return scores.masked_fill(~self.competing(streams), torch.finfo(scores.dtype).min)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        logits, place = self.logits(streams), batch[self.labels]
        inside = (place >= 0) & (place < logits.shape[1])
        inside &= self.competing(streams).gather(1, place.where(inside, 0)[:, None])[:, 0]
        return cross_entropy(logits, place.where(inside, IGNORE))
