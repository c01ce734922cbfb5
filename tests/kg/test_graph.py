"""Graphs: construction, inverses, networkx, the shuffled control, held-out facts."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from kemm.kg import Entity, Graph, Relation, read_names

SHARED = Path(__file__).parents[3] / "shared" / "data" / "small-kg"
RELATIONS = [
    Relation("capital", "capital", inverse="capital_of", functional=True, head=("country",), tail=("city",)),
    Relation("borders", "borders", inverse="borders"),
    Relation("capital_of", "capital of", inverse="capital"),
    Relation("likes", "likes"),
]


def world(countries: int = 12, seed: int = 0) -> Graph:
    """Countries with a capital (said both ways), symmetric borders on a ring with chords, and random likes."""
    entities = [Entity(f"c{i}", f"Country {i}", "country", (f"C{i}",)) for i in range(countries)]
    entities += [Entity(f"t{i}", f"Town {i}", "city") for i in range(countries)]
    rows = set()
    for i in range(countries):
        rows |= {(i, 0, countries + i), (countries + i, 2, i)}
        for step in (1, 3):
            rows |= {(i, 1, (i + step) % countries), ((i + step) % countries, 1, i)}
    draw = torch.Generator().manual_seed(seed)
    while len(rows) < 9 * countries:
        head, tail = torch.randint(countries, (2,), generator=draw).tolist()
        rows.add((head, 3, tail))
    return Graph(entities, RELATIONS, torch.tensor(sorted(rows, key=lambda row: hash((seed, row)))))


def rows(triples: torch.Tensor) -> set[tuple[int, ...]]:
    return {tuple(row) for row in triples.tolist()}


def test_neighbours_and_degrees() -> None:
    graph = world()
    for entity in range(graph.num_entities):
        assert rows(graph.neighbours(entity)) == {(r, t) for h, r, t in rows(graph.triples) if h == entity}
        assert graph.degrees()[entity] == sum((h == entity) + (t == entity) for h, _, t in rows(graph.triples))


def test_from_names() -> None:
    graph = Graph.from_names([("b", "x", "a"), ("a", "w", "b"), ("b", "x", "a")])
    assert [entity.id for entity in graph.entities] == ["a", "b"]
    assert [relation.id for relation in graph.relations] == ["w", "x"]
    assert [graph.names(row) for row in graph.triples.tolist()] == [("b", "x", "a"), ("a", "w", "b")]


def test_with_inverses_says_everything_both_ways_once() -> None:
    graph = world()
    both = graph.with_inverses()
    assert [relation.id for relation in both.relations] == ["capital", "borders", "capital_of", "likes", "likes_inverse"]
    expected = set()
    for h, r, t in rows(graph.triples):
        expected |= {(h, r, t), (t, {0: 2, 1: 1, 2: 0, 3: 4}[r], h)}
    assert rows(both.triples) == expected
    assert len(both) == len(expected)
    assert rows(both.with_inverses().triples) == expected


def test_inverse_named_only_by_id() -> None:
    relation = Relation("river", "river", inverse="flows_through", head=("country",), tail=("river",))
    graph = Graph([Entity("a", "A"), Entity("b", "B")], [relation], torch.tensor([[0, 0, 1]])).with_inverses()
    assert graph.relations[1] == Relation("flows_through", "flows through", inverse="river", head=("river",), tail=("country",))
    assert graph.inverses == (1, 0)


def test_networkx_there_and_back() -> None:
    graph = world()
    there = graph.to_networkx()
    assert there.number_of_edges() == len(graph)
    assert there.nodes["c3"] == {"name": "Country 3", "kind": "country", "aliases": ("C3",)}
    assert there.has_edge("c3", "t3", key="capital")
    back = Graph.from_networkx(there)
    assert (back.entities, back.relations, rows(back.triples)) == (graph.entities, graph.relations, rows(graph.triples))
    there.add_edge("c1", "c2", key="hates")
    with pytest.raises(ValueError, match="'hates'"):
        Graph.from_networkx(there)


@pytest.mark.parametrize("seed", range(3))
def test_shuffling_keeps_every_degree_and_the_inverses(seed: int) -> None:
    graph = world()
    shuffled = graph.shuffled(seed)
    before, after = rows(graph.triples), rows(shuffled.triples)
    assert len(after) == len(shuffled) == len(graph)
    for ends in ((0, 1), (1, 2)):
        assert Counter((row[ends[0]], row[ends[1]]) for row in before) == Counter((row[ends[0]], row[ends[1]]) for row in after)
    assert all((t, {0: 2, 1: 1, 2: 0}[r], h) in after for h, r, t in after if r < 3)
    assert sum(h == t for h, _, t in after) <= sum(h == t for h, _, t in before)
    for relation in range(4):
        kept = sum(row in before for row in after if row[1] == relation)
        assert kept < 0.7 * sum(row[1] == relation for row in before)
    assert rows(graph.shuffled(seed).triples) == after
    assert rows(graph.shuffled(seed + 1).triples) != after


def test_shuffling_is_close_to_a_uniform_choice() -> None:
    """Five heads with five tails of their own: each head must get each tail about as often."""
    entities = [Entity(str(i), str(i)) for i in range(10)]
    graph = Graph(entities, [Relation("r", "r")], torch.tensor([[i, 0, 5 + i] for i in range(5)]))
    counts = torch.zeros(5, 5)
    for seed in range(600):
        for head, _, tail in graph.shuffled(seed).triples.tolist():
            counts[head, tail - 5] += 1
    assert (counts / 600 - 0.2).abs().max() < 0.07


def test_a_relation_that_cannot_change_stays() -> None:
    graph = Graph.from_names([("a", "r", "b"), ("a", "r", "c"), ("a", "r", "d")])
    assert rows(graph.shuffled(0).triples) == rows(graph.triples)


def test_facts_pair_up_what_is_said_both_ways() -> None:
    graph = world()
    facts = graph.facts()
    assert Counter(fact.triple[1] for fact in facts) == {0: 12, 1: 24, 3: sum(r == 3 for _, r, _ in rows(graph.triples))}
    assert all(fact.mirrored == (fact.triple[1] < 3) for fact in facts)
    assert sorted(triple for fact in facts for triple in fact.triples(graph.inverses)) == sorted(rows(graph.triples))


def test_hold_out_leaks_nothing_and_strands_nobody() -> None:
    graph = world()
    rest, held = graph.hold_out(15, seed=0)
    kept, inverse = rows(rest.triples), {0: 2, 1: 1, 2: 0}
    assert len(held) == 15
    for h, r, t in held.tolist():
        assert (h, r, t) in rows(graph.triples)
        assert (h, r, t) not in kept
        assert r == 3 or (t, inverse[r], h) not in kept
    assert len(kept) == len(graph) - sum(2 if r < 3 else 1 for _, r, _ in held.tolist())
    assert {e for row in kept for e in (row[0], row[2])} == {e for row in rows(graph.triples) for e in (row[0], row[2])}
    assert {row[1] for row in kept} == {0, 1, 2, 3}
    again, same = graph.hold_out(15, seed=0)
    assert torch.equal(held, same)
    assert torch.equal(rest.triples, again.triples)
    with pytest.raises(ValueError, match="1000 facts are to be held out, but only"):
        graph.hold_out(1000, seed=0)


def test_construction_errors() -> None:
    a, b, r = Entity("a", "A"), Entity("b", "B"), Relation("r", "R")
    for entities, relations, triples, message in (
        ([a, a], [r], [[0, 0, 1]], "entity id 'a' occurs more than once"),
        ([a, b], [r, r], [[0, 0, 1]], "relation id 'r' occurs more than once"),
        ([a, b], [r], [[0, 0, 1], [0, 1, 1]], r"triple 1 is \[0, 1, 1\], expected \(head, relation, tail\) below \[2, 1, 2\]"),
        ([a, b], [r], [[0, 0, 1], [0, 0, 1]], r"the triple \('a', 'r', 'b'\) occurs 2 times"),
        ([a, b], [r], [[0, 0]], r"shape \(1, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            Graph(entities, relations, torch.tensor(triples))
    crossed = Graph([a, b], [Relation("r", "R", inverse="s"), Relation("s", "S", inverse="s")], torch.tensor([[0, 0, 1]]))
    with pytest.raises(ValueError, match="the inverse of 'r' is 's', but that one's inverse is 's'"):
        crossed.with_inverses()


@pytest.mark.skipif(not SHARED.exists(), reason="the shared data sets are not here")
@pytest.mark.parametrize(("name", "count", "entities"), [("nations", 1592, 14), ("kinship", 8544, 104)])
def test_public_graphs(name: str, count: int, entities: int) -> None:
    names, skipped = read_names(SHARED / name / "train.txt")
    graph = Graph.from_names(names)
    assert (len(graph), graph.num_entities, skipped) == (count, entities, {})
    shuffled = graph.shuffled(0)
    assert torch.equal(shuffled.degrees(), graph.degrees())
