"""What stands right beside each word: a convolution over the text, which attention learns late from little text (the mixture of both is
ConvBERT's idea, Jiang et al., arXiv 2008.02496)."""

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import nn

from kemm.batch import Batch
from kemm.fusion.base import Fusion, Streams

if TYPE_CHECKING:
    from kemm.model import FusionModel


class LocalContext(Fusion):
    """`norm(x + dropout(gelu(convolution(x))))` over the real places of a stream; a place tells those to its left and right apart.

    Args:
        dim: Width of the stream.
        reach: Places that are seen to the left, and as many to the right.
        dropout: Rate before the sum.
        stream: Name of the stream.
    """

    def __init__(self, dim: int, reach: int = 2, dropout: float = 0.0, stream: str = "text") -> None:
        super().__init__()
        self.stream = stream
        self.convolution = nn.Conv1d(dim, dim, 2 * reach + 1, padding=reach)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        stream = streams[self.stream]
        real = stream.x * stream.real()[..., None]  # (B, L, D)
        near = F.gelu(self.convolution(real.transpose(1, 2)).transpose(1, 2))
        return {self.stream: stream._replace(x=self.norm(stream.x + self.dropout(near)))}
