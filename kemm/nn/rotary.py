"""The layer of ModernBERT (arXiv 2412.13663, section 2.1): rotary positions, attention to all places or to those near, a gated
feed-forward, and no bias anywhere."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.nn.attention import Attention


class BiasFreeNorm(nn.LayerNorm):
    """The layer norm of ModernBERT, which scales and does not shift.

    Args:
        dim: Width.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim, bias=False)


class RotaryAttention(Attention):
    """Self-attention whose scores depend on how far apart two places are (RoFormer, arXiv 2104.09864, section 3.2.2).

    Args:
        dim: Width of the stream.
        heads: Number of heads.
        theta: Base of the wave lengths.
        window: How far each place sees to both sides; None for everything.
        dropout: Rate on the attention probabilities.
    """

    def __init__(self, dim: int, heads: int, theta: float = 10_000.0, window: int | None = None, dropout: float = 0.0) -> None:
        super().__init__(dim, heads, dropout=dropout, bias=False)
        self.output = nn.Linear(dim, dim, bias=False)
        self.theta, self.window = theta, window

    def turn(self, x: Tensor, positions: Tensor) -> Tensor:
        """Equation 34: the pair (i, i + d/2) of each head of x (B, L, inner) turned by position * theta^(-2i/d)."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        one, two = x.to(dtype).unflatten(-1, (self.heads, -1)).chunk(2, -1)  # (B, L, H, d/2)
        rates = self.theta ** -(torch.arange(one.shape[-1], device=x.device, dtype=dtype) / one.shape[-1])
        angles = (positions[..., None].to(dtype) * rates)[:, :, None]  # (B, L, 1, d/2)
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([one * cos - two * sin, two * cos + one * sin], -1).flatten(2).to(x.dtype)

    def near(self, positions: Tensor, mask: Tensor | None) -> Tensor | None:
        """The mask without what lies beyond the window."""
        if self.window is None:
            return mask
        seen = (positions[:, :, None] - positions[:, None]).abs() <= self.window  # (B, L, L)
        if mask is None:
            return seen
        return seen & (mask[:, None] if mask.dim() == 2 else mask)

    def at(self, x: Tensor, mask: Tensor | None, positions: Tensor) -> Tensor:
        """Attend from x (B, L, D) over itself, its places at `positions` (B, L)."""
        query, key = self.turn(self.query(x), positions), self.turn(self.key(x), positions)
        return self.attend(query, key, self.value(x), self.near(positions, mask))


class GatedFeedForward(nn.Module):
    """`down(activation(a) * b)` with (a, b) the halves of `up(x)` ("GLU Variants Improve Transformer", arXiv 2002.05202, equation 6).

    Args:
        dim: Width of the stream.
        inner: Width in between; 3/2 of `dim` by default.
        activation: The non-linearity; exact GELU by default.
    """

    def __init__(self, dim: int, inner: int | None = None, activation: Callable[[Tensor], Tensor] = F.gelu) -> None:
        super().__init__()
        inner = inner or 3 * dim // 2
        self.up = nn.Linear(dim, 2 * inner, bias=False)
        self.down = nn.Linear(inner, dim, bias=False)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        open_, gate = self.up(x).chunk(2, -1)
        return self.down(self.activation(open_) * gate)


class RotaryLayer(nn.Module):
    """`x + attention(norm(x))`, then `x + feedforward(norm(x))`.

    Args:
        dim: Width of the stream.
        heads: Number of heads.
        inner: Width of the feed-forward.
        theta: Base of the wave lengths.
        window: How far each place sees to both sides; None for everything.
        first: Whether the layer follows a normalised embedding, and begins without a norm.
        dropout: Rate everywhere.
        norm: Makes the norm of a width.
        activation: The non-linearity.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        inner: int | None = None,
        theta: float = 10_000.0,
        window: int | None = None,
        first: bool = False,
        dropout: float = 0.0,
        norm: Callable[[int], nn.Module] = BiasFreeNorm,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.Identity() if first else norm(dim)
        self.attention = RotaryAttention(dim, heads, theta, window, dropout)
        self.feedforward_norm = norm(dim)
        self.feedforward = GatedFeedForward(dim, inner, activation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        if positions is None:  # a joined stream has none: its places follow each other
            positions = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
        x = x + self.dropout(self.attention.at(self.attention_norm(x), mask, positions))
        return x + self.dropout(self.feedforward(self.feedforward_norm(x)))
