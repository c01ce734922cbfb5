"""What is said on the way.    [Lightning]"""

import sys
import time
from typing import Any, Protocol, runtime_checkable

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar

from kemm.report import scores_table
from kemm.tasks import Row, Scores


@runtime_checkable
class Scored(Protocol):
    """A module that evaluates tasks by their rows (`kemm.training.TrainingModule`)."""

    rows: dict[str, dict[str, list[Row]]]
    scores: dict[str, dict[str, Scores]]


class PlainProgress(ProgressBar):
    """Progress as lines of plain text, for logs.

    Args:
        seconds: Between two lines, at least.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.enabled = True
        self.begun = self.told = 0.0
        self.first = 0

    def disable(self) -> None:
        """Says nothing from now on (on ranks but the first)."""
        self.enabled = False

    def enable(self) -> None:
        """Says something again."""
        self.enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remembers where and when it began."""
        self.begun = self.told = time.monotonic()
        self.first = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Says how far training is, if it is time."""
        now, done, total = time.monotonic(), trainer.global_step, trainer.estimated_stepping_batches
        if now - self.told < self.seconds and done != total:
            return
        self.told = now
        rate = (done - self.first) / max(now - self.begun, 1e-9)
        parts = [f"step {done}" if total == float("inf") else f"step {done}/{total:.0f}"]
        parts += [f"{name.rpartition('/')[2]} {float(value):.4g}" for name, value in trainer.progress_bar_metrics.items()]
        parts += [f"{rate:.2f} steps/s"]
        if total != float("inf") and rate > 0:
            parts.append(f"{clock((total - done) / rate)} left")
        self._say("  ".join(parts))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says the first score of each task on each split."""
        if trainer.sanity_checking or trainer.state.fn != "fit" or not isinstance(pl_module, Scored):
            return
        for split, tasks in pl_module.scores.items():
            for task, scores in tasks.items():
                table = scores_table({split: {task: dict(list(scores.items())[:1])}}).splitlines()
                self._say(f"step {trainer.global_step}  {split}: {table[-1]}")

    def _say(self, line: str) -> None:
        if self.enabled:
            say(line)


def clock(seconds: float) -> str:
    """A length of time: 4:05, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def say(text: str) -> None:
    """A line for the person who started the run."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
