"""Batches and streams: copies, pieces, and what a path names."""

import pytest
import torch

from kemm.batch import Batch, Stream, batch_size, has, join_streams, map_batch, split_batch


def batch() -> Batch:
    stream = Stream(torch.arange(10.0).view(5, 2, 1), torch.ones(5, 2, dtype=torch.bool), torch.arange(10).view(5, 2), 3)
    return {
        "id": torch.arange(5),
        "text": {"ids": torch.arange(15).view(5, 3), "extra": {"scale": torch.tensor(2.0)}},
        "image": stream,
        "names": ["a", "b"],
    }


def test_real_places_are_the_mask_or_who_sees_itself() -> None:
    mask = torch.tensor([[True, False]])
    assert Stream(torch.zeros(1, 2, 3), mask).real() is mask
    pairs = torch.tensor([[[True, False], [True, False]]])
    assert Stream(torch.zeros(1, 2, 3), pairs).real().tolist() == [[True, False]]
    candidates = torch.ones(1, 2, 4, dtype=torch.bool)
    assert Stream(torch.zeros(1, 2, 4, 3), candidates).real() is candidates


def test_a_path_names_an_entry() -> None:
    assert has(batch(), "text") and has(batch(), "text.ids") and has(batch(), "text.extra.scale")
    assert not has(batch(), "text.mask") and not has(batch(), "region") and not has(batch(), "image.x") and not has(batch(), "id.x")


def test_the_size_is_the_first_tensors() -> None:
    assert batch_size(batch()) == 5
    assert batch_size({"scale": torch.tensor(1.0), "text": {"ids": torch.zeros(3, 2)}}) == 3
    assert batch_size({"image": batch()["image"]}) == 5
    with pytest.raises(ValueError, match="a batch needs at least one tensor"):
        batch_size({"names": ["a"]})


def test_a_mapped_batch_is_a_copy() -> None:
    given = batch()
    doubled = map_batch(given, lambda t: 2 * t)
    assert doubled["text"]["extra"]["scale"] == 4 and doubled["names"] == ["a", "b"]
    assert doubled["image"].positions.tolist() == (2 * given["image"].positions).tolist() and doubled["image"].height == 3
    assert given["id"].tolist() == [0, 1, 2, 3, 4]
    assert map_batch(Stream(torch.ones(1), torch.ones(1)), lambda t: t).positions is None


@pytest.mark.parametrize("chunks", range(1, 9))
def test_pieces_make_the_whole(chunks: int) -> None:
    pieces = split_batch(batch(), chunks)
    assert len(pieces) == min(chunks, 5)
    assert torch.equal(torch.cat([piece["text"]["ids"] for piece in pieces]), batch()["text"]["ids"])
    assert all(piece["text"]["extra"]["scale"] == 2 for piece in pieces)
    assert {len(piece["id"]) for piece in pieces} <= {5 // len(pieces), -(-5 // len(pieces))}
    joined = join_streams([{"image": piece["image"]} for piece in pieces])["image"]
    for one, two in zip(joined, batch()["image"], strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(two))


def test_each_tensor_is_cut_by_its_own_rows() -> None:
    pieces = split_batch({"id": torch.arange(2), "twice": torch.arange(4)}, 2)
    assert [piece["twice"].tolist() for piece in pieces] == [[0, 1], [2, 3]]


def test_streams_without_positions_are_joined() -> None:
    part = {"text": Stream(torch.ones(2, 1, 1), torch.ones(2, 1, dtype=torch.bool))}
    joined = join_streams([part, part])["text"]
    assert joined.x.shape == (4, 1, 1) and joined.positions is None
