"""The schedule is a pure function of (seed, step); ranks share each batch; evaluation sees every sample once."""

from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from kemm.batch import Batch
from kemm.data.mixture import Mixture, Schedule
from kemm.data.source import EVALUATION, Source


class Numbers(Source):
    """Gives the rows and the epoch that it is asked for."""

    def __init__(self, name: int, length: int) -> None:
        self.name, self.length = name, length

    def __len__(self) -> int:
        return self.length

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        return {"id": torch.tensor(rows), "source": self.name, "epoch": epoch}


LENGTHS, WEIGHTS, SIZES = {"a": 23, "b": 8, "c": 100}, {"a": 3.0, "b": 1.0, "c": 4.0}, {"a": 6, "b": 8, "c": 4}


def schedule(seed: int = 0) -> Schedule:
    return Schedule(LENGTHS, WEIGHTS, SIZES, seed)


def test_a_step_does_not_depend_on_what_was_asked_before() -> None:
    forward = schedule()
    steps = [forward.at(step) for step in range(3000)]
    for step in (2999, 0, 1024, 1023, 17):
        assert schedule().at(step) == steps[step]
        assert forward.at(step) == steps[step]
    assert [schedule(1).at(step) for step in range(50)] != steps[:50]


def test_sources_come_in_proportion() -> None:
    drawn = schedule()
    counts = Counter(drawn.at(step)[0] for step in range(8000))
    for name, weight in WEIGHTS.items():
        assert counts[name] == pytest.approx(1000 * weight, abs=4 * (8000 * weight / 8 * (1 - weight / 8)) ** 0.5)


def test_an_epoch_sees_each_sample_at_most_once_and_orders_anew() -> None:
    drawn, seen = schedule(), {}
    for step in range(2000):
        name, epoch, rows = drawn.at(step)
        assert len(rows) == SIZES[name]
        seen.setdefault((name, epoch), []).append(rows)
    for (name, epoch), batches in seen.items():
        rows = [row for batch in batches for row in batch]
        assert len(set(rows)) == len(rows) and set(rows) <= set(range(LENGTHS[name]))
        if (name, epoch + 1) in seen:
            assert len(batches) == LENGTHS[name] // SIZES[name]
            assert batches != seen[name, epoch + 1][: len(batches)]
    assert set.union(*(set(batch) for (name, _), batches in seen.items() if name == "a" for batch in batches)) == set(range(23))


def test_a_source_smaller_than_its_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="source 'b' has 8 samples, fewer than its batch size 9"):
        Schedule(LENGTHS, WEIGHTS, {**SIZES, "b": 9}, 0)


def mixture(rank: int = 0, world: int = 1, step: int = 0, **changed: Any) -> Mixture:
    sources = {name: Numbers(i, length) for i, (name, length) in enumerate(LENGTHS.items())}
    made = Mixture(sources, **{"weights": WEIGHTS, "batch_size": 6, "batch_sizes": {"c": 12}, "steps_per_epoch": 10, "seed": 3, **changed})
    made.trainer = SimpleNamespace(global_rank=rank, world_size=world, global_step=step)  # type: ignore[assignment]
    return made


def steps(made: Mixture) -> list[tuple[int, int, list[int]]]:
    return [(batch["source"], batch["epoch"], batch["id"].tolist()) for batch in made.train_dataloader()]


@pytest.mark.parametrize("world", [2, 3, 6])
def test_the_ranks_make_up_the_global_batch(world: int) -> None:
    whole = steps(mixture())
    parts = [steps(mixture(rank, world)) for rank in range(world)]
    assert len(whole) == 10
    for i, (source, epoch, rows) in enumerate(whole):
        assert [part[i][:2] for part in parts] == [(source, epoch)] * world
        assert [row for part in parts for row in part[i][2]] == rows
        assert len({len(part[i][2]) for part in parts}) == 1


def test_resuming_at_a_step_is_starting_at_it() -> None:
    whole = steps(mixture()) + steps(mixture(step=10)) + steps(mixture(step=20))
    for first in (0, 1, 9, 10, 13, 29):
        assert steps(mixture(step=first)) == whole[first : first // 10 * 10 + 10]


def test_workers_change_nothing() -> None:
    assert steps(mixture(workers=1)) == steps(mixture())


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("length", range(1, 34))
def test_evaluation_covers_every_sample_once(length: int, world: int) -> None:
    counts: Counter[int] = Counter()
    batches = []
    for rank in range(world):
        made = mixture(rank, world, validation={"d": Numbers(4, length)}, batch_sizes={"d": 7})
        (loader,) = made.val_dataloader()
        listed = list(loader)
        assert all(batch["epoch"] == EVALUATION for batch in listed)
        batches.append(len(listed))
        own = [row for batch in listed for row in batch["id"].tolist()]
        # A rank that has run out of samples repeats sample 0, so that ranks have equally many batches.
        counts.update(own if rank == 0 else [row for row in own if row % world == rank])
        assert all(row % world == rank or row == 0 for row in own)
    assert counts == Counter(range(length))
    assert set(batches) == {len(loader)}


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"weights\['z'\]: there is no such source, the sources are \['a', 'b', 'c'\]"):
        mixture(weights={"z": 1.0})
    with pytest.raises(ValueError, match=r"batch_sizes\['z'\]"):
        mixture(batch_sizes={"z": 1})
    with pytest.raises(ValueError, match="the batch of source 'a', 6, cannot be divided among 4 ranks"):
        mixture(0, 4).train_dataloader()
    with pytest.raises(ValueError, match="there is nothing to train on"):
        Mixture().train_dataloader()


def test_sources_weigh_alike_by_default() -> None:
    made = mixture(weights={"a": 2.0})
    assert made.weights == {"a": 2.0, "b": 1.0, "c": 1.0}
    assert made.size("a") == 6 and made.size("c") == 12
