"""LUKE's entity-aware self-attention (arXiv 2010.01057, section 3.2; studio-ousia/luke: luke/model.py, EntityAwareLayer).

Words and entities attend to each other as one sequence; what is asked depends on who asks whom:

    words ask words with Q, entities with Q_w2e;    entities ask words with Q_e2w, entities with Q_e2e

Keys, values and all else are shared. With four equal queries it is BERT's layer over the joined sequence, which LUKE is pre-trained with:
then `Concat` and `Split` around the text's own layers are enough.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import Batch
from kemm.fusion.base import Fusion, Streams
from kemm.nn import Attention, BertNorm, FeedForwardBlock, init_bert, visible

if TYPE_CHECKING:
    from kemm.model import FusionModel


class EntityAwareAttention(Attention):
    """Attention with four queries; `query` is that of words about words.

    Args:
        dim: Width.
        heads: Number of heads.
        dropout: Rate on the probabilities.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__(dim, heads, dropout=dropout)
        self.w2e_query, self.e2w_query, self.e2e_query = (nn.Linear(dim, dim) for _ in range(3))

    def joint(self, words: Tensor, entities: Tensor, mask: Tensor) -> Tensor:
        """Attention of words (B, T, D) and entities (B, E, D) over both, (B, T + E, D); mask (B, T + E)."""
        x = torch.cat([words, entities], 1)
        about_words = torch.cat([self.query(words), self.e2w_query(entities)], 1)
        about_entities = torch.cat([self.w2e_query(words), self.e2e_query(entities)], 1)
        parts = (about_words, about_entities, self.key(x), self.value(x))
        about_words, about_entities, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)  # (B, H, L, d)
        of_words, of_entities = key.transpose(-1, -2).split([words.shape[1], entities.shape[1]], -1)
        scores = torch.cat([about_words @ of_words, about_entities @ of_entities], -1) * key.shape[-1] ** -0.5
        attended = self.weights(scores, visible(mask)[:, None, None]) @ value
        return self.output(attended.transpose(1, 2).flatten(2))


class EntityAwareLayer(Fusion):
    """One layer over words and entities; over the words alone where a batch has no entities.

    Args:
        dim: Width of both.
        heads: Number of heads.
        inner: Width of the feed-forward; 4 times `dim` by default.
        dropout: Rate everywhere.
        norm: Makes the norm of a width.
        activation: The non-linearity.
        text: Name of the text stream.
        entity: Name of the stream of the entities that the text mentions.
    """

    def __init__(
        self,
        dim: int = 768,
        heads: int = 12,
        inner: int | None = None,
        dropout: float = 0.1,
        norm: Callable[[int], nn.Module] = BertNorm,
        activation: Callable[[Tensor], Tensor] = F.gelu,
        text: str = "text",
        entity: str = "mention",
    ) -> None:
        super().__init__()
        self.text, self.entity = text, entity
        self.attention = EntityAwareAttention(dim, heads, dropout)
        self.norm, self.dropout = norm(dim), nn.Dropout(dropout)
        self.feedforward = FeedForwardBlock(dim, inner, dropout, norm, activation)
        init_bert(self)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        text, entity = streams[self.text], streams.get(self.entity)
        if entity is None:
            return {self.text: text._replace(x=self.rest(text.x, self.attention(text.x, text.mask)))}
        attended = self.attention.joint(text.x, entity.x, torch.cat([text.real(), entity.real()], 1))
        x = self.rest(torch.cat([text.x, entity.x], 1), attended)
        words, entities = x.split([text.x.shape[1], entity.x.shape[1]], 1)
        return {self.text: text._replace(x=words), self.entity: entity._replace(x=entities)}

    def rest(self, x: Tensor, attended: Tensor) -> Tensor:
        """What follows the attention: residuals, norms, feed-forward."""
        return self.feedforward(self.norm(x + self.dropout(attended)))
