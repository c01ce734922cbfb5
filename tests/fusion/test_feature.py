"""By-products as streams, against loops."""

import math

import pytest
import torch
from torch import Tensor, nn

from kemm.batch import Stream
from kemm.fusion import AttentionalPool, End, Feature, First, Keep, Last, Mean, NormedFeature, PaddedMax, PaddedMean, Pooled
from kemm.model import FusionModel
from tests.fusion import loops

MASK = torch.tensor([[True, True, True, False], [True, False, False, False], [True, True, True, True]])


def text() -> Stream:
    torch.manual_seed(8)
    return Stream(torch.randn(3, 4, 6).double(), MASK, height=2)


def place(pool: nn.Module, x: Tensor, mask: list[bool]) -> Tensor:
    real = [i for i, seen in enumerate(mask) if seen]
    if isinstance(pool, PaddedMax):
        return torch.stack([max(column) for column in x.T])
    if isinstance(pool, PaddedMean):
        real = list(range(4))
    if isinstance(pool, Mean | PaddedMean):
        return sum((x[i] for i in real), torch.zeros(6).double()) / len(real)
    return x[{First: 0, End: 3, Last: max(0, real[-1] - getattr(pool, "before", 0))}[type(pool)]]


@pytest.mark.parametrize("pool", [First(), Last(), Last(1), End(), Mean(), PaddedMean(), PaddedMax()], ids=str)
def test_pools(pool: nn.Module) -> None:
    pooled = Pooled("text", "one", pool)({"text": text()}, {}, FusionModel({}))["one"]
    assert pooled.x.shape == (3, 1, 6)
    assert bool(pooled.mask.all())
    for row in range(3):
        assert torch.allclose(pooled.x[row, 0], place(pool, text().x[row], MASK[row].tolist()), atol=1e-12)


@pytest.mark.parametrize("normalize", [False, True])
def test_feature(normalize: bool) -> None:
    fusion = loops.noisy(Feature("text", "one", 6, 5, Last(), nn.Tanh(), normalize))
    feature = fusion({"text": text()}, {}, FusionModel({}))["one"].x[:, 0]
    for row in range(3):
        x = loops.linear(fusion.project, place(fusion.pool, text().x[row], MASK[row].tolist()))
        expected = [math.tanh(float(v)) for v in x]
        length = math.sqrt(sum(v * v for v in expected)) if normalize else 1.0
        assert torch.allclose(feature[row], torch.tensor(expected).double() / length, atol=1e-10)


def test_a_normed_feature() -> None:
    fusion = loops.noisy(NormedFeature("text", "one", 6)).eval()
    feature = fusion({"text": text()}, {}, FusionModel({}))["one"].x[:, 0]
    for row in range(3):
        x = loops.linear(fusion.project, text().x[row, 0])
        bent = torch.tensor([0.5 * float(v) * (1 + math.erf(float(v) / math.sqrt(2))) for v in x]).double()
        centred = bent - bent.mean()
        expected = centred / torch.sqrt((centred**2).mean() + 1e-5) * fusion.norm.weight + fusion.norm.bias
        assert torch.allclose(feature[row], expected, atol=1e-10)


def test_what_pools_padding_says_so() -> None:
    assert [Pooled("text", "one", pool).reads_padding for pool in (Mean(), PaddedMean(), PaddedMax(), End())] == [False, True, True, False]


def test_feature_without_bias() -> None:
    assert Feature("text", "one", 6, bias=False).project.bias is None


@pytest.mark.parametrize(("places", "expected"), [((), [0, 1, 2, 3]), ((0, -1), [0, 1, 2]), ((1, 3), [1, 2])])
def test_keep(places: tuple[int, ...], expected: list[int]) -> None:
    given = text()
    pairs = MASK[:, None] & torch.ones(4, 4, dtype=torch.bool).tril()
    for mask in (MASK, pairs):
        stream = given._replace(mask=mask, positions=torch.arange(4).expand(3, 4))
        kept = Keep("text", "kept", places)({"text": stream}, {}, FusionModel({}))["kept"]
        assert torch.equal(kept.x, given.x[:, expected])
        assert torch.equal(kept.mask, mask[:, expected] if mask.dim() == 2 else mask[:, expected][:, :, expected])
        assert kept.positions is not None
        assert torch.equal(kept.positions, torch.tensor(expected).expand(3, -1))
        assert kept.height == 2


def test_attentional_pool() -> None:
    fusion = loops.noisy(AttentionalPool("text", "pooled", "tokens", 6, 8, heads=2, queries=3))
    assert isinstance(fusion, AttentionalPool)
    pooled = fusion({"text": text()}, {}, FusionModel({}))
    assert pooled["pooled"].x.shape == (3, 1, 8)
    assert pooled["tokens"].x.shape == (3, 2, 8)
    queries = [loops.norm(fusion.query_norm, query) for query in fusion.queries]
    for row in range(3):
        memory = [loops.norm(fusion.memory_norm, x) for x in text().x[row]]
        attended = loops.attend(fusion.attention, queries, MASK[row].tolist(), memory)
        expected = torch.stack([loops.norm(fusion.norm, x) for x in attended])
        assert torch.allclose(torch.cat([pooled["pooled"].x[row], pooled["tokens"].x[row]]), expected, atol=1e-10)
