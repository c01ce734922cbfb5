"""The command `convert`: a published checkpoint becomes kemm's weights and the config that builds their learner."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import save_file

from kemm.convert.loading import load
from kemm.convert.summary import summary
from kemm.convert.systems import SYSTEMS, arguments_of
from kemm.convert.table import Converted

_CHECKPOINT = "safetensors, a pickle of tensors, a folder or an archive as published, or hub:name"
_FOLDER = "where weights.safetensors and config.yaml are written; without it, only the table of the keys is shown"


def main(argv: Sequence[str]) -> int:
    """Converts one checkpoint.

    Args:
        argv: The arguments behind the command.

    Returns:
        The exit status: 0, or 1 for an error that a message explains.
    """
    given = vars(_parser().parse_args(argv))
    path, folder, system = given.pop("path"), given.pop("folder"), given.pop("system")
    try:
        options = {name: _value(name, text) for name, text in given.items() if text is not None}
        converted = load(path, system, **options)
        if folder is not None:
            write(converted, folder)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {path}: {error}\n")
        return 1
    sys.stdout.write(f"{summary(converted)}\n")
    return 0


def write(converted: Converted, folder: Path) -> None:
    """Writes `weights.safetensors` and `config.yaml`; each is the old file or the whole new one at any time.

    Args:
        converted: The converted checkpoint.
        folder: The folder, made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as draft:
        save_file(converted.state, Path(draft) / "weights.safetensors")
        (Path(draft) / "config.yaml").write_text(yaml.safe_dump({"model": converted.config}, sort_keys=False), encoding="utf-8")
        for name in ("weights.safetensors", "config.yaml"):
            os.replace(Path(draft) / name, folder / name)


def _parser() -> argparse.ArgumentParser:
    """The command's arguments: its own, and those of all converters that a command line can give."""
    parser = argparse.ArgumentParser("kemm convert", description=__doc__, allow_abbrev=False)
    parser.add_argument("path", help=_CHECKPOINT)
    parser.add_argument("folder", type=Path, nargs="?", help=_FOLDER)
    parser.add_argument("--system", choices=SYSTEMS, default="", metavar="NAME", help=f"what it is, if not as the keys tell: {SYSTEMS}")
    systems: dict[str, list[str]] = {}
    for system in SYSTEMS:
        for name, argument in arguments_of(system).items():
            if "Tensor" not in str(argument.annotation):
                systems.setdefault(name, []).append(system)
    told = parser.add_argument_group(
        "what the keys cannot tell", "YAML values, such as --layers '[0, 11, 22]'; kemm.convert.NAME explains them"
    )
    for name, having in sorted(systems.items()):
        told.add_argument(f"--{name}", metavar="VALUE", help=", ".join(having))
    return parser


def _value(name: str, text: str) -> Any:
    """The value of an argument."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"--{name} is {text!r}, and no YAML ({str(error).splitlines()[0]})") from None
