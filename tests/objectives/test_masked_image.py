"""Masked regions and patches against loops."""

import math

import pytest
import torch
from torch import Tensor

from kemm.batch import IGNORE, Batch, Stream
from kemm.model import FusionModel
from kemm.nn import Draws, TapedDraws
from kemm.objectives import MaskedPatch, MaskedRegion, MaskedRegionContrast, MaskedRegionRegression

ROWS, REGIONS, DIM, CLASSES = 3, 4, 6, 5
MASK = torch.tensor([[True, True, True, True, True], [True, True, False, False, False], [True, True, True, True, False]])
LABELS = torch.tensor([[1, IGNORE, 1, IGNORE], [IGNORE, IGNORE, IGNORE, IGNORE], [IGNORE, 1, IGNORE, IGNORE]])
HIDDEN = [(0, 0), (0, 2), (2, 1)]
NETWORK = FusionModel({})


def batch_of() -> Batch:
    """One fixed region in front of `REGIONS` others; a target of zeros adds nothing."""
    torch.manual_seed(0)
    targets = torch.rand(ROWS, REGIONS, CLASSES).double().softmax(-1)
    targets[0, 2] = 0
    features = torch.randn(ROWS, REGIONS + 1, 7).double()
    return {"id": torch.arange(ROWS), "region": {"features": features, "mask": MASK, "targets": targets, "labels": LABELS}}


def streams() -> dict[str, Stream]:
    torch.manual_seed(1)
    return {"region": Stream(torch.randn(ROWS, REGIONS + 1, DIM).double(), MASK)}


def predictions(objective: MaskedRegion) -> dict[tuple[int, int], list[float]]:
    scores = objective.scores(streams())
    assert scores.shape == (ROWS, REGIONS + 1, CLASSES)
    return {(row, place): scores[row, place + 1].tolist() for row, place in HIDDEN}


def log_softmax(scores: list[float]) -> list[float]:
    return [score - math.log(sum(math.exp(s) for s in scores)) for score in scores]


def test_classes_of_regions() -> None:
    objective, batch = MaskedRegion(DIM, CLASSES, rate=None, fixed=1).double(), batch_of()
    loss, count = objective(streams(), objective.corrupt(batch, {}, Draws(batch["id"])), NETWORK)["loss"]
    expected = 0.0
    for (row, place), scores in predictions(objective).items():
        for target, log in zip(batch["region"]["targets"][row, place].tolist(), log_softmax(scores), strict=True):
            expected += target * (math.log(target) - log) if target else 0.0
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-10)
    assert float(count) == len(HIDDEN)


def test_features_of_regions() -> None:
    objective, batch = MaskedRegionRegression(DIM, CLASSES, rate=None, fixed=1).double(), batch_of()
    loss, count = objective(streams(), batch, NETWORK)["loss"]
    expected = 0.0
    for (row, place), values in predictions(objective).items():
        targets = batch["region"]["targets"][row, place].tolist()
        expected += sum((value - target) ** 2 for value, target in zip(values, targets, strict=True)) / CLASSES
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-10)
    assert float(count) == len(HIDDEN)


def test_contrast_of_regions() -> None:
    objective, batch = MaskedRegionContrast(DIM, CLASSES, negatives=10, rate=None, fixed=1).double(), batch_of()
    corrupted = objective.corrupt(batch, {}, Draws(batch["id"], 3))
    loss, count = objective(streams(), corrupted, NETWORK)["loss"]
    targets = batch["region"]["targets"].flatten(0, 1)
    expected = 0.0
    for (row, place), values in predictions(objective).items():
        others = corrupted["region"]["negatives"][row, place].tolist()
        assert len(others) == 10
        assert all(other // REGIONS != row for other in others[:7])
        assert all(other // REGIONS == row and other % REGIONS != place for other in others[7:])
        scores = [sum(v * float(t) for v, t in zip(values, targets[i], strict=True)) for i in (row * REGIONS + place, *others)]
        expected -= log_softmax(scores)[0]
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-10)
    assert float(count) == len(HIDDEN)


def test_negatives_are_uniform_over_the_others() -> None:
    objective, batch = MaskedRegionContrast(DIM, CLASSES, negatives=10, rate=None, fixed=1), batch_of()
    seen = torch.zeros(ROWS, REGIONS, ROWS * REGIONS)
    steps = 400
    for step in range(steps):
        negatives = objective.corrupt(batch, {}, Draws(batch["id"], 0, step))["region"]["negatives"]
        seen.scatter_add_(2, negatives, torch.ones_like(negatives, dtype=seen.dtype))
    for row in range(ROWS):
        for place in range(REGIONS):
            for other in range(ROWS * REGIONS):
                own = row == other // REGIONS
                share = 0.0 if own and other % REGIONS == place else 3 / (REGIONS - 1) if own else 7 / (ROWS - 1) / REGIONS
                assert float(seen[row, place, other]) / steps == pytest.approx(share, abs=0.25)


@pytest.mark.parametrize("kind", [MaskedRegion, MaskedRegionRegression, MaskedRegionContrast])
def test_nothing_hidden_is_nothing_lost(kind: type[MaskedRegion]) -> None:
    objective, batch = kind(DIM, CLASSES, rate=None, fixed=1).double(), batch_of()
    batch["region"]["labels"] = torch.full_like(LABELS, IGNORE)
    loss, count = objective(streams(), objective.corrupt(batch, {}, Draws(batch["id"])), NETWORK)["loss"]
    assert (float(loss.detach()), float(count)) == (0.0, 0.0)


def test_mismatched_pairs_can_be_left_out() -> None:
    objective, batch = MaskedRegion(DIM, CLASSES, rate=None, fixed=1, unless="mismatched").double(), batch_of()
    loss, count = objective(streams(), batch | {"mismatched": torch.tensor([1, 0, 0])}, NETWORK)["loss"]
    only = batch | {"region": batch["region"] | {"labels": LABELS.masked_fill(torch.tensor([[True], [False], [False]]), IGNORE)}}
    expected, _ = objective(streams(), only, NETWORK)["loss"]
    assert float(count) == 1
    assert float(loss.detach()) == float(expected.detach())


def test_which_regions_are_hidden() -> None:
    objective, batch = MaskedRegion(DIM, CLASSES, rate=0.5, zeroed=0.9, fixed=1), batch_of()
    chance, zeroed = torch.rand(ROWS, REGIONS + 1), torch.rand(ROWS, REGIONS + 1)
    corrupted = objective.corrupt(batch, {}, TapedDraws([chance, zeroed]))["region"]
    for row in range(ROWS):
        for place in range(REGIONS + 1):
            chosen = bool(MASK[row, place]) and place > 0 and float(chance[row, place]) < 0.5
            if place:
                assert int(corrupted["labels"][row, place - 1]) == (1 if chosen else IGNORE)
            gone = chosen and float(zeroed[row, place]) < 0.9
            expected = torch.zeros(7).double() if gone else batch["region"]["features"][row, place]
            assert torch.equal(corrupted["features"][row, place], expected)


def patches(pixels: Tensor, size: int) -> list[Tensor]:
    """The patches of one picture, row by row, each with its channels first."""
    rows, columns = pixels.shape[1] // size, pixels.shape[2] // size
    return [pixels[:, r * size : (r + 1) * size, c * size : (c + 1) * size] for r in range(rows) for c in range(columns)]


def test_patches() -> None:
    objective = MaskedPatch(DIM, 2, rate=0.5).double()
    pixels = torch.randn(2, 3, 4, 6).double()
    chance = torch.rand(2, 6)
    batch: Batch = {"id": torch.arange(2), "image": {"pixels": pixels}}
    corrupted = objective.corrupt(batch, {}, TapedDraws([chance]))
    x = torch.randn(2, 7, DIM).double()  # a class token in front
    loss, count = objective({"image": Stream(x, torch.ones(2, 7, dtype=torch.bool))}, corrupted, NETWORK)["loss"]
    expected, hidden = 0.0, 0
    for row in range(2):
        pairs = zip(patches(pixels[row], 2), patches(corrupted["image"]["pixels"][row], 2), strict=True)
        for place, (before, after) in enumerate(pairs):
            if float(chance[row, place]) < 0.5:
                assert torch.allclose(after, pixels[row].mean((1, 2))[:, None, None].expand(3, 2, 2), atol=1e-6)
                predicted = objective.decoder(x[row, place + 1])
                expected += float((predicted - before.flatten()).abs().detach().mean())
                hidden += 1
            else:
                assert torch.equal(after, before)
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-10)
    assert float(count) == hidden > 0
