"""Known triples, negatives and weights against loops over all entities."""

import pytest
import torch

from kemm.kg import KnownTriples, NegativeSampler, bernoulli_tail_rate, subsampling_weights
from kemm.nn import Draws

N, R = 9, 3


def random_triples(number: int = 60, seed: int = 0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    drawn = torch.stack([torch.randint(limit, (number,), generator=draw) for limit in (N, R, N)], 1)
    return torch.unique(drawn, dim=0)[torch.randperm(len(torch.unique(drawn, dim=0)), generator=draw)]


def answers(triples: torch.Tensor, anchor: int, relation: int, tail: bool) -> list[int]:
    return sorted(t if tail else h for h, r, t in triples.tolist() if r == relation and (h if tail else t) == anchor)


@pytest.mark.parametrize("tail", [True, False])
def test_lookups(tail: bool) -> None:
    triples = random_triples()
    known = KnownTriples(torch.cat([triples, triples[:5]]), N, R)
    assert len(known) == len(triples)
    anchor, relation = torch.cartesian_prod(torch.arange(N), torch.arange(R)).unbind(1)
    row, entity = known.listed(anchor, relation, tail)
    for i in range(len(anchor)):
        expected = answers(triples, int(anchor[i]), int(relation[i]), tail)
        assert entity[row == i].tolist() == expected
        false = [e for e in range(N) if e not in expected]
        if false:
            order = torch.arange(len(false))[None]
            assert known.false_answers(anchor[i : i + 1], relation[i : i + 1], order, tail)[0].tolist() == false
    everything = torch.cartesian_prod(torch.arange(N), torch.arange(R), torch.arange(N))
    true = {tuple(row) for row in triples.tolist()}
    assert known.contains(everything).tolist() == [tuple(row) in true for row in everything.tolist()]


def test_nothing_known() -> None:
    known = KnownTriples(torch.empty(0, 3, dtype=torch.int64), N, R)
    assert not known.contains(torch.tensor([[0, 0, 1]])).any()
    assert known.false_answers(torch.tensor([0]), torch.tensor([0]), torch.arange(N)[None], True)[0].tolist() == list(range(N))
    with pytest.raises(ValueError, match="more than 64-bit keys can tell apart"):
        KnownTriples(torch.empty(0, 3, dtype=torch.int64), 10**9, 10)


def test_negatives_are_false_and_each_equally_likely() -> None:
    triples = random_triples()
    sampler = NegativeSampler(KnownTriples(triples, N, R), number=4000)
    found = sampler(triples, Draws(torch.arange(len(triples)), seed=1))
    full = found.triples(triples)
    assert not sampler.known.contains(full).any()
    for i, (head, relation, tail) in enumerate(triples.tolist()):
        side = bool(found.tail[i])
        other = (full[i, :, 0] == head) if side else (full[i, :, 2] == tail)
        assert other.all()
        assert (full[i, :, 1] == relation).all()
        false = [e for e in range(N) if e not in answers(triples, head if side else tail, relation, side)]
        share = torch.bincount(found.entities[i], minlength=N)[false] / 4000
        assert (share - 1 / len(false)).abs().max() < 0.04


def test_negatives_depend_on_seed_step_and_sample_only() -> None:
    triples = random_triples()
    sampler = NegativeSampler(KnownTriples(triples, N, R), number=5)
    ids = torch.arange(len(triples)) + 100
    whole = sampler(triples, Draws(ids, seed=3, step=7))
    part = torch.tensor([8, 2, 5])
    again = sampler(triples[part], Draws(ids[part], seed=3, step=7))
    assert torch.equal(again.entities, whole.entities[part])
    assert torch.equal(again.tail, whole.tail[part])
    for other in (Draws(ids, seed=4, step=7), Draws(ids, seed=3, step=8), Draws(ids + 1, seed=3, step=7)):
        assert not torch.equal(sampler(triples, other).entities, whole.entities)


def test_tail_rate_and_sides_without_a_negative() -> None:
    everyone = torch.tensor([[0, 0, e] for e in range(N)] + [[1, 1, 2], [3, 2, 3]])
    known = KnownTriples(everyone, N, R)
    rates = torch.tensor([1.0, 0.0, 1.0])
    found = NegativeSampler(known, 3, rates)(everyone, Draws(torch.arange(len(everyone))))
    assert found.tail.tolist() == [False] * N + [False, True]  # relation 0 has no false tail for head 0
    assert not known.contains(found.triples(everyone)).any()
    half = NegativeSampler(known, 1)(everyone[-1:].expand(2000, 3), Draws(torch.arange(2000)))
    assert abs(half.tail.float().mean() - 0.5) < 0.05

    complete = torch.cartesian_prod(torch.arange(N), torch.tensor([0]), torch.arange(N))
    with pytest.raises(ValueError, match=r"the triple \[0, 0, 0\] has no negative"):
        NegativeSampler(KnownTriples(complete, N, R))
    with pytest.raises(ValueError, match="number is 0"):
        NegativeSampler(known, 0)


def test_bernoulli_rate() -> None:
    triples = random_triples()[random_triples()[:, 1] != 2]
    rates = bernoulli_tail_rate(triples, R)
    for relation in range(2):
        pairs = [(h, t) for h, r, t in triples.tolist() if r == relation]
        per_head = len(pairs) / len({h for h, _ in pairs})
        per_tail = len(pairs) / len({t for _, t in pairs})
        assert rates[relation] == pytest.approx(per_tail / (per_head + per_tail))
    assert rates[2] == 0.5


def test_subsampling_weights_follow_the_published_count() -> None:
    triples = random_triples()
    count: dict[tuple[int, int], int] = {}
    for head, relation, tail in triples.tolist():
        for key in ((head, relation), (tail, -relation - 1)):
            count[key] = count[key] + 1 if key in count else 4
    expected = [(count[h, r] + count[t, -r - 1]) ** -0.5 for h, r, t in triples.tolist()]
    assert subsampling_weights(triples).tolist() == pytest.approx(expected)
