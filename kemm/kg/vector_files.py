"""Files of entity vectors as others write them, read as a stream: OpenKE's text, word2vec's text, numpy's and safetensors' arrays."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from kemm.kg.vectors import VectorTable, read_header
from kemm.rows import require_file

FORMATS = ("openke", "word2vec", "numpy", "safetensors")
ROWS, BYTES = 1 << 14, 4 << 20
"""What is read at a time, of arrays and of text."""


class Chunk(NamedTuple):
    """Vectors that follow each other in a file: x (n, D), float32 and finite, and their names (n) where the file has some."""

    x: np.ndarray
    names: list[str]


def format_of(path: Path) -> str:
    """Which of `FORMATS` a file has: by its ending; a text that begins with two whole numbers is word2vec's, another is OpenKE's."""
    if path.suffix in (".npy", ".safetensors"):
        return {".npy": "numpy", ".safetensors": "safetensors"}[path.suffix]
    with require_file(path, "a file of entity vectors").open("rb") as file:
        first = file.readline(1 << 16).split()
    return "word2vec" if len(first) == 2 and all(cell.isdigit() for cell in first) else "openke"


def read_chunks(path: Path, form: str, tensor: str = "vectors") -> Iterator[Chunk]:
    """The vectors of a file in its order.

    Args:
        path: The file.
        form: One of `FORMATS`.
        tensor: Of a safetensors file: which of its tensors; if there is but one, this one.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is malformed, or a number is not finite.
    """
    if form in ("openke", "word2vec"):
        yield from _text(require_file(path, f"a file of entity vectors, {form}"), form == "word2vec")
    elif form in ("numpy", "safetensors"):
        yield from (_finite(path, start, x) for start, x in (_numpy(path) if form == "numpy" else _safetensors(path, tensor)))
    else:
        raise ValueError(f"the format is {form!r}, expected one of {list(FORMATS)}")


def _finite(path: Path, start: int, x: np.ndarray) -> Chunk:
    if not np.isfinite(x).all():
        row, place = np.argwhere(~np.isfinite(x))[0]
        raise ValueError(f"{path}: row {start + row}, number {place + 1} is {x[row, place]}, expected a finite float32")
    return Chunk(x, [])


def _numpy(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    def mapped() -> np.ndarray:
        try:
            array = np.load(require_file(path, "an array of entity vectors"), mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            raise
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"{path}: is no .npy file of numbers, or is cut off ({error})") from None
        if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
            given = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else "an archive of arrays"
            raise ValueError(f"{path}: is {given}, expected floats of shape (entities, width)")
        return array

    # Mapped anew for each part, so that what was read before is no memory of the process.
    for start in range(0, len(mapped()), ROWS):
        with np.errstate(over="ignore"):
            yield start, np.array(mapped()[start : start + ROWS], np.float32)


def _safetensors(path: Path, tensor: str) -> Iterator[tuple[int, np.ndarray]]:
    names = list(read_header(path)[1])
    table = VectorTable(path, names[0] if len(names) == 1 else tensor)
    for start in range(0, len(table), ROWS):
        yield start, table[torch.arange(start, min(start + ROWS, len(table)))].numpy()


def _text(path: Path, named: bool) -> Iterator[Chunk]:
    with path.open("rb") as file:
        first = file.readline()
        count, dim = _stated(path, first) if named else (0, len(first.split()))
        if not named:
            file.seek(0)
        if dim < 1:
            raise ValueError(f"{path}:1: the line is empty, expected the numbers of the first vector")
        line, rows = 1 + named, 0
        while block := file.read(BYTES) + file.readline():
            if len(block) < BYTES:
                block = block.rstrip()  # empty lines at the end
            lines = block.removesuffix(b"\n").split(b"\n") if block else []
            names, numbers = _split(path, line, lines, dim) if named else ([], lines)
            x = _parse(numbers, dim)
            if x is None:
                x = _parse_slowly(path, line, numbers, dim)
            if lines:
                yield Chunk(x, names)
            line, rows = line + len(lines), rows + len(lines)
    if named and rows != count:
        raise ValueError(f"{path}:1: states {count} vectors, and there are {rows}")


def _stated(path: Path, line: bytes) -> tuple[int, int]:
    cells = line.split()
    if len(cells) != 2 or not all(cell.isdigit() for cell in cells) or int(cells[1]) < 1:
        raise ValueError(f"{path}:1: expected the number of vectors and their width, as word2vec writes them, got {line[:80]!r}")
    return int(cells[0]), int(cells[1])


def _split(path: Path, start: int, lines: list[bytes], dim: int) -> tuple[list[str], list[bytes]]:
    """The names and the numbers of word2vec's lines; a name may hold spaces."""
    names, numbers = [], []
    for line, text in enumerate(lines, start=start):
        cells = text.rstrip().rsplit(b" ", dim)
        if len(cells) != dim + 1 or not cells[0].strip():
            raise ValueError(f"{path}:{line}: expected a name and {dim} numbers with spaces between them, got {text[:80]!r}")
        try:
            names.append(cells[0].decode())
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}:{line}: byte {error.start + 1} of the name is not UTF-8") from None
        numbers.append(b" ".join(cells[1:]))
    return names, numbers


def _parse(lines: list[bytes], dim: int) -> np.ndarray | None:
    """Lines of numbers as (n, D); None where anything is unusual, for the slow way to find it."""
    block = b"\n".join(lines) + b"\n"
    letters = np.frombuffer(block, np.uint8)
    gap = letters <= 32
    begins = ~gap & np.concatenate([[True], gap[:-1]])
    edges = np.concatenate([[0], np.nonzero(letters == 10)[0][:-1] + 1])
    if not lines or not (np.add.reduceat(begins.view(np.int8), edges, dtype=np.int64) == dim).all():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            x = np.fromstring(block, np.float32, sep=" ")
        except (DeprecationWarning, ValueError, RuntimeWarning):
            return None
    return x.reshape(-1, dim) if x.size == len(lines) * dim and np.isfinite(x).all() else None


def _parse_slowly(path: Path, start: int, lines: list[bytes], dim: int) -> np.ndarray:
    x = np.empty((len(lines), dim), np.float32)
    for row, text in enumerate(lines):
        where, cells = f"{path}:{start + row}", text.split()
        if len(cells) != dim:
            raise ValueError(f"{where}: has {len(cells)} numbers, expected {dim} as in the first line")
        for place, cell in enumerate(cells):
            try:
                if b"_" in cell:  # Python's own way to group digits
                    raise ValueError
                with np.errstate(over="ignore"):
                    x[row, place] = float(cell)
            except ValueError:
                raise ValueError(f"{where}: number {place + 1} is {cell[:40]!r}, expected a decimal number") from None
            if not np.isfinite(x[row, place]):
                raise ValueError(f"{where}: number {place + 1} is {cell[:40]!r}, expected a finite float32")
    return x
