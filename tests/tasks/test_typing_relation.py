"""Typing and relation classification against sums written as loops."""

import json
import math
from pathlib import Path

import pytest
import torch

from kemm.batch import Stream
from kemm.tasks import Relation, Typing

DIM = 3
TYPES = [{"labels": ["water", "place"]}, {"labels": ["speech"]}]
RELATIONS = [{"label": "borders"}, {"label": "no_relation"}, {"label": "capital"}]


def stream(seed: int = 0) -> dict[str, Stream]:
    x = torch.randn(4, 5, DIM, generator=torch.Generator().manual_seed(seed)).double()
    return {"text": Stream(x, torch.ones(4, 5, dtype=torch.bool))}


def typing(folder: Path, always: bool = False) -> Typing:
    (folder / "types.json").write_text(json.dumps(TYPES))
    torch.manual_seed(1)
    task = Typing(DIM, folder / "types.json", always=always).double().eval()
    torch.nn.init.normal_(task.classifier.weight)
    return task


def relation(folder: Path, null: str = "no_relation") -> Relation:
    (folder / "relations.json").write_text(json.dumps(RELATIONS))
    torch.manual_seed(1)
    task = Relation(DIM, folder / "relations.json", null=null).double().eval()
    torch.nn.init.normal_(task.classifier.weight)
    return task


def test_typing_is_the_cross_entropy_of_each_type_at_the_mention(tmp_path: Path) -> None:
    task, streams = typing(tmp_path), stream()
    places, types = torch.tensor([[1], [4], [0], [2]]), torch.tensor([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]]).float()
    losses = task(streams, {"places": places, "types": types}, None)
    total, right = 0.0, 0
    for row in range(4):
        x = streams["text"].x[row, int(places[row, 0])]
        for kind in range(3):
            weight, bias = task.classifier.weight.detach()[kind], task.classifier.bias.detach()[kind]
            logit = float(sum(x[d] * weight[d] for d in range(DIM)) + bias)
            likelihood = 1 / (1 + math.exp(-logit))
            total -= math.log(likelihood if types[row, kind] else 1 - likelihood)
            right += (logit > 0) == bool(types[row, kind])
    assert float(losses["loss"][0].detach()) == pytest.approx(total, abs=1e-12) and float(losses["loss"][1]) == 12
    assert float(losses["accuracy"][0]) == right


def test_typing_scores_what_it_predicts(tmp_path: Path) -> None:
    task, streams = typing(tmp_path), stream()
    batch = {"id": torch.arange(4), "places": torch.tensor([[1], [4], [0], [2]]), "types": torch.tensor([[1.0, 0, 1]] * 4)}
    rows = task.predict(streams, batch, None)
    overlap = predicted = gold = 0
    for row, state in zip(rows, (streams["text"].x[i, p] for i, p in enumerate([1, 4, 0, 2])), strict=True):
        logits = task.classifier.weight @ state + task.classifier.bias
        assert row["types"] == [name for name, logit in zip(["place", "speech", "water"], logits, strict=True) if logit > 0]
        assert row["gold"] == ["place", "water"]
        overlap += len({*row["types"]} & {"place", "water"})
        predicted, gold = predicted + len(row["types"]), gold + 2
    scores = task.evaluate(rows)
    assert 0 < overlap < predicted
    assert scores["micro_precision"] == overlap / predicted and scores["micro_recall"] == overlap / gold
    assert scores["micro_f1"] == pytest.approx(2 * overlap / (predicted + gold))
    assert task.official(rows) == rows


def test_typing_may_always_predict_the_best_type(tmp_path: Path) -> None:
    batch = {"id": torch.arange(4), "places": torch.zeros(4, 1, dtype=torch.long), "types": torch.zeros(4, 3)}
    kept = {always: typing(tmp_path, always) for always in (False, True)}
    for task in kept.values():
        torch.nn.init.constant_(task.classifier.bias, -50.0)
    assert [len(row["types"]) for row in kept[False].predict(stream(), batch, None)] == [0] * 4
    assert [len(row["types"]) for row in kept[True].predict(stream(), batch, None)] == [1] * 4


def test_relation_joins_the_states_of_head_and_tail(tmp_path: Path) -> None:
    task, streams = relation(tmp_path), stream()
    places, labels = torch.tensor([[1, 3], [3, 1], [0, 4], [2, 2]]), torch.tensor([0, 2, 1, 1])
    batch = {"id": torch.tensor([5, 6, 7, 8]), "places": places, "label": labels}
    loss, predicted = 0.0, []
    for row in range(4):
        joined = torch.cat([streams["text"].x[row, int(place)] for place in places[row]])
        weights, biases = task.classifier.weight.detach(), task.classifier.bias.detach()
        logits = [float(weight @ joined + bias) for weight, bias in zip(weights, biases, strict=True)]
        loss += math.log(sum(math.exp(logit) for logit in logits)) - logits[int(labels[row])]
        predicted.append(["borders", "capital", "no_relation"][logits.index(max(logits))])
    assert float(task(streams, batch, None)["loss"][0].detach()) == pytest.approx(loss, abs=1e-12)
    rows = task.predict(streams, batch, None)
    assert [row["relation"] for row in rows] == predicted
    assert [row["gold"] for row in rows] == ["borders", "no_relation", "capital", "capital"]
    assert [row["id"] for row in rows] == [5, 6, 7, 8]


def test_relation_scores_leave_no_relation_out_where_there_is_one(tmp_path: Path) -> None:
    pairs = [("borders", "borders"), ("borders", "no_relation"), ("no_relation", "capital"), ("no_relation", "no_relation")]
    rows = [{"id": i, "relation": one, "gold": gold} for i, (one, gold) in enumerate(pairs)]
    scores = relation(tmp_path).evaluate(rows)
    assert (scores["precision"], scores["recall"], scores["f1"], scores["accuracy"]) == (0.5, 0.5, 0.5, 0.5)
    plain = relation(tmp_path, null="").evaluate([*rows, {"id": 9, "relation": "capital", "gold": "capital"}])
    assert plain["f1"] == plain["accuracy"] == 3 / 5


def test_an_unknown_null_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"null is 'NA', and .* has the relations"):
        relation(tmp_path, null="NA")
