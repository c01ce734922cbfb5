"""Precision, recall and F1 from counts, with the published scorers' answers to empty denominators."""

from typing import NamedTuple


class F1(NamedTuple):
    """Precision, recall and their harmonic mean, each in [0, 1]."""

    precision: float
    recall: float
    f1: float


def ratio(part: float, whole: float, empty: float = 0.0) -> float:
    """part / whole, or `empty` where whole is 0."""
    return part / whole if whole else empty


def harmonic(precision: float, recall: float) -> float:
    """2 P R / (P + R), and 0 where both are 0."""
    return ratio(2 * precision * recall, precision + recall)


def f1_from_counts(correct: float, predicted: float, gold: float, empty_precision: float = 0.0) -> F1:
    """Micro-averaged scores.

    Args:
        correct: Number of predictions that are right.
        predicted: Number of predictions.
        gold: Number of right answers.
        empty_precision: Precision where nothing is predicted: 1 in the TACRED scorer, 0 elsewhere.
    """
    precision, recall = ratio(correct, predicted, empty_precision), ratio(correct, gold)
    return F1(precision, recall, harmonic(precision, recall))
