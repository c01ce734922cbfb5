"""VQA's marginal likelihood against a loop over ways and answers, and its rows and scores."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kemm.batch import Batch, Stream
from kemm.fusion.base import Streams
from kemm.kg import Entity, Graph, write_graph
from kemm.metrics import bootstrap_interval
from kemm.nn import Draws
from kemm.tasks import VQA

DIM = 4
ANSWERS = ["yes", "no", "Paris", "red", "France", "2"]
ENTITIES = {"Paris": "Q2", "red": "Q3", "France": "Q0"}  # rows 3, 4 and 1 of the entity table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    kinds = ["country", "country", "city", "colour", "city"]
    graph = Graph([Entity(f"Q{i}", f"name {i}", kind) for i, kind in enumerate(kinds)], [], torch.empty(0, 3, dtype=torch.int64))
    write_graph(graph, tmp_path / "graph")
    listed = [{"answer": name, "entity": ENTITIES.get(name)} for name in ANSWERS]
    (tmp_path / "answers.json").write_text(json.dumps(listed))
    return tmp_path


def task(folder: Path, **options: Any) -> VQA:
    torch.manual_seed(0)
    given = {"points": ["one", "two"], "checks": [["one", "two"], ["two", "one", "three"]], "seen": ["colour"], "hidden": 5, **options}
    made = VQA(DIM, folder / "answers.json", ["pooled", "image"], graph=folder / "graph", **given).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def soft(weights: list[list[float]], rows: list[list[int]]) -> Stream:
    positions = torch.tensor(rows)
    return Stream(torch.tensor(weights).double()[..., None], positions > 0, positions)


SETS = {
    "one": ([[0.5, 0.3, 0.1], [0.0, 0.0, 0.0]], [[1, 3, 5], [1, 2, 3]]),
    "two": ([[0.6, 0.4], [0.7, 0.2]], [[3, 99], [4, 2]]),
    "three": ([[1.0], [0.5]], [[5], [2]]),
}


def streams(*sets: str, features: tuple[str, ...] = ("pooled", "image")) -> Streams:
    draws = torch.Generator().manual_seed(1)
    mask = torch.ones(2, 1, dtype=torch.bool)
    made = {name: Stream(torch.randn(2, 1, DIM, generator=draws).double(), mask) for name in ("pooled", "image")}
    return {name: made[name] for name in features} | {name: soft(*SETS[name]) for name in sets}


def batch(scores: Tensor | None = None) -> Batch:
    given = torch.tensor([[0.0, 0, 0.9, 0, 0.3, 0], [1.0, 0, 0, 0, 0, 0.6]]).double()
    return {"id": torch.arange(2), "answer": {"scores": given if scores is None else scores}}


def softmax(scores: list[float]) -> list[float]:
    parts = [math.exp(score - max(scores)) for score in scores]
    return [part / sum(parts) for part in parts]


def weighed(name: str, b: int) -> dict[int, float]:
    weights, rows = SETS[name]
    return dict(zip(rows[b], weights[b], strict=True))


def by_hand(made: VQA, given: Streams, b: int, seen: tuple[str, ...] = ("red",)) -> list[tuple[float, list[float]]]:
    """The probability of each way, and of each answer by it."""
    question = given["pooled"].x[b, 0]
    logits = (made.choose.weight @ question + made.choose.bias).tolist()
    feature = torch.stack([given[name].x[b, 0] for name in ("pooled", "image") if name in given]).prod(0)
    scores = made.generate(feature).tolist()
    sets = [(i, first, [name for name in others if name in given]) for i, (first, *others) in enumerate(made.checks) if first in given]
    opened = {i: any(sum(weighed(name, b).values()) > 0 for name in known) for i, _, known in sets if known}
    generated = [
        i
        for i, name in enumerate(ANSWERS)
        if (not made.points or name not in ENTITIES or name in seen) and not (name in ("yes", "no") and any(opened.values()))
    ]
    parts = softmax([scores[i] for i in generated])
    ways = [(logits[0], [parts[generated.index(i)] if i in generated else 0.0 for i in range(len(ANSWERS))])]
    place = {3: 2, 4: 3, 1: 4}
    for w, name in enumerate(made.points, 1):
        if name not in given:
            continue
        pointed = [0.0] * len(ANSWERS)
        for row, weight in weighed(name, b).items():
            for other in made.named:
                weight *= 1 - (min(weighed(other, b).get(row, 0.0), 1) if other in given else 0)
            if row in place:
                pointed[place[row]] += weight
        ways.append((logits[w], pointed))
    for i, first, known in sets:
        if not known:
            continue
        holding = weighed(first, b)
        heaviest = max(max(holding.values()), 1 - sum(holding.values()))
        outside = 1.0
        for name in known:
            inside = sum(weight * holding.get(row, 0.0) / heaviest for row, weight in weighed(name, b).items())
            outside *= 1 - min(inside, 1)
        yes = 1 / (1 + math.exp(-10 * (float(made.check_slope[i]) * (1 - outside) + float(made.check_bias[i]))))
        ways.append((logits[1 + len(made.points) + i] if opened[i] else -math.inf, [yes, 1 - yes, 0, 0, 0, 0]))
    chosen = softmax([logit for logit, _ in ways])
    return [(p, answers) for p, (_, answers) in zip(chosen, ways, strict=True)]


@torch.no_grad()
@pytest.mark.parametrize("sets", [(), ("one",), ("two", "three"), ("one", "two"), ("one", "two", "three")])
@pytest.mark.parametrize("features", [("pooled",), ("pooled", "image")])
def test_is_the_marginal_likelihood(folder: Path, sets: tuple[str, ...], features: tuple[str, ...]) -> None:
    made, given = task(folder), streams(*sets, features=features)
    losses = made(given, batch(), nn.Module())
    loss, hits = 0.0, 0.0
    for b in range(2):
        ways = by_hand(made, given, b)
        likelihood = [sum(p * answers[a] for p, answers in ways) for a in range(len(ANSWERS))]
        scores = batch()["answer"]["scores"][b].tolist()
        loss -= sum(score / sum(scores) * math.log(max(p, 1e-30)) for score, p in zip(scores, likelihood, strict=True))
        hits += scores[max(range(len(ANSWERS)), key=lambda a: likelihood[a])]
    assert float(losses["loss"][0]) == pytest.approx(loss)
    assert float(losses["accuracy"][0]) == pytest.approx(hits)
    assert float(losses["loss"][1]) == float(losses["accuracy"][1]) == 2


@torch.no_grad()
@pytest.mark.parametrize("named", [(), ("two",), ("three", "absent")])
def test_each_way_is_what_it_says(folder: Path, named: tuple[str, ...]) -> None:
    made, given = task(folder, named=named), streams("one", "two", "three")
    names, chosen, answers = made.ways(given, batch())
    assert names == ["generated", "one", "two", "two in one", "one or three in two"]
    for b in range(2):
        for w, (p, listed) in enumerate(by_hand(made, given, b)):
            assert float(chosen[b, w]) == pytest.approx(p)
            assert answers[b, w].tolist() == pytest.approx(listed)
    torch.testing.assert_close(chosen.sum(-1), torch.ones(2).double())
    assert bool((answers.sum(-1) <= 1 + 1e-9).all())


@torch.no_grad()
def test_a_check_of_nothing_is_no_way(folder: Path) -> None:
    """Set "one" of the second question is empty: it has nothing to be found in "two"."""
    made = task(folder, checks=[["two", "one"]])
    names, chosen, _ = made.ways(streams("one", "two"), batch())
    assert names[-1] == "one in two"
    assert float(chosen[0, -1]) > 0
    assert float(chosen[1, -1]) == 0


@torch.no_grad()
def test_generating_is_taught_alone_what_only_it_can_answer(folder: Path) -> None:
    made, given = task(folder), streams("one", "two")
    alone = task(folder, generating=0.5)
    alone.load_state_dict(made.state_dict())
    scores = torch.tensor([[0.5, 0, 0.2, 0, 0, 0.3], [0, 0, 0, 0, 0, 0.6]]).double()
    added = float(alone(given, batch(scores), nn.Module())["loss"][0] - made(given, batch(scores), nn.Module())["loss"][0])
    free = [i for i, name in enumerate(ANSWERS) if name not in ("yes", "no") and (name not in ENTITIES or name == "red")]
    expected = 0.0
    for b in range(2):
        listed = by_hand(made, given, b)[0][1]
        expected -= 0.5 * sum(float(scores[b, a] / scores[b].sum()) * math.log(listed[a]) for a in free if scores[b, a] > 0)
    assert expected > 0
    assert added == pytest.approx(expected)


def test_what_can_be_pointed_at_is_not_generated_unless_it_is_seen(folder: Path) -> None:
    _, _, answers = task(folder).ways(streams(), batch())
    assert (answers[:, 0] > 1e-9).all(0).tolist() == [True, True, False, True, False, True]
    _, _, answers = task(folder, seen=["colour", "city"]).ways(streams(), batch())
    assert (answers[:, 0] > 1e-9).all(0).tolist() == [True, True, True, True, False, True]
    _, _, answers = task(folder, points=[], checks=[]).ways(streams(), batch())
    assert (answers[:, 0] > 1e-9).all()


def test_a_question_without_a_known_answer_teaches_nothing(folder: Path) -> None:
    made = task(folder)
    scores = batch()["answer"]["scores"]
    scores[1] = 0
    losses = made(streams("one"), batch(scores), nn.Module())
    assert float(losses["loss"][1]) == 1 and float(losses["accuracy"][1]) == 2
    only = made({name: Stream(s.x[:1], s.mask[:1], None if s.positions is None else s.positions[:1]) for name, s in streams("one").items()},
                batch(scores[:1]), nn.Module())  # fmt: skip
    assert float(losses["loss"][0].detach()) == pytest.approx(float(only["loss"][0].detach()))


def test_an_answer_without_probability_has_a_finite_loss(folder: Path) -> None:
    made = task(folder)
    with torch.no_grad():
        made.choose.weight.zero_()
        made.choose.bias.copy_(torch.tensor([-1e3, 0, 0, 0, 0]))
    scores = torch.tensor([[0, 0, 0, 0, 0, 1.0], [0, 0, 0, 0, 0, 1.0]]).double()
    loss = made(streams("one", "two", "three"), batch(scores), nn.Module())["loss"][0]
    loss.backward()
    assert loss.isfinite() and all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())


def test_training_hides_words(folder: Path) -> None:
    made = task(folder, blanked=0.5, blank_id=4)
    ids = torch.randint(0, 30, (40, 20))
    given = {"id": torch.arange(40), "text": {"ids": ids}}
    assert made.corrupt(given, {}, Draws(given["id"])) is given, "not in evaluation"
    made.train()
    hidden = made.corrupt(given, {}, Draws(given["id"]))["text"]["ids"]
    changed = hidden != ids
    assert bool((hidden[changed] == 4).all()) and not changed[ids <= 4].any()
    assert float(changed[ids > 4].double().mean()) == pytest.approx(0.5, abs=0.06)
    assert torch.equal(given["text"]["ids"], ids)


def test_unused_parameters_are_declared(folder: Path) -> None:
    assert task(folder).unused == ()
    assert task(folder, checks=[]).unused == ("check_slope", "check_bias")


def annotation(number: int, answer: str, kind: str, form: str = "other") -> dict[str, Any]:
    answers = [{"answer": answer if i < 8 else "another", "answer_id": i + 1} for i in range(10)]
    return {"question_id": number, "answers": answers, "answer_type": form, "kind": kind, "question": "what?"}


@torch.no_grad()
def test_rows_say_the_answer_and_the_way(folder: Path) -> None:
    made, given = task(folder), streams("one", "two", "three")
    listed = [annotation(70, "Paris", "one hop"), annotation(60, "yes", "check", "yes/no")]
    rows = made.predict(given, {**batch(), "annotation": listed}, nn.Module())
    names, _, _ = made.ways(given, batch())
    for b, row in enumerate(rows):
        ways = by_hand(made, given, b)
        likelihood = [sum(p * answers[a] for p, answers in ways) for a in range(len(ANSWERS))]
        order = sorted(range(len(ANSWERS)), key=lambda a: -likelihood[a])
        assert row["answer"] == ANSWERS[order[0]]
        assert row["others"][0] == ANSWERS[order[1]] and len(row["others"]) == 2
        assert row["likelihood"] == pytest.approx(likelihood[order[0]], abs=1e-4)
        assert row["way"] == names[max(range(len(ways)), key=lambda w: ways[w][0] * ways[w][1][order[0]])]
        assert row["accuracy"] == (1.0 if row["answer"] == listed[b]["answers"][0]["answer"] else 0.0)
        assert row["id"] == row["question_id"] == listed[b]["question_id"]
    assert made.official(rows) == [{"question_id": row["question_id"], "answer": row["answer"]} for row in rows]


def test_scores_are_percentages_of_each_kind(folder: Path) -> None:
    made = task(folder)
    listed = [("one hop", "other", 1.0), ("one hop", "other", 0.6), ("check", "yes/no", 0.0), ("two hop", "number", 0.3)]
    rows = [{"id": i, "annotation": annotation(i, "x", kind, form), "accuracy": hit} for i, (kind, form, hit) in enumerate(listed)]
    scores: Any = made.evaluate(rows)
    assert {name: round(value.estimate, 6) for name, value in scores.items()} == {
        "accuracy": 47.5,
        "accuracy/open": round(190 / 3, 6),
        "accuracy/answer_type/other": 80,
        "accuracy/answer_type/yes/no": 0,
        "accuracy/answer_type/number": 30,
        "accuracy/kind/one hop": 80,
        "accuracy/kind/check": 0,
        "accuracy/kind/two hop": 30,
    }
    assert all(value.low <= value.estimate <= value.high for value in scores.values())


def test_questions_about_a_picture_are_resampled_together(folder: Path) -> None:
    """Ten pictures with twenty questions each, all right or all wrong: as sure as ten questions, not two hundred."""
    listed = [{**annotation(i, "x", "one hop"), "image_id": i // 20} for i in range(200)]
    rows = [{"annotation": row, "accuracy": float(row["image_id"] % 2)} for row in listed]
    scores = task(folder).evaluate(rows)
    assert scores["accuracy"] == scores["accuracy/kind/one hop"] == bootstrap_interval([100.0 * (i % 2) for i in range(10)])
    for row in listed:
        del row["image_id"]
    assert task(folder).evaluate(rows)["accuracy"] == bootstrap_interval([100 * row["accuracy"] for row in rows])


def test_what_needs_the_picture_is_counted_apart(folder: Path) -> None:
    listed = [
        {**annotation(1, "a", "one hop"), "pictured": True},
        {**annotation(2, "b", "one hop"), "pictured": False},
        {**annotation(3, "c", "one hop"), "pictured": True},
        {**annotation(4, "yes", "check", "yes/no"), "pictured": True},
    ]
    accuracies = (1.0, 0.3, 0.6, 0.0)
    scores = task(folder).evaluate([{"annotation": row, "accuracy": accuracy} for row, accuracy in zip(listed, accuracies, strict=True)])
    assert scores["accuracy/open/pictured"].estimate == pytest.approx(80)
    assert scores["accuracy/open/named"].estimate == pytest.approx(30)


def test_checks_need_yes_and_no(folder: Path) -> None:
    (folder / "answers.json").write_text(json.dumps([{"answer": "yes", "entity": None}]))
    with pytest.raises(ValueError, match="checks answer yes or no, and the list has no 'no'"):
        task(folder)
