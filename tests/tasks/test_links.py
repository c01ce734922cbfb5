"""Link prediction's filtered ranks against a loop over the graph."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kemm.encoders import EntityEncoder
from kemm.kg import DistMult, Entity, Graph, Relation, write_graph
from kemm.model import FusionModel
from kemm.tasks import Links

KNOWN = [(0, 0, 1), (0, 0, 2), (0, 0, 5), (3, 0, 2), (4, 1, 4), (1, 1, 3)]
ASKED = [(0, 0, 2), (3, 0, 2), (4, 1, 4)]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    relations = [Relation("a", "a", "a_of"), Relation("b", "b", "b_of")]
    write_graph(Graph([Entity(f"Q{i}", f"name {i}") for i in range(6)], relations, torch.tensor(KNOWN)), tmp_path / "graph")
    return tmp_path / "graph"


def network(extra: int = 0) -> FusionModel:
    torch.manual_seed(0)
    return FusionModel({"entity": EntityEncoder(7 + extra, 4), "relation": EntityEncoder(5, 4)}).double()


def rank(model: FusionModel, subject: int, relation: int, answer: int, others: set[int]) -> float:
    """The mean of the best and the worst place among ties, other true answers left out."""
    entities, relations = (model.encoder(name).table.detach() for name in ("entity", "relation"))
    scores = {e: float(DistMult()(entities[subject + 1], relations[relation + 1], entities[e + 1])) for e in range(len(entities) - 1)}
    rivals = [score for e, score in scores.items() if e != answer and e not in others]
    return 1 + sum(score > scores[answer] for score in rivals) + sum(score == scores[answer] for score in rivals) / 2


@torch.no_grad()
@pytest.mark.parametrize("extra", [0, 3])
def test_true_answers_do_not_count_as_rivals(graph: Path, extra: int) -> None:
    model = network(extra)
    columns = {name: torch.tensor([triple[i] + 1 for triple in ASKED]) for i, name in enumerate(("head", "relation", "tail"))}
    batch: Any = {"id": torch.tensor([7, 8, 9]), "triple": {**columns, "inverse": columns["relation"] + 2}}
    rows = Links(DistMult(), graph).predict({}, batch, model)
    for row, sample, (h, r, t) in zip(rows, (7, 8, 9), ASKED, strict=True):
        tails = {tail for head, relation, tail in KNOWN if (head, relation) == (h, r)}
        heads = {head for head, relation, tail in KNOWN if (relation, tail) == (r, t)}
        assert row["id"] == sample
        assert row["tail_rank"] == pytest.approx(rank(model, h, r, t, tails - {t}))
        assert row["head_rank"] == pytest.approx(rank(model, t, r + 2, h, heads - {h}))


def test_scores_are_over_both_directions(graph: Path) -> None:
    rows = [{"id": 0, "tail_rank": 1.0, "head_rank": 4.0}, {"id": 1, "tail_rank": 2.5, "head_rank": 20.0}]
    scores: Any = Links(DistMult(), graph).evaluate(rows)
    values = {name.lower(): value for name, value in scores.items()}
    assert values["mrr"] == pytest.approx((1 + 1 / 4 + 1 / 2.5 + 1 / 20) / 4)
    hits = {name: value for name, value in values.items() if "hit" in name}
    assert any(value == pytest.approx(0.25) for value in hits.values())
    assert any(value == pytest.approx(0.75) for value in hits.values())
