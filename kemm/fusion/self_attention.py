"""A stream that reads itself once more above its encoder."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import nn

from kemm.batch import Batch
from kemm.fusion.base import Fusion, Streams
from kemm.nn import AttentionBlock, BertNorm

if TYPE_CHECKING:
    from kemm.model import FusionModel


class SelfAttention(Fusion):
    """`norm(x + attention(x))` of a stream (below the head of K-Adapter's linguistic adapter, microsoft/K-Adapter: lin-adapter.py).

    Args:
        stream: Name of the stream.
        dim: Its width.
        heads: Number of heads.
        dropout: Rate on probabilities and on the output.
        norm: Makes the norm of a width.
    """

    def __init__(self, stream: str, dim: int, heads: int = 1, dropout: float = 0.1, norm: Callable[[int], nn.Module] = BertNorm) -> None:
        super().__init__()
        self.stream, self.needs = stream, (stream,)
        self.attention = AttentionBlock(dim, heads, dropout=dropout, norm=norm)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        stream = streams[self.stream]
        return {self.stream: stream._replace(x=self.attention(stream.x, stream.mask))}
