"""Ranks with an explicit answer to ties, and what is computed from them: MRR, Hits@k, recall@k with several right answers.

A model that gives every candidate the same score knows nothing. Counting only strictly better candidates would give it rank 1, so ties need
a policy (Berrendorf et al. 2020, "On the Ambiguity of Rank-Based Evaluation of Entity Alignment or Link Prediction Methods"):

    optimistic   1 + #(better)            the right answer wins every tie
    pessimistic  1 + #(better or equal)   it loses every tie
    realistic    the mean of both         the expectation over random tie-breaking, the default

A score that is not a number counts as minus infinity: no comparison with it would be true, and a diverged model would rank first.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Ties = Literal["realistic", "optimistic", "pessimistic"]


def settle_ties(better: Tensor, equal: Tensor, ties: Ties) -> Tensor:
    """Ranks (float64) from the numbers of other candidates that score better than, and exactly as well as, the right answer."""
    share = {"realistic": 0.5, "optimistic": 0.0, "pessimistic": 1.0}
    if ties not in share:
        raise ValueError(f"ties is {ties!r}, expected one of {sorted(share)}")
    return 1 + better.double() + share[ties] * equal.double()


def ranks(scores: Tensor, target: Tensor, candidates: Tensor | None = None, ties: Ties = "realistic") -> Tensor:
    """Rank of one right answer per row.

    Args:
        scores: (N, L), higher is better.
        target: (N,) column of the right answer.
        candidates: (N, L) bool, True where a column competes; the target's own entry does not matter. All compete by default.
        ties: What an equal score counts.

    Returns:
        (N,) float64, 1 is best.
    """
    scores = _numbers(scores)
    own = scores.gather(1, target[:, None])  # (N, 1)
    others = torch.ones_like(scores, dtype=torch.bool) if candidates is None else candidates
    others = others.scatter(1, target[:, None], False)
    return settle_ties(((scores > own) & others).sum(1), ((scores == own) & others).sum(1), ties)


def best_positive_ranks(scores: Tensor, positives: Tensor, ties: Ties = "realistic") -> Tensor:
    """Rank of the best of several right answers per row: one caption of an image is enough. Positives do not compete with each other.

    Args:
        scores: (N, L), higher is better.
        positives: (N, L) bool, at least one True per row.
        ties: What a wrong answer counts that scores as well as the best positive.

    Returns:
        (N,) float64, 1 is best.
    """
    _check_positives(positives)
    scores = _numbers(scores)
    best = scores.masked_fill(~positives, -torch.inf).amax(1, keepdim=True)
    return settle_ties(((scores > best) & ~positives).sum(1), ((scores == best) & ~positives).sum(1), ties)


def recall_at(scores: Tensor, positives: Tensor, k: int, ties: Ties = "realistic") -> Tensor:
    """Share of a row's right answers among its k best candidates.

    Within a group of equal scores the order is random (realistic: the expected share), right answers first (optimistic), or last
    (pessimistic).

    Args:
        scores: (N, L), higher is better.
        positives: (N, L) bool, at least one True per row.
        k: How many candidates are looked at.
        ties: The order inside a group of equal scores.

    Returns:
        (N,) float64 in [0, 1]. Memory is (right answers, L): call it per batch of rows.
    """
    _check_positives(positives)
    scores = _numbers(scores)
    row, column = positives.nonzero(as_tuple=True)
    own = scores[row, column][:, None]
    better = (scores[row] > own).sum(1)  # one entry per right answer
    equal = scores[row] == own  # itself among them
    right, wrong = (equal & positives[row]).sum(1), (equal & ~positives[row]).sum(1)
    if ties == "realistic":
        right = right + wrong
    elif ties == "pessimistic":
        better = better + wrong
    inside = ((k - better).double() / right).clamp(0, 1)  # the chance of a place among the first k
    return torch.zeros(len(scores), dtype=torch.float64, device=scores.device).index_add(0, row, inside) / positives.sum(1)


def ranking_scores(ranks: Tensor, hits: Sequence[int] = (1, 3, 10)) -> dict[str, float]:
    """Mean rank, mean reciprocal rank and share of ranks up to each k.

    Args:
        ranks: (N,) ranks, N >= 1.
        hits: The k of each Hits@k.
    """
    if ranks.numel() == 0:
        raise ValueError("there is no rank to average")
    ranks = ranks.double()
    scores = {"mean_rank": ranks.mean(), "mrr": ranks.reciprocal().mean()} | {f"hits@{k}": (ranks <= k).double().mean() for k in hits}
    return {name: float(value) for name, value in scores.items()}


def _numbers(scores: Tensor) -> Tensor:
    return scores.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)


def _check_positives(positives: Tensor) -> None:
    empty = (~positives.any(1)).nonzero()[:, 0].tolist()
    if empty:
        raise ValueError(f"{len(empty)} of {len(positives)} rows have no right answer, the first is row {empty[0]}")
