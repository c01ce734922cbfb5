"""Ending on SIGTERM: all processes stop after the same step, and one checkpoint holds that step."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.exceptions import SIGTERMException


class Preemption(Callback):
    """Saves `last.ckpt` when the process is told to end while it trains.

    With one process Lightning's own handler ends training between two steps. With several, that handler broadcasts from inside the signal,
    between whatever the ranks are sending just then, and they wait for each other forever; here the signal is only noted, and the ranks
    agree at the end of each step.

    Args:
        folder: the run's folder.
        saves: whether a checkpoint is written.
    """

    def __init__(self, folder: Path, saves: bool) -> None:
        self.folder = folder
        self.saves = saves
        self.noted = False

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listens from the first validation on."""
        self._listen(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listens from the first step on."""
        self._listen(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Ends all ranks after this step if one of them was told to end."""
        if trainer.world_size > 1 and trainer.strategy.reduce_boolean_decision(self.noted, all=False):
            trainer._signal_connector.received_sigterm = True  # what Lightning looks at when the step is counted

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Saves, between two steps, when the state is whole."""
        if self.saves and isinstance(exception, SIGTERMException) and trainer.state.fn == "fit" and not trainer.sanity_checking:
            trainer.save_checkpoint(self.folder / "last.ckpt")

    def _listen(self, trainer: Trainer) -> None:
        if trainer.world_size == 1:
            return

        def note(number: int, frame: FrameType | None) -> None:
            launcher = trainer.strategy.launcher
            if launcher is not None and not self.noted:
                launcher.kill(signal.Signals(number))  # hands it on to the processes that this one started
            self.noted = True

        signal.signal(signal.SIGTERM, note)
