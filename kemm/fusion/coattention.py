"""Co-attention of two streams (ViLBERT, arXiv 1908.02265, section 3.1 and figure 2b), and what else its repositories do between layers."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import Batch, Stream, map_batch
from kemm.fusion.base import Fusion, Streams
from kemm.nn import Attention, AttentionBlock, BertNorm, FeedForwardBlock

if TYPE_CHECKING:
    from kemm.model import FusionModel


class CoAttention(Fusion):
    """Each stream attends over the other as it was before, then passes its own feed-forward.

    Args:
        streams: Names of the two streams.
        dims: Their widths.
        heads: Number of heads.
        inner: Width of the shared projections (ViLBERT's bi_hidden_size); the second stream's width by default.
        feedforward: Widths of the two feed-forwards; 4 times each width by default.
        dropout: Rate everywhere.
        activation: The non-linearity.
    """

    def __init__(
        self,
        streams: Sequence[str],
        dims: Sequence[int],
        heads: int = 8,
        inner: int | None = None,
        feedforward: Sequence[int] | None = None,
        dropout: float = 0.1,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        super().__init__()
        self.streams = tuple(streams)
        inner, widths = inner or dims[1], feedforward or [4 * dim for dim in dims]
        self.attentions = nn.ModuleList(
            AttentionBlock(dim, heads, memory_dim, inner, dropout) for dim, memory_dim in zip(dims, reversed(dims), strict=True)
        )
        self.feedforwards = nn.ModuleList(
            FeedForwardBlock(dim, width, dropout, activation=activation) for dim, width in zip(dims, widths, strict=True)
        )

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        one, two = (streams[name] for name in self.streams)
        fused = {}
        pairs = zip(self.streams, (one, two), (two, one), self.attentions, self.feedforwards, strict=True)
        for name, stream, other, attention, feedforward in pairs:
            fused[name] = stream._replace(x=feedforward(attention(stream.x, other.real(), other.x)))
        return fused


class DynamicLayer(Fusion):
    """A layer of one stream whose queries and keys are gated by the mean of another (facebookresearch/vilbert-multi-task:
    vilbert/vilbert.py, BertImageSelfAttention): `q * (1 + sigmoid(Linear(mean text)))`, keys likewise.

    Args:
        stream: The stream that the layer changes.
        reads: The stream whose masked mean gates it.
        dim: Width of the first.
        reads_dim: Width of the second.
        heads: Number of heads.
        inner: Width of the feed-forward; 4 times `dim` by default.
        dropout: Rate everywhere.
        activation: The non-linearity.
    """

    def __init__(
        self,
        stream: str,
        reads: str,
        dim: int,
        reads_dim: int,
        heads: int = 8,
        inner: int | None = None,
        dropout: float = 0.1,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        super().__init__()
        self.stream, self.reads = stream, reads
        self.attention = Attention(dim, heads, dropout=dropout)
        self.query_gate = nn.Linear(reads_dim, dim)
        self.key_gate = nn.Linear(reads_dim, dim)
        self.norm = BertNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.feedforward = FeedForwardBlock(dim, inner, dropout, activation=activation)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        stream, other = streams[self.stream], streams[self.reads]
        real = other.real()[..., None].to(other.x.dtype)
        mean = (other.x * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)  # (B, 1, D')
        query = self.attention.query(stream.x) * (1 + torch.sigmoid(self.query_gate(mean)))
        key = self.attention.key(stream.x) * (1 + torch.sigmoid(self.key_gate(mean)))
        attended = self.attention.attend(query, key, self.attention.value(stream.x), stream.mask)
        return {self.stream: stream._replace(x=self.feedforward(self.norm(stream.x + self.dropout(attended))))}


class Pairs(Fusion):
    """Every row of one stream with every row of another: row i * B' + j is row i of the first and row j of the second.

    With one row in the first this is ViLBERT's fast mode (one text, many images), with B and B its `in_batch_pairs`.

    Args:
        streams: Names of the two streams.
    """

    def __init__(self, streams: Sequence[str]) -> None:
        super().__init__()
        self.streams = tuple(streams)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        one, two = (streams[name] for name in self.streams)
        rows, columns = len(one.x), len(two.x)
        first: Stream = map_batch(one, lambda t: t.repeat_interleave(columns, 0))
        second: Stream = map_batch(two, lambda t: t.repeat(rows, *[1] * (t.dim() - 1)))
        return {self.streams[0]: first, self.streams[1]: second}


class Detach(Fusion):
    """Stops the gradient of a stream: what lies below is fixed (ViLBERT's fixed_t_layer, fixed_v_layer).

    Args:
        stream: Name of the stream.
    """

    def __init__(self, stream: str) -> None:
        super().__init__()
        self.stream = stream

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        return {self.stream: streams[self.stream]._replace(x=streams[self.stream].x.detach())}
