"""Writes a file that `VectorTable` reads, some rows at a time and in any order."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from kemm.files import replacing

STORED = {"float32": ("F32", "<f4"), "float16": ("F16", "<f2"), "int8": ("I8", "i1")}
"""What vectors may be written as, by the names of safetensors and of numpy."""

HEADER = 512
"""Bytes that are kept for the header, which is known last; what is left of them are spaces (which safetensors allows)."""


class VectorWriter:
    """The rows of a table that is being written; those that are never put are zero.

    Args:
        file: Where to.
        dtype: "float32", "float16" or "int8".
        dim: Width.

    Attributes:
        rows: Number of rows: one more than the last that was put; may be set higher.
        error: The largest difference between a number and what is stored of it.
    """

    def __init__(self, file: BinaryIO, dtype: str, dim: int) -> None:
        if dtype not in STORED or dim < 1:
            raise ValueError(f"dtype is {dtype!r} and dim {dim}, expected one of {list(STORED)} and a width of at least 1")
        self.file, self.dtype, self.dim, self.rows, self.error = file, dtype, dim, 1, 0.0
        self._scales = np.zeros(1024, np.float32)

    def put(self, rows: np.ndarray, x: np.ndarray) -> None:
        """Writes vectors.

        Args:
            rows: Their rows (n,), each at least 1 and none twice.
            x: They themselves (n, D), float32, all finite.

        Raises:
            ValueError: A number is too large for float16.
        """
        order = np.argsort(rows, kind="stable")
        rows, x = rows[order], x[order]
        stored, scales = quantised(x, self.dtype)
        back = stored.astype(np.float32) * scales[:, None] if self.dtype == "int8" else stored.astype(np.float32)
        if not np.isfinite(back).all():
            row, place = np.argwhere(~np.isfinite(back))[0]
            raise ValueError(f"the number {x[row, place]} of row {rows[row]} is too large for float16, which ends at 65504")
        self.error = max(self.error, float(np.abs(x - back).max(initial=0.0)))
        self.rows = max(self.rows, int(rows.max(initial=0)) + 1)
        self._grow()
        self._scales[rows] = scales
        for run in np.split(np.arange(len(rows)), np.nonzero(np.diff(rows) != 1)[0] + 1):
            if len(run):
                self.file.seek(HEADER + int(rows[run[0]]) * stored[:1].nbytes)
                self.file.write(stored[run[0] : run[-1] + 1].tobytes())

    def finish(self) -> None:
        """Writes the scales and the header."""
        kind, name = STORED[self.dtype]
        size = self.rows * self.dim * np.dtype(name).itemsize
        entries = {"vectors": {"dtype": kind, "shape": [self.rows, self.dim], "data_offsets": [0, size]}}
        self.file.truncate(HEADER + size)
        if self.dtype == "int8":
            self._grow()
            entries["scales"] = {"dtype": "F32", "shape": [self.rows], "data_offsets": [size, size + 4 * self.rows]}
            self.file.seek(HEADER + size)
            self.file.write(self._scales[: self.rows].astype("<f4").tobytes())
        header = json.dumps(entries).encode().ljust(HEADER - 8)
        self.file.seek(0)
        self.file.write(len(header).to_bytes(8, "little") + header)

    def _grow(self) -> None:
        if self.rows > len(self._scales):
            self._scales = np.concatenate([self._scales, np.zeros(max(self.rows, 2 * len(self._scales)) - len(self._scales), np.float32)])


@contextmanager
def writing(path: Path, dtype: str, dim: int) -> Iterator[VectorWriter]:
    """A table that takes the place of the file when it is whole; an error leaves the old one.

    Args:
        path: The file.
        dtype: "float32", "float16" or "int8".
        dim: Width.
    """
    with replacing(Path(path)) as file:
        writer = VectorWriter(file, dtype, dim)
        yield writer
        writer.finish()


def quantised(x: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (n, D) as they are stored, and the scale of each (n,), 1 where there is none; see `kemm.kg.vectors` for the formula."""
    if dtype != "int8":
        with np.errstate(over="ignore"):
            return x.astype(STORED[dtype][1]), np.ones(len(x), np.float32)
    scales = np.abs(x).max(1, initial=0.0).astype(np.float32) / np.float32(127)
    steps = np.divide(x, scales[:, None], out=np.zeros_like(x), where=scales[:, None] > 0)
    return np.clip(np.rint(steps), -127, 127).astype(np.int8), scales
