"""ERNIE's aggregators (arXiv 1905.07129, equations 3 to 6; thunlp/ERNIE: code/knowledge_bert/modeling.py).

One released layer is text self-attention, entity self-attention (`norm` layers) or none (`mix`), and the information fusion

    h  = gelu(W_t w + b_t + W_e e + b_e)        w' = LN(w + W_2 h + b_2)        e' = LN(e + W_3 h + b_3)

of each token w with the entity e aligned with it. The biases of the entity side are not masked: a token without an entity is not a
plain BERT layer's. `e'` of the last layer is read by nothing, so its parameters get no gradient.
"""

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import Batch
from kemm.fusion.base import Fusion, Streams
from kemm.nn import AttentionBlock, BertNorm

if TYPE_CHECKING:
    from kemm.model import FusionModel


class InformationFusion(nn.Module):
    """Equation 5 (a token with an entity), which the released code applies to every token.

    Args:
        dim: Width of the text.
        entity_dim: Width of the entities.
        inner: Width of the fused state.
        dropout: Rate on both outputs.
    """

    def __init__(self, dim: int, entity_dim: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.up, self.entity_up = nn.Linear(dim, inner), nn.Linear(entity_dim, inner)
        self.down, self.entity_down = nn.Linear(inner, dim), nn.Linear(inner, entity_dim)
        self.norm, self.entity_norm = BertNorm(dim), BertNorm(entity_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, entity: Tensor) -> tuple[Tensor, Tensor]:
        """Text (B, T, D) and the entities of its tokens (B, T, D'), both fused."""
        fused = F.gelu(self.up(x) + self.entity_up(entity))  # (B, T, inner)
        return self.norm(x + self.dropout(self.down(fused))), self.entity_norm(entity + self.dropout(self.entity_down(fused)))


class EntityMix(Fusion):
    """The `mix` layer: text self-attention and information fusion, without self-attention of the entities.

    Args:
        dim: Width of the text.
        entity_dim: Width of the entities.
        heads: Heads of the text.
        inner: Width of the fused state; 4 times `dim` by default.
        dropout: Rate everywhere.
        text: Name of the text stream.
        entity: Name of the entity stream: one row per token.
    """

    def __init__(
        self,
        dim: int = 768,
        entity_dim: int = 100,
        heads: int = 12,
        inner: int | None = None,
        dropout: float = 0.1,
        text: str = "text",
        entity: str = "entity",
    ) -> None:
        super().__init__()
        self.text, self.entity = text, entity
        self.attention = AttentionBlock(dim, heads, dropout=dropout)
        self.fuse = InformationFusion(dim, entity_dim, inner or 4 * dim, dropout)

    def attend_entities(self, x: Tensor, mask: Tensor) -> Tensor:
        """The entities as they enter the fusion."""
        return x

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        text, entity = streams[self.text], streams[self.entity]
        entities = self.attend_entities(entity.x, entity.mask) * entity.mask[..., None]
        x, entities = self.fuse(self.attention(text.x, text.mask), entities)
        return {self.text: text._replace(x=x), self.entity: entity._replace(x=entities)}


class EntityAggregator(EntityMix):
    """The `norm` layer: the entities attend to each other before the fusion (equation 3).

    Args:
        dim: Width of the text.
        entity_dim: Width of the entities.
        heads: Heads of the text.
        entity_heads: Heads of the entities.
        inner: Width of the fused state; 4 times `dim` by default.
        dropout: Rate everywhere.
        text: Name of the text stream.
        entity: Name of the entity stream: one row per token.
    """

    def __init__(
        self,
        dim: int = 768,
        entity_dim: int = 100,
        heads: int = 12,
        entity_heads: int = 4,
        inner: int | None = None,
        dropout: float = 0.1,
        text: str = "text",
        entity: str = "entity",
    ) -> None:
        super().__init__(dim, entity_dim, heads, inner, dropout, text, entity)
        self.entity_attention = AttentionBlock(entity_dim, entity_heads, dropout=dropout)

    def attend_entities(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.entity_attention(x, mask)
