"""Ranks under each tie policy against all orders (the published scorers' numbers: tests/parity)."""

import itertools

import pytest
import torch
from torch import Tensor

from kemm.metrics import best_positive_ranks, ranking_scores, ranks, recall_at
from kemm.metrics.rankings import Ties

POLICIES: list[Ties] = ["realistic", "optimistic", "pessimistic"]


def every_order(scores: list[float]) -> list[list[int]]:
    """All orders of the columns that sort the scores downwards: one per way of breaking the ties."""
    return [
        list(order)
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]


def settle(values: list[float], ties: Ties, best: str) -> float:
    if ties == "realistic":
        return sum(values) / len(values)
    return min(values) if (ties == "optimistic") == (best == "low") else max(values)


def tied_scores(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randint(0, 3, (rows, columns), generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("ties", POLICIES)
def test_ranks_are_places_over_all_orders(ties: Ties) -> None:
    scores = tied_scores(20, 5, seed=0)
    target = torch.arange(20) % 5
    candidates = torch.rand(20, 5, generator=torch.Generator().manual_seed(1)) < 0.7
    for given, allowed in ((None, torch.ones_like(candidates)), (candidates, candidates)):
        found = ranks(scores, target, given, ties)
        for row in range(20):
            columns = [c for c in range(5) if allowed[row, c] or c == target[row]]
            orders = every_order(scores[row, columns].tolist())
            places = [1.0 + order.index(columns.index(int(target[row]))) for order in orders]
            assert found[row] == pytest.approx(settle(places, ties, "low"))


@pytest.mark.parametrize("ties", POLICIES)
def test_several_positives_over_all_orders(ties: Ties) -> None:
    scores = tied_scores(20, 5, seed=2)
    positives = torch.rand(20, 5, generator=torch.Generator().manual_seed(3)) < 0.4
    positives[:, 0] |= ~positives.any(1)
    for k in (1, 2, 5):
        found = recall_at(scores, positives, k, ties)
        for row in range(20):
            right = set(positives[row].nonzero()[:, 0].tolist())
            shares = [len(right & set(order[:k])) / len(right) for order in every_order(scores[row].tolist())]
            assert found[row] == pytest.approx(settle(shares, ties, "high"))
    if ties != "realistic":  # the mean of the two bounds is not the mean over orders when several positives are tied
        found = best_positive_ranks(scores, positives, ties)
        for row in range(20):
            best = scores[row][positives[row]].max()
            wrong = scores[row][~positives[row]]
            assert found[row] == 1 + (wrong > best).sum() + (wrong == best).sum() * (ties == "pessimistic")


def test_a_constant_model_is_at_chance() -> None:
    constant, target = torch.zeros(4, 11), torch.tensor([0, 3, 7, 10])
    assert ranks(constant, target).tolist() == [6.0] * 4
    assert ranks(constant, target, ties="optimistic").tolist() == [1.0] * 4
    assert ranks(constant * torch.nan, target).tolist() == [6.0] * 4


def test_a_score_that_is_no_number_ranks_last() -> None:
    scores = torch.tensor([[torch.nan, 1.0, 2.0], [0.0, torch.nan, 2.0]])
    assert ranks(scores, torch.tensor([0, 0])).tolist() == [3.0, 2.0]


def test_ranking_scores() -> None:
    assert ranking_scores(torch.tensor([1.0, 2.0, 4.0, 2.5]), hits=(1, 2)) == {
        "mean_rank": 9.5 / 4,
        "mrr": pytest.approx((1 + 0.5 + 0.25 + 0.4) / 4),
        "hits@1": 0.25,
        "hits@2": 0.5,
    }


def test_errors() -> None:
    with pytest.raises(ValueError, match="1 of 2 rows have no right answer, the first is row 1"):
        best_positive_ranks(torch.zeros(2, 2), torch.tensor([[True, False], [False, False]]))
    with pytest.raises(ValueError, match="'random'"):
        ranks(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), ties="random")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no rank"):
        ranking_scores(torch.empty(0))
