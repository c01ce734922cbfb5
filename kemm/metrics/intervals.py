"""How sure a number is: Wilson's interval for a share, the bootstrap for any statistic, mean and deviation over seeds."""

import math
from collections.abc import Callable, Hashable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """An estimate between the bounds of its confidence interval."""

    estimate: float
    low: float
    high: float


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a share (Wilson 1927); unlike the normal approximation it stays in [0, 1] and has width at 0 and 1.

    Args:
        successes: How often it came true, 0..trials.
        trials: Number of independent trials, at least 1.
        confidence: Probability that the interval covers the true share.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes in {trials} trials: expected 0 <= successes <= trials and a trial")
    z = NormalDist().inv_cdf(_check_confidence(confidence) / 2 + 0.5)
    share, spread = successes / trials, z * z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def _mean(values: Array) -> float:
    return float(values.mean(0))


def bootstrap_interval(
    values: npt.ArrayLike,
    statistic: Callable[[Array], float] = _mean,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    groups: Sequence[Hashable] = (),
) -> Interval:
    """Percentile bootstrap (Efron 1979): the spread of a statistic over resamples of the rows, or of groups of rows (the cluster bootstrap,
    Davison and Hinkley 1997, section 3.8).

    What is drawn must be independent: questions about one picture are not, so they are drawn together. The difference of two systems on
    the same rows is the bootstrap of the rows' differences.

    Args:
        values: (N,) or (N, K), one row per example (K numbers of which the statistic makes one, such as counts for an F1).
        statistic: Maps such an array to one number.
        samples: Number of resamples.
        confidence: Probability that the interval covers the true value.
        seed: Of the resampling.
        groups: The group of each row, such as its picture; each row is one by itself where none is given.

    Raises:
        ValueError: There is no row, or not a group for each.
    """
    rows = np.asarray(values, dtype=np.float64)
    if len(rows) == 0:
        raise ValueError("there is no row to resample")
    if groups and len(groups) != len(rows):
        raise ValueError(f"there are groups for {len(groups)} rows, expected one for each of the {len(rows)}")
    tail = (1 - _check_confidence(confidence)) / 2
    generator = np.random.default_rng(seed)
    numbers: dict[Hashable, int] = {}
    members = np.array([numbers.setdefault(group, len(numbers)) for group in groups or range(len(rows))])
    ordered, sizes = rows[members.argsort(kind="stable")], np.bincount(members)
    starts = sizes.cumsum() - sizes  # where each group begins among the ordered rows
    draws = []
    for _ in range(samples):
        drawn = generator.integers(0, len(sizes), len(sizes))
        ends = sizes[drawn].cumsum()
        places = np.arange(ends[-1]) + (starts[drawn] - ends + sizes[drawn]).repeat(sizes[drawn])
        draws.append(statistic(ordered[places]))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return Interval(statistic(rows), float(low), float(high))


class MeanDeviation(NamedTuple):
    """Mean and sample standard deviation over runs; the deviation of a single run is not a number."""

    mean: float
    deviation: float
    runs: int

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.deviation:.2f}" if self.runs > 1 else f"{self.mean:.2f}"


def mean_deviation(values: Sequence[float]) -> MeanDeviation:
    """Mean and sample standard deviation (n - 1 in the denominator) of one number per seed.

    Args:
        values: One number per run, at least one.
    """
    if not values:
        raise ValueError("there is no run to average")
    array = np.asarray(values, dtype=np.float64)
    return MeanDeviation(float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else math.nan, len(array))


def _check_confidence(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected a probability between 0 and 1")
    return confidence
