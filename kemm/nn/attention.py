"""Multi-head attention, equations 1 and 2 of "Attention Is All You Need" (arXiv 1706.03762), for self- and cross-attention."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def visible(mask: Tensor) -> Tensor:
    """The mask in which a row that may see nothing sees everything.

    The systems of 2019-2021 add -10000 to masked scores: a row without any visible key is then an ordinary softmax of its scores.
    """
    return mask | ~mask.any(-1, keepdim=True)


def causal(x: Tensor) -> Tensor:
    """The mask (1, L, L) in which each place of x (B, L, D) sees itself and what precedes it."""
    places = torch.arange(x.shape[1], device=x.device)
    return (places[:, None] >= places)[None]


class AttentionWeights(nn.Module):
    """Masked softmax of scores: a module of its own so that a trace can record the probabilities.

    Args:
        dropout: Rate of dropout on the probabilities.
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)

    def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        return self.dropout(scores.softmax(-1))


class Attention(nn.Module):
    """Queries of one sequence over keys and values of another (or the same).

    Args:
        dim: Width of the queries, and of the output unless `out` says otherwise.
        heads: Number of heads; must divide `inner`.
        memory_dim: Width of the keys' and values' source; `dim` by default.
        inner: Width of the projections; `dim` by default (ViLBERT's co-attention projects both streams to a third width).
        out: Width of the output.
        dropout: Rate on the attention probabilities.
        bias: Whether the three input projections have a bias.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        memory_dim: int | None = None,
        inner: int | None = None,
        out: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        inner, memory_dim = inner or dim, memory_dim or dim
        if inner % heads:
            raise ValueError(f"attention of width {inner} cannot be divided into {heads} heads")
        self.heads = heads
        self.query = nn.Linear(dim, inner, bias=bias)
        self.key = nn.Linear(memory_dim, inner, bias=bias)
        self.value = nn.Linear(memory_dim, inner, bias=bias)
        self.output = nn.Linear(inner, out or dim)
        self.weights = AttentionWeights(dropout)
        self.explicit = False

    def forward(self, x: Tensor, mask: Tensor | None = None, memory: Tensor | None = None) -> Tensor:
        """Attend from `x` (B, L, D) over `memory` (B, M, D'), itself by default; mask (B, M) or (B, L, M), True = visible."""
        memory = x if memory is None else memory
        return self.attend(self.query(x), self.key(memory), self.value(memory), mask)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """The attention itself, from projected queries (B, L, inner), keys and values (B, M, inner)."""
        query, key, value = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (query, key, value))  # (B, H, L, d)
        if mask is not None:
            mask = visible(mask)
            mask = mask[:, None, None, :] if mask.dim() == 2 else mask[:, None]  # (B, 1, 1 or L, M)
        # On CPU, bf16 scaled_dot_product_attention is 2.8 times slower than the products written out.
        if self.explicit or (query.device.type == "cpu" and query.dtype == torch.bfloat16):
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
            x = self.weights(scores, mask) @ value
        else:
            dropout = self.weights.dropout.p if self.training else 0.0
            x = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
        return self.output(x.transpose(1, 2).flatten(2))
