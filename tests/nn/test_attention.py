"""Attention against loops over single numbers."""

import math

import pytest
import torch
from torch import Tensor

from kemm.nn import Attention, visible


def by_hand(layer: Attention, x: Tensor, mask: Tensor | None, memory: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V head by head, query by query."""
    result = torch.zeros(*x.shape[:2], layer.output.in_features, dtype=x.dtype)
    for b in range(len(x)):
        query, key, value = layer.query(x[b]), layer.key(memory[b]), layer.value(memory[b])
        width = query.shape[-1] // layer.heads
        for h in range(layer.heads):
            own = slice(h * width, (h + 1) * width)
            for i in range(len(query)):
                row = None if mask is None else (mask[b] if mask.dim() == 2 else mask[b, i])
                seen = [j for j in range(len(key)) if row is None or not row.any() or row[j]]
                scores = [math.exp(float(query[i, own] @ key[j, own]) / math.sqrt(width)) for j in seen]
                result[b, i, own] = sum(score / sum(scores) * value[j, own] for score, j in zip(scores, seen, strict=True))
    return layer.output(result)


def inputs(memory_dim: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 3, 6).double(), torch.randn(2, 4, memory_dim).double()


MASKS = {
    "none": None,
    "padding": torch.tensor([[True, True, False, True], [True, False, False, False]]),
    "nothing visible": torch.tensor([[False] * 4, [True, False, True, False]]),
    "pairs": torch.tensor([[[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]], [[0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1]]]).bool(),
}


@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize(("memory_dim", "inner", "out"), [(6, None, None), (5, 4, None), (5, 8, 3)])
def test_is_the_formula(mask: Tensor | None, explicit: bool, memory_dim: int, inner: int | None, out: int | None) -> None:
    x, memory = inputs(memory_dim)
    layer = Attention(6, 2, memory_dim, inner, out).double().eval()
    layer.explicit = explicit
    found = layer(x, mask, memory)
    assert found.shape == (2, 3, out or 6)
    torch.testing.assert_close(found, by_hand(layer, x, mask, memory), rtol=1e-12, atol=1e-12)


def test_reads_itself_without_a_memory() -> None:
    x, _ = inputs(6)
    layer = Attention(6, 3, bias=False).double()
    assert layer.query.bias is None
    torch.testing.assert_close(layer(x), layer(x, None, x))


def test_a_row_that_sees_nothing_sees_everything() -> None:
    assert visible(torch.tensor([[True, False], [False, False]])).tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_acts_in_training_only(dtype: torch.dtype) -> None:
    x, _ = inputs(6)
    layer = Attention(6, 2, dropout=0.5).to(dtype)
    x = x.to(dtype)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="attention of width 6 cannot be divided into 4 heads"):
        Attention(6, 4)
