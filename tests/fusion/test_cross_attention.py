"""Layers that read another stream, against loops."""

import torch
from torch import Tensor

from kemm.batch import Stream
from kemm.fusion import CrossAttentionLayer, DecoderLayer
from kemm.model import FusionModel
from kemm.nn import PreNormLayer
from tests.fusion import loops


def streams(memory_dim: int) -> dict[str, Stream]:
    torch.manual_seed(6)
    mask = torch.tensor([[True, True, True, False], [True, True, True, True]])
    memory_mask = torch.tensor([[True, False, True], [True, True, True]])
    return {
        "text": Stream(torch.randn(2, 4, 6).double(), mask, height=3),
        "image": Stream(torch.randn(2, 3, memory_dim).double(), memory_mask),
    }


def test_cross_attention_layer() -> None:
    fusion = loops.noisy(CrossAttentionLayer("text", "image", 6, 8, heads=2, inner=5))
    assert isinstance(fusion, CrossAttentionLayer)
    given = streams(8)
    fused = fusion(given, {}, FusionModel({}))
    assert fused.keys() == {"text"}
    assert fused["text"].height == 3
    for row in range(2):
        x = loops.attention_block(fusion.attention, list(given["text"].x[row]), given["text"].mask[row].tolist())
        x = loops.attention_block(fusion.cross, x, given["image"].mask[row].tolist(), list(given["image"].x[row]))
        block = fusion.feedforward
        expected = torch.stack([loops.norm(block.norm, y + loops.feedforward(block.feedforward, y)) for y in x])
        assert torch.allclose(fused["text"].x[row], expected, atol=1e-10)


def causal_layer(layer: PreNormLayer, x: list[Tensor]) -> list[Tensor]:
    normed = [loops.norm(layer.attention_norm, y) for y in x]
    attended = [loops.attend(layer.attention, [normed[i]], [True] * (i + 1), normed[: i + 1])[0] for i in range(len(x))]
    x = [y + new for y, new in zip(x, attended, strict=True)]
    return [y + loops.feedforward(layer.feedforward, loops.norm(layer.feedforward_norm, y)) for y in x]


def test_decoder_layer() -> None:
    fusion = loops.noisy(DecoderLayer("text", "image", 6, heads=2, inner=5))
    assert isinstance(fusion, DecoderLayer)
    given = streams(6)
    fused = fusion(given, {}, FusionModel({}))
    for row in range(2):
        x = causal_layer(fusion.layer, list(given["text"].x[row]))
        memory = [loops.norm(fusion.memory_norm, m) for m in given["image"].x[row]]
        queries = [loops.norm(fusion.query_norm, y) for y in x]
        attended = loops.attend(fusion.cross, queries, given["image"].mask[row].tolist(), memory)
        x = [y + new for y, new in zip(x, attended, strict=True)]
        x = [y + loops.feedforward(fusion.feedforward, loops.norm(fusion.feedforward_norm, y)) for y in x]
        assert torch.allclose(fused["text"].x[row], torch.stack(x), atol=1e-10)


def test_decoder_layer_looks_back_only() -> None:
    fusion = loops.noisy(DecoderLayer("text", "image", 6, heads=2, inner=5))
    given = streams(6)
    changed = given["text"].x.clone()
    changed[:, 2, 0] += 1
    one = fusion(given, {}, FusionModel({}))["text"].x
    two = fusion(given | {"text": given["text"]._replace(x=changed)}, {}, FusionModel({}))["text"].x
    assert torch.allclose(one[:, :2], two[:, :2], atol=1e-12)
    assert not torch.allclose(one[:, 3], two[:, 3])
