"""Joining streams, taking them apart, and positions of aligned words."""

import pytest
import torch

from kemm.batch import Stream
from kemm.encoders import AlignedRegionEmbedding, RegionEncoder, TextEncoder
from kemm.fusion import AlignedPositions, Concat, FusionPoint, Split
from kemm.model import FusionModel
from tests.fusion import loops


def streams() -> dict[str, Stream]:
    torch.manual_seed(4)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    pairs = mask[:, None] & torch.ones(3, 3, dtype=torch.bool).tril()
    return {
        "text": Stream(torch.randn(2, 3, 6).double(), pairs, height=1),
        "region": Stream(torch.randn(2, 2, 6).double(), torch.tensor([[True, False], [True, True]])),
    }


def test_concat_joins_in_order_and_normalises_jointly() -> None:
    norm = loops.noisy(torch.nn.LayerNorm(6, eps=1e-12))
    given = streams()
    joined = Concat(("region", "text"), "text", norm)(given, {}, FusionModel({}))
    assert joined.keys() == {"text"}
    assert joined["text"].height == 1
    for row in range(2):
        parts = [*given["region"].x[row], *given["text"].x[row]]
        expected = torch.stack([loops.norm(norm, x) for x in parts])
        assert torch.allclose(joined["text"].x[row], expected, atol=1e-10)
    assert joined["text"].mask.tolist() == [[True, False, True, True, False], [True, True, True, False, False]]


def test_split_undoes_concat() -> None:
    given, network = streams(), FusionModel({})
    for order in (("text", "region"), ("region", "text")):
        joined = given | Concat(order, "text")(given, {}, network)
        parts = Split("text", order)(joined, {}, network)
        for name in order:
            assert torch.equal(parts[name].x, given[name].x)
            assert torch.equal(parts[name].mask, given[name].real())
            assert parts[name].height == given[name].height


@pytest.mark.parametrize("aligned", [True, False])
def test_aligned_positions(aligned: bool) -> None:
    text = TextEncoder(9, 6, 1, 2, max_length=5)
    region = RegionEncoder(4, 6, 0, 2, embed=AlignedRegionEmbedding(4, 6, 5))
    network = FusionModel({"text": text, "region": region}, [FusionPoint({"text": 0, "region": 0}, AlignedPositions())]).double()
    features, types = torch.randn(2, 3, 4).double(), torch.tensor([[0, 1, 0], [1, 1, 0]])
    alignment = torch.tensor([[[1, -1], [2, 4], [-1, -1]], [[-1, -1], [-1, 3], [0, 0]]])
    entry = {"features": features, "types": types, "mask": torch.ones(2, 3, dtype=torch.bool)}
    entry |= {"alignment": alignment} if aligned else {}
    ids = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 0, 0]])
    x = network({"text": {"ids": ids, "mask": ids > 0}, "region": entry})["region"].x
    embed = region.embed
    assert isinstance(embed, AlignedRegionEmbedding)
    for row in range(2):
        for place in range(3):
            expected = embed.features(features[row, place]) + embed.types.weight[types[row, place]] + embed.positions.weight[0]
            words = [w for w in alignment[row, place].tolist() if w >= 0 and aligned]
            if words:
                expected = expected + sum(text.embed.positions.weight[w] for w in words) / len(words)
            assert torch.allclose(x[row, place], expected, atol=1e-12)
