"""TuckER (Balazevic et al. 2019, "TuckER: Tensor Factorization for Knowledge Graph Completion"), with the batch norms of its code."""

import torch
from torch import Tensor, nn

from kemm.kg.scorers import Scorer


class TuckER(Scorer):
    """f(h, r, t) = W x_1 r x_2 h x_3 t (equation 4), a relation being a matrix W_r = sum_k r_k W_k that heads go through:
    `norm_2(norm_1(h) W_r) . t`, each norm over the batch (also allenai/kb: kb/kg_embedding.py).

    A query is as wide as an entity and one number more, which is added to its scores: that of a tail is 0. Heads are scored by the norms'
    running statistics.

    Args:
        dim: Width of the entities.
        relation: Width of the relations.
        dropout: Rates of the head, of the relation's matrix and of the query.
    """

    def __init__(self, dim: int = 200, relation: int = 200, dropout: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> None:
        super().__init__()
        self.relation = relation
        self.core = nn.Parameter(torch.empty(relation, dim, dim).uniform_(-1, 1))
        self.head_norm, self.norm = nn.BatchNorm1d(dim), nn.BatchNorm1d(dim)
        self.head_dropout, self.core_dropout, self.dropout = (nn.Dropout(rate) for rate in dropout)

    def relation_dim(self, dim: int) -> int:
        return self.relation

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        head = self.head_dropout(_normed(self.head_norm, head))
        query = torch.einsum("...i,...ij->...j", head, self.core_dropout(self.matrix(relation)))
        query = self.dropout(_normed(self.norm, query))
        return torch.cat([query, torch.zeros_like(query[..., :1])], -1)

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        (scale, shift), (head_scale, head_shift) = _affine(self.norm), _affine(self.head_norm)
        query = torch.einsum("...ij,...j->...i", self.matrix(relation), scale * tail)
        constant = (head_shift * query).sum(-1, keepdim=True) + (shift * tail).sum(-1, keepdim=True)
        return torch.cat([head_scale * query, constant], -1)

    def matrix(self, relation: Tensor) -> Tensor:
        """The matrices (..., d, d) of relations (..., k)."""
        return torch.einsum("...k,kij->...ij", relation, self.core)

    def match(self, query: Tensor, entity: Tensor) -> Tensor:
        return (query[..., :-1] * entity).sum(-1) + query[..., -1]

    def match_all(self, query: Tensor, entities: Tensor) -> Tensor:
        return query[:, :-1] @ entities.T + query[:, -1:]


def _normed(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    return norm(x.reshape(-1, x.shape[-1])).reshape(x.shape)


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """The norm with its running statistics as `scale * x + shift`."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - scale * norm.running_mean
