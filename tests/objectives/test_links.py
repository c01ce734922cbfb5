"""Link prediction against loops over triples and entities."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kemm.batch import Batch
from kemm.encoders import EntityEncoder
from kemm.kg import ComplEx, DistMult, RotatE, TransE
from kemm.learner import Learner
from kemm.model import FusionModel
from kemm.objectives import KvsAllLinks, LinkPrediction

ENTITIES, RELATIONS, DIM = 7, 4, 6
TRIPLES = [(1, 1, 4), (2, 2, 2), (6, 1, 5)]
INVERSE = {1: 3, 2: 4}


def batch() -> Batch:
    columns = {"head": [h for h, _, _ in TRIPLES], "relation": [r for _, r, _ in TRIPLES], "tail": [t for _, _, t in TRIPLES]}
    columns["inverse"] = [INVERSE[r] for _, r, _ in TRIPLES]
    return {"id": torch.arange(3), "triple": {name: torch.tensor(values) for name, values in columns.items()}}


def learner(scorer: Any, scale: float = 1.0) -> Learner:
    torch.manual_seed(0)
    encoders = {"entity": EntityEncoder(ENTITIES, DIM), "relation": EntityEncoder(RELATIONS + 1, scorer.relation_dim(DIM))}
    return Learner(FusionModel(encoders), {"links": LinkPrediction(scorer, scale)}).double()


@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("scorer", [DistMult(), ComplEx(), TransE(), RotatE()], ids=lambda s: type(s).__name__)
def test_is_the_cross_entropy_of_both_directions(scorer: nn.Module, scale: float) -> None:
    made = learner(scorer, scale)
    losses = made(batch())[1]["links"]
    entities, relations = (made.network.encoder(name).table.detach() for name in ("entity", "relation"))
    loss, hits = 0.0, 0
    questions = [(h, r, t) for h, r, t in TRIPLES] + [(t, INVERSE[r], h) for h, r, t in TRIPLES]
    for subject, relation, answer in questions:
        scores = [scale * float(scorer(entities[subject], relations[relation], entities[e])) for e in range(1, ENTITIES)]
        loss -= scores[answer - 1] - math.log(sum(math.exp(score) for score in scores))
        hits += max(range(1, ENTITIES), key=lambda e: scores[e - 1]) == answer
    assert float(losses["loss"][0].detach()) == pytest.approx(loss)
    assert float(losses["loss"][1]) == 6 == float(losses["accuracy"][1])
    assert float(losses["accuracy"][0]) == hits


def test_nobody_is_no_candidate() -> None:
    made = learner(DistMult())
    objective: Any = made.objectives["links"]
    scores, answer = objective.scores(batch(), made.network)
    assert scores.shape == (6, ENTITIES - 1) and answer.tolist() == [3, 1, 4, 0, 1, 5]
    made(batch())[0].backward()
    grad: Tensor = made.network.encoder("entity").table.grad  # type: ignore[assignment]
    assert not grad[0].any() and grad[1:].any(1).all()


def test_needs_triples() -> None:
    objective = LinkPrediction(DistMult())
    assert objective.wants(batch()) and not objective.wants({"id": torch.arange(3)}) and not objective.wants({"triple": {}})


@pytest.mark.parametrize("none", [False, True])
def test_all_answers_at_once_are_binary_decisions_on_smooth_labels(none: bool) -> None:
    scorer, smoothing = DistMult(), 0.3
    made = Learner(learner(scorer).network, {"links": KvsAllLinks(scorer, 0.5, smoothing, none)}).double()
    answers = {"tails": [{4, 2}, {2}, {5}], "heads": [{1}, {2}, {3, 6}]}
    given = batch()
    for name, sets in answers.items():
        given["triple"][name] = torch.tensor([sorted(s) + [0] * (2 - len(s)) for s in sets])
    losses = made(given)[1]["links"]
    entities, relations = (made.network.encoder(name).table.detach() for name in ("entity", "relation"))
    candidates = range(0 if none else 1, ENTITIES)
    asked = [(h, r, right) for (h, r, _), right in zip(TRIPLES, answers["tails"], strict=True)]
    asked += [(t, INVERSE[r], right) for (_, r, t), right in zip(TRIPLES, answers["heads"], strict=True)]
    loss, hits = 0.0, 0
    for subject, relation, right in asked:
        scores = {e: 0.5 * float(scorer(entities[subject], relations[relation], entities[e])) for e in candidates}
        for e, score in scores.items():
            label = (1 - smoothing) * (e in right) + smoothing * len(right) / len(scores)
            p = 1 / (1 + math.exp(-score))
            loss -= label * math.log(p) + (1 - label) * math.log(1 - p)
        hits += max(scores, key=lambda e: scores[e]) in right
    assert float(losses["loss"][0].detach()) == pytest.approx(loss)
    assert float(losses["loss"][1]) == 6 * len(candidates)
    assert float(losses["accuracy"][0]) == hits
    given["triple"].pop("heads")
    assert float(made(given)[1]["links"]["loss"][1]) == 3 * len(candidates)
