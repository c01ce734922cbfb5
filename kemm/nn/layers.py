"""Transformer layers: post-norm (BERT, arXiv 1810.04805) and pre-norm (GPT-2, ViT), and the two blocks that each is made of.

A layer is called `(x, mask, positions) -> x`, with x (B, L, D), mask (B, L) or (B, L, L), True = visible.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.nn.attention import Attention


class BertNorm(nn.LayerNorm):
    """The layer norm of BERT and of what descends from it (TensorFlow's epsilon).

    Args:
        dim: Width.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=1e-12)


class UnbiasedNorm(nn.Module):
    """UER's layer norm: `weight * (x - mean) / (std + 1e-6) + bias` with the unbiased deviation (autoliuweijie/K-BERT:
    uer/layers/layer_norm.py).

    Args:
        dim: Width.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        std, mean = torch.std_mean(x, -1, keepdim=True)
        return self.weight * (x - mean) / (std + 1e-6) + self.bias


class AttentionBlock(nn.Module):
    """Post-norm residual attention: `norm(x + dropout(attention(x, memory)))`.

    Args:
        dim: Width of the stream.
        heads: Number of heads.
        memory_dim: Width of the attended stream; `dim` by default.
        inner: Width of the projections; `dim` by default.
        dropout: Rate on probabilities and on the output.
        norm: Makes the norm of a width.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        memory_dim: int | None = None,
        inner: int | None = None,
        dropout: float = 0.0,
        norm: Callable[[int], nn.Module] = BertNorm,
    ) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, memory_dim, inner, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.norm = norm(dim)

    def forward(self, x: Tensor, mask: Tensor | None = None, memory: Tensor | None = None) -> Tensor:
        return self.norm(x + self.dropout(self.attention(x, mask, memory)))


class FeedForward(nn.Module):
    """`down(activation(up(x)))`.

    Args:
        dim: Width of the stream.
        inner: Width in between; 4 times `dim` by default.
        activation: The non-linearity; exact GELU by default.
    """

    def __init__(self, dim: int, inner: int | None = None, activation: Callable[[Tensor], Tensor] = F.gelu) -> None:
        super().__init__()
        self.up = nn.Linear(dim, inner or 4 * dim)
        self.down = nn.Linear(inner or 4 * dim, dim)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))


class FeedForwardBlock(nn.Module):
    """Post-norm residual feed-forward: `norm(x + dropout(feedforward(x)))`.

    Args:
        dim: Width of the stream.
        inner: Width in between.
        dropout: Rate on the output.
        norm: Makes the norm of a width.
        activation: The non-linearity.
    """

    def __init__(
        self,
        dim: int,
        inner: int | None = None,
        dropout: float = 0.0,
        norm: Callable[[int], nn.Module] = BertNorm,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        super().__init__()
        self.feedforward = FeedForward(dim, inner, activation)
        self.dropout = nn.Dropout(dropout)
        self.norm = norm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.dropout(self.feedforward(x)))


class PostNormLayer(nn.Module):
    """BERT's layer: an attention block, then a feed-forward block; with `memory_dim`, a layer that reads another stream.

    Args:
        dim: Width of the stream.
        heads: Number of heads.
        inner: Width of the feed-forward; 4 times `dim` by default.
        dropout: Rate everywhere.
        norm: Makes the norm of a width.
        activation: The non-linearity.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        inner: int | None = None,
        dropout: float = 0.0,
        norm: Callable[[int], nn.Module] = BertNorm,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        super().__init__()
        self.attention = AttentionBlock(dim, heads, dropout=dropout, norm=norm)
        self.feedforward = FeedForwardBlock(dim, inner, dropout, norm, activation)

    def forward(self, x: Tensor, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        return self.feedforward(self.attention(x, mask))


class PreNormLayer(nn.Module):
    """GPT-2's, CLIP's and ViT's layer: `x + attention(norm(x))`, then `x + feedforward(norm(x))`.

    Args:
        dim: Width of the stream.
        heads: Number of heads.
        inner: Width of the feed-forward; 4 times `dim` by default.
        dropout: Rate everywhere.
        norm: Makes the norm of a width.
        activation: The non-linearity.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        inner: int | None = None,
        dropout: float = 0.0,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        super().__init__()
        self.attention_norm = norm(dim)
        self.attention = Attention(dim, heads, dropout=dropout)
        self.feedforward_norm = norm(dim)
        self.feedforward = FeedForward(dim, inner, activation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), mask))
        return x + self.dropout(self.feedforward(self.feedforward_norm(x)))


class FinalNorm(nn.Module):
    """A norm as the last layer of an encoder.

    Args:
        norm: The norm.
    """

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        return self.norm(x)


def init_bert(module: nn.Module, std: float = 0.02) -> None:
    """BERT's initialisation of every linear and embedding below: normal of deviation 0.02, biases and padding rows zero."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=std)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
        if isinstance(part, nn.Embedding) and part.padding_idx is not None:
            nn.init.zeros_(part.weight.data[part.padding_idx])
