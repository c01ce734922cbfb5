"""Filtered ranking of links (Bordes et al. 2013, section 4.1): where is the right answer among all entities, other right answers left
out?"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from kemm.kg.index import KnownTriples
from kemm.metrics.rankings import Ties, settle_ties

ScoreAll = Callable[[Tensor, Tensor], Tensor]
"""Maps indices of anchors (B,) and relations (B,) to the scores (B, num_entities) of all entities at the other end."""

Unseen = Literal["keep", "drop"]


class LinkRanks(NamedTuple):
    """Ranks of each evaluated triple, 1 is best.

    Attributes:
        tail: (M,) float64, rank of the tail given head and relation.
        head: (M,) float64, rank of the head given relation and tail.
        unseen: (M,) bool, whether an entity of the triple was not trained.
    """

    tail: Tensor
    head: Tensor
    unseen: Tensor

    def both(self, unseen: Unseen = "keep") -> Tensor:
        """All ranks: those of the tails, then those of the heads.

        Args:
            unseen: "keep" counts triples with an untrained entity, as LibKGE does; "drop" leaves them out, as PyKEEN does, which gains some
                3 points of MRR on WN18RR. Say which when reporting.
        """
        if unseen not in ("keep", "drop"):
            raise ValueError(f"unseen is {unseen!r}, expected 'keep' or 'drop'")
        kept = ~self.unseen if unseen == "drop" else torch.ones_like(self.unseen)
        return torch.cat([self.tail[kept], self.head[kept]])


def seen_entities(triples: Tensor, num_entities: int) -> Tensor:
    """Which entities (num_entities,) bool occur in the triples (N, 3) that were trained on."""
    return torch.bincount(triples[:, [0, 2]].flatten(), minlength=num_entities) > 0


@torch.no_grad()
def rank_links(
    score_tails: ScoreAll,
    score_heads: ScoreAll,
    triples: Tensor,
    known: KnownTriples,
    seen: Tensor | None = None,
    ties: Ties = "realistic",
    budget: int = 2**22,
) -> LinkRanks:
    """Ranks both ends of each triple among all entities.

    Args:
        score_tails: Scores of all tails, from heads and relations.
        score_heads: Scores of all heads, from tails and relations.
        triples: (M, 3) to evaluate.
        known: Every triple known to be true: training, validation and test.
        seen: (num_entities,) bool, the entities that were trained; all by default.
        ties: What an equal score counts. With "optimistic" a constant model is perfect.
        budget: Scores held at a time, which bounds the memory; few enough for a cache are also the fastest to count.
    """
    rows = max(1, budget // known.num_entities)
    empty = torch.empty(0, dtype=torch.float64, device=triples.device)
    tail_ranks, head_ranks = [empty], [empty]
    for part in triples.split(rows):
        head, relation, tail = part.unbind(1)
        tail_ranks.append(_ranks(score_tails(head, relation), head, relation, tail, known, True, ties))
        head_ranks.append(_ranks(score_heads(tail, relation), tail, relation, head, known, False, ties))
    unseen = torch.zeros(len(triples), dtype=torch.bool, device=triples.device)
    if seen is not None:
        unseen = ~seen[triples[:, [0, 2]]].all(1)
    return LinkRanks(torch.cat(tail_ranks), torch.cat(head_ranks), unseen)


def _ranks(scores: Tensor, anchor: Tensor, relation: Tensor, target: Tensor, known: KnownTriples, tail: bool, ties: Ties) -> Tensor:
    if scores.shape != (len(target), known.num_entities):
        raise ValueError(f"scores are {tuple(scores.shape)}, expected one per query and entity, {(len(target), known.num_entities)}")
    own = scores.gather(1, target[:, None])
    if not bool(own.isfinite().all()):  # no comparison with what is not a number is true; it counts as minus infinity
        scores, own = (values.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf) for values in (scores, own))
    better, equal = (scores > own).sum(1, dtype=torch.int32), (scores == own).sum(1, dtype=torch.int32) - 1
    row, entity = known.listed(anchor, relation, tail)
    other = entity != target[row]
    row, entity = row[other], entity[other]
    out, limit = scores[row, entity], own[row, 0]  # the other right answers
    better = better.index_add(0, row, (out > limit).int(), alpha=-1)
    equal = equal.index_add(0, row, (out == limit).int(), alpha=-1)
    return settle_ties(better, equal, ties)
