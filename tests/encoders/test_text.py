"""Text encoders against loops: BERT's, RoBERTa's and GPT's."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kemm.encoders import CausalTextEncoder, Encoder, TextEncoder
from kemm.model import FusionModel
from tests.fusion import loops

MASK = torch.tensor([[True, True, True, True], [True, True, False, False]])
IDS = torch.tensor([[3, 5, 1, 7], [4, 2, 0, 0]])


def run(encoder: Encoder, **further: Tensor) -> Tensor:
    loops.noisy(encoder)
    stream = FusionModel({"text": encoder})({"text": {"ids": IDS, "mask": MASK, **further}})["text"]
    assert stream.height == encoder.top
    return stream.x.detach()


def embedded(encoder: Encoder, b: int, t: int, position: int, segment: int | None) -> Tensor:
    embed: Any = encoder.embed
    x = embed.words.weight[IDS[b, t]] + embed.positions.weight[position]
    return (x if segment is None else x + embed.types.weight[segment]).detach()


def bert(encoder: Encoder, b: int, first: int = 0, segments: Tensor | None = None, positions: Tensor | None = None) -> list[Tensor]:
    embed: Any = encoder.embed
    places = range(int(MASK[b].sum()))
    rows = []
    for t in places:
        segment = None if embed.types is None else 0 if segments is None else int(segments[b, t])
        rows.append(loops.norm(embed.norm, embedded(encoder, b, t, first + t if positions is None else int(positions[b, t]), segment)))
    for layer in encoder.layers:
        rows = loops.layer(layer, rows, [True] * len(rows))  # type: ignore[arg-type]
    return rows


@pytest.mark.parametrize("options", [{}, {"types": 0}, {"offset": 2, "types": 1, "padding_id": 1}], ids=["bert", "no types", "roberta"])
def test_is_bert_written_as_loops(options: dict[str, Any]) -> None:
    encoder = TextEncoder(9, 6, 2, 2, 10, 8, dropout=0.1, **options)
    found = run(encoder)
    for b in range(2):
        for t, expected in enumerate(bert(encoder, b, options.get("offset", 0))):
            torch.testing.assert_close(found[b, t], expected, rtol=1e-9, atol=1e-9)


def test_segments_and_positions_are_read() -> None:
    encoder = TextEncoder(9, 6, 1, 3, 10, 8)
    types, positions = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0]]), torch.tensor([[7, 0, 0, 3], [2, 5, 0, 0]])
    found = run(encoder, types=types, positions=positions)
    for b in range(2):
        for t, expected in enumerate(bert(encoder, b, 0, types, positions)):
            torch.testing.assert_close(found[b, t], expected, rtol=1e-9, atol=1e-9)


def gpt(encoder: CausalTextEncoder, b: int, hidden: bool) -> list[Tensor]:
    """Pre-norm layers in which each token sees itself and what precedes it."""
    x = [embedded(encoder, b, t, t, None) for t in range(4)]
    *layers, final = encoder.layers
    for layer in layers:
        part: Any = layer
        normed = [loops.norm(part.attention_norm, row) for row in x]
        attended = []
        for t in range(4):
            seen = [i <= t and (bool(MASK[b, i]) or not hidden) for i in range(4)]
            attended.append(loops.attend(part.attention, [normed[t]], seen, normed)[0])
        x = [row + new for row, new in zip(x, attended, strict=True)]
        x = [row + loops.feedforward(part.feedforward, loops.norm(part.feedforward_norm, row)) for row in x]
    return [loops.norm(final.norm, row) for row in x]  # type: ignore[arg-type, union-attr]


@pytest.mark.parametrize("hidden", [True, False])
def test_is_gpt_written_as_loops(hidden: bool) -> None:
    encoder = CausalTextEncoder(9, 6, 2, 2, 10, 8, padding_mask=hidden)
    found = run(encoder)
    for b in range(2):
        for t, expected in enumerate(gpt(encoder, b, hidden)):
            if MASK[b, t]:
                torch.testing.assert_close(found[b, t], expected, rtol=1e-9, atol=1e-9)


def test_a_causal_state_does_not_change_with_what_follows() -> None:
    encoder = CausalTextEncoder(9, 6, 2, 2, 10, 8)
    model = FusionModel({"text": loops.noisy(encoder)})  # type: ignore[dict-item]
    whole = model({"text": {"ids": IDS[:1], "mask": MASK[:1]}})["text"].x
    start = model({"text": {"ids": IDS[:1, :2], "mask": MASK[:1, :2]}})["text"].x
    torch.testing.assert_close(whole[:, :2], start)


def test_a_summary_sees_the_whole_text_and_nobody_sees_it() -> None:
    torch.manual_seed(0)
    encoder = CausalTextEncoder(9, 6, 2, 2, 10, 5, summary=True).double().eval()
    model = FusionModel({"text": encoder})
    stream = model({"text": {"ids": IDS, "mask": MASK}})["text"]
    assert stream.x.shape == (2, 5, 6) and stream.mask.shape == (2, 5, 5)
    assert stream.mask[0, -1].tolist() == [True] * 5 and not stream.mask[:, :-1, -1].any()
    assert stream.mask[1, -1].tolist() == [True, True, True, False, False], "late by one place, as in the released CoCa"
    embed: Any = encoder.embed
    with torch.no_grad():
        embed.summary.add_(1)
    again = model({"text": {"ids": IDS, "mask": MASK}})["text"]
    assert torch.equal(again.x[:, :-1], stream.x[:, :-1]) and not torch.equal(again.x[:, -1], stream.x[:, -1])


def test_padding_gets_no_gradient_and_begins_at_zero() -> None:
    encoder = TextEncoder(9, 6, 1, 2, 10, 8)
    embed: Any = encoder.embed
    assert not embed.words.weight[0].any()
    FusionModel({"text": encoder})({"text": {"ids": IDS, "mask": MASK}})["text"].x.sum().backward()
    assert not embed.words.weight.grad[0].any()


def test_options_reach_the_layers() -> None:
    encoder: Any = TextEncoder(9, 6, 1, 2, 10, 8, dropout=0.3, activation=F.relu, norm=torch.nn.LayerNorm)
    layer = encoder.layers[0]
    assert layer.feedforward.feedforward.activation is F.relu
    assert {module.p for module in encoder.modules() if isinstance(module, torch.nn.Dropout)} == {0.3}
    assert {module.eps for module in encoder.modules() if isinstance(module, torch.nn.LayerNorm)} == {1e-5}
    assert encoder.dim == 6 and encoder.top == 1
