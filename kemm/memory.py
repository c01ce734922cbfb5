"""The retrieval memory: a FAISS index over rows of vectors, which answers with rows; what the rows mean is the caller's.

The index only chooses candidates. Callers compute the scores of the chosen rows again, with gradient, from current parameters: a stale
index changes who is considered, not how (REALM, arXiv 2002.08909, section 3.3).
"""

import hashlib
import json
import os
from pathlib import Path

import torch
from torch import Tensor

import faiss  # isort: skip  # after torch: the other order lets forked workers hang

_MMAP_CODES = 1 << 9  # IO_FLAG_MMAP_IFC of faiss/index_io.h: flat and PQ codes stay in the file
# faiss 1.15 takes its fast path only from 128000 / d queries on: 17 to 26 times slower below.
faiss.cvar.distance_compute_blas_threshold = 800 * faiss.omp_get_max_threads()


class Memory:
    """An index over rows of vectors, searched by inner product.

    Args:
        dim: Width of the vectors.
        factory: FAISS's description of the index; `Flat` is exact and right below about 100,000 rows.
    """

    def __init__(self, dim: int, factory: str = "Flat") -> None:
        self.dim, self.factory = dim, factory
        self.index: faiss.Index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.index.ntotal)

    def build(self, keys: Tensor) -> None:
        """Replace all rows by keys (N, dim)."""
        if keys.dim() != 2 or keys.shape[1] != self.dim:
            raise ValueError(f"keys are {tuple(keys.shape)}, and the memory is {self.dim} wide")
        rows = keys.detach().float().cpu().contiguous().numpy()
        index = faiss.index_factory(self.dim, self.factory, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            index.train(rows)
        index.add(rows)
        self.index = index

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k nearest rows of queries (B, dim): their scores (B, k) and rows (B, k), best first; row -1 where there are fewer."""
        if len(self) == 0:
            raise ValueError("the memory has no rows yet: build it, or load it")
        scores, rows = self.index.search(queries.detach().float().cpu().contiguous().numpy(), k)
        return torch.from_numpy(scores).to(queries.device), torch.from_numpy(rows).to(queries.device)

    def save(self, path: Path) -> None:
        """Write the index, and beside it `<path>.json` with its size and checksum; each appears whole or not at all."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        described = path.with_name(path.name + ".json")
        description = described.with_name(described.name + ".tmp")
        try:
            faiss.write_index(self.index, str(temporary))
            about = {"rows": len(self), "dim": self.dim, "factory": self.factory, "sha256": _checksum(temporary)}
            description.write_text(json.dumps(about))
            os.replace(temporary, path)
            os.replace(description, described)
        finally:
            temporary.unlink(missing_ok=True)
            description.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path, rows: int | None = None, dim: int | None = None, mmap: bool = True) -> "Memory":
        """Read what `save` wrote.

        Args:
            path: The index.
            rows: How many rows it must have.
            dim: How wide it must be.
            mmap: Whether vectors stay in the file, shared by all processes that read it.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is damaged, or does not fit.
        """
        path = Path(path)
        described = path.with_name(path.name + ".json")
        for file in (path, described):
            if not file.exists():
                raise FileNotFoundError(f"{file}: no such file; an index is saved as FILE and FILE.json")
        try:
            about = json.loads(described.read_text())
            stated = (about["rows"], about["dim"], about["factory"], about["sha256"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{described}: expected a JSON object with rows, dim, factory, sha256 ({error})") from None
        if _checksum(path) != stated[3]:
            raise ValueError(f"{path}: its checksum is not the one that {described.name} states: the file is damaged or was replaced")
        for name, expected, given in (("rows", rows, stated[0]), ("dim", dim, stated[1])):
            if expected is not None and expected != given:
                raise ValueError(f"{path}: the index has {name} {given}, and {name} {expected} was expected")
        try:
            memory = cls(stated[1], stated[2])
            memory.index = faiss.read_index(str(path), _MMAP_CODES if mmap else 0)
        except Exception as error:  # what FAISS's SWIG layer raises depends on the argument
            detail = " ".join(str(error).split())[:200]
            raise ValueError(f"{path}: expected a FAISS index, {stated[2]!r} of width {stated[1]!r} ({detail})") from None
        held = (memory.index.ntotal, memory.index.d)
        if held != stated[:2]:
            raise ValueError(f"{path}: the index holds (rows, dim) {held}, and {described.name} states {stated[:2]}")
        return memory


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
