"""False triples to train against, and the weights of the true ones."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from kemm.kg.index import KnownTriples
from kemm.nn.draws import Draws


class Negatives(NamedTuple):
    """False answers to one end of each triple.

    Attributes:
        entities: (B, K) in place of the tail, or of the head.
        tail: (B,) bool, which of the two.
    """

    entities: Tensor
    tail: Tensor

    def triples(self, positives: Tensor) -> Tensor:
        """The false triples (B, K, 3) in full, from the true ones (B, 3)."""
        head, relation, tail = (part[:, None].expand_as(self.entities) for part in positives.unbind(1))
        side = self.tail[:, None]
        return torch.stack([torch.where(side, head, self.entities), relation, torch.where(side, self.entities, tail)], -1)


class NegativeSampler(nn.Module):
    """Replaces the head or the tail of a triple by entities that are not known to make it true, each of them equally likely.

    Negatives are a function of the draws alone: of seed, step and sample id, not of the batch that a triple happens to be in.

    Args:
        known: The triples not to draw; those trained on must be among them.
        number: K, negatives per triple.
        tail_rate: Probability that the tail is replaced: one number, or one per relation (R,), such as `bernoulli_tail_rate` gives. A side
            on which nothing is false leaves the other one.
    """

    tail_rate: Tensor

    def __init__(self, known: KnownTriples, number: int = 1, tail_rate: float | Tensor = 0.5) -> None:
        super().__init__()
        if number < 1:
            raise ValueError(f"number is {number}, expected at least 1 negative per triple")
        self.known, self.number = known, number
        rates = torch.as_tensor(tail_rate, dtype=torch.float32).expand(known.num_relations).clone()
        self.register_buffer("tail_rate", rates, persistent=False)
        self._check_possible()

    def _check_possible(self) -> None:
        tails = self.known.tails
        query, tail = tails // self.known.num_entities, tails % self.known.num_entities
        head, relation = query // self.known.num_relations, query % self.known.num_relations
        full = (self._false(head, relation, True) == 0) & (self._false(tail, relation, False) == 0)
        if full.any():
            row = [int(part[full][0]) for part in (head, relation, tail)]
            raise ValueError(
                f"the triple {row} has no negative: every entity is a known head and a known tail of it; {int(full.sum())} are so"
            )

    def _false(self, anchor: Tensor, relation: Tensor, tail: bool) -> Tensor:
        """Number (B,) of false answers."""
        start, end = self.known.spans(anchor, relation, tail)
        return self.known.num_entities - (end - start)

    def forward(self, triples: Tensor, draws: Draws) -> Negatives:
        """Draws for each triple.

        Args:
            triples: (B, 3) true ones.
            draws: Keyed by the triples' sample ids.
        """
        head, relation, tail = triples.unbind(1)
        false_tails, false_heads = self._false(head, relation, True), self._false(tail, relation, False)
        wanted = draws.uniform("corrupted side") < self.tail_rate[relation]
        side = (wanted | (false_heads == 0)) & (false_tails > 0)
        order = draws.integers("negative", torch.where(side, false_tails, false_heads)[:, None], self.number)  # (B, K)
        entities = torch.empty_like(order)
        for replaces_tail, anchor in ((True, head), (False, tail)):
            rows = (side == replaces_tail).nonzero()[:, 0]
            entities[rows] = self.known.false_answers(anchor[rows], relation[rows], order[rows], replaces_tail)
        return Negatives(entities, side)


def bernoulli_tail_rate(triples: Tensor, num_relations: int) -> Tensor:
    """Probability to replace the tail, per relation: the side is replaced that has fewer right answers, so that fewer negatives are true
    after all.

    With tph tails per head and hpt heads per tail, the head is replaced with probability tph / (tph + hpt)  (Wang et al. 2014, "Knowledge
    Graph Embedding by Translating on Hyperplanes", section 3.2). A relation without triples gets 1/2.

    Args:
        triples: (N, 3), each once.
        num_relations: R.

    Returns:
        (R,) float32.
    """
    number = torch.bincount(triples[:, 1], minlength=num_relations).double()
    heads, tails = (torch.bincount(torch.unique(triples[:, [1, end]], dim=0)[:, 0], minlength=num_relations).double() for end in (0, 2))
    per_head, per_tail = number / heads, number / tails
    return (per_tail / (per_head + per_tail)).nan_to_num(0.5).float()


def subsampling_weights(triples: Tensor) -> Tensor:
    """Weights of training triples that let frequent queries count less: 1 / sqrt(#(h, r) + #(r, t)), where each count starts at 3.

    From the code of RotatE (github.com/DeepGraphLearning/KnowledgeGraphEmbedding, `TrainDataset.count_frequency`, whose counts are 4 at the
    first triple). The loss divides by the sum of the weights.

    Args:
        triples: (N, 3).

    Returns:
        (N,) float32.
    """
    total = torch.zeros(len(triples), dtype=torch.float64, device=triples.device)
    for ends in ([0, 1], [1, 2]):
        _, group, count = torch.unique(triples[:, ends], dim=0, return_inverse=True, return_counts=True)
        total += count[group] + 3
    return total.rsqrt().float()
