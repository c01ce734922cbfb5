"""Contrastive objectives against loops over pairs."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kemm.batch import Stream
from kemm.fusion import Streams
from kemm.model import FusionModel
from kemm.objectives import Contrastive, MomentumContrastive, SigmoidContrastive, Teacher

ROWS, DIM = 5, 4
DISTINCT = torch.arange(ROWS)
GROUPED = torch.tensor([3, 7, 3, 8, 3])
NETWORK = FusionModel({})


def features(seed: int) -> tuple[list[Tensor], Streams]:
    torch.manual_seed(seed)
    pair = [F.normalize(torch.randn(ROWS, DIM).double(), dim=-1).requires_grad_() for _ in range(2)]
    mask = torch.ones(ROWS, 1, dtype=torch.bool)
    return pair, {name: Stream(x[:, None], mask) for name, x in zip(("image_feature", "text_feature"), pair, strict=True)}


def log_softmax(scores: list[float]) -> list[float]:
    total = math.log(sum(math.exp(score) for score in scores))
    return [score - total for score in scores]


def similarities(one: Tensor, two: Tensor, scale: float) -> list[list[float]]:
    return [[scale * sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) for y in two.detach()] for x in one.detach()]


@pytest.mark.parametrize("groups", [DISTINCT, GROUPED], ids=["pairs", "groups"])
def test_info_nce(groups: Tensor) -> None:
    (one, two), streams = features(1)
    objective = Contrastive(scale=3.0).double()
    losses = objective(streams, {"group": groups}, NETWORK)
    scale, expected, hits = float(objective.log_scale.detach().exp()), 0.0, 0.0
    for rows, columns in ((one, two), (two, one)):
        for i, scores in enumerate(similarities(rows, columns, scale)):
            positives = [j for j in range(ROWS) if groups[j] == groups[i]]
            expected -= sum(log_softmax(scores)[j] for j in positives) / len(positives) / 2
            hits += (scores.index(max(scores)) in positives) / 2
    assert float(losses["loss"][0].detach()) == pytest.approx(expected, abs=1e-10)
    assert float(losses["loss"][1]) == ROWS
    assert float(losses["accuracy"][0]) == hits


def test_the_scale_is_bounded() -> None:
    objective = Contrastive(scale=1e4, max_scale=100.0)
    assert float(objective.scale().detach()) == pytest.approx(100.0)


@pytest.mark.parametrize("groups", [DISTINCT, GROUPED], ids=["pairs", "groups"])
def test_sigmoid(groups: Tensor) -> None:
    (one, two), streams = features(2)
    objective = SigmoidContrastive(scale=5.0, bias=-2.0).double()
    loss, count = objective(streams, {"group": groups}, NETWORK)["loss"]
    scale, expected = float(objective.log_scale.detach().exp()), 0.0
    assert scale == pytest.approx(5.0)
    for i, scores in enumerate(similarities(one, two, scale)):
        for j, score in enumerate(scores):
            sign = 1 if groups[i] == groups[j] else -1
            expected += math.log(1 + math.exp(-sign * (score - 2.0)))
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-10)
    assert float(count) == ROWS


@pytest.mark.parametrize("groups", [DISTINCT, GROUPED], ids=["pairs", "groups"])
def test_momentum(groups: Tensor) -> None:
    """Equations 1, 2 and 6 of ALBEF: columns are the teacher's features and the queue, targets in part the teacher's softmax."""
    students, streams = features(3)
    teachers, taught = features(4)
    objective = MomentumContrastive(dim=DIM, queue_size=10, temperature=0.5, distill=0.3).double()
    queues = [objective.queue_one.clone(), objective.queue_two.clone()]
    loss, count = objective(streams, {"group": groups}, NETWORK, Teacher(taught, NETWORK, objective))["loss"]
    expected = 0.0
    for side in (0, 1):
        columns = torch.cat([teachers[1 - side].detach(), queues[1 - side].T])
        student, teacher = (similarities(x, columns, 2.0) for x in (students[side], teachers[side]))
        for i in range(ROWS):
            positives = [j for j in range(ROWS) if groups[j] == groups[i]]
            for j, log in enumerate(log_softmax(student[i])):
                match = 1 / len(positives) if j in positives else 0.0
                expected -= (0.3 * math.exp(log_softmax(teacher[i])[j]) + 0.7 * match) * log / 2
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-9)
    assert float(count) == ROWS
    loss.backward()
    assert all(x.grad is None for x in teachers)
    assert objective.temperature.grad is not None


def test_the_queue_keeps_the_latest() -> None:
    objective = MomentumContrastive(dim=DIM, queue_size=10).double()
    kept: list[tuple[Tensor, Tensor]] = []
    for step in range(3):
        _, streams = features(step)
        teachers, taught = features(10 + step)
        objective(streams, {"group": DISTINCT}, NETWORK, Teacher(taught, NETWORK, objective))
        kept.append((teachers[0].detach(), teachers[1].detach()))
    assert int(objective.place) == 5
    for queue, side in ((objective.queue_one, 0), (objective.queue_two, 1)):
        assert torch.equal(queue.T[:5], kept[2][side])
        assert torch.equal(queue.T[5:], kept[1][side])


def test_the_queue_stays_in_evaluation() -> None:
    objective = MomentumContrastive(dim=DIM, queue_size=10).double().eval()
    before = objective.queue_one.clone()
    _, streams = features(0)
    objective(streams, {"group": DISTINCT}, NETWORK, Teacher(features(1)[1], NETWORK, objective))
    assert torch.equal(objective.queue_one, before)
    assert int(objective.place) == 0


def test_the_queue_must_hold_whole_batches() -> None:
    objective = MomentumContrastive(dim=DIM, queue_size=7).double()
    _, streams = features(0)
    with pytest.raises(ValueError, match="7 columns, which is no multiple of the 5 rows"):
        objective(streams, {"group": DISTINCT}, NETWORK, Teacher(features(1)[1], NETWORK, objective))


@pytest.mark.parametrize(("given", "kept"), [(0.9, 0.5), (0.0, 0.001), (0.2, 0.2)])
def test_the_temperature_is_kept_in_bounds(given: float, kept: float) -> None:
    objective = MomentumContrastive(dim=DIM, queue_size=10, temperature=given).double()
    _, streams = features(0)
    objective(streams, {"group": DISTINCT}, NETWORK, Teacher(features(1)[1], NETWORK, objective))
    assert float(objective.temperature.detach()) == pytest.approx(kept)


def test_a_teacher_is_needed() -> None:
    with pytest.raises(ValueError, match="set its momentum"):
        MomentumContrastive(dim=DIM, queue_size=10)(features(0)[1], {"group": DISTINCT}, NETWORK)
