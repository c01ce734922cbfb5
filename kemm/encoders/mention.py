"""LUKE's entity embedding (arXiv 2010.01057, section 3.1; studio-ousia/luke: luke/model.py, EntityEmbeddings)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kemm.batch import MentionInput, Stream
from kemm.encoders.base import Encoder
from kemm.nn import BertNorm, init_bert


class MentionEmbedding(nn.Module):
    """`norm(B v_e + mean of the mention's position embeddings + segment)` of each entity e that a text mentions.

    An entity of no known place has no position embedding.

    Args:
        num_entities: Rows of the entity table, row 0 ("no entity") included.
        dim: Width of the text.
        entity_dim: Width of the table; B is left out where it is `dim`.
        max_length: Rows of the position table, which is not the text's; the first token's is row 0.
        types: Rows of the segment table; 0 for none.
        dropout: Rate after the norm.
        norm: Makes the norm of a width.
    """

    def __init__(
        self,
        num_entities: int,
        dim: int,
        entity_dim: int,
        max_length: int,
        types: int = 1,
        dropout: float = 0.0,
        norm: Callable[[int], nn.Module] = BertNorm,
    ) -> None:
        super().__init__()
        self.table = nn.Embedding(num_entities, entity_dim, padding_idx=0)
        self.project = nn.Identity() if entity_dim == dim else nn.Linear(entity_dim, dim, bias=False)
        self.positions = nn.Embedding(max_length, dim)
        self.types = nn.Embedding(types, dim) if types else None
        self.norm, self.dropout = norm(dim), nn.Dropout(dropout)

    def forward(self, mention: MentionInput) -> Stream:
        ids, positions = mention["ids"], mention["positions"]
        real = (positions >= 0)[..., None].to(self.positions.weight.dtype)  # (B, E, M, 1)
        places = (self.positions(positions.clamp(min=0)) * real).sum(2) / real.sum(2).clamp(min=1)  # (B, E, D)
        x = self.project(self.table(ids)) + places
        if self.types is not None:
            types = mention.get("types")
            x = x + self.types(torch.zeros_like(ids) if types is None else types)
        return Stream(self.dropout(self.norm(x)), mention.get("mask", ids != 0))


class MentionEncoder(Encoder):
    """The entities that a text mentions, as an encoder of no layers: the text's, or `EntityAwareLayer`s, are theirs too.

    Args:
        num_entities: Rows of the entity table, row 0 ("no entity") and those of masked and unknown entities included.
        dim: Width of the text.
        entity_dim: Width of the table.
        max_length: Longest text in tokens.
        types: Number of segments; 0 for none.
        dropout: Rate after the embedding.
        norm: Makes the norm of a width.
    """

    def __init__(
        self,
        num_entities: int,
        dim: int = 768,
        entity_dim: int = 256,
        max_length: int = 512,
        types: int = 1,
        dropout: float = 0.1,
        norm: Callable[[int], nn.Module] = BertNorm,
    ) -> None:
        super().__init__(MentionEmbedding(num_entities, dim, entity_dim, max_length, types, dropout, norm))
        self.dim, self.limits = dim, {"ids": num_entities, "positions": max_length}
        init_bert(self)

    @property
    def table(self) -> Tensor:
        """The vectors of all entities, (N, D')."""
        assert isinstance(self.embed, MentionEmbedding)
        return self.embed.table.weight
