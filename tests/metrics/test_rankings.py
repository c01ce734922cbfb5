"""Ranks under each tie policy against sorting, and the retrieval numbers of ALBEF and CLIP_benchmark."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from kemm.metrics import Recall, best_positive_ranks, ranking_scores, ranks, recall_at
from kemm.metrics.rankings import Ties

GOLDEN = Path(__file__).parents[1] / "golden"
POLICIES: list[Ties] = ["realistic", "optimistic", "pessimistic"]


def every_order(scores: list[float]) -> list[list[int]]:
    """All orders of the columns that sort the scores downwards: one per way of breaking the ties."""
    return [
        list(order)
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]


def settle(values: list[float], ties: Ties, best: str) -> float:
    if ties == "realistic":
        return sum(values) / len(values)
    return min(values) if (ties == "optimistic") == (best == "low") else max(values)


def tied_scores(rows: int, columns: int, seed: int) -> Tensor:
    return torch.randint(0, 3, (rows, columns), generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize("ties", POLICIES)
def test_ranks_are_places_over_all_orders(ties: Ties) -> None:
    scores = tied_scores(20, 5, seed=0)
    target = torch.arange(20) % 5
    candidates = torch.rand(20, 5, generator=torch.Generator().manual_seed(1)) < 0.7
    for given, allowed in ((None, torch.ones_like(candidates)), (candidates, candidates)):
        found = ranks(scores, target, given, ties)
        for row in range(20):
            columns = [c for c in range(5) if allowed[row, c] or c == target[row]]
            orders = every_order(scores[row, columns].tolist())
            places = [1.0 + order.index(columns.index(int(target[row]))) for order in orders]
            assert found[row] == pytest.approx(settle(places, ties, "low"))


@pytest.mark.parametrize("ties", POLICIES)
def test_several_positives_over_all_orders(ties: Ties) -> None:
    scores = tied_scores(20, 5, seed=2)
    positives = torch.rand(20, 5, generator=torch.Generator().manual_seed(3)) < 0.4
    positives[:, 0] |= ~positives.any(1)
    for k in (1, 2, 5):
        found = recall_at(scores, positives, k, ties)
        for row in range(20):
            right = set(positives[row].nonzero()[:, 0].tolist())
            shares = [len(right & set(order[:k])) / len(right) for order in every_order(scores[row].tolist())]
            assert found[row] == pytest.approx(settle(shares, ties, "high"))
    if ties != "realistic":  # the mean of the two bounds is not the mean over orders when several positives are tied
        found = best_positive_ranks(scores, positives, ties)
        for row in range(20):
            best = scores[row][positives[row]].max()
            wrong = scores[row][~positives[row]]
            assert found[row] == 1 + (wrong > best).sum() + (wrong == best).sum() * (ties == "pessimistic")


def test_a_constant_model_is_at_chance() -> None:
    constant, target = torch.zeros(4, 11), torch.tensor([0, 3, 7, 10])
    assert ranks(constant, target).tolist() == [6.0] * 4
    assert ranks(constant, target, ties="optimistic").tolist() == [1.0] * 4
    assert ranks(constant * torch.nan, target).tolist() == [6.0] * 4


def test_a_score_that_is_no_number_ranks_last() -> None:
    scores = torch.tensor([[torch.nan, 1.0, 2.0], [0.0, torch.nan, 2.0]])
    assert ranks(scores, torch.tensor([0, 0])).tolist() == [3.0, 2.0]


def test_ranking_scores() -> None:
    assert ranking_scores(torch.tensor([1.0, 2.0, 4.0, 2.5]), hits=(1, 2)) == {
        "mean_rank": 9.5 / 4,
        "mrr": pytest.approx((1 + 0.5 + 0.25 + 0.4) / 4),
        "hits@1": 0.25,
        "hits@2": 0.5,
    }


def test_errors() -> None:
    with pytest.raises(ValueError, match="1 of 2 rows have no right answer, the first is row 1"):
        best_positive_ranks(torch.zeros(2, 2), torch.tensor([[True, False], [False, False]]))
    with pytest.raises(ValueError, match="'random'"):
        ranks(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long), ties="random")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no rank"):
        ranking_scores(torch.empty(0))


def retrieval_case(name: str) -> tuple[Tensor, Tensor]:
    """Scores text x image and which caption belongs to which image."""
    tensors = load_file(GOLDEN / "multimodal" / "retrieval_metrics.safetensors")
    facts = json.loads((GOLDEN / "multimodal" / "retrieval_metrics.json").read_text())
    if name == "five":
        scores = tensors["inputs/five.text_embeddings"] @ tensors["inputs/five.image_embeddings"].T
    else:
        scores = tensors[f"inputs/{name}.scores_t2i"]
    counts = torch.tensor(facts["captions_per_image"][name])
    return scores, torch.repeat_interleave(torch.arange(len(counts)), counts)[:, None] == torch.arange(len(counts))


def measured(scores: Tensor, positives: Tensor, ties: Ties = "realistic") -> dict[str, float]:
    metric = Recall(ties=ties)
    for rows in torch.arange(len(scores)).split(7):
        metric.update(scores[rows], positives[rows])
    return {key: float(value) for key, value in metric.compute().items()}


@pytest.mark.parametrize("name", ["five", "varying", "truncated", "ties"])
def test_image_text_retrieval(name: str) -> None:
    expected = json.loads((GOLDEN / "multimodal" / "retrieval_metrics.json").read_text())["results"][name]
    scores, positives = retrieval_case(name)
    for direction, s, p in (("img", scores, positives), ("txt", scores.T, positives.T)):
        for ties, bound in (("optimistic", "best"), ("pessimistic", "worst")):
            recall = measured(s, p, ties)  # type: ignore[arg-type]
            for k in (1, 5, 10):
                assert 100 * recall[f"recall@{k}"] == pytest.approx(expected["tie_bounds"][f"{direction}_r{k}_{bound}"], rel=1e-14)
        if name != "ties":  # there the originals' own order is an accident of their sort
            recall = measured(s, p)
            for k in (1, 5, 10):
                assert 100 * recall[f"recall@{k}"] == pytest.approx(expected["albef_itm_eval"][f"{direction}_r{k}"], rel=1e-14)


def test_true_recall() -> None:
    expected = json.loads((GOLDEN / "multimodal" / "retrieval_metrics.json").read_text())["results"]["varying"]["clip_benchmark"]
    scores, positives = retrieval_case("varying")
    for k in (1, 5, 10):
        shares = recall_at(scores.T, positives.T, k)
        assert shares.float().tolist() == expected[f"true_recall_text@{k}"]
        assert measured(scores.T, positives.T)[f"true_recall@{k}"] == pytest.approx(float(shares.mean()))


def knowbert_cases(kind: str) -> list[dict]:
    cases = json.loads((GOLDEN / "knowledge" / "metric_knowbert.json").read_text())["cases"]
    return [case for case in cases if case["kind"] == kind]


def test_knowbert_mean_reciprocal_rank_is_the_pessimistic_one() -> None:
    """KnowBERT sums in float32 and adds 1e-13 to the denominator."""
    for case in knowbert_cases("MeanReciprocalRank"):
        mask = torch.tensor(case["mask"], dtype=torch.bool)
        places = ranks(torch.tensor(case["scores"], dtype=torch.float64), torch.tensor(case["labels"]), ties="pessimistic")[mask]
        assert (float(places.reciprocal().mean()) if len(places) else 0.0) == pytest.approx(case["expected"], abs=1e-7)


def test_knowbert_filtered_ranks() -> None:
    """Its filter sets known answers to 0, which is below its scores, and its hits@k are hits@(k + 1)."""
    for case in knowbert_cases("RankingAndHits"):
        scores, target = torch.tensor(case["predicted"]), torch.tensor(case["entity2"])
        candidates = torch.ones_like(scores, dtype=torch.bool)
        for row, known in enumerate(case["all_entity2"]):
            candidates[row, known] = False
        place = ranks(scores, target, candidates)
        found = ranking_scores(place, [k + 1 for k in case["hits_to_collect"]])
        assert case["expected"].pop("mean_rank") == pytest.approx(found["mean_rank"], rel=1e-12)
        assert case["expected"].pop("mean_reciprocal_rank") == pytest.approx(found["mrr"], rel=1e-12)
        for name, value in case["expected"].items():
            assert value == pytest.approx(found[f"hits@{int(name.removeprefix('hits_')) + 1}"], rel=1e-12)
