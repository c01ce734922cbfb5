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
from kemm.objectives import LinkPrediction

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
