"""Transformer layers written out again, step by step."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.nn import AttentionBlock, BertNorm, FeedForward, FeedForwardBlock, FinalNorm, PostNormLayer, PreNormLayer, UnbiasedNorm, init_bert

MASK = torch.tensor([[True, True, False], [True, True, True]])


def states() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 3, 8).double()


def normalised(x: Tensor, layer: nn.LayerNorm) -> Tensor:
    rows = []
    for row in x.flatten(0, -2):
        mean = sum(row) / len(row)
        variance = sum((value - mean) ** 2 for value in row) / len(row)
        rows.append((row - mean) / math.sqrt(float(variance) + layer.eps) * layer.weight + layer.bias)
    return torch.stack(rows).view_as(x)


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def fed(layer: FeedForward, x: Tensor) -> Tensor:
    return gelu(x @ layer.up.weight.T + layer.up.bias) @ layer.down.weight.T + layer.down.bias


def test_post_norm_is_berts() -> None:
    layer = PostNormLayer(8, 2, 12, dropout=0.3).double().eval()
    nn.init.normal_(layer.attention.norm.weight)
    x = states()
    after = normalised(x + layer.attention.attention(x, MASK), layer.attention.norm)  # type: ignore[arg-type]
    expected = normalised(after + fed(layer.feedforward.feedforward, after), layer.feedforward.norm)  # type: ignore[arg-type]
    torch.testing.assert_close(layer(x, MASK), expected, rtol=1e-12, atol=1e-12)
    assert layer.attention.norm.eps == 1e-12


def test_pre_norm_is_gpts() -> None:
    layer = PreNormLayer(8, 2, 12, dropout=0.3).double().eval()
    x = states()
    after = x + layer.attention(normalised(x, layer.attention_norm), MASK)  # type: ignore[arg-type]
    expected = after + fed(layer.feedforward, normalised(after, layer.feedforward_norm))  # type: ignore[arg-type]
    torch.testing.assert_close(layer(x, MASK), expected, rtol=1e-12, atol=1e-12)


def test_blocks_are_residual_and_may_read_another_stream() -> None:
    x, memory = states(), torch.randn(2, 4, 5).double()
    block = AttentionBlock(8, 2, 5, 6).double().eval()
    assert block.attention.query.out_features == 6
    torch.testing.assert_close(block(x, None, memory), block.norm(x + block.attention(x, None, memory)))
    feed = FeedForwardBlock(8, 6, activation=F.relu).double().eval()
    up = (x @ feed.feedforward.up.weight.T + feed.feedforward.up.bias).clamp(min=0)
    torch.testing.assert_close(feed(x), feed.norm(x + feed.feedforward.down(up)))
    assert FeedForward(8).up.out_features == 32


@pytest.mark.parametrize("layer", [PostNormLayer(8, 2, dropout=0.5), PreNormLayer(8, 2, dropout=0.5)], ids=["post", "pre"])
def test_dropout_acts_in_training_only(layer: nn.Module) -> None:
    x = states().float()
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_a_final_norm_is_a_layer() -> None:
    norm = nn.LayerNorm(8).double()
    assert torch.equal(FinalNorm(norm)(states(), MASK, None), norm(states()))


def test_initialisation_is_berts() -> None:
    torch.manual_seed(0)
    module = nn.ModuleDict({"linear": nn.Linear(200, 300), "table": nn.Embedding(500, 60, padding_idx=3), "norm": BertNorm(4)})
    init_bert(module)
    assert float(module["linear"].weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert not module["linear"].bias.any()
    assert float(module["table"].weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert module["table"].weight[3].tolist() == [0.0] * 60
    assert module["norm"].weight.tolist() == [1.0] * 4


def test_the_unbiased_norm_is_uers() -> None:
    norm = UnbiasedNorm(8).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    for row, told in zip(states().flatten(0, 1), norm(states()).flatten(0, 1), strict=True):
        mean = sum(row) / 8
        deviation = math.sqrt(float(sum((value - mean) ** 2 for value in row)) / 7)
        assert torch.allclose(told, norm.weight * (row - mean) / (deviation + 1e-6) + norm.bias, atol=1e-12)
