"""Scorers against their formulas in complex arithmetic, one number at a time."""

import cmath
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import kemm.kg
from kemm.kg import ComplEx, DistMult, RotatE, Scorer, TransE, TuckER

D = 6


def complexes(vector: Tensor) -> list[complex]:
    half = len(vector) // 2
    return [complex(re, im) for re, im in zip(vector[:half].tolist(), vector[half:].tolist(), strict=True)]


def transe(p: float) -> Callable[[Tensor, Tensor, Tensor], float]:
    def score(h: Tensor, r: Tensor, t: Tensor) -> float:
        return -(sum(abs(a + b - c) ** p for a, b, c in zip(h.tolist(), r.tolist(), t.tolist(), strict=True)) ** (1 / p))

    return score


def distmult(h: Tensor, r: Tensor, t: Tensor) -> float:
    return sum(a * b * c for a, b, c in zip(h.tolist(), r.tolist(), t.tolist(), strict=True))


def complex_(h: Tensor, r: Tensor, t: Tensor) -> float:
    return sum((a * b * c.conjugate()).real for a, b, c in zip(complexes(h), complexes(r), complexes(t), strict=True))


def rotate(h: Tensor, r: Tensor, t: Tensor) -> float:
    return -sum(abs(a * cmath.exp(1j * angle) - c) for a, angle, c in zip(complexes(h), r.tolist(), complexes(t), strict=True))


def tucker(scorer: TuckER) -> Callable[[Tensor, Tensor, Tensor], float]:
    def normed(norm: nn.BatchNorm1d, x: list[float]) -> list[float]:
        mean, variance = (values.tolist() for values in (norm.running_mean, norm.running_var))  # type: ignore[union-attr]
        weight, bias = norm.weight.tolist(), norm.bias.tolist()
        return [(v - m) / (s + norm.eps) ** 0.5 * w + b for v, m, s, w, b in zip(x, mean, variance, weight, bias, strict=True)]

    def score(h: Tensor, r: Tensor, t: Tensor) -> float:
        head, core = normed(scorer.head_norm, h.tolist()), scorer.core.tolist()
        query = [sum(r[k].item() * core[k][i][j] * head[i] for k in range(len(core)) for i in range(len(head))) for j in range(len(head))]
        return sum(a * b for a, b in zip(normed(scorer.norm, query), t.tolist(), strict=True))

    return score


def evaluated(scorer: TuckER) -> TuckER:
    """With norms that have seen something."""
    draw = torch.Generator().manual_seed(2)
    for norm in (scorer.head_norm, scorer.norm):
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.data.copy_(0.5 + torch.rand(tensor.shape, generator=draw))  # type: ignore[union-attr]
    return scorer.double().eval()


TUCKER = evaluated(TuckER(D, 4))

CASES = [
    (TransE(1), transe(1)),
    (TransE(2), transe(2)),
    (TransE(3), transe(3)),
    (DistMult(), distmult),
    (ComplEx(), complex_),
    (RotatE(), rotate),
    (TUCKER, tucker(TUCKER)),
]


def vectors(scorer: Scorer, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    head, entities = (torch.randn(n, D, generator=draw, dtype=dtype) for n in (4, 7))
    return head, torch.randn(4, scorer.relation_dim(D), generator=draw, dtype=dtype), entities


@pytest.mark.parametrize(("scorer", "formula"), CASES, ids=lambda case: repr(case)[:20])
def test_formula_broadcasting_and_all_at_once(scorer: Scorer, formula: Callable[[Tensor, Tensor, Tensor], float]) -> None:
    head, relation, entities = vectors(scorer)
    expected = torch.tensor([[formula(h, r, e) for e in entities] for h, r in zip(head, relation, strict=True)], dtype=torch.float64)
    broadcast = scorer(head[:, None], relation[:, None], entities)
    torch.testing.assert_close(broadcast, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(scorer.score_tails(head, relation, entities), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(scorer(head, relation, entities[:4]), expected.diagonal(), rtol=1e-12, atol=1e-12)

    backwards = torch.tensor([[formula(e, r, h) for e in entities] for h, r in zip(head, relation, strict=True)], dtype=torch.float64)
    torch.testing.assert_close(scorer.score_heads(relation, head, entities), backwards, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scorer", [case[0] for case in CASES], ids=repr)
def test_gradients_of_the_fast_path(scorer: Scorer) -> None:
    leaves = [part.requires_grad_() for part in vectors(scorer)]
    weights = torch.randn(4, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    slow = torch.autograd.grad((weights * scorer(leaves[0][:, None], leaves[1][:, None], leaves[2])).sum(), leaves)
    fast = torch.autograd.grad((weights * scorer.score_tails(*leaves)).sum(), leaves)
    for a, b in zip(slow, fast, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("scorer", [case[0] for case in CASES], ids=repr)
def test_a_perfect_match_has_a_finite_gradient(scorer: Scorer) -> None:
    dtype = next((parameter.dtype for parameter in scorer.parameters()), torch.float32)
    head = torch.zeros(2, D, dtype=dtype, requires_grad=True)
    relation = torch.zeros(2, scorer.relation_dim(D), dtype=dtype, requires_grad=True)
    for score in (scorer(head, relation, head), scorer.score_tails(head, relation, head)):
        for gradient in torch.autograd.grad(score.sum(), (head, relation)):
            assert gradient.isfinite().all()


def test_rotate_all_at_once_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    head, relation, entities = vectors(RotatE())
    whole = RotatE().score_tails(head, relation, entities)
    monkeypatch.setattr("kemm.kg.scorers.TILE", (3, 3 * 2 * D))
    assert torch.equal(RotatE().score_tails(head, relation, entities), whole)


def test_close_entities_keep_their_distance_in_float32() -> None:
    """A distance made from a matrix product would lose them against the norms."""
    head, entities = torch.full((1, 32), 100.0), 100 + torch.tensor([[0.0], [1e-3], [2e-3]]).expand(3, 32)
    scores = TransE(2).score_tails(head, torch.zeros(1, 32), entities)
    torch.testing.assert_close(scores, -(entities - 100).norm(dim=-1)[None], rtol=1e-5, atol=0)


def test_tucker_s_norms_are_over_the_batch_in_training() -> None:
    scorer = TuckER(D, 4).double()
    head, relation, entities = vectors(scorer)
    x = (head - head.mean(0)) / (head.var(0, unbiased=False) + 1e-5).sqrt()
    y = torch.stack([sum(r[k] * scorer.core[k].T @ h for k in range(4)) for h, r in zip(x, relation, strict=True)])  # type: ignore[misc]
    y = (y - y.mean(0)) / (y.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(scorer.score_tails(head, relation, entities), y @ entities.T, rtol=1e-10, atol=1e-10)


def test_errors() -> None:
    for scorer in (ComplEx(), RotatE()):
        with pytest.raises(ValueError, match="width of complex vectors is 5, expected an even number"):
            scorer.relation_dim(5)
    with pytest.raises(ValueError, match="p is 0"):
        TransE(0)


def test_every_scorer_is_tested() -> None:
    exported = {value for value in vars(kemm.kg).values() if isinstance(value, type) and issubclass(value, Scorer)} - {Scorer}
    assert exported == {type(scorer) for scorer, _ in CASES}
