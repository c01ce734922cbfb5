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

from kemm.config import ConfigError
from kemm.config_classes import Parameter
from kemm.config_errors import Arguments, mistakes
from kemm.overrides import overrides, with_overrides
from kemm.run_folder import RunFolder, default_logger, find_checkpoint, placed_callbacks

_NOISE = (
    r".*does not have many workers.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*You have overridden .*transfer_batch_to_device.*",
    r".*The number of training batches .* is smaller than the logging interval.*",
)


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
        return _fail(_one_line(error))
    arguments: dict[str, Any] = {"predict": {"return_predictions": False}}.get(command, {})
    try:
        method = getattr(built.trainer, command)
        method(built.model, datamodule=built.datamodule, ckpt_path=built.checkpoint, weights_only=True, **arguments)
    except SIGTERMException:
        return 143
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
        callbacks = [*callbacks, RunFolder(folder, self.parser.dump(settled, "yaml", False), writes)]
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
    if _is_other_architecture(error):
        return True
    frames = list(traceback.walk_tb(error.__traceback__))
    return isinstance(error, ValueError) and frames[-1][0].f_globals.get("__name__", "").startswith("kemm.")


def _is_other_architecture(error: Exception) -> bool:
    return isinstance(error, RuntimeError) and str(error).startswith("Error(s) in loading state_dict")


def _one_line(error: Exception) -> str:
    text = _first_words(error)
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"


def _first_words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    return " ".join(lines[:4])[:600] or type(error).__name__


def _fail(*lines: str, status: int = 1) -> int:
    for line in lines:
        sys.stderr.write(f"error: {line}\n")
    return status
