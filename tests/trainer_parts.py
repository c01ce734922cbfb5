"""Callbacks that tests put into configs."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor


class Interruption(Callback):
    """Ends training with an error, as a machine that goes down would.

    Args:
        after: Steps that are done by then.
    """

    def __init__(self, after: int) -> None:
        self.after = after

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.after:
            raise RuntimeError("interrupted")


class Double(Callback):
    """Trains in float64 with any strategy, where Lightning's `64-true` is refused by some."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        pl_module.to(torch.float64)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: dict[str, Any], batch_idx: int) -> None:
        for name, value in batch.items():
            if isinstance(value, dict):
                self.on_train_batch_start(trainer, pl_module, value, batch_idx)
            elif isinstance(value, Tensor) and value.is_floating_point():
                batch[name] = value.double()
