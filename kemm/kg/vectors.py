"""A table of entity vectors that stays in its file: memory-mapped, each row read when it is asked for.

The file is a safetensors file with `vectors` (N, D), row 0 "no entity". Integers (I8) have one of `scales` (N,) for each row:

    x_ij = scale_i q_ij,    scale_i = max_j |x_ij| / 127,    q_ij = round(x_ij / scale_i),    |error| <= scale_i / 2
"""

import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kemm.rows import require_file

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "i1"}
"""What vectors may be stored as, and numpy's name of it; numpy has no bfloat16, which is the upper half of a float32."""

BLOCK = 1 << 21
"""Linux maps more than the page that is read: 64 KiB around it, or, if its cache holds the file in huge pages, all of one."""


class VectorTable:
    """The rows of a file; a copy or a pickle of it opens the file again.

    What is mapped counts as memory of the process once it was read. So the file is mapped anew, which costs microseconds, before what was
    read could exceed a limit: the system's own cache keeps the pages, the process does not.

    Args:
        path: A safetensors file.
        name: The tensor of the vectors.
        resident: Limit of what is read from the file and mapped, in bytes; at least 16 MiB.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no such file, or is cut off, or holds no such vectors.
    """

    def __init__(self, path: Path, name: str = "vectors", resident: int = 200 << 20) -> None:
        self.path, self.name, self.resident = Path(path), name, resident
        if resident < 8 * BLOCK:
            raise ValueError(f"resident is {resident} bytes, expected at least {8 * BLOCK}")
        start, entries = read_header(self.path)
        if name not in entries:
            raise ValueError(f"{path}: expected a tensor {name!r}, found {sorted(entries)}")
        self.dtype, shape, self._vectors = _entry(self.path, name, entries[name], start)
        if self.dtype not in DTYPES or len(shape) != 2:
            raise ValueError(f"{path}: {name!r} is {self.dtype} of shape {shape}, expected (entities, width) of one of {list(DTYPES)}")
        self.shape = (shape[0], shape[1])
        self._scales = 0
        if self.dtype == "I8":
            if "scales" not in entries:
                raise ValueError(f"{path}: expected a tensor 'scales' beside the I8 {name!r}, found {sorted(entries)}")
            kind, length, self._scales = _entry(self.path, "scales", entries["scales"], start)
            if kind != "F32" or length != (len(self),):
                raise ValueError(f"{path}: 'scales' is {kind} of shape {length}, expected F32 of shape ({len(self)},)")
        self._row_bytes = self.dim * np.dtype(DTYPES[self.dtype]).itemsize
        self._map()

    def __len__(self) -> int:
        """Number of rows, row 0 included."""
        return self.shape[0]

    @property
    def dim(self) -> int:
        """Width."""
        return self.shape[1]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.name, self.resident)

    def __getitem__(self, ids: Tensor) -> Tensor:
        """The vectors (..., D), float32, of rows (...), on their device.

        Raises:
            IndexError: There is no such row.
        """
        flat = ids.detach().reshape(-1).cpu().numpy()
        if flat.size and not 0 <= flat.min() <= flat.max() < len(self):
            raise IndexError(f"{self.path}: rows {flat.min()} to {flat.max()} are asked for, expected rows from 0 to {len(self) - 1}")
        x = np.empty((flat.size, self.dim), np.float32)
        # In the order of the file, and as many blocks at a time as are allowed: a vector may end in a second, its scale lie in a third.
        order = np.argsort(flat, kind="stable")
        _, block = np.unique(self._first(flat[order]) // BLOCK, return_inverse=True)
        for part in np.split(order, np.nonzero(np.diff(block // (self.resident // ((3 if self.dtype == "I8" else 2) * BLOCK))))[0] + 1):
            self._count(flat[part])
            x[part] = self._read(flat[part])
        return torch.from_numpy(x).view(*ids.shape, self.dim).to(ids.device)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        found = self._rows[rows]
        if self.dtype == "BF16":
            return (found.astype(np.uint32) << 16).view(np.float32)
        found = found.astype(np.float32, copy=False)
        return found * self._row_scales[rows, None] if self.dtype == "I8" else found

    def _map(self) -> None:
        """Maps the file; what was mapped before is let go with the last array over it."""
        with self.path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._rows = np.ndarray(self.shape, DTYPES[self.dtype], mapped, self._vectors)
        self._row_scales = np.ndarray((len(self) if self.dtype == "I8" else 0,), "<f4", mapped, self._scales)
        # Blocks are those of the address space, in which the file may begin anywhere.
        self._shift = np.frombuffer(mapped, np.uint8).ctypes.data % BLOCK
        self._touched = np.zeros((len(mapped) + self._shift) // BLOCK + 1, bool)

    def _count(self, rows: np.ndarray) -> None:
        """Counts the blocks that are about to be read, and maps anew where they would be too many."""
        self._touch(rows)
        if np.count_nonzero(self._touched) * BLOCK > self.resident:
            self._map()
            self._touch(rows)

    def _touch(self, rows: np.ndarray) -> None:
        first = self._first(rows)
        for within in (*range(0, self._row_bytes, BLOCK), max(0, self._row_bytes - 1)):
            self._touched[(first + within) // BLOCK] = True
        if self.dtype == "I8":
            self._touched[(4 * rows + (self._scales + self._shift)) // BLOCK] = True

    def _first(self, rows: np.ndarray) -> np.ndarray:
        """Where rows begin in the blocks."""
        return rows * self._row_bytes + (self._vectors + self._shift)


def read_header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the data of a safetensors file begins, and what the header says of each tensor.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no safetensors file.
    """
    size = require_file(path, "a safetensors file of entity vectors").stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"{path}: is no safetensors file: its header would have {length} bytes, and the file has {size}")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: is no safetensors file: bytes 8 to {8 + length} are no JSON ({error})") from None
    if not isinstance(header, dict):
        raise ValueError(f"{path}: is no safetensors file: its header is {header!r:.80}, expected an object")
    header.pop("__metadata__", None)
    return 8 + length, header


def _entry(path: Path, name: str, entry: Any, start: int) -> tuple[str, tuple[int, ...], int]:
    """Type, shape and place in the file of a tensor."""
    where = f"{path}: {name!r}"
    if not isinstance(entry, Mapping) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise ValueError(f"{where} is {entry!r:.80} in the header, expected dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    lists = isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2
    if not lists or not all(type(number) is int and number >= 0 for number in (*shape, *offsets)):
        raise ValueError(f"{where} has shape {shape!r:.80} and data_offsets {offsets!r:.80}, expected lists of whole numbers, two offsets")
    begin, end = offsets
    size, expected = path.stat().st_size, begin + math.prod(shape) * (np.dtype(DTYPES[dtype]).itemsize if dtype in DTYPES else 0)
    if dtype in DTYPES and end != expected:
        raise ValueError(f"{where} is {dtype} of shape {tuple(shape)} and lies in bytes {begin} to {end}, expected {begin} to {expected}")
    if start + end > size:
        raise ValueError(f"{where} ends at byte {start + end}, and the file at byte {size}: it is cut off")
    return str(dtype), tuple(shape), start + begin
