"""LUKE's objectives: what is hidden, and the losses against loops."""

import math
from typing import Any

import pytest
import torch

from kemm.batch import IGNORE, Stream
from kemm.encoders import MentionEncoder
from kemm.model import FusionModel
from kemm.nn import Draws
from kemm.objectives import MaskedMention, PageEntity
from kemm.tasks import EntityDisambiguation
from tests.fusion import loops


def mentions(rows: int = 400, width: int = 12) -> dict[str, Any]:
    torch.manual_seed(5)
    ids = torch.randint(3, 50, (rows, width)) * (torch.rand(rows, width) < 0.8)
    ids[:5] = 0
    return {"mention": {"ids": ids, "positions": torch.zeros(rows, width, 2, dtype=torch.long)}}


def test_what_is_hidden() -> None:
    batch = mentions()
    ids = batch["mention"]["ids"]
    ids[:, 1] = 1
    hidden = MaskedMention(6, 4, 50, 2, rate=0.15, specials=(0, 1, 2)).corrupt(batch, {}, Draws(torch.arange(400)))["mention"]
    changed = hidden["ids"] != ids
    assert (hidden["ids"][changed] == 2).all()
    assert torch.equal(hidden["labels"] != IGNORE, changed)
    assert torch.equal(hidden["labels"][changed], ids[changed])
    assert not changed[ids < 3].any()
    known = (ids > 2).sum(1)
    assert torch.equal(changed.any(1), known > 0), "one at least, where there is one"
    # Of n entities 0.15 n are hidden, and one where none would be: 0.15 n + 0.85^n.
    expected = sum(0.15 * n + 0.85**n for n in known.tolist() if n)
    assert int(changed.sum()) == pytest.approx(expected, rel=0.06)
    assert torch.equal(hidden["mask"], ids > 0)
    assert "labels" not in batch["mention"]


def test_padding_and_rows_do_not_change_what_is_hidden() -> None:
    batch, objective = mentions(), MaskedMention(6, 4, 50, 2)
    whole = objective.corrupt(batch, {}, Draws(torch.arange(400)))["mention"]["ids"]
    part = {"mention": {name: torch.nn.functional.pad(x, (0, 0) * (x.dim() - 2) + (0, 3))[100:200] for name, x in batch["mention"].items()}}
    again = objective.corrupt(part, {}, Draws(torch.arange(100, 200)))["mention"]["ids"]
    assert torch.equal(again[:, :12], whole[100:200])
    assert not again[:, 12:].any()


def test_data_may_bring_the_labels() -> None:
    batch = mentions()
    objective = MaskedMention(6, 4, 50)
    assert objective.corrupt(batch, {}, Draws(torch.arange(400))) is batch
    assert not objective.wants(batch)
    with pytest.raises(ValueError, match=r"the rate of masking is 1\.5"):
        MaskedMention(6, 4, 50, 2, rate=1.5)


def network() -> FusionModel:
    model = FusionModel({"mention": MentionEncoder(7, 6, 4, 8)})
    loops.noisy(model)
    return model


def test_the_loss_is_a_softmax_over_all_entities() -> None:
    model, objective = network(), MaskedMention(6, 4, 7)
    loops.noisy(objective, 1)
    x = torch.randn(2, 3, 6).double()
    labels = torch.tensor([[5, IGNORE, 1], [IGNORE, 6, IGNORE]])
    stream = Stream(x, torch.ones(2, 3, dtype=torch.bool))
    losses = objective({"mention": stream}, {"mention": {"labels": labels}}, model)
    total, right = 0.0, 0
    head, table = objective.transform, model.table("mention").detach()
    for b, e in [(0, 0), (0, 2), (1, 1)]:
        h = loops.norm(head.norm, loops.gelu(loops.linear(head.dense, x[b, e])))
        scores = [float(h @ table[i] + objective.bias[i].detach()) for i in range(7)]
        total -= math.log(loops.softmax(scores)[int(labels[b, e])])
        right += max(range(7), key=scores.__getitem__) == int(labels[b, e])
    assert losses["loss"][0].item() == pytest.approx(total, abs=1e-12)
    assert [float(count) for _, count in losses.values()] == [3, 3]
    assert float(losses["accuracy"][0]) == right


def test_the_page_is_a_squared_error() -> None:
    model, objective = network(), PageEntity(6, 4)
    loops.noisy(objective, 1)
    x, page = torch.randn(2, 3, 6).double(), torch.tensor([5, 2])
    loss, count = objective({"text": Stream(x, torch.ones(2, 3, dtype=torch.bool))}, {"page": page}, model)["loss"]
    table = model.table("mention").detach()
    errors = [float(e) ** 2 for b in range(2) for e in loops.linear(objective.project, x[b, 0]) - table[page[b]]]
    assert loss.item() == pytest.approx(sum(errors), abs=1e-12)
    assert float(count) == 8


def test_disambiguation_hides_everything_and_takes_the_best_candidate() -> None:
    model, task = network(), EntityDisambiguation(6, 4, 7, 6)
    loops.noisy(task, 1)
    candidate = {
        "ids": torch.tensor([[[1, 2, 3], [4, 0, 0]], [[5, 3, 0], [0, 0, 0]]]),
        "priors": torch.tensor([[[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]], [[0.1, 0.9, 0.0], [0.0, 0.0, 0.0]]]),
        "gold": torch.tensor([[1, 4], [3, 0]]),
        "spans": torch.tensor([[[0, 0], [1, 1]], [[0, 1], [-1, -1]]]),
    }
    batch: dict[str, Any] = {"id": torch.tensor([7, 9]), "candidate": candidate}
    batch["mention"] = {"ids": candidate["gold"], "positions": candidate["spans"]}
    hidden = task.corrupt(batch, {}, Draws(batch["id"]))
    assert hidden["mention"]["ids"].tolist() == [[6, 6], [6, 0]]
    task.train()
    many = {"mention": {"ids": torch.randint(1, 6, (50, 20)), "positions": torch.zeros(50, 20, 1, dtype=torch.long)}}
    assert (task.corrupt(many, {}, Draws(torch.arange(50)))["mention"]["labels"] == IGNORE).double().mean() > 0.7
    task.eval()
    streams = model(hidden)
    rows = task.predict(streams, hidden, model)
    logits = task.logits(streams["mention"].x, model).detach()
    best = [max((1, 2, 3), key=lambda i: float(logits[0, 0, i])), 4, max((5, 3), key=lambda i: float(logits[1, 0, i]))]
    assert [row["entity"] for row in rows] == best
    assert [(row["id"], row["gold"], row["prior"], row["candidates"]) for row in rows] == [
        ("7/0", 1, 2, 3),
        ("7/1", 4, 4, 1),
        ("9/0", 3, 3, 2),
    ]
    scores: Any = task.evaluate(rows)
    assert scores["mentions"] == 3 and scores["mentions/ambiguous"] == 2
