"""How plausible a triple is, from the vectors of its head, relation and tail: higher is more plausible.

Each scorer turns the two vectors that are given into a query and compares it with the third. So one triple, many negatives of one triple
(by broadcasting) and all entities at once (by a matrix product or a tiled distance) are the same two functions.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

TILE = (32, 2**18)
"""Queries, and elements in all, of a temporary of the distance that has no matrix product: 1 MiB of float32 stays in a core's cache."""


class Scorer(nn.Module, ABC):
    """Base: `forward` scores triples, `score_tails` and `score_heads` one query against all entities."""

    def relation_dim(self, dim: int) -> int:
        """Width of a relation's vector where entities have `dim`."""
        return dim

    @abstractmethod
    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        """The query (..., d) that a plausible tail matches."""

    @abstractmethod
    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        """The query (..., d) that a plausible head matches."""

    @abstractmethod
    def match(self, query: Tensor, entity: Tensor) -> Tensor:
        """Scores (...) of queries (..., d) and entities (..., d), which broadcast."""

    @abstractmethod
    def match_all(self, query: Tensor, entities: Tensor) -> Tensor:
        """Scores (B, N) of each query (B, d) with each entity (N, d): `match`, without its (B, N, d) temporary."""

    def forward(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        """Scores (...) of heads (..., d), relations (..., relation_dim(d)) and tails (..., d), which broadcast."""
        return self.match(self.tail_query(head, relation), tail)

    def score_tails(self, head: Tensor, relation: Tensor, entities: Tensor) -> Tensor:
        """Scores (B, N) of every entity (N, d) as tail of heads (B, d) and relations (B, relation_dim(d))."""
        return self.match_all(self.tail_query(head, relation), entities)

    def score_heads(self, relation: Tensor, tail: Tensor, entities: Tensor) -> Tensor:
        """Scores (B, N) of every entity (N, d) as head of relations (B, relation_dim(d)) and tails (B, d)."""
        return self.match_all(self.head_query(relation, tail), entities)


class TransE(Scorer):
    """f(h, r, t) = -||h + r - t||_p  (Bordes et al. 2013, "Translating Embeddings for Modeling Multi-relational Data").

    Args:
        p: The norm: 1 in most benchmarks, 2 in KEPLER's code.
    """

    def __init__(self, p: float = 1.0) -> None:
        super().__init__()
        if p <= 0:
            raise ValueError(f"p is {p}, expected a positive number")
        self.p = p

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        return head + relation

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        return tail - relation

    def match(self, query: Tensor, entity: Tensor) -> Tensor:
        return -torch.linalg.vector_norm(query - entity, self.p, dim=-1)

    def match_all(self, query: Tensor, entities: Tensor) -> Tensor:
        # The expansion of the square by a matrix product loses the small distances, which are those that decide ranks.
        return -torch.cdist(query, entities, p=self.p, compute_mode="donot_use_mm_for_euclid_dist")


class _Bilinear(Scorer):
    """f = <query, entity>."""

    def match(self, query: Tensor, entity: Tensor) -> Tensor:
        return (query * entity).sum(-1)

    def match_all(self, query: Tensor, entities: Tensor) -> Tensor:
        return query @ entities.T


class DistMult(_Bilinear):
    """f(h, r, t) = sum_i h_i r_i t_i  (Yang et al. 2015, "Embedding Entities and Relations for Learning and Inference in Knowledge
    Bases")."""

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        return head * relation

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        return relation * tail


class ComplEx(_Bilinear):
    """f(h, r, t) = Re sum_i h_i r_i conj(t_i)  (Trouillon et al. 2016, "Complex Embeddings for Simple Link Prediction").

    All vectors are [real parts | imaginary parts], so widths are even.
    """

    def relation_dim(self, dim: int) -> int:
        return 2 * _half(dim)

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        return _product(head, relation)

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        return _product(tail, _conjugate(relation))  # Re(h r conj(t)) = Re(h conj(conj(r) t))


class RotatE(Scorer):
    """f(h, r, t) = -sum_i |h_i e^(i theta_i) - t_i|  (Sun et al. 2019, "RotatE: Knowledge Graph Embedding by Relational Rotation in Complex
    Space").

    Entities are [real parts | imaginary parts], so their width is even; a relation is its angles theta in radians, half as wide. As in the
    authors' code the distance is a sum of moduli, not the 2-norm of the whole vector; their margin gamma is the loss's business.
    """

    def relation_dim(self, dim: int) -> int:
        return _half(dim)

    def tail_query(self, head: Tensor, relation: Tensor) -> Tensor:
        return _product(head, torch.cat([relation.cos(), relation.sin()], -1))

    def head_query(self, relation: Tensor, tail: Tensor) -> Tensor:
        return _product(
            tail, torch.cat([relation.cos(), -relation.sin()], -1)
        )  # a rotation keeps moduli: |h e^(i theta) - t| = |h - t e^(-i theta)|

    def match(self, query: Tensor, entity: Tensor) -> Tensor:
        half = _half(query.shape[-1])
        re, im = query[..., :half] - entity[..., :half], query[..., half:] - entity[..., half:]
        # The smallest normal number changes no modulus but one of 0, whose gradient would not be a number.
        return -torch.addcmul(re * re, im, im).add(torch.finfo(re.dtype).tiny).sqrt().sum(-1)

    def match_all(self, query: Tensor, entities: Tensor) -> Tensor:
        rows, elements = TILE
        tiles = entities.split(max(1, elements // (rows * entities.shape[1])))
        return torch.cat([torch.cat([self.match(part, tile) for tile in tiles], dim=1) for part in query[:, None].split(rows)])


def _half(dim: int) -> int:
    if dim % 2:
        raise ValueError(f"the width of complex vectors is {dim}, expected an even number: real and imaginary parts")
    return dim // 2


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Complex product of [re | im] vectors, which broadcast."""
    half = _half(a.shape[-1])
    a_re, a_im, b_re, b_im = a[..., :half], a[..., half:], b[..., :half], b[..., half:]
    return torch.cat([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re], -1)


def _conjugate(a: Tensor) -> Tensor:
    half = _half(a.shape[-1])
    return torch.cat([a[..., :half], -a[..., half:]], -1)
