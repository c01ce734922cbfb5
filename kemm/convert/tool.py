"""The command `convert`: a published checkpoint becomes kemm's weights and the config that builds their learner."""

import argparse
import importlib
import inspect
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from safetensors.torch import save_file

from kemm.convert.published import is_published, published
from kemm.convert.state import read_state
from kemm.convert.table import Converted

_HELP = "--heads 16 --layers '[0, 11, 22]': what the keys cannot tell, as the converter's docstring says"
_CHECKPOINT = "safetensors, a pickle of tensors, a folder or an archive as published, or hub:name"

SYSTEMS = (
    "albef",
    "bert",
    "coca",
    "colake",
    "distilbert",
    "ernie",
    "gpt2",
    "kadapter",
    "kbert",
    "kepler",
    "knowbert",
    "luke",
    "modernbert",
    "roberta",
    "tucker",
    "vilbert",
    "visualbert",
)
"""The modules of this package that hold a converter of their name."""


def main(argv: Sequence[str]) -> int:
    """Converts one checkpoint.

    Args:
        argv: The arguments behind the command.

    Returns:
        The exit status: 0, or 1 for an error that a message explains.
    """
    parser = argparse.ArgumentParser("kemm convert", description=__doc__)
    parser.add_argument("system", choices=SYSTEMS, help="what the checkpoint is")
    parser.add_argument("checkpoint", type=Path, help=_CHECKPOINT)
    parser.add_argument("folder", type=Path, help="where weights.safetensors and config.yaml are written")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="--argument value", help=_HELP)
    given = parser.parse_args(argv)
    converter = getattr(importlib.import_module(f"kemm.convert.{given.system}"), given.system)
    try:
        options = _arguments(converter, given.options)
        if is_published(given.checkpoint):
            converted = published(given.checkpoint, given.system, **options)
        else:
            converted = converter(read_state(given.checkpoint), **options)
        given.folder.mkdir(parents=True, exist_ok=True)
        _replace(given.folder / "weights.safetensors", lambda path: save_file(converted.state, path))
        config = yaml.safe_dump({"model": converted.config}, sort_keys=False)
        _replace(given.folder / "config.yaml", lambda path: path.write_text(config, encoding="utf-8"))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {given.checkpoint}: {error}\n")
        return 1
    sys.stdout.write(f"{converted.report}\n")
    return 0


def _arguments(converter: Callable[..., Converted], options: Sequence[str]) -> dict[str, object]:
    known = list(inspect.signature(converter).parameters)[1:]
    names = [option.removeprefix("--") for option in options[::2]]
    wrong = [name for name in names if name not in known]
    if wrong or len(options) % 2:
        raise ValueError(f"options are {list(options)}, expected pairs of --argument and value with arguments out of {known}")
    return {name: yaml.safe_load(value) for name, value in zip(names, options[1::2], strict=True)}


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file that is either the old one or the whole new one at any time."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        write(Path(folder) / path.name)
        os.replace(Path(folder) / path.name, path)
