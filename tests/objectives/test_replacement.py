"""WKLM's loss against loops, and its scores by hand."""

import math

import pytest
import torch

from kemm.batch import IGNORE, Stream
from kemm.nn import Draws
from kemm.objectives import EntitySpanMasking, ReplacementDetection
from kemm.tasks import Replacement

SPANS = torch.tensor([[[1, 2], [4, 4]], [[1, 1], [-1, -1]]])
REPLACED = torch.tensor([[True, False], [False, False]])
GIVEN = {"id": torch.tensor([8, 9]), "mention": {"spans": SPANS, "replaced": REPLACED}, "text": {}}


@torch.no_grad()
def test_loss_is_that_of_the_words_around() -> None:
    torch.manual_seed(0)
    objective, x = ReplacementDetection(4).double().eval(), torch.randn(2, 6, 4).double()
    weight, bias = objective.classifier.weight[0], float(objective.classifier.bias)
    total, hits = 0.0, 0
    for b, m in ((0, 0), (0, 1), (1, 0)):
        first, last = SPANS[b, m].tolist()
        score = sum(float(weight[i] * x[b, first - 1, i] + weight[4 + i] * x[b, last + 1, i]) for i in range(4)) + bias
        p = 1 / (1 + math.exp(-score))
        total -= math.log(p if REPLACED[b, m] else 1 - p)
        hits += (p > 0.5) == bool(REPLACED[b, m])
    losses = objective({"text": Stream(x, torch.ones(2, 6, dtype=torch.bool))}, GIVEN, None)
    assert float(losses["loss"][0]) == pytest.approx(total, abs=1e-12)
    assert [int(losses["loss"][1]), int(losses["accuracy"][0])] == [3, hits]


def test_scores() -> None:
    torch.manual_seed(0)
    task, x = Replacement(4).eval(), torch.randn(2, 6, 4)
    rows = task.predict({"text": Stream(x, torch.ones(2, 6, dtype=torch.bool))}, GIVEN, None)
    assert [(row["id"], row["replaced"]) for row in rows] == [("8/0", True), ("8/1", False), ("9/0", False)]
    scores = task.evaluate([{**row, "likelihood": p} for row, p in zip(rows, (0.9, 0.8, 0.1), strict=True)])
    assert scores["accuracy"].estimate == scores["accuracy/none"].estimate == pytest.approx(2 / 3)  # type: ignore[union-attr]
    assert (scores["precision"], scores["recall"], scores["f1"]) == (0.5, 1.0, pytest.approx(2 / 3))


def test_words_inside_mentions_are_never_hidden() -> None:
    ids = torch.randint(10, 50, (4000, 8), generator=torch.Generator().manual_seed(0))
    text = {"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)}
    batch = {"id": torch.arange(4000), "text": text, "mention": {"spans": torch.tensor([[2, 4], [-1, -1]]).expand(4000, 2, 2)}}
    masking = EntitySpanMasking(3, 50, rate=0.0, others=0.05, entity="mention")
    chosen = masking(batch, Draws(batch["id"]))["text"]["labels"] != IGNORE
    assert not chosen[:, 2:5].any()
    assert float(chosen[:, [0, 1, 5, 6, 7]].double().mean()) == pytest.approx(0.05, abs=0.005)
    with pytest.raises(ValueError, match=r"rate of hidden mentions is -0.1, and should lie in \[0, 1\]"):
        EntitySpanMasking(3, 50, rate=-0.1, others=0.1)
