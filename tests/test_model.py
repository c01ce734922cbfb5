"""The loop: who runs when, what is skipped, what is recorded, and what is refused."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kemm.batch import Batch, Stream
from kemm.encoders import Encoder, TextEncoder
from kemm.fusion import CoAttention, Concat, Feature, Fusion, FusionPoint, Keep, Streams
from kemm.model import FusionModel, count_parameters


class Log(list[str]):
    """What ran, in order."""


class Embed(nn.Module):
    def __init__(self, name: str, log: Log) -> None:
        super().__init__()
        self.name, self.log = name, log

    def forward(self, given: Tensor) -> Stream:
        self.log.append(f"{self.name}.embed")
        return Stream(given, torch.ones(given.shape[:2], dtype=torch.bool), torch.zeros(given.shape[:2]))


class Layer(nn.Module):
    def __init__(self, name: str, number: int, log: Log) -> None:
        super().__init__()
        self.name, self.number, self.log = name, number, log

    def forward(self, x: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        assert mask.dtype == torch.bool and positions is not None
        self.log.append(f"{self.name}.{self.number}")
        return 10 * x + self.number


class Add(Fusion):
    """Adds one stream to another, and tells what it saw."""

    def __init__(self, log: Log, name: str, one: str, other: str = "", needs: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.log, self.name, self.one, self.other, self.needs = log, name, one, other, needs

    def forward(self, streams: Streams, batch: Batch, network: FusionModel) -> Streams:
        heights = ",".join(f"{name}@{stream.height}" for name, stream in streams.items())
        self.log.append(f"{self.name}({heights})")
        if not self.other:
            return {f"{self.name}_made": streams[self.one]}
        return {self.one: streams[self.one]._replace(x=streams[self.one].x + streams[self.other].x)}


def encoders(log: Log, **depths: int) -> dict[str, Encoder]:
    return {name: Encoder(Embed(name, log), [Layer(name, i, log) for i in range(1, depth + 1)]) for name, depth in depths.items()}


def ones(rows: int = 1) -> Tensor:
    return torch.ones(rows, 1, 1)


def model(log: Log, **further: Any) -> FusionModel:
    points = [
        FusionPoint({"a": 1}, Add(log, "first", "a")),
        FusionPoint({"a": 2, "b": 1}, Add(log, "second", "a", "b")),
        FusionPoint({"b": "top"}, Add(log, "third", "b", "a", needs=("a",))),
    ]
    return FusionModel(encoders(log, a=3, b=2), points, **further)


def test_layers_run_up_to_each_fusion_in_order() -> None:
    log = Log()
    streams = model(log)({"a": ones(), "b": ones()})
    expected = "a.embed b.embed a.1 first(a@1,b@0) a.2 b.1 second(a@2,b@1,first_made@1) b.2 third(a@2,b@2,first_made@1) a.3"
    assert " ".join(log) == expected
    assert {name: stream.height for name, stream in streams.items()} == {"a": 3, "b": 2, "first_made": 1}
    # a: 1 -> 11 -> 112, + b: 11 -> 123 -> 1233; b: 11 -> 112, + a: 123 -> 235.
    assert {name: float(stream.x) for name, stream in streams.items()} == {"a": 1233, "b": 235, "first_made": 11}


def test_a_batch_without_a_modality_skips_its_fusions() -> None:
    log = Log()
    assert set(model(log)({"a": ones()})) == {"a", "first_made"}
    assert log == ["a.embed", "a.1", "first(a@1)", "a.2", "a.3"]
    log.clear()
    streams = model(log)({"b": ones()})
    assert log == ["b.embed", "b.1", "b.2"] and float(streams["b"].x) == 112
    assert model(log)({"other": ones()}) == {}


def test_a_stream_climbs_on_from_its_height_past_the_fusions_below() -> None:
    log = Log()
    given = Stream(ones(), torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1), 2)
    streams = model(log)({"a": given, "b": ones()})
    assert log == ["b.embed", "b.1", "second(a@2,b@1)", "b.2", "third(a@2,b@2)", "a.3"]
    assert "first_made" not in streams
    assert float(given.x) == 1
    log.clear()
    model(log)({"a": given._replace(height=3), "b": ones()})
    assert log == ["b.embed", "b.1", "b.2", "third(a@3,b@2)"]


def test_an_input_may_share_an_encoder() -> None:
    log = Log()
    shared = FusionModel(encoders(log, a=2), [FusionPoint({"c": 1}, Add(log, "only", "c"))], {"c": "a"})
    streams = shared({"a": ones(), "c": 2 * ones()})
    assert log == ["a.embed", "a.embed", "a.1", "only(a@0,c@1)", "a.1", "a.2", "a.2"]
    assert float(streams["a"].x) == 112 and float(streams["c"].x) == 212
    assert shared.encoder("c") is shared.encoder("a") and shared.top("c") == 2


@pytest.mark.parametrize(
    ("fusions", "share", "message"),
    [
        ([{"a": 1}, {"z": 1}], None, r"fusions\[1\] is placed at 'z', but the inputs are \['a', 'b'\]"),
        ([{"a": 4}], None, r"fusions\[0\] is placed at a: 4, but that encoder has heights 0 to 3"),
        ([{"a": -1}], None, r"fusions\[0\] is placed at a: -1, but that encoder has heights 0 to 3"),
        (
            [{"b": 0}, {"a": 3, "b": 1}, {"b": "top", "a": 2}],
            None,
            r"fusions\[2\], Add at \{b: top, a: 2\}, is passed over where fusions\[1\], Add at \{a: 3, b: 1\}, has run, which takes a to "
            r"height 3; place it at a: 3 or higher$",
        ),
        (
            [{"a": "top"}, {"b": 2, "a": 1}],
            None,
            r"fusions\[1\], Add at \{b: 2, a: 1\}, is passed over where fusions\[0\], Add at \{a: top\}, has run, which takes a to height "
            r"3; place it at a: 3 or higher, or list it before fusions\[0\]$",
        ),
        ([], {"c": "z"}, r"share\['c'\] is 'z', but the encoders are \['a', 'b'\]"),
    ],
)
def test_what_cannot_be_is_refused(fusions: list[dict[str, Any]], share: dict[str, str] | None, message: str) -> None:
    log = Log()
    with pytest.raises(ValueError, match=message):
        FusionModel(encoders(log, a=3, b=2), [FusionPoint(at, Add(log, "x", "a")) for at in fusions], share)


# ---- trace


def texts() -> Batch:
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    return {name: {"ids": torch.arange(10).view(2, 5) + 1, "mask": mask} for name in ("text", "other")}


def traced() -> FusionModel:
    torch.manual_seed(0)
    fusions = [
        FusionPoint({"text": 1, "other": 0}, CoAttention(["text", "other"], [8, 8], 2)),
        FusionPoint({"text": 1}, Keep("text", "kept")),
        FusionPoint({"text": "top"}, Feature("text", "feature", 8, 4)),
    ]
    return FusionModel({name: TextEncoder(20, 8, depth, 2, 16, 8) for name, depth in (("text", 3), ("other", 1))}, fusions).eval()


def test_a_trace_records_every_height_and_fusion() -> None:
    network = traced()
    plain = network(texts())
    with network.trace() as record:
        streams = network(texts())
    assert set(record) == {f"text.{i}" for i in range(4)} | {"other.0", "other.1"} | {
        "fusions.0.text",
        "fusions.0.other",
        "fusions.1.kept",
        "fusions.2.feature",
    }
    assert torch.equal(record["text.3"], streams["text"].x) and torch.equal(record["fusions.1.kept"], streams["kept"].x)
    assert torch.equal(record["text.0"], network.embed("text", texts()["text"]).x)
    real = texts()["text"]["mask"]
    torch.testing.assert_close(plain["text"].x[real], streams["text"].x[real], rtol=1e-5, atol=1e-6)
    before = dict(record)
    network(texts())
    assert record == before, "the trace goes on after its end"
    assert network.packing


def test_traced_attention_is_a_distribution_and_changes_nothing() -> None:
    network = traced()
    with network.trace() as without:
        network(texts())
    with network.trace(attention=True) as record:
        network(texts())
    for name, state in without.items():
        torch.testing.assert_close(record[name], state, rtol=1e-6, atol=1e-6)
    attentions = {name: state for name, state in record.items() if name not in without}
    assert set(attentions) == {f"text.layers.{i}.attention.attention" for i in range(3)} | {"other.layers.0.attention.attention"} | {
        f"fusions.0.attentions.{i}.attention" for i in range(2)
    }
    for weights in attentions.values():
        assert weights.shape == (2, 2, 5, 5)
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 5))
        assert not weights[1, :, :, 2:].any()
    assert not any(getattr(module, "explicit", False) for module in network.modules())


def test_a_trace_ends_after_an_error() -> None:
    network = traced()
    with pytest.raises(KeyError), network.trace(attention=True):
        network({"text": {}})
    assert not any(module._forward_hooks for module in network.modules())
    assert network.packing and not any(getattr(module, "explicit", False) for module in network.modules())


def test_shared_parameters_are_counted_once() -> None:
    fusion = Concat(["text", "other"], "text", nn.LayerNorm(8))
    network = FusionModel({"text": TextEncoder(20, 8, 1, 2, 16, 8)}, [FusionPoint({"text": 0}, fusion), FusionPoint({"text": 1}, fusion)])
    alone = count_parameters(network.encoder("text"))
    assert count_parameters(network) == alone + 16
    fusion.requires_grad_(False)
    assert count_parameters(network, trainable=True) == alone
