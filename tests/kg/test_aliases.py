"""Candidates of a surface form."""

import pytest
import torch

from kemm.kg import AliasIndex, Candidate, Entity, Graph


@pytest.fixture
def graph() -> Graph:
    entities = [
        Entity("g1", "Georgia", aliases=("Sakartvelo", "Georgia")),
        Entity("g2", "Georgia"),
        Entity("us", "United States", aliases=("US",)),
    ]
    return Graph(entities, [], torch.empty(0, 3, dtype=torch.int64))


def test_priors(graph: Graph) -> None:
    index = AliasIndex.from_graph(graph)
    assert index.candidates("Georgia") == [Candidate(0, 0.5), Candidate(1, 0.5)]
    counted = AliasIndex.from_graph(graph, {("Georgia", 1): 7, ("Peach State", 1): 2})
    assert counted.candidates("Georgia") == [Candidate(1, 8 / 9), Candidate(0, 1 / 9)]
    assert counted.candidates("Georgia", limit=1) == [Candidate(1, 1.0)]
    assert counted.candidates("Peach State") == [Candidate(1, 1.0)]


def test_spelling(graph: Graph) -> None:
    index = AliasIndex.from_graph(graph)
    assert index.candidates("united  STATES") == [Candidate(2, 1.0)]
    assert "sakartvelo" in index
    assert "Atlantis" not in index
    assert index.candidates("Atlantis") == []
    assert sorted(index) == ["Georgia", "Sakartvelo", "US", "United States"]
    assert len(index) == 4
    exact = AliasIndex([("us", 5, 1.0), ("US", 2, 3.0)])
    assert exact.candidates("us") == [Candidate(5, 1.0)]
    assert exact.candidates("Us") == [Candidate(2, 0.75), Candidate(5, 0.25)]


def test_a_weight_must_be_positive() -> None:
    with pytest.raises(ValueError, match="the weight of 'x' for entity 3 is 0"):
        AliasIndex([("x", 3, 0)])


def test_weights_can_be_taken_off() -> None:
    index = AliasIndex([("Niger", 1, 3.1), ("Niger", 2, 0.1), ("Niger", 3, 2.0)])
    assert [entity for entity, _ in index.candidates("Niger", without={1: 3.0, 3: 2.0})] == [1, 2]
    assert [prior for _, prior in index.candidates("Niger", without={1: 3.0, 3: 2.0})] == pytest.approx([0.5, 0.5])
    assert index.candidates("Niger", without={7: 1.0}) == index.candidates("Niger")
