"""The index: exact search, files that appear whole or not at all, and errors that say what is wrong."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

import kemm.memory
from kemm.memory import Memory


def keys(rows: int = 40, dim: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def built(rows: int = 40, factory: str = "Flat") -> Memory:
    memory = Memory(6, factory)
    memory.build(keys(rows))
    return memory


def test_finds_the_largest_products() -> None:
    queries = keys(9, seed=1)
    scores, rows = built().search(queries, 5)
    expected = (queries @ keys().T).topk(5)
    assert torch.equal(rows, expected.indices)
    torch.testing.assert_close(scores, expected.values)


def test_other_precisions_and_gradients_are_taken() -> None:
    memory = Memory(6)
    memory.build(keys().double().requires_grad_())
    _, rows = memory.search(keys(3, seed=1).to(torch.bfloat16), 40)
    assert sorted(rows[0].tolist()) == list(range(40))
    assert memory.search(keys(1), 41)[1][0, -1] == -1, "there are fewer rows"


def test_building_replaces() -> None:
    memory = built()
    memory.build(keys(7, seed=2))
    assert len(memory) == 7
    assert memory.search(keys(2, seed=2), 1)[1].max() < 7


def test_an_approximate_index_is_trained() -> None:
    memory = built(2000, "IVF8,Flat")
    assert len(memory) == 2000
    found = memory.search(keys(2000), 1)[1][:, 0]
    best = (keys(2000) @ keys(2000).T).argmax(1)
    assert float((found == best).double().mean()) > 0.5


def test_wrong_shapes_and_an_empty_memory_are_refused() -> None:
    with pytest.raises(ValueError, match=r"keys are \(3, 5\), and the memory is 6 wide"):
        Memory(6).build(torch.zeros(3, 5))
    with pytest.raises(ValueError, match="the memory has no rows yet"):
        Memory(6).search(keys(1), 1)


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("factory", ["Flat", "IVF4,Flat", "SQ8"])
def test_a_saved_index_answers_alike(tmp_path: Path, factory: str, mmap: bool) -> None:
    memory, path = built(300, factory), tmp_path / "deep" / "entities.faiss"
    memory.save(path)
    loaded = Memory.load(path, 300, 6, mmap)
    assert len(loaded) == 300 and loaded.factory == factory
    for one, two in zip(memory.search(keys(5), 4), loaded.search(keys(5), 4), strict=True):
        assert torch.equal(one, two)
    assert sorted(file.name for file in path.parent.iterdir()) == ["entities.faiss", "entities.faiss.json"]


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.faiss"
    with pytest.raises(FileNotFoundError, match=r"no such file; an index is saved as FILE and FILE.json"):
        Memory.load(path)
    built().save(path)
    with pytest.raises(ValueError, match="the index has rows 40, and rows 41 was expected"):
        Memory.load(path, rows=41)
    with pytest.raises(ValueError, match="the index has dim 6, and dim 7 was expected"):
        Memory.load(path, dim=7)


@pytest.mark.parametrize("place", [0, 30, -1])
def test_a_damaged_index_is_refused(tmp_path: Path, place: int) -> None:
    path = tmp_path / "x.faiss"
    built().save(path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"its checksum is not the one that x.faiss.json states"):
        Memory.load(path)
    path.write_bytes(content[:50])
    with pytest.raises(ValueError, match="the file is damaged or was replaced"):
        Memory.load(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"rows": 1}', "\x00"])
def test_a_damaged_description_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.faiss"
    built().save(path)
    (tmp_path / "x.faiss.json").write_text(text)
    with pytest.raises(ValueError, match=r"x.faiss.json: expected a JSON object with rows, dim, factory, sha256"):
        Memory.load(path)


def test_an_interrupted_write_leaves_the_old_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.faiss"
    built().save(path)

    def fails(path: Path) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kemm.memory, "_checksum", fails)
        with pytest.raises(KeyboardInterrupt):
            built(7).save(path)
    assert len(Memory.load(path, rows=40)) == 40
    built(7).save(path)
    assert len(Memory.load(path)) == 7
    assert json.loads((tmp_path / "x.faiss.json").read_text())["rows"] == 7
    assert len(list(tmp_path.iterdir())) == 2
