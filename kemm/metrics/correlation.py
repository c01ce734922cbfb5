"""Correlations: of classes (Matthews 1975, for several classes Gorodkin 2004), of graded similarities (Pearson and Spearman, as STS-B
reports them)."""

import torch
from torch import Tensor
from torch.nn import functional as F


def matthews_correlation(predicted: Tensor, gold: Tensor, num_classes: int) -> float:
    """The correlation coefficient in [-1, 1] of two labellings; 0 where one of them knows a single class only.

    Args:
        predicted: (N,) classes.
        gold: (N,) classes.
        num_classes: Number of classes.
    """
    ours, theirs = (F.one_hot(labels, num_classes).double() for labels in (predicted, gold))
    return _correlation(ours, theirs)


def pearson_correlation(predicted: Tensor, gold: Tensor) -> float:
    """Pearson's r of two lists of numbers (N,); 0 where one of them is constant."""
    return _correlation(predicted.double()[:, None], gold.double()[:, None])


def spearman_correlation(predicted: Tensor, gold: Tensor) -> float:
    """Spearman's rho: Pearson's r of the ranks, equal numbers having the mean of their ranks."""
    return pearson_correlation(_mean_ranks(predicted), _mean_ranks(gold))


def _correlation(a: Tensor, b: Tensor) -> float:
    """Covariance over the root of the variances, each summed over the columns of (N, C)."""
    a, b = a - a.mean(0), b - b.mean(0)
    scale = ((a * a).sum() * (b * b).sum()).sqrt()
    return float((a * b).sum() / scale) if scale > 0 else 0.0


def _mean_ranks(values: Tensor) -> Tensor:
    _, place, count = torch.unique(values, return_inverse=True, return_counts=True)
    last = count.cumsum(0).double()
    return (last - (count - 1) / 2)[place]
