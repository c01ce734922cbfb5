"""K-Adapter's adapters, and what joins their outputs, against loops."""

import pytest
import torch

from kemm.batch import Stream
from kemm.encoders import TextEncoder
from kemm.fusion import Adapter, FusionPoint, Join, Sum
from kemm.model import FusionModel
from tests.fusion import loops


def streams() -> dict[str, Stream]:
    torch.manual_seed(3)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]], dtype=torch.bool)
    return {name: Stream(torch.randn(2, 3, 6).double(), mask) for name in ("text", "below")}


@pytest.mark.parametrize("previous", ["", "below"])
def test_equals_loops(previous: str) -> None:
    fusion = loops.noisy(Adapter("adapter", 6, inner=4, depth=2, heads=2, feedforward=5, previous=previous))
    assert isinstance(fusion, Adapter)
    given = streams()
    fused = fusion(given, {}, None)
    assert fused.keys() == {"adapter"}
    for row in range(2):
        x = [w + b for w, b in zip(given["text"].x[row], given["below"].x[row], strict=True)] if previous else list(given["text"].x[row])
        inner = [loops.linear(fusion.down, w) for w in x]
        for module in fusion.layers:
            inner = loops.layer(module, inner, [True] * 3)
        expected = torch.stack([w + loops.linear(fusion.up, i) for w, i in zip(x, inner, strict=True)])
        torch.testing.assert_close(fused["adapter"].x[row], expected, rtol=0, atol=1e-12)


def test_begins_close_to_the_identity() -> None:
    given = {"text": streams()["text"]._replace(x=streams()["text"].x.float())}
    x = Adapter("adapter", 6, inner=4, heads=2).eval()(given, {}, None)["adapter"].x
    torch.testing.assert_close(x, given["text"].x, rtol=0, atol=1e-2)


def test_sum_and_join() -> None:
    given = streams()
    doubled = Sum(["below", "below"], "twice")(given, {}, None)["twice"]
    torch.testing.assert_close(doubled.x, 2 * given["below"].x)
    join = loops.noisy(Join(["text", "below"], "joined", [6, 6], 5))
    assert isinstance(join, Join)
    joined = join(given, {}, None)["joined"]
    for row in range(2):
        for place in range(3):
            both = torch.cat([given["text"].x[row, place], given["below"].x[row, place]])
            torch.testing.assert_close(joined.x[row, place], loops.linear(join.project, both), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="one width for each stream"):
        Join(["text", "below"], "joined", [6])


def test_the_text_is_left_as_it_is() -> None:
    encoder = TextEncoder(9, 6, depth=3, heads=2)
    points = [
        FusionPoint({"text": 0}, Adapter("low", 6, inner=4, heads=2)),
        FusionPoint({"text": 2}, Adapter("high", 6, inner=4, heads=2, previous="low")),
    ]
    text = {"ids": torch.tensor([[1, 2, 3]]), "mask": torch.ones(1, 3, dtype=torch.bool)}
    adapted = FusionModel({"text": encoder}, points).eval()({"text": text})
    torch.testing.assert_close(adapted["text"].x, FusionModel({"text": encoder}).eval()({"text": text})["text"].x)
    assert adapted.keys() == {"text", "low", "high"}
