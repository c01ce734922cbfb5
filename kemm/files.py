"""Files: written so that they are either the old one or the whole new one at any time, and read with errors that name them."""

import json
import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from torch import Tensor


def write_text(path: Path, text: str) -> None:
    """Writes a text file, as UTF-8.

    Args:
        path: the file; its folders are made.
        text: its content.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file.

    Args:
        path: the file; its folders are made.
        content: its content.
    """
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of the old one when it is whole; an error leaves the old one.

    Args:
        path: the file; its folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield cast("BinaryIO", file)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    os.chmod(file.name, 0o644)
    os.replace(file.name, path)


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file; numbers that are not finite become null, since JSON has none.

    Args:
        path: the file; its folders are made.
        content: what it says: dicts, lists, texts, numbers.
    """
    write_text(path, json.dumps(_finite(content), indent=1, allow_nan=False) + "\n")


def read_tensors(path: Path, what: str) -> "dict[str, Tensor]":
    """Reads a safetensors file.

    Args:
        path: the file.
        what: what it holds, for the message.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no safetensors file, or is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file of {what}")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path}: is no safetensors file, expected {what} ({error})") from None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
