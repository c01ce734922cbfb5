"""A run's folder: where its config, checkpoints and logs lie, and how a checkpoint is named by `last` or `best`.

It is `runs/<config name>/` and holds `config.yaml` (the resolved config), `last.ckpt` and other checkpoints, and in `logs/version_<n>/` the
`metrics.csv` of each call.
"""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger

from kemm.files import write_text

_SUFFIX = ".ckpt"


class RunFolder(Callback):
    """Writes the resolved config beside the checkpoints when training starts.

    Args:
        folder: the run's folder.
        config: the resolved config as YAML text.
    """

    def __init__(self, folder: Path, config: str) -> None:
        self.folder = folder
        self.config = config

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes `config.yaml`, on one rank."""
        if stage == "fit" and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            write_text(self.folder / "config.yaml", self.config)


def placed_callbacks(folder: Path, given: list[Callback], checkpoints: bool) -> list[Callback]:
    """Returns the callbacks with every checkpoint in the run's folder, and one that writes checkpoints if there was none.

    Args:
        folder: the run's folder.
        given: the callbacks that the config lists.
        checkpoints: whether checkpoints are written.
    """
    writers = [callback for callback in given if isinstance(callback, ModelCheckpoint)]
    for writer in writers:
        writer.dirpath = writer.dirpath or str(folder)
    if writers or not checkpoints:
        return given
    # Without a counter a second run of the same config replaces last.ckpt, where Lightning would go on to last-v1.ckpt.
    return [*given, ModelCheckpoint(dirpath=str(folder), save_last=True, enable_version_counter=False)]


def default_logger(folder: Path) -> CSVLogger:
    """Returns the logger of a run whose config names none."""
    return CSVLogger(save_dir=str(folder), name="logs")


def find_checkpoint(folder: Path, name: str) -> Path:
    """Finds the checkpoint that a `--ckpt_path` means.

    Args:
        folder: the run's folder.
        name: `last` (the newest in the folder), `best` (by the monitored metric, as the newest one records it) or a path.

    Returns:
        A readable checkpoint; a folder where it was saved in shards.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    if name not in ("last", "best"):
        path = Path(name)
        if not path.exists():
            raise ValueError(f"--ckpt_path {name}: no such file, expected last, best or the path of a checkpoint")
        _read(path)
        return path
    known = sorted(folder.glob(f"*{_SUFFIX}"), key=lambda path: (path.stat().st_mtime_ns, path.name.startswith("last")))
    if not known:
        raise ValueError(f"--ckpt_path {name}: {folder} holds no checkpoint, expected *{_SUFFIX} files from `fit`")
    state = _read(known[-1])
    if name == "last":
        return known[-1]
    states = [state for key, state in state.get("callbacks", {}).items() if key.startswith("ModelCheckpoint")]
    states.sort(key=lambda state: state.get("best_model_score") is None)
    # Only the name is kept: the run's folder may have been moved since.
    best = next((folder / Path(state["best_model_path"]).name for state in states if state.get("best_model_path")), None)
    if best is None:
        raise ValueError(f"--ckpt_path best: {known[-1]} records no best checkpoint, expected one from a ModelCheckpoint with a monitor")
    if not best.exists():
        raise ValueError(f"--ckpt_path best: {best} is gone, expected the best checkpoint that {known[-1]} records")
    _read(best)
    return best


def _read(path: Path) -> dict[str, Any]:
    if path.is_dir():
        return {}
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises five kinds here, depending on where the file is cut
        detail = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"{path}: cannot be read as a checkpoint ({detail}), expected a file that `fit` wrote") from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise ValueError(f"{path}: holds no 'state_dict', expected a checkpoint that `fit` wrote")
    missing = [key for key in ("pytorch-lightning_version", "epoch", "global_step") if key not in state]
    if missing:
        raise ValueError(f"{path}: holds no {missing[0]!r}, expected a checkpoint that `fit` wrote; model.pretrained reads bare weights")
    return state
