"""Co-attention and its companions against loops."""

import math

import torch
from torch import Tensor

from kemm.batch import Stream
from kemm.encoders import RegionEncoder, TextEncoder
from kemm.fusion import CoAttention, Detach, DynamicLayer, FusionPoint, Pairs
from kemm.model import FusionModel
from tests.fusion import loops

TEXT_MASK = torch.tensor([[True, True, True, False], [True, True, True, True], [False, False, False, False]])
REGION_MASK = torch.tensor([[True, True, False], [False, True, True], [True, False, False]])


def streams() -> dict[str, Stream]:
    torch.manual_seed(1)
    text, region = torch.randn(3, 4, 6).double(), torch.randn(3, 3, 8).double()
    return {"text": Stream(text, TEXT_MASK, height=2), "region": Stream(region, REGION_MASK, height=1)}


def test_each_stream_reads_the_other_as_it_was() -> None:
    fusion = loops.noisy(CoAttention(("text", "region"), (6, 8), heads=2, inner=10, feedforward=(5, 7)))
    assert isinstance(fusion, CoAttention)
    given = streams()
    fused = fusion(given, {}, FusionModel({}))
    for side, (name, other) in enumerate((("text", "region"), ("region", "text"))):
        attention, feedforward = fusion.attentions[side], fusion.feedforwards[side]
        for row in range(3):
            mask = given[other].mask[row].tolist()
            attended = loops.attention_block(attention, list(given[name].x[row]), mask, list(given[other].x[row]))
            for place, x in enumerate(attended):
                expected = loops.norm(feedforward.norm, x + loops.feedforward(feedforward.feedforward, x))
                assert torch.allclose(fused[name].x[row, place], expected, atol=1e-10)
        assert fused[name].height == given[name].height
        assert torch.equal(fused[name].mask, given[name].mask)


def test_widths_by_default() -> None:
    fusion = CoAttention(("text", "region"), (6, 8))
    assert fusion.attentions[0].attention.query.weight.shape == (8, 6)
    assert fusion.feedforwards[0].feedforward.up.weight.shape == (24, 6)
    assert fusion.feedforwards[1].feedforward.up.weight.shape == (32, 8)


def gated(fusion: DynamicLayer, region: Stream, text: Stream, row: int) -> list[Tensor]:
    real = [x for x, real in zip(text.x[row], text.mask[row].tolist(), strict=True) if real]
    mean = sum(real, torch.zeros(6).double()) / len(real)
    query_gate = [1 + 1 / (1 + math.exp(-float(v))) for v in loops.linear(fusion.query_gate, mean)]
    key_gate = [1 + 1 / (1 + math.exp(-float(v))) for v in loops.linear(fusion.key_gate, mean)]
    rows = list(region.x[row])
    seen = [i for i, visible in enumerate(region.mask[row].tolist()) if visible]
    attended = []
    for x in rows:
        query = loops.linear(fusion.attention.query, x) * torch.tensor(query_gate).double()
        parts = []
        for own in (slice(0, 4), slice(4, 8)):
            keys = [(loops.linear(fusion.attention.key, rows[i]) * torch.tensor(key_gate).double())[own] for i in seen]
            weights = loops.softmax([float(query[own] @ key) / 2 for key in keys])
            values = [loops.linear(fusion.attention.value, rows[i])[own] for i in seen]
            parts.append(sum((w * v for w, v in zip(weights, values, strict=True)), torch.zeros(4).double()))
        attended.append(loops.norm(fusion.norm, x + loops.linear(fusion.attention.output, torch.cat(parts))))
    block = fusion.feedforward
    return [loops.norm(block.norm, x + loops.feedforward(block.feedforward, x)) for x in attended]


def test_dynamic_layer() -> None:
    fusion = loops.noisy(DynamicLayer("region", "text", 8, 6, heads=2, inner=5))
    assert isinstance(fusion, DynamicLayer)
    given = streams()
    fused = fusion(given, {}, FusionModel({}))
    assert fused.keys() == {"region"}
    for row in range(2):
        expected = torch.stack(gated(fusion, given["region"], given["text"], row))
        assert torch.allclose(fused["region"].x[row], expected, atol=1e-10)
    assert bool(fused["region"].x.isfinite().all())  # a text without a real token, too


def test_pairs() -> None:
    given = streams()
    given["region"] = given["region"]._replace(x=given["region"].x[:2], mask=REGION_MASK[:2])
    paired = Pairs(("text", "region"))(given, {}, FusionModel({}))
    for i in range(3):
        for j in range(2):
            assert torch.equal(paired["text"].x[i * 2 + j], given["text"].x[i])
            assert torch.equal(paired["text"].mask[i * 2 + j], TEXT_MASK[i])
            assert torch.equal(paired["region"].x[i * 2 + j], given["region"].x[j])
            assert torch.equal(paired["region"].mask[i * 2 + j], REGION_MASK[j])
    assert paired["text"].height == 2


def test_detach_fixes_what_lies_below() -> None:
    encoders = {"text": TextEncoder(9, 6, 3, 2, max_length=4), "region": RegionEncoder(5, 6, 1, 2)}
    network = FusionModel(encoders, [FusionPoint({"text": 2}, Detach("text"))])
    network({"text": {"ids": torch.tensor([[1, 2, 3]]), "mask": torch.ones(1, 3, dtype=torch.bool)}})["text"].x.square().sum().backward()
    layers = encoders["text"].layers
    assert all(p.grad is None for module in (encoders["text"].embed, layers[0], layers[1]) for p in module.parameters())
    assert all(p.grad is not None for p in layers[2].parameters())
