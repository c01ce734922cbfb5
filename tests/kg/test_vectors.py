"""Tables of entity vectors that stay in their file: what is stored, what is read, what memory it takes, what is refused."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kemm.kg import VectorTable
from kemm.kg.vector_writer import writing

DRAWS = np.random.default_rng(0)


def written(path: Path, dtype: str, x: np.ndarray, piece: int = 7) -> Path:
    """Writes vectors as rows 1 to N, in pieces and the pieces in a random order."""
    starts = DRAWS.permutation(np.arange(0, len(x), piece))
    with writing(path, dtype, x.shape[1]) as writer:
        for start in starts.tolist():
            rows = DRAWS.permutation(np.arange(start, min(start + piece, len(x))))
            writer.put(rows + 1, x[rows])
    return path


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_rows_come_back_within_the_error_that_is_promised(tmp_path: Path, dtype: str) -> None:
    x = (DRAWS.standard_normal((100, 12)) * 10.0 ** DRAWS.integers(-3, 4, (100, 1))).astype(np.float32)
    x[17], x[40] = 0, 1e-44  # nothing, and less than a scale can tell
    table = VectorTable(written(tmp_path / "x.safetensors", dtype, x))
    assert table.shape == (101, 12) and len(table) == 101 and table.dim == 12
    assert not table[torch.tensor([0])].any(), "row 0 is no entity"
    for row, vector in enumerate(x.tolist()):
        read = table[torch.tensor(row + 1)].tolist()
        # One half of the last place of 11 bits, or (below its normal numbers) of 2^-24; one half of a step of 127.
        largest = max(map(abs, vector))
        for number, back in zip(vector, read, strict=True):
            limit = {"float32": 0.0, "float16": max(abs(number) * 2**-11, 2**-25), "int8": max(largest / 254 * (1 + 1e-5), 1e-43)}[dtype]
            assert abs(number - back) <= limit


def test_integers_are_those_of_the_formula(tmp_path: Path) -> None:
    x = DRAWS.standard_normal((30, 5)).astype(np.float32)
    stored = load_file(written(tmp_path / "x.safetensors", "int8", x))
    assert stored["vectors"].dtype == torch.int8 and stored["scales"].shape == (31,)
    for row, vector in enumerate(x.tolist(), start=1):
        scale = max(abs(number) for number in vector) / 127
        assert float(stored["scales"][row]) == pytest.approx(scale, rel=1e-6)
        assert stored["vectors"][row].tolist() == [round(number / scale) for number in vector]
        assert int(stored["vectors"][row].abs().max()) == 127


def test_the_largest_error_is_reported(tmp_path: Path) -> None:
    x = DRAWS.standard_normal((50, 6)).astype(np.float32)
    for dtype in ("float32", "float16", "int8"):
        with writing(tmp_path / "x.safetensors", dtype, 6) as writer:
            writer.put(np.arange(50) + 1, x)
        difference = VectorTable(tmp_path / "x.safetensors")[torch.arange(1, 51)].numpy() - x
        assert writer.error == pytest.approx(np.abs(difference).max(), rel=1e-6)
    assert writer.error > 0


def test_any_safetensors_file_of_vectors_is_a_table(tmp_path: Path) -> None:
    x, path = torch.randn(6, 3), tmp_path / "x.safetensors"
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        save_file({"other": torch.zeros(3), "vectors": x.to(dtype)}, path)
        assert torch.equal(VectorTable(path)[torch.arange(6)], x.to(dtype).float())
    save_file({"alone": x}, path)
    assert torch.equal(VectorTable(path, "alone")[torch.arange(6)], x)


def test_ids_of_any_shape_and_none(tmp_path: Path) -> None:
    x = DRAWS.standard_normal((9, 4)).astype(np.float32)
    table = VectorTable(written(tmp_path / "x.safetensors", "float32", x))
    ids = torch.tensor([[[3, 1], [0, 9]]])
    assert table[ids].shape == (1, 2, 2, 4)
    assert torch.equal(table[ids][0, 1, 1], torch.from_numpy(x[8]))
    assert table[torch.zeros(0, 5, dtype=torch.long)].shape == (0, 5, 4)
    for wrong in (-1, 10):
        with pytest.raises(IndexError, match=f"rows {min(wrong, 0)} to {max(wrong, 0)} are asked for, expected rows from 0 to 9"):
            table[torch.tensor([0, wrong])]


def test_copies_and_pickles_read_the_same(tmp_path: Path) -> None:
    table = VectorTable(written(tmp_path / "x.safetensors", "int8", DRAWS.standard_normal((9, 4)).astype(np.float32)), resident=32 << 20)
    for other in (copy.deepcopy(table), pickle.loads(pickle.dumps(table))):
        assert torch.equal(other[torch.arange(10)], table[torch.arange(10)]) and other.resident == 32 << 20


def mapped() -> int:
    """The bytes of files that are mapped into this process and resident."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssFile"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the resident memory")
def test_no_more_is_resident_than_is_allowed(tmp_path: Path) -> None:
    """All rows are read in a random order, and 16 MiB of 40 may be resident; without a limit nearly all of them are."""
    path = tmp_path / "x.safetensors"
    with writing(path, "float32", 512) as writer:
        for start in range(1, 20480, 2048):
            writer.put(np.arange(start, start + 2048), DRAWS.standard_normal((2048, 512), np.float32))
    for allowed, held in ((16 << 20, False), (1 << 30, True)):
        table = VectorTable(path, resident=allowed)
        before, most = mapped(), 0
        for rows in torch.randperm(len(table), generator=torch.Generator().manual_seed(0)).split(1024):
            table[rows]
            most = max(most, mapped() - before)
        assert (most > path.stat().st_size * 0.8) is held
        assert held or most <= allowed + (1 << 20)


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = written(tmp_path / "x.safetensors", "float32", np.ones((3, 2), np.float32))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"the number 100000.0 of row 2 is too large for float16"), writing(path, "float16", 2) as writer:
        writer.put(np.array([1, 2]), np.array([[1, 2], [3, 1e5]], np.float32))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    for dtype, dim in (("int4", 2), ("int8", 0)):
        with pytest.raises(ValueError, match="expected one of"), writing(path, dtype, dim):
            pass


def header(path: Path, content: object, data: int = 96) -> None:
    text = json.dumps(content).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(data))


VECTORS = {"dtype": "I8", "shape": [12, 4], "data_offsets": [0, 48]}
SCALES = {"dtype": "F32", "shape": [12], "data_offsets": [48, 96]}

WRONG: dict[str, tuple[object, str]] = {
    "a list": ([1], r"its header is \[1\], expected an object"),
    "no vectors": ({"x": VECTORS}, r"expected a tensor 'vectors', found \['x'\]"),
    "no scales": ({"vectors": VECTORS}, r"expected a tensor 'scales' beside the I8 'vectors', found \['vectors'\]"),
    "other scales": (
        {"vectors": VECTORS, "scales": SCALES | {"shape": [6, 2]}},
        r"'scales' is F32 of shape \(6, 2\), expected F32 of",
    ),
    "not two": ({"vectors": VECTORS | {"shape": [48]}}, r"'vectors' is I8 of shape \(48,\), expected \(entities, width\)"),
    "of bits": ({"vectors": VECTORS | {"dtype": "BOOL"}}, r"'vectors' is BOOL of shape \(12, 4\), expected"),
    "no shape": ({"vectors": {"dtype": "F32"}}, "expected dtype, shape and data_offsets"),
    "half a row": (
        {"vectors": VECTORS | {"shape": [12, 4.5]}},
        r"has shape \[12, 4.5\] and data_offsets \[0, 48\], expected",
    ),
    "other offsets": ({"vectors": VECTORS | {"data_offsets": [0, 47]}}, "lies in bytes 0 to 47, expected 0 to 48"),
    "cut off": (
        {"vectors": VECTORS | {"dtype": "F32", "data_offsets": [0, 192]}},
        r"'vectors' ends at byte \d+, and the file at byte \d+",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str) -> None:
    content, message = WRONG[name]
    header(tmp_path / "x.safetensors", content)
    with pytest.raises(ValueError, match=f"x.safetensors: .*{message}"):
        VectorTable(tmp_path / "x.safetensors")


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(FileNotFoundError, match=r"x.safetensors: no such file, expected a safetensors file of entity vectors"):
        VectorTable(path)
    header(path, {"vectors": VECTORS, "scales": SCALES})
    whole = path.read_bytes()
    assert VectorTable(path).shape == (12, 4)
    for end in (*range(0, 180, 7), len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"x.safetensors: "):
            VectorTable(path)
    path.write_bytes(whole[:8] + b"\xff" + whole[9:])
    with pytest.raises(ValueError, match=r"bytes 8 to \d+ are no JSON"):
        VectorTable(path)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="resident is 5 bytes, expected at least 16777216"):
        VectorTable(path, resident=5)
