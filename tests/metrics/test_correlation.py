"""Correlations against scikit-like definitions, written as loops."""

import math

import pytest
import torch

from kemm.metrics import matthews_correlation, pearson_correlation, spearman_correlation


def pearson(a: list[float], b: list[float]) -> float:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    above = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    return above / math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))


def test_two_classes() -> None:
    predicted, gold = torch.tensor([1, 1, 1, 0, 0, 1, 0]), torch.tensor([1, 0, 1, 0, 1, 1, 0])
    tp, tn, fp, fn = 3, 2, 1, 1
    expected = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert matthews_correlation(predicted, gold, 2) == pytest.approx(expected, rel=1e-12)


def test_many_classes() -> None:
    draw = torch.Generator().manual_seed(0)
    predicted, gold = torch.randint(0, 4, (2, 30), generator=draw)
    right, count = sum((predicted == gold).tolist()), 30
    ours, theirs = ([labels.tolist().count(k) for k in range(4)] for labels in (predicted, gold))
    above = right * count - sum(p * g for p, g in zip(ours, theirs, strict=True))
    below = math.sqrt((count**2 - sum(p * p for p in ours)) * (count**2 - sum(g * g for g in theirs)))
    assert matthews_correlation(predicted, gold, 4) == pytest.approx(above / below, rel=1e-12)
    assert matthews_correlation(gold, gold, 4) == pytest.approx(1)
    assert matthews_correlation(torch.zeros_like(gold), gold, 4) == 0


def test_graded_similarities() -> None:
    a, b = [0.1, 2.0, 0.7, 0.7, 5.0], [1.0, 3.0, 2.0, 0.5, 3.0]
    assert pearson_correlation(torch.tensor(a).double(), torch.tensor(b).double()) == pytest.approx(pearson(a, b), rel=1e-6)
    assert spearman_correlation(torch.tensor(a), torch.tensor(b)) == pytest.approx(pearson([1, 4, 2.5, 2.5, 5], [2, 4.5, 3, 1, 4.5]))
    assert spearman_correlation(torch.ones(3), torch.arange(3)) == 0
