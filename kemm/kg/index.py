"""The known triples, sorted so that the answers to many queries (head, relation, ?) and (?, relation, tail) are found at once."""

import torch
from torch import Tensor, nn


class KnownTriples(nn.Module):
    """Answers that are known to be true, to be left out of negatives and of rankings.

    A query is an anchor (the entity that is given), a relation, and which end is asked for. Its answers lie side by side in one sorted
    array of keys, so that a lookup is a binary search and memory is two int64 per triple, whatever the number of entities and relations.

    Args:
        triples: (N, 3) int64; repeated rows count once.
        num_entities: Entities have the indices below it.
        num_relations: Relations have the indices below it.
    """

    tails: Tensor
    heads: Tensor

    def __init__(self, triples: Tensor, num_entities: int, num_relations: int) -> None:
        super().__init__()
        if num_entities**2 * num_relations >= 2**62:
            raise ValueError(f"{num_entities} entities and {num_relations} relations are more than 64-bit keys can tell apart")
        self.num_entities, self.num_relations = num_entities, num_relations
        for name, anchor, answer in (("tails", 0, 2), ("heads", 2, 0)):
            keys = self._query(triples[:, anchor], triples[:, 1]) * num_entities + triples[:, answer]
            self.register_buffer(name, torch.unique(keys), persistent=False)

    def __len__(self) -> int:
        return len(self.tails)

    def _query(self, anchor: Tensor, relation: Tensor) -> Tensor:
        return anchor * self.num_relations + relation

    def _keys(self, tail: bool) -> Tensor:
        return self.tails if tail else self.heads

    def spans(self, anchor: Tensor, relation: Tensor, tail: bool) -> tuple[Tensor, Tensor]:
        """Where the answers of each query begin and end.

        Args:
            anchor: (B,) the given entities.
            relation: (B,) the relations.
            tail: Whether the tail is asked for, or the head.

        Returns:
            Two (B,) int64 tensors, positions into `answers`.
        """
        keys, query = self._keys(tail), self._query(anchor, relation)
        bounds = torch.searchsorted(keys, torch.stack([query, query + 1]) * self.num_entities)
        return bounds[0], bounds[1]

    def answers(self, positions: Tensor, tail: bool) -> Tensor:
        """Entities at positions between the bounds that `spans` gives; ascending within a query."""
        return self._keys(tail)[positions] % self.num_entities

    def listed(self, anchor: Tensor, relation: Tensor, tail: bool) -> tuple[Tensor, Tensor]:
        """All answers of a batch of queries: (row of the query, entity), one entry per answer."""
        start, end = self.spans(anchor, relation, tail)
        count = end - start
        row = torch.repeat_interleave(torch.arange(len(start), device=start.device), count)
        place = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]  # 0, 1, ... within each query
        return row, self.answers(start[row] + place, tail)

    def contains(self, triples: Tensor) -> Tensor:
        """Whether each triple (..., 3) is known, (...) bool."""
        keys = self._query(triples[..., 0], triples[..., 1]) * self.num_entities + triples[..., 2]
        place = torch.searchsorted(self._keys(True), keys).clamp(max=max(len(self) - 1, 0))
        return self._keys(True)[place] == keys if len(self) else torch.zeros_like(keys, dtype=torch.bool)

    def false_answers(self, anchor: Tensor, relation: Tensor, order: Tensor, tail: bool) -> Tensor:
        """The entities that are not known answers, by their order: the n-th of them for each n.

        With the known answers a_0 < a_1 < ... of a query, a_i - i entities below a_i are false. So the n-th false one is n + #{i: a_i - i
        <= n}, and as a_i - i ascends, the count is found by bisection, without drawing again until a draw is false.

        Args:
            anchor: (B,) the given entities.
            relation: (B,) the relations.
            order: (B, K) int64, from 0 to the number of false answers of the row.
            tail: Whether tails or heads are meant.

        Returns:
            (B, K) entities.
        """
        start, end = (bound[:, None].expand_as(order).contiguous() for bound in self.spans(anchor, relation, tail))
        first, low, high = start, start, end
        last = max(len(self) - 1, 0)
        for _ in range(len(self).bit_length()):
            middle = (low + high) // 2
            place = middle.clamp(max=last)
            below = (middle < high) & (self.answers(place, tail) - (place - first) <= order)
            low, high = torch.where(below, middle + 1, low), torch.where(below, high, middle)
        return order + (low - first)
