"""The report of an evaluation, written beside the run's checkpoints.    [Lightning]"""

import time
from pathlib import Path
from typing import Any

import torch.distributed as dist
from pytorch_lightning import Callback, LightningModule, Trainer

from kemm.batch import Batch, batch_size
from kemm.callbacks.about import about, facts, memory_gib, skipped_samples
from kemm.callbacks.progress import Scored, clock, say
from kemm.files import write_json, write_text
from kemm.fusion import Streams
from kemm.learner import Learner
from kemm.nn import world_size
from kemm.report import Album, Example, Run, page, pictures, read_curves, scores_as_json, scores_table, take
from kemm.tasks import Row, Task

REPORT, METRICS, PREDICTIONS, TRAINING = "report.html", "metrics.json", "predictions", "training.json"
"""Files of a run's folder."""


class Report(Callback):
    """Writes what an evaluation found into the run's folder: `metrics.json`, `predictions/<split>_<task>.json`, `report.html`; and at the
    end of training its length and last scores, `training.json`.

    Args:
        examples: Samples that are shown of each split.
        mistakes: Wrong answers that are shown of each split, the surest first.
    """

    def __init__(self, examples: int = 24, mistakes: int = 12) -> None:
        self.examples, self.mistakes = examples, mistakes
        self.path, self.config = Path(), ""
        self.albums: dict[tuple[str, str], Album] = {}
        self.counted: dict[tuple[str, str], int] = {}
        self.streams: Streams | None = None
        self.handle: Any = None
        self.begun = self.training_begun = self.trained = 0.0

    def describe(self, path: Path, config: str) -> None:
        """Says what is run.

        Args:
            path: The config's file.
            config: The resolved config as YAML.
        """
        self.path, self.config = path, config

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Says what was left out of the data."""
        if trainer.is_global_zero:
            for name, reasons in skipped_samples(trainer).items():
                listed = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
                say(f"data.{name}: {sum(reasons.values())} bad rows were skipped: {listed}")

    # ---- training

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self.training_begun = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The time spent so far, so that a resumed run counts on."""
        return {"seconds": self._trained()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The time that the interrupted run had spent."""
        self.trained = float(state_dict["seconds"])

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes `training.json`, and shows the last validation scores."""
        if not isinstance(pl_module, Scored) or not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        said = {
            "seconds": self._trained(),
            "steps": trainer.global_step,
            "memory_gib": memory_gib(),
            "skipped": skipped_samples(trainer),
            "scores": scores_as_json(pl_module.scores),
        }
        write_json(Path(trainer.default_root_dir) / TRAINING, said)
        say(f"{trainer.global_step} steps in {clock(self._trained())}, memory {memory_gib():.2f} GiB")
        if pl_module.scores:
            say(scores_table(pl_module.scores))

    def _trained(self) -> float:
        return self.trained + (time.monotonic() - self.training_begun if self.training_begun else 0.0)

    # ---- evaluation

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins, where validation is the command."""
        self._begin(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins."""
        self._begin(trainer, pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins."""
        self._begin(trainer, pl_module)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Takes up samples that are shown."""
        self._look(pl_module, batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Takes up samples that are shown."""
        self._look(pl_module, batch)

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Takes up samples that are shown."""
        self._look(pl_module, batch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes, where validation is the command."""
        self._end(trainer, pl_module)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes."""
        self._end(trainer, pl_module)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes."""
        self._end(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Lets go of the network."""
        self._let_go()

    def _begin(self, trainer: Trainer, pl_module: LightningModule) -> None:
        learner = pl_module._modules.get("learner")
        if trainer.state.fn == "fit" or not isinstance(pl_module, Scored) or not isinstance(learner, Learner):
            return
        self.begun, self.albums, self.counted = time.monotonic(), {}, {}
        self.handle = learner.network.register_forward_hook(self._keep)

    def _keep(self, module: Any, inputs: Any, streams: Streams) -> None:
        # A task may run the network again; what was looked up for the batch is the first run's.
        if self.streams is None:
            self.streams = streams

    def _look(self, pl_module: LightningModule, batch: Batch) -> None:
        """Explains the chosen samples of a batch from the streams of the evaluation itself: no sample runs through the network twice."""
        if self.handle is None or not isinstance(pl_module, Scored):
            return
        streams, self.streams = self.streams, None
        for split, tasks in pl_module.rows.items():
            for name, rows in tasks.items():
                new = rows[self.counted.get((split, name), 0) :]
                self.counted[split, name] = len(rows)
                album = self.albums.setdefault((split, name), Album(self.examples, self.mistakes))
                places = album.choose(new)
                if places and streams is not None:
                    learner: Any = pl_module.learner
                    album.add(_examples(learner.objectives[name], new, places, streams, batch, learner.network))

    def _end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.handle is None or not isinstance(pl_module, Scored):
            return
        self._let_go()
        self._gather()
        if not trainer.is_global_zero:
            return
        folder, said = Path(trainer.default_root_dir), about(trainer, pl_module, self.path, time.monotonic() - self.begun)
        skipped = skipped_samples(trainer)
        write_json(folder / METRICS, {**said, "skipped": skipped, "splits": scores_as_json(pl_module.scores)})
        learner: Any = pl_module.learner
        for split, tasks in pl_module.rows.items():
            for name, rows in tasks.items():
                write_json(folder / PREDICTIONS / f"{split}_{name}.json", learner.objectives[name].official(rows))
        albums = {key: album for key, album in self.albums.items() if album.examples or album.mistakes}
        run = Run(
            name=f"{said['config'] or folder.name}: {said['command']}",
            facts=facts(said, skipped),
            scores=pl_module.scores,
            rows=pl_module.rows,
            albums=albums,
            curves=read_curves(folder / "logs"),
            config=self.config,
        )
        write_text(folder / REPORT, page(run))
        say(scores_table(pl_module.scores))
        say(f"report: {folder / REPORT}")

    def _let_go(self) -> None:
        if self.handle is not None:
            self.handle.remove()
        self.handle = self.streams = None

    def _gather(self) -> None:
        if world_size() == 1:
            return
        parts: list[dict[tuple[str, str], Album]] = [{} for _ in range(world_size())]
        dist.all_gather_object(parts, self.albums)
        self.albums = {}
        for key in dict.fromkeys(key for part in parts for key in part):
            album = self.albums.setdefault(key, Album(self.examples, self.mistakes))
            album.merge([part[key] for part in parts if key in part])


def _examples(task: Task, rows: list[Row], places: list[int], streams: Streams, batch: Batch, network: Any) -> list[Example]:
    size = batch_size(batch)
    part, states = take(batch, places, size), {name: take(stream, places, size) for name, stream in streams.items()}
    shown, told = pictures(part), task.explain(states, part, network)
    return [Example(rows[place], shown[i] if shown else b"", tuple(told[i]) if told else ()) for i, place in enumerate(places)]
