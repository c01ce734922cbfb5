"""The callbacks that each run has.    [Lightning]"""

import sys
from pathlib import Path

from pytorch_lightning import Callback
from pytorch_lightning.callbacks import ProgressBar

from kemm.callbacks.memory import MemoryRefresh
from kemm.callbacks.progress import PlainProgress
from kemm.callbacks.report import Report


def default_callbacks(given: list[Callback], path: Path, config: str, progress: bool) -> list[Callback]:
    """The callbacks of a config, and those that each run has where the config does not list them itself.

    Args:
        given: Those of the config.
        path: The config's file.
        config: The resolved config as YAML.
        progress: Whether progress is shown.
    """
    added: list[Callback] = []
    for default in (MemoryRefresh(), Report()):
        if not any(isinstance(callback, type(default)) for callback in given):
            added.append(default)
    # On a terminal, Lightning's own bar is better than lines.
    if progress and not sys.stdout.isatty() and not any(isinstance(callback, ProgressBar) for callback in given):
        added.append(PlainProgress())
    for callback in (*given, *added):
        if isinstance(callback, Report):
            callback.describe(path, config)
    return [*given, *added]
