"""Entities by the relations around them."""

import math
from pathlib import Path

import pytest
import torch

from kemm.encoders import GraphEncoder
from kemm.kg import Entity, Graph, Relation, write_graph


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    entities = [
        Entity("mali", "mali", "country"),
        Entity("niger", "niger", "country|river"),
        Entity("franc", "franc", "money"),
        Entity("nowhere", "nowhere", "money"),
    ]
    relations = [Relation("currency", "currency", "currency_of"), Relation("borders", "borders", "borders")]
    write_graph(Graph(entities, relations, torch.tensor([[0, 0, 2], [1, 0, 2], [0, 1, 1], [1, 1, 0]])), tmp_path)
    return tmp_path


COUNTS = [[0, 0, 0], [1, 1, 0], [1, 1, 0], [0, 0, 2], [0, 0, 0]]
"""Row of the table -> edges of currency, borders, currency_of."""
KINDS = [[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 1, 0], [0, 1, 0]]
"""Row of the table -> whether it is a country, money, a river."""


def test_a_vector_is_made_of_the_edges_by_relation(graph: Path) -> None:
    encoder = GraphEncoder(5, graph)
    layer = encoder.embed.project
    stream = encoder.embed({"ids": torch.tensor([[3, 1, 0]])})
    for place, row in enumerate((3, 1, 0)):
        expected = []
        for line, bias in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True):
            known = [*(math.log(1 + n) for n in COUNTS[row]), *KINDS[row]]
            expected.append(bias + sum(weight * n for weight, n in zip(line, known, strict=True)))
        torch.testing.assert_close(stream.x[0, place], torch.tensor(expected))
    assert stream.mask.tolist() == [[True, True, False]]


def test_the_table_holds_the_same_vectors(graph: Path) -> None:
    encoder = GraphEncoder(5, graph)
    assert encoder.table.shape == (5, 5)
    torch.testing.assert_close(encoder.table, encoder.embed({"ids": torch.arange(5)[None]}).x[0])


def test_held_out_edges_do_not_count(graph: Path) -> None:
    (graph / "held.tsv").write_text("mali\tborders\tniger\n")
    assert GraphEncoder(5, graph, [graph / "held.tsv"]).embed.marks[:3, :3].expm1().round().tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 0]]
