"""Entity linking: the policies for mentions without candidates, accuracy over given mentions (KnowBERT's numbers: tests/parity)."""

import pytest
import torch

from kemm.metrics import LinkingAccuracy, LinkingF1, linking_counts, mention_counts, mention_scores

Links = list[set[tuple[tuple[int, int], int]]]


def test_mentions_without_candidates() -> None:
    predicted: Links = [{((0, 1), 5)}]
    gold: Links = [{((0, 1), 5), ((3, 4), 7)}]
    keep, drop = LinkingF1(), LinkingF1(unproposed="drop")
    for metric in (keep, drop):
        metric.update(predicted, gold, proposed=[[(0, 1), (2, 2)]])
    assert keep.compute()["recall"] == 0.5
    assert drop.compute()["recall"] == 1.0
    with pytest.raises(ValueError, match="zip"):
        drop.update(predicted, gold)
    with pytest.raises(ValueError, match="1 texts and gold 2"):
        linking_counts([[]], [[], []])
    with pytest.raises(ValueError, match="'ignore'"):
        linking_counts([], [], unproposed="ignore")  # type: ignore[arg-type]


def test_accuracy_over_given_mentions() -> None:
    gold = torch.tensor([[3, 4, 0], [5, 6, 7]])
    predicted = torch.tensor([[3, 9, 8], [5, 1, 0]])
    candidates = torch.tensor([[[3, 1], [4, 9], [8, 0]], [[5, 2], [1, 2], [0, 0]]])
    metric = LinkingAccuracy()
    for row in range(2):
        metric.update(predicted[row], gold[row], candidates[row])
    scores = {name: float(value) for name, value in metric.compute().items()}
    assert scores == pytest.approx({"accuracy": 2 / 5, "candidate_recall": 3 / 5, "reachable_accuracy": 2 / 3})
    with pytest.raises(ValueError, match="no gold mention"):
        mention_scores(mention_counts(predicted, torch.zeros_like(gold), candidates))
