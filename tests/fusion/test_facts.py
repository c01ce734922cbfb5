"""Soft sets and steps along facts against loops over entities and triples."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kemm.batch import Stream
from kemm.encoders import EntityEncoder
from kemm.fusion import FactAttention, FeatureEntities, FusionPoint, Intersection, MentionEntities
from kemm.fusion.facts import membership, soft_vector
from kemm.kg import Entity, Graph, Relation, write_graph
from kemm.model import FusionModel

DIM, ENTITY = 6, 5
KINDS = ["country", "country", "city", "city", "country"]
TRIPLES = [(0, 0, 2), (1, 0, 3), (0, 1, 1), (4, 1, 0)]
# Each triple, then the same read backwards; relations 2 and 3 are the inverses of 0 and 1.
FACTS = [*TRIPLES, *((t, r + 2, h) for h, r, t in TRIPLES)]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    entities = [Entity(f"Q{i}", f"name {i}", kind) for i, kind in enumerate(KINDS)]
    relations = [Relation("capital", "capital", "capital_of"), Relation("neighbour", "neighbour", "neighboured")]
    write_graph(Graph(entities, relations, torch.tensor(TRIPLES)), tmp_path / "graph")
    return tmp_path / "graph"


def network(*points: FusionPoint) -> FusionModel:
    encoders = {"entity": EntityEncoder(len(KINDS) + 1, ENTITY), "relation": EntityEncoder(5, ENTITY)}
    model = FusionModel({**encoders, "feature": EntityEncoder(1, DIM)}, points).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model.eval()


def place(x: Tensor) -> Stream:
    return Stream(x[:, None], torch.ones(len(x), 1, dtype=torch.bool))


def soft(weights: list[list[float]], rows: list[list[int]]) -> Stream:
    positions = torch.tensor(rows)
    return Stream(torch.tensor(weights).double()[..., None], positions > 0, positions)


def unit(x: Tensor) -> Tensor:
    return x / math.sqrt(sum(float(v) ** 2 for v in x))


def test_a_feature_shows_entities_of_one_kind(graph: Path) -> None:
    torch.manual_seed(0)
    fusion = FeatureEntities("feature", "shown", DIM, ENTITY, graph, "country", scale=3.0)
    model = network(FusionPoint({"feature": 0}, fusion))
    feature = torch.randn(2, DIM).double()
    shown = model({"feature": place(feature)})["shown"]
    table: Any = model.encoder("entity").table
    assert shown.positions is not None and shown.positions.tolist() == [[1, 2, 5]] * 2
    with torch.no_grad():
        for b in range(2):
            asked = unit(fusion.project.weight @ feature[b] + fusion.project.bias)
            scores = [math.exp(math.exp(float(fusion.log_scale)) * float(asked @ unit(table[row]))) for row in (1, 2, 5)]
            assert shown.x[b, :, 0].tolist() == pytest.approx([score / sum(scores) for score in scores])
    with pytest.raises(ValueError, match="no entity is of kind 'planet'"):
        FeatureEntities("feature", "shown", DIM, ENTITY, graph, "planet")


@torch.no_grad()
def test_a_mention_is_chosen_and_means_its_candidates() -> None:
    torch.manual_seed(0)
    fusion = MentionEntities("meant", DIM).double()
    ids = torch.tensor([[[3, 1], [2, 0]], [[0, 0], [4, 4]], [[0, 0], [0, 0]]])
    spans = torch.tensor([[[1, 2], [0, 0]], [[-1, -1], [2, 2]], [[-1, -1], [-1, -1]]])
    scores = torch.randn(3, 2, 2).double().masked_fill(ids == 0, -1e4)
    text = torch.randn(3, 4, DIM).double()
    streams = {"text": Stream(text, torch.ones(3, 4, dtype=torch.bool)), "candidate_linking": Stream(scores[..., None], ids > 0)}
    batch = {"candidate": {"ids": ids, "spans": spans}}
    meant = fusion(streams, batch, network())["meant"]
    assert meant.positions is not None and meant.positions.tolist() == ids.flatten(1).tolist()
    assert meant.mask.tolist() == (ids > 0).flatten(1).tolist()
    for b in range(3):
        real = [m for m in range(2) if any(ids[b, m].tolist())]
        choices = {m: math.exp(float((fusion.choose.weight @ text[b, spans[b, m, 0]]).detach())) for m in real}
        for m in range(2):
            for c in range(2):
                expected = 0.0
                if ids[b, m, c]:
                    linked = [math.exp(float(scores[b, m, i])) for i in range(2)]
                    expected = choices[m] / sum(choices.values()) * linked[c] / sum(linked)
                assert float(meant.x[b, 2 * m + c, 0]) == pytest.approx(expected)


def by_hand(model: FusionModel, fusion: FactAttention, question: Tensor, sets: list[list[tuple[int, float]]], k: int) -> dict[int, float]:
    """Fact -> weight of one sample; -1 is none."""
    entities: Any = model.encoder("entity").table
    relations: Any = model.encoder("relation").table
    with torch.no_grad():
        asked = loops_softmax((fusion.ask_relation.weight @ question + fusion.ask_relation.bias).tolist())
        logits = (fusion.ask_subject.weight @ question + fusion.ask_subject.bias).tolist()
        share = loops_softmax([logits[i] for i, listed in enumerate(sets) if listed])
        subject = sum(
            part * weight * entities[row] for part, listed in zip(share, [s for s in sets if s], strict=True) for row, weight in listed
        )
        relation = sum(weight * relations[1 + i] for i, weight in enumerate(asked))

        def key(entity: Tensor) -> Tensor:
            return unit(fusion.entity_key.weight @ entity)

        query = key(subject) + unit(relation)
        near = {f: float(query @ (key(entities[h + 1]) + unit(relations[r + 1]))) for f, (h, r, _) in enumerate(FACTS)}
        parts = {-1: math.exp(float(fusion.none))}
        for f in sorted(near, key=lambda f: -near[f])[:k]:
            match = float(key(subject) @ key(entities[FACTS[f][0] + 1])) - 1
            parts[f] = asked[FACTS[f][1]] * math.exp(math.exp(float(fusion.log_scale)) * match)
    return {f: part / sum(parts.values()) for f, part in parts.items()}


def loops_softmax(scores: list[float]) -> list[float]:
    parts = [math.exp(score) for score in scores]
    return [part / sum(parts) for part in parts]


SETS = [[[(1, 0.75), (5, 0.25)], [(2, 1.0)]], [[(4, 0.5)], [(3, 0.2), (1, 0.8)]]]
"""Of each sample, two soft sets."""


@pytest.mark.parametrize("given", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("k", [3, 8, 50])
def test_a_step_follows_the_facts(graph: Path, k: int, given: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    fusion = FactAttention("found", ["one", "two"], "feature", DIM, ENTITY, graph, k=k, scale=4.0)
    assert [(h - 1, r - 1, t - 1) for h, r, t in fusion.facts.tolist()] == FACTS  # type: ignore[operator]
    model = network(FusionPoint({"feature": 0}, fusion))
    question = torch.randn(2, DIM).double()
    streams = {"feature": place(question)}
    for i in given:
        listed = [sample[i] + [(0, 0.0)] * (2 - len(sample[i])) for sample in SETS]
        streams[("one", "two")[i]] = soft([[w for _, w in pairs] for pairs in listed], [[row for row, _ in pairs] for pairs in listed])
    found = fusion(streams, {}, model)
    for b in range(2):
        sets = [SETS[b][i] if i in given else [] for i in range(2)]
        expected = by_hand(model, fusion, question[b], sets, k)
        weights = found["found_facts"].x[b, :, 0]
        listed = dict(zip(found["found_facts"].positions[b].tolist(), weights.tolist(), strict=True))
        assert listed == pytest.approx({f: weight for f, weight in expected.items() if f >= 0})
        assert weights.sum().item() == pytest.approx(1 - expected[-1])
        assert found["found"].positions[b].tolist() == [FACTS[f][2] + 1 for f in listed]
        assert torch.equal(found["found"].x[b], found["found_facts"].x[b])
        asked = loops_softmax((fusion.ask_relation.weight @ question[b] + fusion.ask_relation.bias).tolist())
        assert found["found_relations"].x[b, :, 0].tolist() == pytest.approx(asked)


def test_two_steps_follow_a_path(graph: Path) -> None:
    """With sharp keys the capital of the neighbour of Q4 is Q0's, Q2, though nobody asked for that pair."""
    torch.manual_seed(0)
    steps = [
        FactAttention("first", ["one"], "feature", DIM, DIM, graph, scale=50.0),
        FactAttention("second", ["first"], "again", DIM, DIM, graph, scale=50.0),
    ]
    model = FusionModel({"entity": EntityEncoder(6, DIM), "relation": EntityEncoder(5, DIM)}).double()
    with torch.no_grad():
        for name in ("entity", "relation"):
            table: Any = model.encoder(name).table
            table.copy_(torch.nn.init.orthogonal_(torch.empty(len(table), DIM)))
        for step, relation in zip(steps, (1, 0), strict=True):
            step.double()
            torch.nn.init.eye_(step.entity_key.weight)
            torch.nn.init.zeros_(step.ask_relation.weight)
            step.ask_relation.bias.copy_(100.0 * torch.eye(4)[relation])
    streams = {"feature": place(torch.zeros(1, DIM).double()), "again": place(torch.zeros(1, DIM).double()), "one": soft([[1.0]], [[5]])}
    streams |= steps[0](streams, {}, model)
    assert streams["first"].positions[0, streams["first"].x[0, :, 0].argmax()] == 1
    streams |= steps[1](streams, {}, model)
    assert streams["second"].positions[0, streams["second"].x[0, :, 0].argmax()] == 3
    assert streams["second"].x.max().item() > 0.9


def test_a_step_may_follow_anothers_relation(graph: Path) -> None:
    torch.manual_seed(0)
    own = FactAttention("found", ["one"], "feature", DIM, ENTITY, graph)
    other = FactAttention("other", ["one"], "feature", DIM, ENTITY, graph, same="found")
    model = network(FusionPoint({"feature": 0}, own), FusionPoint({"feature": 0}, other))
    other.load_state_dict({name: value for name, value in own.state_dict().items() if "ask_relation" not in name})
    streams = {"feature": place(torch.randn(2, DIM).double()), "one": soft([[1.0], [1.0]], [[1], [5]])}
    assert not other.wants(streams, {})
    streams |= own(streams, {}, model)
    streams |= other(streams, {}, model)
    assert torch.equal(streams["other"].x, streams["found"].x)
    assert torch.equal(streams["other_relations"].x, streams["found_relations"].x)


def test_of_nothing_there_are_no_facts(graph: Path) -> None:
    fusion = FactAttention("found", ["one"], "feature", DIM, ENTITY, graph)
    streams = {"feature": place(torch.randn(2, DIM).double()), "one": soft([[0.2, 0.0], [0.0, 0.0]], [[1, 5], [1, 5]])}
    found = fusion.double()(streams, {}, network(FusionPoint({"feature": 0}, fusion)))
    assert found["found"].x[0].sum().item() > 0
    assert found["found"].x[1].sum().item() == found["found_facts"].x[1].sum().item() == 0


def test_is_skipped_without_a_subject_or_a_question(graph: Path) -> None:
    fusion = FactAttention("found", ["one", "two"], "feature", DIM, ENTITY, graph)
    subject = soft([[1.0]], [[1]])
    assert fusion.wants({"feature": subject, "two": subject}, {})
    assert not fusion.wants({"feature": subject}, {})
    assert not fusion.wants({"one": subject}, {})


def test_held_out_facts_are_not_remembered(graph: Path, tmp_path: Path) -> None:
    (tmp_path / "held.tsv").write_text("Q1\tcapital\tQ3\n")
    fusion = FactAttention("found", ["one"], "feature", DIM, ENTITY, graph, without=[tmp_path / "held.tsv"])
    known = [(h - 1, r - 1, t - 1) for h, r, t in fusion.facts.tolist()]  # type: ignore[operator]
    assert known == [fact for fact in FACTS if fact not in ((1, 0, 3), (3, 2, 1))]
    shuffled = FactAttention("found", ["one"], "feature", DIM, ENTITY, graph, shuffled=1)
    assert sorted(shuffled.facts[:, 0].tolist()) == sorted(h + 1 for h, _, _ in FACTS)  # type: ignore[index]


def test_an_intersection_is_what_both_hold() -> None:
    one, two = soft([[0.5, 0.2, 0.3], [0.5, 0.5, 0.0]], [[1, 2, 3], [4, 4, 0]]), soft([[0.9, 0.1], [1.0, 0.0]], [[3, 1], [2, 0]])
    both = Intersection("one", "two", "both")({"one": one, "two": two}, {}, network())["both"]
    assert both.x[0, :, 0].tolist() == pytest.approx([0.05 / 0.32, 0, 0.27 / 0.32])
    assert both.x[1, :, 0].tolist() == [0, 0, 0]
    assert both.positions is one.positions
    assert membership(one, two)[0].tolist() == pytest.approx([0.1, 0, 0.9])


def test_a_soft_vector_is_the_mean() -> None:
    table = torch.arange(10.0).view(5, 2).double()
    assert soft_vector(soft([[0.25, 0.75]], [[1, 4]]), table).tolist() == [[0.25 * 2 + 0.75 * 8, 0.25 * 3 + 0.75 * 9]]
