"""A graph of words, entities and relations as one sequence of nodes (CoLAKE, arXiv 2010.00309, section 3.1; txsun1997/CoLAKE:
pretrain/model.py)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import Stream, WordGraphInput
from kemm.encoders.base import Encoder
from kemm.nn import BertNorm, PostNormLayer, init_bert


class WordGraphEmbedding(nn.Module):
    """Each node's vector, from the table of its kind, + its soft position + its kind, normalised.

    Args:
        vocab_size: Rows of the table of words.
        num_entities: Rows of the table of entities.
        num_relations: Rows of the table of relations.
        dim: Width.
        max_length: Rows of the table of positions.
        padding_id: The word that gets no gradient, or None.
        padding_position: The position that gets no gradient, or None (CoLAKE begins RoBERTa's table at its first row: 1).
        frozen: Whether the entities are not trained.
        dropout: Rate after the norm.
        norm: Makes the norm of a width.
    """

    def __init__(
        self,
        vocab_size: int,
        num_entities: int,
        num_relations: int,
        dim: int,
        max_length: int,
        padding_id: int | None = 0,
        padding_position: int | None = None,
        frozen: bool = False,
        dropout: float = 0.0,
        norm: Callable[[int], nn.Module] = BertNorm,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, dim, padding_idx=padding_id)
        self.entities = nn.Embedding(num_entities, dim)
        self.relations = nn.Embedding(num_relations, dim)
        self.positions = nn.Embedding(max_length, dim, padding_idx=padding_position)
        self.types = nn.Embedding(3, dim)
        self.norm = norm(dim)
        self.dropout = nn.Dropout(dropout)
        self.entities.weight.requires_grad_(not frozen)

    def forward(self, graph: WordGraphInput) -> Stream:
        ids, kinds, positions = graph["ids"], graph["kinds"], graph["positions"]
        x = self.positions(positions) + self.types(graph.get("types", kinds))
        for kind, table in enumerate((self.words, self.entities, self.relations)):
            of_kind = kinds == kind
            x = x + torch.where(of_kind[..., None], table(ids.masked_fill(~of_kind, table.padding_idx or 0)), 0)  # (B, L, D)
        return Stream(self.dropout(self.norm(x)), graph["mask"], positions)


class WordGraphEncoder(Encoder):
    """BERT's layers over nodes that see their neighbours only.

    Args:
        vocab_size: Size of the vocabulary.
        num_entities: Rows of the table of entities, "none" (the hidden one) included.
        num_relations: Rows of the table of relations, "none" included.
        dim: Width.
        depth: Number of layers.
        heads: Number of heads.
        inner: Width of the feed-forward; 4 times `dim` by default.
        max_length: Largest position + 1.
        padding_id: The word that gets no gradient.
        padding_position: The position that gets no gradient.
        frozen: Whether the entities are not trained.
        dropout: Rate everywhere.
        norm: Makes the norm of a width.
        activation: The non-linearity.
    """

    def __init__(
        self,
        vocab_size: int,
        num_entities: int,
        num_relations: int,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        inner: int | None = None,
        max_length: int = 512,
        padding_id: int | None = 0,
        padding_position: int | None = None,
        frozen: bool = False,
        dropout: float = 0.1,
        norm: Callable[[int], nn.Module] = BertNorm,
        activation: Callable[[Tensor], Tensor] = F.gelu,
    ) -> None:
        embed = WordGraphEmbedding(
            vocab_size, num_entities, num_relations, dim, max_length, padding_id, padding_position, frozen, dropout, norm
        )
        super().__init__(embed, [PostNormLayer(dim, heads, inner, dropout, norm, activation) for _ in range(depth)])
        self.dim = dim
        self.limits = {"ids": vocab_size, "entities": num_entities, "relations": num_relations, "length": max_length}
        init_bert(self)
