"""The Lightning side of the command line: a config becomes a model, data and a trainer, which then fit, validate, test or predict."""

import argparse
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities.exceptions import SIGTERMException

import kemm
from kemm.callbacks import default_callbacks
from kemm.config import ConfigError
from kemm.config_classes import Parameter
from kemm.config_errors import Arguments, mistakes
from kemm.data import Preparation
from kemm.overrides import overrides, with_overrides
from kemm.preemption import Preemption
from kemm.run_folder import RunFolder, default_logger, find_checkpoint, placed_callbacks

_NOISE = (
    r".*does not have many workers.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*You have overridden .*transfer_batch_to_device.*",
    r".*The number of training batches .* is smaller than the logging interval.*",
    r".*Total length of `list` across ranks is zero.*",  # a config without validation
    r".*FSDP2-wrapped module .* returned a view tensor.*",
    r".*your dataloader is not resumable.*",  # the mixture goes on at any step
)
_OF_INPUT = ("ValueError", "FileNotFoundError", "kemm.rows.RowError")


def run(command: str, module: type[LightningModule], config: Path, root: yaml.MappingNode, options: Sequence[str]) -> int:
    """Runs one command on one config.

    Args:
        command: `fit`, `validate`, `test` or `predict`.
        module: the class that the config's `model` describes.
        config: the config's file; the run's folder is named after it.
        root: the file's tree, as `kemm.config.read` gives it.
        options: the command line behind the command.

    Returns:
        The exit status: 0; 1 for an error that a message explains; 2 for a wrong config; 143 after SIGTERM. Other errors are raised.
    """
    _silence()
    try:
        built = _CommandLine(command, module, config, root, options)
    except ConfigError as error:
        return _fail(*str(error).split("\n"), status=2)
    except Exception as error:
        if _wants_traceback():
            raise
        return _fail(_one_line(_own(error)))
    quiet = {"predict": {"return_predictions": False}, "validate": {"verbose": False}, "test": {"verbose": False}}
    arguments: dict[str, Any] = quiet.get(command, {})
    try:
        method = getattr(built.trainer, command)
        method(built.model, datamodule=built.datamodule, ckpt_path=built.checkpoint, weights_only=True, **arguments)
    except SIGTERMException:
        # Lightning kills the main process when one that it started ends with another status than 0.
        return 143 if built.trainer.local_rank == 0 else 0
    except Exception as error:
        if _wants_traceback() or not _explains_itself(error):
            raise
        if _is_other_architecture(error):
            return _fail(f"{built.checkpoint}: its weights do not fit the config's model: {_first_words(error)}")
        return _fail(_one_line(error))
    return 0


def show_help(command: str, module: type[LightningModule]) -> None:
    """Prints every option of a command."""
    _silence()
    _CommandLine(command, module, Path("config.yaml"), None, ["--help"])


class _CommandLine(LightningCLI):
    """Lightning's command line, with kemm's errors, defaults and run folder; it builds, and leaves the running to `run`."""

    def __init__(
        self, command: str, module: type[LightningModule], path: Path, root: yaml.MappingNode | None, options: Sequence[str]
    ) -> None:
        self.module = module
        self.path = path
        self.root = root
        self.options = list(options)
        super().__init__(
            module,
            LightningDataModule,
            subclass_mode_data=True,
            run=False,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults={"default_root_dir": os.path.join("runs", path.stem)},
            parser_kwargs={"allow_abbrev": False, "exit_on_error": False, "prog": f"kemm {command}"},
            auto_configure_optimizers=False,
            # Otherwise Lightning stores the config in every checkpoint, under names that its own loader then rejects.
            load_from_checkpoint_support=False,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--ckpt_path", type=str | None, default=None, help="last or best of the run's folder, or a checkpoint's path.")

        parser.add_argument("--prepare", type=list[Preparation], default=[], help="Steps that make files of which the rest is read.")

    def instantiate_classes(self) -> None:
        # Model and data read files in their constructors, so what makes these files cannot wait for Lightning's prepare_data.
        steps = LightningArgumentParser()
        steps.add_argument("--prepare", type=list[Preparation])
        for step in steps.instantiate(steps.parse_object({"prepare": self.config["prepare"]})).prepare:
            step()
        super().instantiate_classes()

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            self.config = parser.parse_args(self.options)
        except (argparse.ArgumentError, TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
            raise ConfigError(self._explain(error)) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        settings = self._get(self.config_init, "trainer")
        folder = Path(settings["default_root_dir"])
        writes = settings["enable_checkpointing"] is not False and not settings["fast_dev_run"]
        listed = settings["callbacks"] or []
        callbacks = placed_callbacks(folder, listed if isinstance(listed, list) else [listed], writes)
        settled = self.config.clone()
        name = settled.pop("ckpt_path")
        settled.pop("config", None)
        self.checkpoint = None if name is None else find_checkpoint(folder, name)
        text = self.parser.dump(settled, "yaml", False)
        callbacks = default_callbacks(callbacks, self.path, text, settings["enable_progress_bar"] is not False)
        callbacks = [*callbacks, RunFolder(folder, text), Preemption(folder, writes)]
        if settings["strategy"] == "ddp":
            # A step is one source's, whose objectives leave parts of the model alone.
            settings["strategy"] = "ddp_find_unused_parameters_true"
        logger = default_logger(folder) if settings["logger"] in (None, True) else settings["logger"]
        return super().instantiate_trainer(callbacks=callbacks, logger=logger)

    def _explain(self, error: Exception) -> list[str]:
        assert self.root is not None
        expected = {
            "seed_everything": Parameter(bool | int, False),
            "trainer": Parameter(Arguments(Trainer), False),
            "model": Parameter(Arguments(self.module), True),
            "data": Parameter(LightningDataModule, True),
            "ckpt_path": Parameter(str | None, False),
            "prepare": Parameter(list[Preparation], False),
        }
        found = mistakes(with_overrides(self.root, overrides(self.options)), expected, self.path)
        return found or [f"{self.path}: {_first_words(error)}"]


def _silence() -> None:
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message=message)


def _wants_traceback() -> bool:
    return os.environ.get("KEMM_TRACEBACK", "") not in ("", "0")


def _explains_itself(error: Exception) -> bool:
    """Tells whether an error is a message for the user: raised by kemm about its input, by Lightning about its use, or about a file."""
    if isinstance(error, MisconfigurationException) or (isinstance(error, OSError) and error.filename is not None):
        return True
    if _is_other_architecture(error) or _from_worker(error):
        return True
    return isinstance(error, ValueError | FileNotFoundError) and _raised_in(error).startswith("kemm.")


def _own(error: BaseException) -> BaseException:
    """The error of a constructor; where its argument may be one of several types, jsonargparse hides it behind an error of its own."""
    found: BaseException | None = error
    while found is not None and _raised_in(found).startswith("jsonargparse."):
        found = found.__cause__
    return found or error


def _raised_in(error: BaseException) -> str:
    """The module whose line raised an error."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return str(frames[-1][0].f_globals.get("__name__", "")) if frames else ""


def _from_worker(error: BaseException) -> str:
    """The message of an error that kemm raised about its input in a process that prepares batches, which torch hands on as text; or ""."""
    lines = str(error).rstrip().split("\n")
    places = [line for line in lines if line.startswith('  File "')]
    kind, _, message = lines[-1].partition(": ")
    if " in DataLoader worker process " not in lines[0] or not places or kind not in _OF_INPUT:
        return ""
    return message if Path(places[-1].split('"')[1]).is_relative_to(Path(kemm.__file__).parent) else ""


def _is_other_architecture(error: Exception) -> bool:
    return isinstance(error, RuntimeError) and str(error).startswith("Error(s) in loading state_dict")


def _one_line(error: BaseException) -> str:
    text = _first_words(error)
    return _from_worker(error) or (text if isinstance(error, ValueError | FileNotFoundError) else f"{type(error).__name__}: {text}")


def _first_words(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    return " ".join(lines[:4])[:600] or type(error).__name__


def _fail(*lines: str, status: int = 1) -> int:
    for line in lines:
        sys.stderr.write(f"error: {line}\n")
    return status
