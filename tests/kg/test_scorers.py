"""Scorers against their formulas in complex arithmetic, one number at a time."""

import cmath
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import kemm.kg
from kemm.kg import ComplEx, DistMult, RotatE, Scorer, TransE

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


CASES = [
    (TransE(1), transe(1)),
    (TransE(2), transe(2)),
    (TransE(3), transe(3)),
    (DistMult(), distmult),
    (ComplEx(), complex_),
    (RotatE(), rotate),
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
    head = torch.zeros(2, D, requires_grad=True)
    relation = torch.zeros(2, scorer.relation_dim(D), requires_grad=True)
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


def test_errors() -> None:
    for scorer in (ComplEx(), RotatE()):
        with pytest.raises(ValueError, match="width of complex vectors is 5, expected an even number"):
            scorer.relation_dim(5)
    with pytest.raises(ValueError, match="p is 0"):
        TransE(0)


def test_every_scorer_is_tested() -> None:
    exported = {value for value in vars(kemm.kg).values() if isinstance(value, type) and issubclass(value, Scorer)} - {Scorer}
    assert exported == {type(scorer) for scorer, _ in CASES}
