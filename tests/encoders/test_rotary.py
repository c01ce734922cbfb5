"""ModernBERT's encoder against loops: rotary positions, near and far layers, gates."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from kemm.batch import TextInput
from kemm.encoders import RotaryTextEncoder
from kemm.model import FusionModel
from tests.fusion import loops

LENGTHS = (7, 4)
MASK = torch.arange(7) < torch.tensor(LENGTHS)[:, None]
IDS = torch.tensor([[3, 5, 1, 7, 2, 8, 4], [4, 2, 6, 1, 0, 0, 0]])


def norm(layer: Any, x: Tensor) -> Tensor:
    x = x.detach()
    return (x - x.mean()) / math.sqrt(float(x.var(correction=0)) + layer.eps) * layer.weight.detach()


def turned(x: Tensor, position: int, theta: float) -> Tensor:
    """One head's vector: pairs (i, i + d/2) as complex numbers, each turned by its angle."""
    half = len(x) // 2
    pairs = [complex(float(x[i]), float(x[i + half])) for i in range(half)]
    spun = [z * complex(math.cos(a), math.sin(a)) for i, z in enumerate(pairs) for a in [position * theta ** (-2 * i / len(x))]]
    return torch.tensor([z.real for z in spun] + [z.imag for z in spun], dtype=x.dtype)


def attend(layer: Any, x: list[Tensor], positions: list[int]) -> list[Tensor]:
    queries, keys, values = ([loops.linear(part, row) for row in x] for part in (layer.query, layer.key, layer.value))
    width = len(queries[0]) // layer.heads
    rows = []
    for i in range(len(x)):
        seen = [j for j in range(len(x)) if layer.window is None or abs(positions[i] - positions[j]) <= layer.window]
        parts = []
        for h in range(layer.heads):
            own = slice(h * width, (h + 1) * width)
            query = turned(queries[i][own], positions[i], layer.theta)
            scores = [float(query @ turned(keys[j][own], positions[j], layer.theta)) / math.sqrt(width) for j in seen]
            parts.append(sum(weight * values[j][own] for weight, j in zip(loops.softmax(scores), seen, strict=True)))
        rows.append(loops.linear(layer.output, torch.cat(parts)))
    return rows


def reference(encoder: RotaryTextEncoder, b: int, positions: list[int]) -> list[Tensor]:
    embed: Any = encoder.embed
    x = [norm(embed.norm, embed.words.weight[IDS[b, t]]) for t in range(LENGTHS[b])]
    *layers, final = encoder.layers
    for i, layer in enumerate(layers):
        part: Any = layer
        assert (part.attention.window, part.attention.theta) == ((None, 50.0) if i in (0, 3) else (1, 20.0))
        normed = x if i == 0 else [norm(part.attention_norm, row) for row in x]
        x = [row + new for row, new in zip(x, attend(part.attention, normed, positions), strict=True)]
        for t, row in enumerate(x):
            a, gate = loops.linear(part.feedforward.up, norm(part.feedforward_norm, row)).chunk(2)
            x[t] = row + loops.linear(part.feedforward.down, loops.gelu(a) * gate)
    return [norm(final.norm, row) for row in x]  # type: ignore[union-attr]


def encoder() -> RotaryTextEncoder:
    made = loops.noisy(RotaryTextEncoder(9, 8, 4, 2, 5, 20, window=1, theta=50.0, local_theta=20.0, dropout=0.1))
    assert isinstance(made, RotaryTextEncoder)
    return made


@pytest.mark.parametrize("positions", [None, [0, 1, 3, 4, 9, 10, 11]])
@pytest.mark.parametrize("packing", [True, False])
def test_is_modernbert_written_as_loops(positions: list[int] | None, packing: bool) -> None:
    made = encoder()
    text: TextInput = {"ids": IDS, "mask": MASK}
    if positions is not None:
        text["positions"] = torch.tensor(positions).expand(2, -1)
    found = FusionModel({"text": made}, packing=packing)({"text": text})["text"].x.detach()
    for b in range(2):
        for t, expected in enumerate(reference(made, b, positions or list(range(7)))):
            torch.testing.assert_close(found[b, t], expected, rtol=0, atol=1e-10)


def test_there_is_no_bias_and_no_position_table() -> None:
    names = encoder().state_dict()
    assert not [name for name in names if "bias" in name or "positions" in name]
    assert "layers.0.attention_norm.weight" not in names
    assert "layers.1.attention_norm.weight" in names


def test_a_joined_stream_counts_its_own_places() -> None:
    made = encoder()
    embed: Any = made.embed
    stream = embed({"ids": IDS, "mask": MASK})
    for layer in made.layers:
        torch.testing.assert_close(layer(stream.x, MASK), layer(stream.x, MASK, stream.positions))
