"""Measures tables of entity vectors that stay in their file, 5 million by 100, beside numpy's memory map; writes JSON to stdout or a file.

python benchmarks/vectors.py [vectors.json] [--folder FOLDER] [--entities 5000000] [--dim 100]

The files (5.5 GB) are written into a temporary folder and removed. Each is opened, and its rows gathered, in a process of its own. Resident
memory is what /proc says of that process, beyond what it was before the file was opened. Text is parsed for 50,000 vectors.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kemm.kg.vector_files import read_chunks
from kemm.kg.vector_writer import STORED, writing
from kemm.kg.vectors import VectorTable

CHUNK, BATCH, BATCHES, PARSED = 100_000, 4096, 250, 50_000


def write(folder: Path, entities: int, dim: int) -> dict[str, dict[str, float]]:
    """Writes the same vectors as each kind of table, and for numpy, and returns seconds and sizes."""
    rows = {}
    peer = np.lib.format.open_memmap(folder / "peer.npy", "w+", np.float32, (entities + 1, dim))
    for dtype in STORED:
        draws, taken, path = np.random.default_rng(0), 0.0, folder / f"{dtype}.safetensors"
        with writing(path, dtype, dim) as writer:
            for start in range(0, entities, CHUNK):
                x = draws.standard_normal((min(CHUNK, entities - start), dim), np.float32)
                if dtype == "float32":
                    peer[1 + start : 1 + start + len(x)] = x
                begun = time.process_time()
                writer.put(np.arange(start, start + len(x)) + 1, x)
                taken += time.process_time() - begun
        rows[dtype] = {"write_cpu_s": round(taken, 2), "file_mb": round(path.stat().st_size / 1e6), "largest_error": round(writer.error, 5)}
    peer.flush()
    return rows


def resident() -> float:
    """Returns the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def measure(path: Path) -> dict[str, float]:
    """Returns how long a file takes to open and to gather from, and the memory that this takes; a .npy is opened by numpy."""
    torch.set_num_threads(1)
    draws = torch.Generator().manual_seed(1)
    torch.zeros(1).add_(1), np.random.default_rng(0).random(2)
    before = resident()
    begun = time.perf_counter()
    table: Any = VectorTable(path) if path.suffix == ".safetensors" else np.load(path, mmap_mode="r")
    table[torch.tensor([0, len(table) - 1]) if path.suffix == ".safetensors" else np.array([0, len(table) - 1])]
    opened = time.perf_counter() - begun
    after, most, taken = resident() - before, 0.0, []
    for _ in range(BATCHES):
        ids = torch.randint(1, len(table), (BATCH,), generator=draws)
        begun = time.process_time()
        _ = table[ids] if path.suffix == ".safetensors" else torch.from_numpy(table[ids.numpy()])
        taken.append(time.process_time() - begun)
        most = max(most, resident() - before)
    return {
        "open_and_two_rows_s": round(opened, 4),
        "resident_opened_mb": round(after, 1),
        "resident_gathering_mb": round(most, 1),
        "process_mb": round(before + most, 1),
        "rows_per_cpu_s": round(BATCH * BATCHES / sum(taken)),
    }


def parse(folder: Path, dim: int) -> dict[str, float]:
    """Returns how many vectors of each text format are read in a second."""
    x = np.random.default_rng(2).standard_normal((PARSED, dim), np.float32)
    rows = {}
    for form in ("openke", "word2vec"):
        path = folder / form
        with path.open("w") as file:
            file.write(f"{PARSED} {dim}\n" if form == "word2vec" else "")
            for row, vector in enumerate(x):
                cells = [f"{number:.6f}" for number in vector.tolist()]
                file.write(("\t".join(cells) + "\t" if form == "openke" else f"Q{row} " + " ".join(cells)) + "\n")
        begun = time.process_time()
        read = sum(len(chunk.x) for chunk in read_chunks(path, form))
        rows[f"{form}_vectors_per_cpu_s"] = round(read / (time.process_time() - begun))
    return rows


def main() -> None:
    """Writes the files, measures each in a process of its own, and writes the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--entities", type=int, default=5_000_000)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        sys.stdout.write(json.dumps(measure(given.measure)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        rows: dict[str, dict[str, float]] = write(folder, given.entities, given.dim)
        rows["numpy memmap, float32"] = {"file_mb": round((folder / "peer.npy").stat().st_size / 1e6)}
        for kind in rows:
            path = folder / (f"{kind}.safetensors" if kind in STORED else "peer.npy")
            done = subprocess.run([sys.executable, __file__, "--measure", path], capture_output=True, check=True, text=True)
            rows[kind] |= json.loads(done.stdout)
        parsed = parse(folder, given.dim)
    about: dict[str, Any] = {
        "numpy": np.__version__,
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "batch": BATCH,
    }
    text = json.dumps(
        {"benchmark": "vectors", "entities": given.entities, "dim": given.dim, **about, "tables": rows, "text": parsed}, indent=2
    )
    if given.out:
        given.out.write_text(text + "\n")
    else:
        sys.stdout.write(text + "\n")


if __name__ == "__main__":
    main()
