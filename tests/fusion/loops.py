"""Attention, norms and feed-forwards written as loops over single numbers, to compare fusions with."""

import math

import torch
from torch import Tensor, nn

from kemm.nn import Attention, AttentionBlock, FeedForward, PostNormLayer


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """One vector through a linear layer."""
    y = [sum(float(w) * float(v) for w, v in zip(row, x.detach(), strict=True)) for row in layer.weight.detach()]
    bias = layer.bias.detach() if layer.bias is not None else torch.zeros(len(y))
    return torch.tensor([value + float(b) for value, b in zip(y, bias, strict=True)], dtype=x.dtype)


def norm(layer: nn.Module, x: Tensor) -> Tensor:
    """One vector through a layer norm."""
    assert isinstance(layer, nn.LayerNorm)
    x = x.detach()
    mean = sum(float(v) for v in x) / len(x)
    deviation = math.sqrt(sum((float(v) - mean) ** 2 for v in x) / len(x) + layer.eps)
    scaled = [
        (float(v) - mean) / deviation * float(w) + float(b) for v, w, b in zip(x, layer.weight.detach(), layer.bias.detach(), strict=True)
    ]
    return torch.tensor(scaled, dtype=x.dtype)


def gelu(x: Tensor) -> Tensor:
    return torch.tensor([float(v) * 0.5 * (1 + math.erf(float(v) / math.sqrt(2))) for v in x.detach()], dtype=x.dtype)


def softmax(scores: list[float]) -> list[float]:
    parts = [math.exp(score - max(scores)) for score in scores]
    return [part / sum(parts) for part in parts]


def attend(layer: Attention, x: list[Tensor], mask: list[bool], memory: list[Tensor]) -> list[Tensor]:
    """Rows of one sample over its memory; where nothing is visible, everything is."""
    seen = mask if any(mask) else [True] * len(mask)
    keys, values = [linear(layer.key, m) for m in memory], [linear(layer.value, m) for m in memory]
    width = len(keys[0]) // layer.heads
    rows = []
    for row in x:
        query, parts = linear(layer.query, row), []
        for h in range(layer.heads):
            own = slice(h * width, (h + 1) * width)
            chosen = [i for i, visible in enumerate(seen) if visible]
            weights = softmax([float((query[own] @ keys[i][own]).detach()) / math.sqrt(width) for i in chosen])
            parts.append(sum(weight * values[i][own] for weight, i in zip(weights, chosen, strict=True)))
        rows.append(linear(layer.output, torch.cat(parts)))
    return rows


def attention_block(block: AttentionBlock, x: list[Tensor], mask: list[bool], memory: list[Tensor] | None = None) -> list[Tensor]:
    attended = attend(block.attention, x, mask, x if memory is None else memory)
    return [norm(block.norm, row + new) for row, new in zip(x, attended, strict=True)]


def feedforward(layer: FeedForward, x: Tensor) -> Tensor:
    return linear(layer.down, gelu(linear(layer.up, x)))


def layer(module: PostNormLayer, x: list[Tensor], mask: list[bool]) -> list[Tensor]:
    attended = attention_block(module.attention, x, mask)
    return [norm(module.feedforward.norm, row + feedforward(module.feedforward.feedforward, row)) for row in attended]


def noisy(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module in float64 and eval mode, every parameter moved off its beginning."""
    torch.manual_seed(seed)
    module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return module
