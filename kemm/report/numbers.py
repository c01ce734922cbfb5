"""Scores as JSON and as a table of plain text."""

from collections.abc import Mapping, Sequence
from typing import Any

from kemm.metrics import Interval
from kemm.tasks import Scores

AllScores = Mapping[str, Mapping[str, Scores]]
"""Split -> task -> metric -> number or interval."""


def scores_as_json(scores: AllScores) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Split -> task -> metric -> {"estimate"} or {"estimate", "low", "high"}, the bounds of the 95 % confidence interval."""
    return {
        split: {task: {metric: as_json(value) for metric, value in found.items()} for task, found in tasks.items()}
        for split, tasks in scores.items()
    }


def as_json(value: float | Interval) -> dict[str, float]:
    """One score: its estimate, and its bounds where it has some."""
    return value._asdict() if isinstance(value, Interval) else {"estimate": float(value)}


def estimate(value: float | Interval) -> float:
    """A score without its bounds."""
    return value.estimate if isinstance(value, Interval) else float(value)


def number(value: float) -> str:
    """A score as it is read: 92.3, 0.871, 1200."""
    if abs(value) >= 1000 or (abs(value) >= 100 and value == round(value)):
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def metrics_of(scores: AllScores) -> dict[str, list[str]]:
    """Task -> its metrics over all splits, each once, in the order of their first split."""
    found: dict[str, dict[str, None]] = {}
    for tasks in scores.values():
        for task, metrics in tasks.items():
            found.setdefault(task, {}).update(dict.fromkeys(metrics))
    return {task: list(metrics) for task, metrics in found.items()}


def scores_table(scores: AllScores, depth: int = 1) -> str:
    """A table of plain text: a line for each metric, a column for each split.

    Args:
        scores: The scores.
        depth: Metrics with more slashes in their names (single kinds of questions) are left out.
    """
    splits = list(scores)
    lines = [["", *splits]]
    for task, metrics in metrics_of(scores).items():
        for metric in metrics:
            if metric.count("/") <= depth:
                values: list[Any] = [scores[split].get(task, {}).get(metric) for split in splits]
                lines.append([f"{task} {metric}", *("" if value is None else number(estimate(value)) for value in values)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(splits) + 1)]
    return "\n".join(_line(line, widths) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
    return "  ".join([first.strip().ljust(widths[0]), *rest]).rstrip()
