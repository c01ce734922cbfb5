"""Refreshed memories.    [Lightning]"""

from typing import Any, Protocol, runtime_checkable

from pytorch_lightning import Callback, LightningModule, Trainer


@runtime_checkable
class Refreshes(Protocol):
    """A module with memories (`kemm.training.TrainingModule`)."""

    def refresh_memories(self) -> None:
        """Take a new snapshot of every memory's keys."""


class MemoryRefresh(Callback):
    """Takes new snapshots of all memories, at steps that do not depend on where a run was interrupted.

    Args:
        every: Steps of the optimiser between two snapshots.
    """

    def __init__(self, every: int = 50) -> None:
        if every < 1:
            raise ValueError(f"every is {every}, expected a number of steps of at least 1")
        self.every = every
        self.last = -1

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Refreshes before the step; with accumulated batches, before the first of a step."""
        step = trainer.global_step
        if step % self.every == 0 and step != self.last and isinstance(pl_module, Refreshes):
            pl_module.refresh_memories()
            self.last = step
