"""The data module: several sources, one of them per step, exactly resumable and the same on any number of ranks.    [Lightning]

Step s is a pure function of (seed, s): the source is drawn by weight, the samples come from that source's permutation of its epoch,
and each rank takes its slice of the global batch. Nothing else is remembered, so resuming at step s is starting at step s.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from kemm.batch import Batch
from kemm.data.source import EVALUATION, Source


class Schedule:
    """Which samples of which source make step s.

    Args:
        lengths: Source -> number of samples.
        weights: Source -> share of the steps.
        batch_sizes: Source -> samples per step, over all ranks.
        seed: Keys the draws.
    """

    def __init__(self, lengths: Mapping[str, int], weights: Mapping[str, float], batch_sizes: Mapping[str, int], seed: int) -> None:
        for name, length in lengths.items():
            if length < batch_sizes[name]:
                raise ValueError(f"source {name!r} has {length} samples, fewer than its batch size {batch_sizes[name]}")
        self.lengths, self.batch_sizes, self.seed = dict(lengths), dict(batch_sizes), seed
        self.names = list(lengths)
        share = np.array([weights[name] for name in self.names], dtype=np.float64)
        self.share = share / share.sum()
        self.drawn = np.zeros(0, dtype=np.int64)
        self.turns = np.zeros((0, len(self.names)), dtype=np.int64)
        self.orders: dict[str, tuple[int, np.ndarray[Any, Any]]] = {}

    def _extend(self, step: int) -> None:
        while step >= len(self.drawn):
            block = len(self.drawn) // 1024
            chosen = np.random.default_rng([self.seed, block]).choice(len(self.names), 1024, p=self.share)
            turns = np.cumsum(np.eye(len(self.names), dtype=np.int64)[chosen], 0)
            before = self.turns[-1] if len(self.turns) else 0
            self.drawn, self.turns = np.concatenate([self.drawn, chosen]), np.concatenate([self.turns, turns + before])

    def at(self, step: int) -> tuple[str, int, list[int]]:
        """The source of a step, the epoch of that source, and the rows of the global batch."""
        self._extend(step)
        place = int(self.drawn[step])
        name, turn = self.names[place], int(self.turns[step, place]) - 1
        size = self.batch_sizes[name]
        per_epoch = self.lengths[name] // size
        epoch, at = divmod(turn, per_epoch)
        order = self._order(name, epoch)
        return name, epoch, order[at * size : (at + 1) * size].tolist()

    def _order(self, name: str, epoch: int) -> np.ndarray[Any, Any]:
        if self.orders.get(name, (-1,))[0] != epoch:
            key = [self.seed, self.names.index(name), epoch, 7]
            self.orders[name] = (epoch, np.random.default_rng(key).permutation(self.lengths[name]))
        return self.orders[name][1]


class _Steps(Dataset[Batch]):
    """Step -> this rank's batch."""

    def __init__(self, sources: Mapping[str, Source], schedule: Schedule, rank: int, world: int) -> None:
        self.sources, self.schedule, self.rank, self.world = sources, schedule, rank, world

    def __getitem__(self, step: int) -> Batch:
        name, epoch, rows = self.schedule.at(step)
        mine = rows[len(rows) * self.rank // self.world : len(rows) * (self.rank + 1) // self.world]
        return self.sources[name].batch(mine, epoch)


class _FromStep(Sampler[int]):
    """The steps of an epoch that are still to be done."""

    def __init__(self, module: "Mixture") -> None:
        self.module = module

    def __len__(self) -> int:
        return self.module.steps_per_epoch

    def __iter__(self) -> Iterator[int]:
        trainer, size = self.module.trainer, self.module.steps_per_epoch
        first = trainer.global_step if trainer is not None else 0
        return iter(range(first, (first // size + 1) * size))


class _Batches(Dataset[Batch]):
    """The batches of one evaluated source that are this rank's: every sample is in exactly one rank's batches.

    All ranks have equally many, since sharded ones wait for each other: a rank whose samples are used up gives sample 0 again (rows are
    counted once by their id).
    """

    def __init__(self, source: Source, size: int, rank: int, world: int) -> None:
        self.source, self.size, self.most = source, size, -(-len(source) // world)
        self.rows = list(range(rank, len(source), world))

    def __len__(self) -> int:
        return -(-self.most // self.size)

    def __getitem__(self, i: int) -> Batch:
        if i >= len(self):
            raise IndexError(i)
        return self.source.batch(self.rows[i * self.size : (i + 1) * self.size] or [0], EVALUATION)


class Mixture(LightningDataModule):
    """Sources in given proportions.

    Args:
        sources: Name -> source that is trained on.
        validation: Name -> source that is validated on.
        test: Name -> source that is tested on.
        weights: Source -> share of the steps; in proportion to 1 by default.
        batch_size: Samples per step over all ranks.
        batch_sizes: Source -> another number for it.
        steps_per_epoch: Steps between two validations.
        workers: Processes that prepare batches; 0 prepares them in the training process.
        seed: Keys the order and everything drawn.
    """

    def __init__(
        self,
        sources: Mapping[str, Source] | None = None,
        validation: Mapping[str, Source] | None = None,
        test: Mapping[str, Source] | None = None,
        weights: Mapping[str, float] | None = None,
        batch_size: int = 64,
        batch_sizes: Mapping[str, int] | None = None,
        steps_per_epoch: int = 100,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.sources, self.validation, self.test = dict(sources or {}), dict(validation or {}), dict(test or {})
        for what, given in (("weights", weights or {}), ("batch_sizes", batch_sizes or {})):
            for name in given:
                if name not in {**self.sources, **self.validation, **self.test}:
                    raise ValueError(f"{what}[{name!r}]: there is no such source, the sources are {sorted(self.sources)}")
        self.weights = {name: (weights or {}).get(name, 1.0) for name in self.sources}
        self.batch_size, self.batch_sizes = batch_size, dict(batch_sizes or {})
        self.steps_per_epoch, self.workers, self.seed = steps_per_epoch, workers, seed

    def size(self, name: str) -> int:
        """The samples per step of a source, over all ranks."""
        return self.batch_sizes.get(name, self.batch_size)

    def _world(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def train_dataloader(self) -> DataLoader[Batch]:
        """One batch of one source per step."""
        if not self.sources:
            raise ValueError("there is nothing to train on: `sources` is empty")
        rank, world = self._world()
        for name in self.sources:
            if self.size(name) % world:
                raise ValueError(f"the batch of source {name!r}, {self.size(name)}, cannot be divided among {world} ranks")
        lengths = {name: len(source) for name, source in self.sources.items()}
        schedule = Schedule(lengths, self.weights, {name: self.size(name) for name in lengths}, self.seed)
        steps = _Steps(self.sources, schedule, rank, world)
        # Forked workers hang once FAISS was used in the parent; a timeout turns any hang into an error.
        context = "forkserver" if self.workers else None
        return DataLoader(
            steps,
            batch_size=None,
            sampler=_FromStep(self),
            num_workers=self.workers,
            multiprocessing_context=context,
            persistent_workers=self.workers > 0,
            timeout=300 if self.workers else 0,
        )

    def _evaluated(self, sources: Mapping[str, Source]) -> list[DataLoader[Batch]]:
        rank, world = self._world()
        return [
            DataLoader(_Batches(source, max(1, self.size(name) // world), rank, world), batch_size=None) for name, source in sources.items()
        ]

    def val_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader for each source that is validated on, in their order."""
        return self._evaluated(self.validation)

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader for each source that is tested on, in their order."""
        return self._evaluated(self.test)

    def predict_dataloader(self) -> list[DataLoader[Batch]]:
        """What is tested on."""
        return self.test_dataloader()
