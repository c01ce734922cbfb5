"""Entity linking's rows and scores, counted by hand."""

from typing import Any

import pytest
import torch
from torch import nn

from kemm.batch import Batch, Stream
from kemm.metrics import bootstrap_interval
from kemm.tasks import Linking

IDS = torch.tensor([[[5, 3, 0], [2, 0, 0], [0, 0, 0]], [[1, 4, 2], [6, 7, 0], [8, 0, 0]]])
GOLD = torch.tensor([[3, 2, 0], [4, 9, 8]])  # the fifth mention's entity is no candidate
PRIORS = torch.tensor([[[0.9, 0.1, 0], [1, 0, 0], [0, 0, 0]], [[0.2, 0.7, 0.1], [0.5, 0.5, 0], [1, 0, 0]]])
SCORES = torch.tensor([[[0.0, 2, 99], [1, 99, 99], [99, 99, 99]], [[5.0, 1, 2], [0, 1, 99], [0.5, 99, 99]]])


def predict() -> list[dict[str, Any]]:
    batch: Batch = {"id": torch.tensor([40, 41]), "candidate": {"ids": IDS, "gold": GOLD, "priors": PRIORS}}
    streams = {"candidate_linking": Stream(SCORES[..., None], IDS > 0)}
    return Linking("candidate").predict(streams, batch, nn.Module())  # type: ignore[arg-type]


def test_each_mention_with_a_known_entity_is_a_row() -> None:
    rows = [(row["id"], row["entity"], row["prior"], row["gold"], row["candidates"]) for row in predict()]
    assert rows == [
        ("40/0", 3, 5, 3, 2),
        ("40/1", 2, 2, 2, 1),
        ("41/0", 1, 4, 4, 3),
        ("41/1", 7, 6, 9, 2),
        ("41/2", 8, 8, 8, 1),
    ]


def test_accuracy_of_the_model_and_of_the_prior() -> None:
    scores: Any = Linking("candidate").evaluate(predict())
    assert scores["accuracy"].estimate == pytest.approx(3 / 5) and scores["accuracy/prior"].estimate == pytest.approx(3 / 5)
    assert scores["accuracy/ambiguous"].estimate == pytest.approx(1 / 3)
    assert scores["accuracy/ambiguous/prior"].estimate == pytest.approx(1 / 3)
    assert scores["mentions"] == 5 and scores["mentions/ambiguous"] == 3
    certain: Any = Linking("candidate").evaluate([row for row in predict() if row["candidates"] == 1])
    assert set(certain) == {"accuracy", "accuracy/prior", "mentions"} and certain["accuracy"].estimate == 1


def test_mentions_of_a_text_are_resampled_together() -> None:
    """Ten texts of twenty mentions, all right or all wrong: as wide as ten mentions, not two hundred."""
    rows = [{"text": i // 20, "entity": i // 20 % 2, "prior": 0, "gold": 0, "candidates": 1} for i in range(200)]
    scores: Any = Linking("candidate").evaluate(rows)
    assert scores["accuracy"] == bootstrap_interval([i % 2 == 0 for i in range(10)])
    assert scores["accuracy/prior"] == (1, 1, 1)


def test_the_official_file_holds_plain_values() -> None:
    for row in Linking("candidate").official(predict()):
        assert all(isinstance(value, int | str) for value in row.values())
