"""Files of entity vectors as others write them, and the command that makes tables of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kemm.kg import Entity, Graph, VectorTable, write_graph
from kemm.kg import vector_files as files
from kemm.kg.vectors_tool import main

X = np.random.default_rng(0).standard_normal((23, 5)).astype(np.float32)
NAMES = [f"Q{row}" if row % 5 else f"New Q {row}é" for row in range(23)]


def write(folder: Path, form: str) -> Path:
    path = folder / {"openke": "x.vec", "word2vec": "x.txt", "numpy": "x.npy", "safetensors": "x.safetensors"}[form]
    if form == "numpy":
        np.save(path, X)
    elif form == "safetensors":
        save_file({"alone": torch.from_numpy(X)}, path)
    else:
        numbers = [("\t" if form == "openke" else " ").join(map(repr, row)) for row in X.astype(float).tolist()]
        lines = [f"{line}\t" for line in numbers] if form == "openke" else ["23 5", *map(" ".join, zip(NAMES, numbers, strict=True))]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("form", files.FORMATS)
@pytest.mark.parametrize("small", [True, False])
def test_each_format_is_read_in_pieces(form: str, small: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if small:
        monkeypatch.setattr(files, "BYTES", 100)
        monkeypatch.setattr(files, "ROWS", 4)
    path = write(tmp_path, form)
    assert files.format_of(path) == form
    chunks = list(files.read_chunks(path, form))
    assert (len(chunks) > 3) is small
    assert np.array_equal(np.concatenate([chunk.x for chunk in chunks]), X)
    assert [name for chunk in chunks for name in chunk.names] == (NAMES if form == "word2vec" else [])


WRONG = {
    "1 2\t3\n4 5\n": "x.vec:2: has 2 numbers, expected 3 as in the first line",
    "1 2\t3\n4 x 5\n": "x.vec:2: number 2 is b'x', expected a decimal number",
    "1 2\t3\n4 1_0 5\n": "x.vec:2: number 2 is b'1_0', expected a decimal number",
    "1 2\t3\n4 nan 5\n": "x.vec:2: number 2 is b'nan', expected a finite float32",
    "1 2\t3\n\n4 1e39 5\n": "x.vec:2: has 0 numbers, expected 3",
    "1 2\t3\n4 1e39 5\n": "x.vec:2: number 2 is b'1e39', expected a finite float32",
    "": "x.vec:1: the line is empty",
    "2 2\na 1 2\n": "x.vec:1: states 2 vectors, and there are 1",
    "2 2\na 1 2\nb 3\n": "x.vec:3: expected a name and 2 numbers",
    "1 2\na 1 c\n": "x.vec:2: number 2 is b'c', expected a decimal number",
}


@pytest.mark.parametrize("text", WRONG)
def test_malformed_text_is_named_by_its_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.vec").write_text(text)
    with pytest.raises(ValueError, match=WRONG[text]):
        list(files.read_chunks(tmp_path / "x.vec", files.format_of(tmp_path / "x.vec")))


def test_malformed_arrays(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for array, message in (
        (X[0], r"is float32 of shape \(5,\)"),
        (X.astype(int), "is int64 of"),
        (np.where(X > 1, np.nan, X), "row .* is nan"),
    ):
        np.save(path, array)
        with pytest.raises(ValueError, match=message):
            list(files.read_chunks(path, "numpy"))
    np.save(path, X)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"x.npy: is no .npy file of numbers, or is cut off"):
        list(files.read_chunks(path, "numpy"))


@pytest.mark.parametrize("form", ["openke", "word2vec"])
def test_the_command_puts_rows_in_the_graphs_order(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order = [7, 0, 22, 3]
    write_graph(Graph([Entity(NAMES[row], "x") for row in order], [], torch.empty(0, 3, dtype=torch.int64)), tmp_path / "graph")
    lines = [f"{name}\t{row}" for row, name in enumerate(NAMES)]
    (tmp_path / "entity2id.txt").write_text("\n".join(["23", *reversed(lines)]), encoding="utf-8")
    ids = ["--ids", str(tmp_path / "entity2id.txt")] if form == "openke" else []
    path, out = write(tmp_path, form), tmp_path / "out.safetensors"
    assert main([str(path), str(out), *ids, "--graph", str(tmp_path / "graph")]) == 0
    assert "without a vector 0, passed over 19" in capsys.readouterr().out
    assert np.array_equal(VectorTable(out)[torch.arange(1, 5)].numpy(), X[order])
    assert main([str(path), str(out), *ids, "--dtype", "int8"]) == 0
    assert np.abs(VectorTable(out)[torch.arange(1, 24)].numpy() - X).max() < np.abs(X).max() / 253
    assert (tmp_path / "out.safetensors.ids").read_text(encoding="utf-8").splitlines() == NAMES
    write_graph(Graph([Entity("else", "x")], [], torch.empty(0, 3, dtype=torch.int64)), tmp_path / "graph")
    assert main([str(path), str(out), *ids, "--graph", str(tmp_path / "graph")]) == 1
    assert "has no vector of 1 of the graph's 1 entities, such as ['else']" in capsys.readouterr().err
    assert main([str(path), str(out), *ids, "--graph", str(tmp_path / "graph"), "--missing", "zero"]) == 0
    assert VectorTable(out).shape == (2, 5) and not VectorTable(out)[torch.tensor([1])].any()
