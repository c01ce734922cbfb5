"""Filtered ranking against sorting one query at a time; a constant model must not look perfect."""

import pytest
import torch
from torch import Tensor

from kemm.kg import DistMult, KnownTriples, rank_links, seen_entities
from kemm.metrics import ranking_scores
from kemm.metrics.rankings import Ties

N, R, D = 11, 3, 4


def tables(levels: int) -> tuple[Tensor, Tensor]:
    """Small integers as embeddings, so that ties are frequent and exact."""
    draw = torch.Generator().manual_seed(0)
    return torch.randint(-levels, levels + 1, (N, D), generator=draw).float(), torch.randint(
        -levels, levels + 1, (R, D), generator=draw
    ).float()


def triples(number: int, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.unique(torch.stack([torch.randint(limit, (number,), generator=draw) for limit in (N, R, N)], 1), dim=0)


def slow_rank(scores: list[float], target: int, others: set[int], ties: Ties) -> float:
    rivals = [scores[e] for e in range(N) if e != target and e not in others]
    better, equal = sum(s > scores[target] for s in rivals), sum(s == scores[target] for s in rivals)
    return 1 + better + {"optimistic": 0, "pessimistic": equal, "realistic": equal / 2}[ties]


@pytest.mark.parametrize("ties", ["realistic", "optimistic", "pessimistic"])
@pytest.mark.parametrize("budget", [1, 3 * N, 10**6])
def test_ranks_of_both_ends(ties: Ties, budget: int) -> None:
    entities, relations = tables(1)
    facts = triples(80, seed=1)
    test = facts[torch.randperm(len(facts), generator=torch.Generator().manual_seed(2))[:20]]
    scorer = DistMult()
    found = rank_links(
        lambda head, relation: scorer.score_tails(entities[head], relations[relation], entities),
        lambda tail, relation: scorer.score_heads(relations[relation], entities[tail], entities),
        test,
        KnownTriples(facts, N, R),
        ties=ties,
        budget=budget,
    )
    for i, (head, relation, tail) in enumerate(test.tolist()):
        tails = [float(scorer(entities[head], relations[relation], entities[e])) for e in range(N)]
        heads = [float(scorer(entities[e], relations[relation], entities[tail])) for e in range(N)]
        assert found.tail[i] == slow_rank(tails, tail, {t for h, r, t in facts.tolist() if (h, r) == (head, relation)}, ties)
        assert found.head[i] == slow_rank(heads, head, {h for h, r, t in facts.tolist() if (r, t) == (relation, tail)}, ties)
    assert found.both().tolist() == found.tail.tolist() + found.head.tolist()


def constant(value: float) -> "torch.Tensor":
    def score(anchor: Tensor, _: Tensor) -> Tensor:
        return torch.full((len(anchor), N), value)

    return score  # type: ignore[return-value]


@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf, -torch.inf])
def test_a_constant_model_is_at_chance(value: float) -> None:
    """Counting only what is strictly better, as OpenKE does, gives it MRR 1."""
    test = triples(20, seed=3)
    known = KnownTriples(test, N, R)
    ranks = rank_links(constant(value), constant(value), test, known).both()
    assert ranking_scores(ranks)["mrr"] < 0.3
    assert ranking_scores(rank_links(constant(value), constant(value), test, known, ties="optimistic").both())["mrr"] == 1


def test_a_target_that_is_no_number_ranks_last() -> None:
    test = torch.tensor([[0, 0, 4]])

    def score(anchor: Tensor, _: Tensor) -> Tensor:
        scores = torch.arange(N).float().repeat(len(anchor), 1)
        scores[:, [0, 4]] = torch.nan
        return scores

    found = rank_links(score, score, test, KnownTriples(test, N, R), ties="optimistic")
    assert (found.tail.tolist(), found.head.tolist()) == ([N - 1.0], [N - 1.0])


def test_unseen_entities() -> None:
    train, test = torch.tensor([[0, 0, 1], [1, 1, 2]]), torch.tensor([[0, 1, 2], [0, 1, 5], [2, 0, 1]])
    seen = seen_entities(train, N)
    assert seen.tolist() == [True] * 3 + [False] * (N - 3)
    found = rank_links(constant(0.0), constant(0.0), test, KnownTriples(torch.cat([train, test]), N, R), seen=seen)
    assert found.unseen.tolist() == [False, True, False]
    assert len(found.both()) == 6
    assert len(found.both("drop")) == 4
    with pytest.raises(ValueError, match="'ignore'"):
        found.both("ignore")  # type: ignore[arg-type]


def test_scores_of_the_wrong_shape() -> None:
    test = torch.tensor([[0, 0, 4]])
    with pytest.raises(ValueError, match=r"scores are \(1, 3\), expected one per query and entity, \(1, 11\)"):
        rank_links(lambda anchor, _: torch.zeros(len(anchor), 3), constant(0.0), test, KnownTriples(test, N, R))


def test_nothing_to_rank() -> None:
    none = torch.empty(0, 3, dtype=torch.int64)
    assert rank_links(constant(0.0), constant(0.0), none, KnownTriples(none, N, R)).both().shape == (0,)
