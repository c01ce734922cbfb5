"""Entity tables: row 0 is nobody, given vectors are taken and checked."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kemm.encoders import EntityEncoder, TypedEntityEncoder
from kemm.model import FusionModel

IDS = torch.tensor([[[3, 1], [0, 0]], [[4, 0], [2, 2]]])


def test_rows_are_looked_up_and_row_0_is_nobody() -> None:
    encoder = EntityEncoder(5, 4)
    stream = FusionModel({"entity": encoder})({"entity": {"ids": IDS}})["entity"]
    assert stream.x.shape == (2, 2, 2, 4) and stream.height == encoder.top == 0
    assert stream.mask.tolist() == (IDS > 0).tolist()
    for place in ((0, 0, 0), (1, 0, 0), (1, 1, 1)):
        assert torch.equal(stream.x[place], encoder.table[IDS[place]])
    assert not encoder.table[0].any()
    stream.x.sum().backward()
    grad = encoder.table.grad
    assert grad is not None and not grad[0].any() and grad[2].tolist() == [2.0] * 4


def test_a_mask_that_is_given_is_taken() -> None:
    mask = torch.tensor([[True, False]])
    stream = EntityEncoder(5, 4).embed({"ids": torch.tensor([[0, 3]]), "mask": mask})
    assert torch.equal(stream.mask, mask)


def test_vectors_of_unit_length_to_begin_with() -> None:
    torch.manual_seed(0)
    assert float(EntityEncoder(2000, 64).table.detach()[1:].norm(dim=1).mean()) == pytest.approx(1, abs=0.02)


def test_given_vectors_are_taken_and_may_be_frozen(tmp_path: Path) -> None:
    vectors = torch.randn(5, 4)
    save_file({"vectors": vectors}, tmp_path / "x.safetensors")
    encoder = EntityEncoder(5, 4, tmp_path / "x.safetensors", frozen=True)
    assert torch.equal(encoder.table, vectors) and not encoder.table.requires_grad
    assert EntityEncoder(5, 4).table.requires_grad


def test_vectors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(FileNotFoundError, match=r"x.safetensors: no such file"):
        EntityEncoder(5, 4, path)
    save_file({"other": torch.zeros(5, 4)}, path)
    with pytest.raises(ValueError, match=r"x.safetensors: expected a tensor 'vectors', found \['other'\]"):
        EntityEncoder(5, 4, path)
    save_file({"vectors": torch.zeros(6, 4)}, path)
    with pytest.raises(ValueError, match=r"'vectors' is \(6, 4\), expected the table's \(5, 4\)"):
        EntityEncoder(5, 4, path)


def test_typed_entities_are_their_vector_and_their_kind() -> None:
    torch.manual_seed(0)
    encoder = TypedEntityEncoder(5, 6, 4, 3, 2, kind_of=[0, 2, 1, 1, 0])
    embed = encoder.embed
    stream = FusionModel({"entity": encoder})({"entity": {"ids": IDS}})["entity"]
    for place in ((0, 0, 0), (0, 0, 1), (1, 1, 0)):
        row = int(IDS[place])
        joined = torch.cat([embed.table.weight[row], embed.kinds.weight[[0, 2, 1, 1, 0][row]]])
        torch.testing.assert_close(stream.x[place], embed.project.weight @ joined + embed.project.bias)
    assert torch.equal(stream.x[1, 0, 0], embed.null), "the last row is no entity"
    assert stream.mask.tolist() == (IDS > 0).tolist()
    with pytest.raises(ValueError, match="kind_of has 2 kinds, and there are 5 entities"):
        TypedEntityEncoder(5, 6, 4, 3, 2, kind_of=[0, 1])


def test_mapped_vectors_answer_as_loaded_ones(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    vectors = torch.randn(5, 4)
    vectors[0] = 0
    save_file({"vectors": vectors}, path)
    mapped, loaded = EntityEncoder(5, 4, path, mapped=True), EntityEncoder(5, 4, path, frozen=True)
    for encoder in (mapped, copy.deepcopy(mapped), EntityEncoder(5, 4, path, mapped=True).double()):
        stream = FusionModel({"entity": encoder})({"entity": {"ids": IDS}})["entity"]
        assert torch.equal(stream.x.float(), loaded.table[IDS]) and stream.mask.tolist() == (IDS > 0).tolist()
        assert torch.equal(encoder.rows(IDS).float(), loaded.rows(IDS))
        assert not list(encoder.parameters()) and not encoder.state_dict()
    assert stream.x.dtype == torch.float64
    with pytest.raises(ValueError, match=r"x.safetensors are mapped, and what reads the whole table needs 'mapped: false'"):
        _ = mapped.table
    with pytest.raises(ValueError, match="mapped is true and there are no vectors"):
        EntityEncoder(5, 4, mapped=True)
    with pytest.raises(ValueError, match=r"'vectors' is \(5, 4\), expected the table's \(6, 4\)"):
        EntityEncoder(6, 4, path, mapped=True)
