"""Prototypical networks against loops, and FewRel's accuracy by hand."""

import math

import pytest
import torch

from kemm.batch import Batch, Stream
from kemm.objectives import Prototypes
from kemm.tasks import FewShot

WAYS, DIM = 2, 3
WAY = torch.tensor([0, 0, 1, 1, 0, 1, 2] * 2)
QUERY = torch.tensor([False] * 4 + [True] * 3).repeat(2)


def given() -> tuple[dict[str, Stream], Batch]:
    torch.manual_seed(0)
    x = torch.randn(14, 5, DIM).double()
    batch = {
        "id": torch.arange(14) + 70,
        "places": torch.stack([torch.arange(14) % 5, torch.arange(14) % 4], -1),
        "episode": torch.arange(2).repeat_interleave(7),
        "way": WAY,
        "query": QUERY,
    }
    return {"text": Stream(x, torch.ones(14, 5, dtype=torch.bool))}, batch


@torch.no_grad()
def by_hand(none: float) -> list[list[float]]:
    """The scores of the queries, one after another."""
    streams, batch = given()
    x = streams["text"].x
    vectors = [torch.cat([x[row, int(batch["places"][row, side])] for side in (0, 1)]) for row in range(14)]
    found = []
    for row in range(14):
        if not QUERY[row]:
            continue
        scores = []
        for way in range(WAYS):
            examples = [vectors[other] for other in range(14) if other // 7 == row // 7 and not QUERY[other] and WAY[other] == way]
            mean = sum(examples) / len(examples)
            scores.append(-float(((vectors[row] - mean) ** 2).sum()))
        found.append([*scores, none])
    return found


@torch.no_grad()
def test_loss_is_that_of_the_nearest_mean_or_of_none() -> None:
    streams, batch = given()
    total, hits = 0.0, 0
    for scores, gold in zip(by_hand(-4.0), WAY[QUERY].tolist(), strict=True):
        total -= scores[gold] - math.log(sum(map(math.exp, scores)))
        hits += max(range(3), key=lambda way: scores[way]) == gold
    losses = Prototypes(WAYS, none=True, distance=4.0).double().eval()(streams, batch, None)
    assert float(losses["loss"][0]) == pytest.approx(total, abs=1e-10)
    assert [int(losses["loss"][1]), int(losses["accuracy"][0])] == [6, hits]


@torch.no_grad()
def test_scores_without_none() -> None:
    streams, batch = given()
    scores = Prototypes(WAYS).eval().logits(streams, batch)[QUERY]
    torch.testing.assert_close(scores, torch.tensor([row[:WAYS] for row in by_hand(0.0)]).double())


def test_accuracy_of_known_and_none() -> None:
    streams, batch = given()
    task = FewShot(WAYS, none=True).double().eval()
    rows = task.predict(streams, batch, None)
    assert [row["id"] for row in rows] == [74, 75, 76, 81, 82, 83]
    assert [row["episode"] for row in rows] == [70] * 3 + [77] * 3
    ways = [0, 1, 2, 1, 1, 1]
    scores = task.evaluate([{**row, "way": way} for row, way in zip(rows, ways, strict=True)])
    found = {name: value.estimate for name, value in scores.items()}  # type: ignore[union-attr]
    assert found == pytest.approx({"accuracy": 4 / 6, "accuracy/known": 3 / 4, "accuracy/none": 1 / 2})
    assert set(task.evaluate([row for row in rows if row["known"]])) == {"accuracy"}
