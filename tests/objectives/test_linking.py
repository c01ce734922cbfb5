"""Linking losses and decisions against loops."""

import math

import pytest
import torch
from torch import Tensor

from kemm.batch import IGNORE, Stream
from kemm.objectives import EntityLinking, MarginEntityLinking

IDS = torch.tensor([[[4, 7, 9], [5, 0, 0], [0, 0, 0]], [[3, 6, 0], [8, 2, 1], [0, 0, 0]]])
GOLD = torch.tensor([[7, 6, 0], [3, 1, 0]])


def given() -> tuple[dict[str, Stream], dict[str, dict[str, Tensor]], Tensor]:
    torch.manual_seed(4)
    scores = torch.randn(2, 3, 3).double().masked_fill(IDS == 0, -1e4).requires_grad_()
    return {"entity_linking": Stream(scores[..., None], IDS > 0)}, {"entity": {"ids": IDS, "gold": GOLD}}, scores


@pytest.mark.parametrize("strict", [True, False])
def test_softmax_loss_equals_loops(strict: bool) -> None:
    streams, batch, scores = given()
    total, count = 0.0, 0
    for row in range(2):
        for mention in range(3):
            ids, gold = IDS[row, mention].tolist(), int(GOLD[row, mention])
            if not any(ids) or (strict and gold not in ids):
                continue
            place = ids.index(gold) if gold in ids else 0
            real = [float(scores[row, mention, c].detach()) for c in range(3) if ids[c]]
            total -= real[place] - math.log(sum(map(math.exp, real)))
            count += 1
    loss = EntityLinking(strict=strict)(streams, batch, None)["loss"]
    assert float(loss[0].detach()) == pytest.approx(total, abs=1e-9)
    assert int(loss[1]) == count == (3 if strict else 4)


def test_margin_loss_equals_loops() -> None:
    streams, batch, scores = given()
    total, count = 0.0, 0
    for row in range(2):
        for mention in range(3):
            for candidate in range(3):
                if IDS[row, mention, candidate] == 0:
                    continue
                score = float(scores[row, mention, candidate].detach())
                total += max(0.0, 0.3 - score if IDS[row, mention, candidate] == GOLD[row, mention] else 0.3 + score)
                count += 1
    loss = MarginEntityLinking(margin=0.3)(streams, batch, None)["loss"]
    assert float(loss[0].detach()) == pytest.approx(total, abs=1e-12)
    assert int(loss[1]) == count == 9


def test_labels() -> None:
    _, batch, _ = given()
    assert EntityLinking().labels(batch).tolist() == [[1, IGNORE, IGNORE], [0, 2, IGNORE]]
    assert EntityLinking(strict=False).labels(batch).tolist() == [[1, 0, IGNORE], [0, 2, IGNORE]]


def test_decisions_equal_loops() -> None:
    streams, batch, scores = given()
    values = scores.detach()
    for threshold in (-math.inf, 0.0, math.inf):
        chosen = MarginEntityLinking(threshold=threshold).decode(streams, batch)
        for row in range(2):
            for mention in range(3):
                best = max(range(3), key=lambda c: float(values[row, mention, c]))
                linked = float(values[row, mention, best]) > threshold
                assert int(chosen[row, mention]) == (int(IDS[row, mention, best]) if linked else 0)
    assert (EntityLinking().decode(streams, batch) > 0).tolist() == [[True, True, False], [True, True, False]]


def test_a_batch_without_mentions_has_loss_zero() -> None:
    streams, batch, _ = given()
    nothing = {"entity": {"ids": torch.zeros_like(IDS), "gold": torch.zeros_like(GOLD)}}
    for objective in (EntityLinking(), EntityLinking(strict=False), MarginEntityLinking()):
        loss, count = objective(streams, nothing, None)["loss"]
        assert float(loss.detach()) == 0
        assert int(count) == 0
    assert not EntityLinking().wants({"entity": {"ids": IDS}})
    assert EntityLinking().wants(batch)
