"""Text encoders: BERT's (post-norm, bidirectional), GPT's (pre-norm, causal) and ModernBERT's (pre-norm, rotary positions)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import Stream, TextInput
from kemm.encoders.base import Encoder
from kemm.nn import BertNorm, BiasFreeNorm, FinalNorm, PostNormLayer, PreNormLayer, RotaryLayer, causal, init_bert


class TextEmbedding(nn.Module):
    """Word + position + segment embeddings, normalised (arXiv 1810.04805, section 3).

    Args:
        vocab_size: Rows of the word table.
        dim: Width.
        max_length: Rows of the position table; 0 for none (rotary positions).
        types: Rows of the segment table; 0 for none.
        offset: Row of the first position (RoBERTa: 2); the row before it is padding's, and gets no gradient.
        padding_id: The word that gets no gradient through its embedding, or None.
        dropout: Rate after the norm.
        norm: Makes the norm of a width; `torch.nn.Identity` where a fusion normalises jointly (VisualBERT).
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        max_length: int,
        types: int = 2,
        offset: int = 0,
        padding_id: int | None = 0,
        dropout: float = 0.0,
        norm: Callable[[int], nn.Module] = BertNorm,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, dim, padding_idx=padding_id)
        self.positions = nn.Embedding(max_length, dim, padding_idx=offset - 1 if offset else None) if max_length else None
        self.types = nn.Embedding(types, dim) if types else None
        self.offset = offset
        self.norm = norm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, text: TextInput) -> Stream:
        ids = text["ids"]
        positions = text.get("positions")
        if positions is None:
            positions = torch.arange(self.offset, self.offset + ids.shape[1], device=ids.device).expand_as(ids)
        x = self.words(ids)  # (B, T, D)
        if self.positions is not None:
            x = x + self.positions(positions)
        if self.types is not None:
            types = text.get("types")
            x = x + self.types(torch.zeros_like(ids) if types is None else types)
        return Stream(self.dropout(self.norm(x)), text["mask"], positions)


class TextEncoder(Encoder):
    """BERT's encoder (arXiv 1810.04805); RoBERTa's with `offset` 2, one segment and a norm of epsilon 1e-5.

    Args:
        vocab_size: Size of the vocabulary.
        dim: Width.
        depth: Number of layers.
        heads: Number of heads.
        inner: Width of the feed-forward; 4 times `dim` by default.
        max_length: Longest text in tokens.
        types: Number of segments; 0 for none.
        offset: Row of the first position in the position table.
        padding_id: The word that gets no gradient through its embedding.
        dropout: Rate everywhere.
        norm: Makes the norm of a width.
        embedding_norm: Makes the norm of the embedding; `norm` by default.
        embedding_dropout: Rate after that; `dropout` by default (0 where a fusion normalises jointly).
        activation: The non-linearity.
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        inner: int | None = None,
        max_length: int = 512,
        types: int = 2,
        offset: int = 0,
        padding_id: int | None = 0,
        dropout: float = 0.1,
        norm: Callable[[int], nn.Module] = BertNorm,
        embedding_norm: Callable[[int], nn.Module] | None = None,
        embedding_dropout: float | None = None,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        rate = dropout if embedding_dropout is None else embedding_dropout
        embed = TextEmbedding(vocab_size, dim, max_length, types, offset, padding_id, rate, embedding_norm or norm)
        super().__init__(embed, [PostNormLayer(dim, heads, inner, dropout, norm, activation) for _ in range(depth)])
        self.dim, self.limits = dim, {"ids": vocab_size, "length": max_length - offset}
        init_bert(self)


class CausalEmbedding(nn.Module):
    """Word + position embeddings whose mask lets each token see itself and what precedes it.

    Args:
        vocab_size: Rows of the word table.
        dim: Width.
        max_length: Rows of the position table, the summary included.
        summary: Whether a learned token is appended that sees all real tokens (CoCa, arXiv 2205.01917, section 3.2); `max_length`
            counts it, and it takes the position after the last token, padded or not.
        padding_mask: Whether padded tokens are hidden; CLIP leaves that to causality. With the summary the mask is late by one place,
            as in the released CoCa (mlfoundations/open_clip: transformer.py, build_cls_mask): the first padded token is seen, and the
            summary sees itself only where nothing is padded.
        dropout: Rate after the sum.
    """

    def __init__(
        self, vocab_size: int, dim: int, max_length: int, summary: bool = False, padding_mask: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, dim)
        self.positions = nn.Embedding(max_length, dim)
        self.summary = nn.Parameter(torch.randn(dim) * 0.01) if summary else None
        self.padding_mask = padding_mask
        self.dropout = nn.Dropout(dropout)

    def forward(self, text: TextInput) -> Stream:
        x, real = self.words(text["ids"]), text["mask"]  # (B, T, D), (B, T)
        if self.summary is not None:
            x = torch.cat([x, self.summary.expand(len(x), 1, -1)], 1)  # (B, T + 1, D)
            real = F.pad(real, (1, 0), value=True)
        mask = causal(x).expand(len(x), -1, -1)  # (B, L, L)
        if self.padding_mask:
            mask = mask & real[:, None]
        return Stream(self.dropout(x + self.positions.weight[: x.shape[1]]), mask)


class CausalTextEncoder(Encoder):
    """GPT-2's encoder, and the text tower of CLIP (`padding_mask` False, arXiv 2103.00020) and of CoCa (`summary` True).

    Args:
        vocab_size: Size of the vocabulary.
        dim: Width.
        depth: Number of layers, the final norm apart.
        heads: Number of heads.
        inner: Width of the feed-forward; 4 times `dim` by default.
        max_length: Longest text in tokens, the summary included.
        dropout: Rate everywhere.
        summary: Whether a learned token that sees the whole text is appended.
        padding_mask: Whether padded tokens are hidden.
        final_norm: Whether a norm is the last layer.
        norm: Makes the norm of a width.
        activation: The non-linearity.
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int = 512,
        depth: int = 12,
        heads: int = 8,
        inner: int | None = None,
        max_length: int = 77,
        dropout: float = 0.0,
        summary: bool = False,
        padding_mask: bool = True,
        final_norm: bool = True,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        layers: list[nn.Module] = [PreNormLayer(dim, heads, inner, dropout, norm, activation) for _ in range(depth)]
        embed = CausalEmbedding(vocab_size, dim, max_length, summary, padding_mask, dropout)
        super().__init__(embed, [*layers, FinalNorm(norm(dim))] if final_norm else layers)
        self.dim, self.limits = dim, {"ids": vocab_size, "length": max_length - summary}
        init_bert(self)
        self.reads_padding = summary or not padding_mask


class RotaryTextEncoder(Encoder):
    """ModernBERT's encoder (arXiv 2412.13663, section 2.1): every third layer sees everything, the others what is near.

    Args:
        vocab_size: Size of the vocabulary.
        dim: Width.
        depth: Number of layers, the final norm apart.
        heads: Number of heads.
        inner: Width of the gated feed-forward; 3/2 of `dim` by default.
        max_length: Longest text in tokens.
        every: Layers 0, `every`, 2 * `every`, ... see everything.
        window: How far the others see to both sides.
        theta: Base of the wave lengths of layers that see everything.
        local_theta: Base of those of the others.
        padding_id: The word that gets no gradient through its embedding.
        dropout: Rate everywhere.
        norm: Makes the norm of a width.
        activation: The non-linearity.
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int = 768,
        depth: int = 22,
        heads: int = 12,
        inner: int | None = None,
        max_length: int = 8192,
        every: int = 3,
        window: int = 64,
        theta: float = 160_000.0,
        local_theta: float = 10_000.0,
        padding_id: int | None = 0,
        dropout: float = 0.0,
        norm: Callable[[int], nn.Module] = BiasFreeNorm,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        layers: list[nn.Module] = []
        for i in range(depth):
            base, sees = (local_theta, window) if i % every else (theta, None)
            layers.append(RotaryLayer(dim, heads, inner, base, sees, i == 0, dropout, norm, activation))
        embed = TextEmbedding(vocab_size, dim, 0, 0, 0, padding_id, dropout, norm)
        super().__init__(embed, [*layers, FinalNorm(norm(dim))])
        self.dim, self.limits = dim, {"ids": vocab_size, "length": max_length}
        init_bert(self)
