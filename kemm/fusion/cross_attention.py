"""Layers of one stream that read another by cross-attention: ALBEF's (post-norm) and CoCa's caption decoder (pre-norm)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import Batch
from kemm.fusion.base import Fusion, Streams
from kemm.nn import Attention, AttentionBlock, BertNorm, FeedForward, FeedForwardBlock, PreNormLayer, causal

if TYPE_CHECKING:
    from kemm.model import FusionModel


class CrossAttentionLayer(Fusion):
    """ALBEF's layer (arXiv 2107.07651, section 3.1): self-attention, attention over another stream, feed-forward.

    Args:
        stream: The stream that the layer changes.
        memory: The stream that it reads.
        dim: Width of the first.
        memory_dim: Width of the second.
        heads: Number of heads.
        inner: Width of the feed-forward; 4 times `dim` by default.
        dropout: Rate everywhere.
        norm: Makes the norm of a width.
        activation: The non-linearity.
    """

    def __init__(
        self,
        stream: str,
        memory: str,
        dim: int,
        memory_dim: int,
        heads: int = 12,
        inner: int | None = None,
        dropout: float = 0.1,
        norm: Callable[[int], nn.Module] = BertNorm,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        super().__init__()
        self.stream, self.memory = stream, memory
        self.attention = AttentionBlock(dim, heads, dropout=dropout, norm=norm)
        self.cross = AttentionBlock(dim, heads, memory_dim, dropout=dropout, norm=norm)
        self.feedforward = FeedForwardBlock(dim, inner, dropout, norm, activation)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        stream, memory = streams[self.stream], streams[self.memory]
        x = self.attention(stream.x, stream.mask)
        x = self.cross(x, memory.real(), memory.x)
        return {self.stream: stream._replace(x=self.feedforward(x))}


class DecoderLayer(Fusion):
    """CoCa's multimodal decoder layer (arXiv 2205.01917, figure 2): a causal pre-norm layer, then a pre-norm layer of
    cross-attention with a feed-forward of its own (mlfoundations/open_clip: transformer.py, MultimodalTransformer). Padding, at the end,
    needs no mask.

    Args:
        stream: The stream that the layer changes.
        memory: The stream that it reads.
        dim: Width of both.
        heads: Number of heads.
        inner: Width of the feed-forwards; 4 times `dim` by default.
        norm: Makes the norm of a width.
        activation: The non-linearity.
    """

    def __init__(
        self,
        stream: str,
        memory: str,
        dim: int,
        heads: int = 8,
        inner: int | None = None,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        super().__init__()
        self.stream, self.memory = stream, memory
        self.layer = PreNormLayer(dim, heads, inner, norm=norm, activation=activation)
        self.query_norm, self.memory_norm, self.feedforward_norm = norm(dim), norm(dim), norm(dim)
        self.cross = Attention(dim, heads)
        self.feedforward = FeedForward(dim, inner, activation)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        stream, memory = streams[self.stream], streams[self.memory]
        x = self.layer(stream.x, causal(stream.x))
        x = x + self.cross(self.query_norm(x), memory.real(), self.memory_norm(memory.x))
        return {self.stream: stream._replace(x=x + self.feedforward(self.feedforward_norm(x)))}
