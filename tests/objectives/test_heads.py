"""The heads of tasks against loops: places, tokens, several labels, graded labels (and the originals': tests/parity)."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from kemm.batch import IGNORE, Stream
from kemm.encoders import EntityEncoder
from kemm.fusion import Streams
from kemm.model import FusionModel
from kemm.objectives import (
    Classification,
    GradedClassification,
    MultiLabelPlaceClassification,
    Objective,
    PlaceSelection,
    SoftClassification,
    TokenClassification,
)
from tests.fusion import loops

NETWORK = FusionModel({"entity": EntityEncoder(2, 2)})


def streams() -> Streams:
    draw = torch.Generator().manual_seed(0)
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    x = torch.randn(2, 4, 6, generator=draw).double()
    return {"text": Stream(x, mask), "pooled": Stream(torch.randn(2, 1, 6, generator=draw).double(), mask[:, :1])}


def loss_of(objective: Objective, **batch: Tensor) -> tuple[float, int]:
    loss, count = objective.double().eval()(streams(), batch, NETWORK)["loss"]
    return float(loss.detach()), int(count)


def nll(scores: list[float], right: int) -> float:
    return math.log(sum(math.exp(score) for score in scores)) - scores[right]


@pytest.mark.parametrize("padded", [False, True])
def test_a_place_competes_with_the_real_ones_or_with_all(padded: bool) -> None:
    objective = PlaceSelection(6, padded=padded)
    x = streams()["text"].x
    loss, count = loss_of(objective, first=torch.tensor([2, 1]))
    scores = [[float(loops.linear(objective.score, state)) for state in row] for row in x]
    assert loss == pytest.approx(nll(scores[0], 2) + nll(scores[1] if padded else scores[1][:2], 1))
    assert count == 2
    assert objective.reads_padding == padded


def test_a_place_that_was_cut_off_does_not_count() -> None:
    objective = PlaceSelection(6)
    alone = loss_of(objective, first=torch.tensor([IGNORE, 0]))
    assert loss_of(objective, first=torch.tensor([4, 0])) == alone
    assert alone[1] == 1
    assert loss_of(objective, first=torch.tensor([1, 3])) == loss_of(objective, first=torch.tensor([1, IGNORE]))
    assert loss_of(objective, first=torch.tensor([-1, 70])) == (0.0, 0)


@pytest.mark.parametrize("hidden", [None, 3])
def test_each_token_has_a_label(hidden: int | None) -> None:
    objective = TokenClassification(6, 5, hidden=hidden)
    tags = torch.tensor([[0, 4, IGNORE, 2], [1, IGNORE, IGNORE, IGNORE]])
    loss, count = loss_of(objective, tags=tags)
    expected = 0.0
    for row, place in ((0, 0), (0, 1), (0, 3), (1, 0)):
        state: Any = streams()["text"].x[row, place]
        state = loops.linear(objective.dense, state) if isinstance(objective.dense, torch.nn.Linear) else state
        expected += nll(loops.linear(objective.classifier, state).tolist(), int(tags[row, place]))
    assert (loss, count) == (pytest.approx(expected), 4)


def test_features_stand_before_the_marked_places() -> None:
    objective = MultiLabelPlaceClassification(6, 3, places=2, labels="types", features=["pooled"])
    types = torch.tensor([[1, 0, 0], [0, 1, 1]])
    loss, count = loss_of(objective, types=types, places=torch.tensor([[3, 1], [0, 1]]))
    expected = 0.0
    for row, (one, two) in enumerate(((3, 1), (0, 1))):
        joined = torch.cat([streams()["pooled"].x[row, 0], streams()["text"].x[row, one], streams()["text"].x[row, two]])
        for score, right in zip(loops.linear(objective.classifier, joined).tolist(), types[row].tolist(), strict=True):
            expected += math.log(1 + math.exp(-score if right else score))
    assert (loss, count) == (pytest.approx(expected), 6)


def test_graded_labels_are_the_divergence_and_their_entropy() -> None:
    grades = torch.tensor([[0.25, 0.75], [1.0, 0.0]]).double()
    torch.manual_seed(1)
    graded = GradedClassification(6, 2, labels="grade")
    soft = SoftClassification(6, 2, labels="grade")
    soft.load_state_dict(graded.state_dict())
    loss, count = loss_of(graded, grade=grades)
    expected = 0.0
    for row in range(2):
        scores = loops.linear(graded.classifier, streams()["pooled"].x[row, 0]).tolist()
        expected += sum(float(w) * nll(scores, i) for i, w in enumerate(grades[row]))
    assert (loss, count) == (pytest.approx(expected), 2)
    entropy = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    assert loss_of(soft, grade=grades)[0] == pytest.approx(expected - entropy)


def test_a_classifier_without_bias() -> None:
    assert Classification(6, 3, bias=False).classifier.bias is None
