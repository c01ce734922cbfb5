"""Denoising entity auto-encoding: what is corrupted, and the loss against loops."""

import math

import pytest
import torch

from kemm.batch import IGNORE, Stream
from kemm.encoders import EntityEncoder
from kemm.model import FusionModel
from kemm.nn import Draws, TapedDraws
from kemm.objectives import EntityDenoising
from tests.fusion import loops


def test_shares() -> None:
    torch.manual_seed(5)
    ids = torch.randint(1, 400, (300, 50)) * (torch.rand(300, 50) < 0.5)
    ids[:, 0] = 0
    batch = {"entity": {"ids": ids}}
    hidden = EntityDenoising(6, 4).corrupt(batch, {}, Draws(torch.arange(300)))["entity"]
    aligned = ids > 0
    changed = hidden["ids"] != ids
    assert not (changed & ~aligned).any()
    assert float((hidden["ids"][aligned] == 0).double().mean()) == pytest.approx(0.15, abs=0.01)
    assert float((changed & (hidden["ids"] > 0))[aligned].double().mean()) == pytest.approx(0.05, abs=0.01)
    assert torch.equal(hidden["candidates"], ids.unique())
    assert torch.equal(hidden["candidates"][hidden["labels"][aligned]], ids[aligned])
    assert (hidden["labels"][~aligned] == IGNORE).all()
    assert torch.isin(hidden["ids"][hidden["ids"] > 0], hidden["candidates"]).all()
    assert hidden["mask"][:, 0].all()
    assert torch.equal(hidden["mask"][:, 1:], hidden["ids"][:, 1:] > 0)
    assert batch["entity"].keys() == {"ids"}


def test_bounds_of_the_shares() -> None:
    chances = torch.tensor([[0.0, 0.0499, 0.0501, 0.1999, 0.2001, 0.9999]])
    ids = torch.tensor([[0, 3, 5, 7, 9, 5]])
    tape = TapedDraws([chances, torch.tensor([[3, 2, 2, 2, 2, 2]])])
    hidden = EntityDenoising(6, 4).corrupt({"entity": {"ids": ids}}, {}, tape)["entity"]
    assert hidden["candidates"].tolist() == [0, 3, 5, 7, 9]
    assert hidden["ids"].tolist() == [[0, 7, 0, 0, 9, 5]]
    assert hidden["labels"].tolist() == [[IGNORE, 1, 2, 3, 4, 2]]


def test_places_are_corrupted_whatever_the_batch() -> None:
    torch.manual_seed(6)
    ids = torch.randint(0, 5, (6, 30))
    objective = EntityDenoising(6, 4)
    whole = objective.corrupt({"entity": {"ids": ids}}, {}, Draws(torch.arange(6)))["entity"]
    wide = torch.nn.functional.pad(ids, (0, 9))
    padded = objective.corrupt({"entity": {"ids": wide}}, {}, Draws(torch.arange(6)))["entity"]
    assert torch.equal(padded["ids"][:, :30], whole["ids"])
    alone = objective.corrupt({"entity": {"ids": ids[[4]]}}, {}, Draws(torch.tensor([4])))["entity"]
    assert torch.equal(alone["ids"][0] == 0, whole["ids"][4] == 0)


def test_loss_equals_loops() -> None:
    objective = loops.noisy(EntityDenoising(6, 4))
    assert isinstance(objective, EntityDenoising)
    network = FusionModel({"entity": EntityEncoder(9, 4)}).double()
    table = network.encoder("entity").table.detach()
    x = torch.randn(2, 3, 6).double()
    entity = {"labels": torch.tensor([[IGNORE, 1, 0], [2, IGNORE, IGNORE]]), "candidates": torch.tensor([2, 5, 8])}
    total = 0.0
    for row, place, label in ((0, 1, 1), (0, 2, 0), (1, 0, 2)):
        transform = objective.transform
        state = loops.norm(transform.norm, loops.gelu(loops.linear(transform.dense, x[row, place])))
        scores = [float(state @ table[entity_id]) for entity_id in (2, 5, 8)]
        total -= scores[label] - math.log(sum(map(math.exp, scores)))
    streams = {"text": Stream(x, torch.ones(2, 3, dtype=torch.bool))}
    loss, count = objective(streams, {"entity": entity}, network)["loss"]
    assert float(loss.detach()) == pytest.approx(total, abs=1e-12)
    assert int(count) == 3


def test_a_batch_without_entities_has_loss_zero() -> None:
    objective, network = EntityDenoising(6, 4), FusionModel({"entity": EntityEncoder(9, 4)})
    batch = objective.corrupt({"entity": {"ids": torch.zeros(2, 3, dtype=torch.long)}}, {}, Draws(torch.arange(2)))
    streams = {"text": Stream(torch.randn(2, 3, 6), torch.ones(2, 3, dtype=torch.bool))}
    loss, count = objective(streams, batch, network)["loss"]
    assert float(loss.detach()) == 0
    assert int(count) == 0
