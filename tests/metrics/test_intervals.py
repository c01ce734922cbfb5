"""Confidence intervals against their defining equations and against repeated experiments."""

import math

import numpy as np
import pytest

from kemm.metrics import bootstrap_interval, mean_deviation, wilson_interval


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (7, 7), (3, 10), (81, 263)])
def test_wilson_bounds_solve_the_score_equation(successes: int, trials: int) -> None:
    """Both bounds p satisfy |share - p| = z sqrt(p (1 - p) / n)."""
    share, low, high = wilson_interval(successes, trials)
    assert share == successes / trials
    for bound in (low, high):
        assert abs(share - bound) == pytest.approx(1.959963984540054 * math.sqrt(bound * (1 - bound) / trials), abs=1e-12)
    assert low <= share <= high


def test_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    interval = bootstrap_interval(values, samples=4000)
    half = 1.96 * values.std() / 20
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert interval == bootstrap_interval(values, samples=4000)
    assert interval != bootstrap_interval(values, samples=4000, seed=1)
    narrow = bootstrap_interval(values, samples=4000, confidence=0.5)
    assert narrow.high - narrow.low < 0.5 * (interval.high - interval.low)


def test_bootstrap_of_a_ratio_of_columns() -> None:
    rows = np.array([[1, 2], [2, 2], [0, 1], [3, 4]] * 20)
    interval = bootstrap_interval(rows, lambda sample: float(sample[:, 0].sum() / sample[:, 1].sum()), samples=200)
    assert interval.estimate == pytest.approx(6 / 9)
    assert interval.low < 6 / 9 < interval.high


def test_groups_are_drawn_whole() -> None:
    """Against resampling written as a loop over groups, of unequal sizes and in no order."""
    generator = np.random.default_rng(1)
    values, groups = generator.normal(size=(23, 2)), [f"g{number}" for number in generator.integers(0, 6, 23)]

    def ratio(sample: np.ndarray) -> float:
        return float(sample[:, 0].sum() / (1 + sample[:, 1] ** 2).sum())

    names = list(dict.fromkeys(groups))
    again, drawn = np.random.default_rng(3), []
    for _ in range(300):
        chosen = [names[number] for number in again.integers(0, len(names), len(names))]
        drawn.append(ratio(np.array([row for name in chosen for row, group in zip(values, groups, strict=True) if group == name])))
    interval = bootstrap_interval(values, ratio, samples=300, seed=3, groups=groups)
    assert interval == pytest.approx((ratio(values), *np.quantile(drawn, [0.025, 0.975])))


def test_a_group_for_each_row_is_none() -> None:
    values = np.random.default_rng(0).normal(size=40)
    assert bootstrap_interval(values, groups=[f"{number}" for number in range(40)]) == bootstrap_interval(values)


def test_rows_of_a_group_are_not_independent() -> None:
    """Repeating each row five times within its group leaves the interval as wide as it was; without groups it would seem narrower."""
    values = np.random.default_rng(0).normal(size=100)
    once, repeated = bootstrap_interval(values), values.repeat(5)
    assert bootstrap_interval(repeated, groups=np.arange(100).repeat(5).tolist()) == pytest.approx(once)
    alone = bootstrap_interval(repeated)
    assert alone.high - alone.low < 0.6 * (once.high - once.low)


def test_mean_deviation() -> None:
    assert mean_deviation([1.0, 2.0, 4.0]) == pytest.approx((7 / 3, math.sqrt(7 / 3), 3))
    assert str(mean_deviation([90.0, 92.0])) == "91.00 ± 1.41"
    assert str(mean_deviation([90.0])) == "90.00"


def test_errors() -> None:
    with pytest.raises(ValueError, match="8 successes in 7"):
        wilson_interval(8, 7)
    with pytest.raises(ValueError, match="confidence is 95"):
        wilson_interval(1, 7, confidence=95)
    with pytest.raises(ValueError, match="no row"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match="groups for 2 rows, expected one for each of the 3"):
        bootstrap_interval([1, 2, 3], groups=["a", "b"])
    with pytest.raises(ValueError, match="no run"):
        mean_deviation([])
