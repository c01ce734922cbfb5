"""Does a mention name the entity that belongs there? WKLM's knowledge learning (arXiv 1912.09637, section 2.2)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.fusion.memory import at_places
from kemm.nn import init_bert
from kemm.objectives.base import Losses, Objective, Teacher, binary_cross_entropy

if TYPE_CHECKING:
    from kemm.model import FusionModel


class ReplacementDetection(Objective):
    """Binary cross-entropy of `W [x_before; x_after] + b` of each mention against `batch[mention]["replaced"]` (B, E), with the states of
    the tokens right before and right after it.

    The first and the last token of a text, [CLS] and [SEP], are in no mention.

    Args:
        dim: Width of the text.
        text: The stream that is read.
        mention: Entry of the batch with the `spans` (B, E, 2), inclusive ends, -1 at padding, and what is `replaced`.
        dropout: Rate before the classifier.
        view: See `Objective`.
    """

    def __init__(self, dim: int, text: str = "text", mention: str = "mention", dropout: float = 0.1, view: str = "main") -> None:
        super().__init__(view)
        self.text, self.mention, self.needs = text, mention, (text, f"{mention}.spans", f"{mention}.replaced")
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(2 * dim, 1)
        init_bert(self)

    def logits(self, streams: Streams, spans: Tensor) -> Tensor:
        """Scores (B, E) of having been replaced; anything at padding."""
        x, real = streams[self.text].x, spans[..., 0] >= 0
        around = (torch.where(real, spans[..., 0] - 1, 0), torch.where(real, spans[..., 1] + 1, 0))
        joined = torch.cat([at_places(x, places) for places in around], -1)  # (B, E, 2 D)
        return self.classifier(self.dropout(joined))[..., 0]

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        given = batch[self.mention]
        real = given["spans"][..., 0] >= 0
        return binary_cross_entropy(self.logits(streams, given["spans"])[real], given["replaced"][real])
