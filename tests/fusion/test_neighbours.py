"""What candidates hear of each other, against loops over all pairs."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kemm.batch import Stream
from kemm.fusion import Neighbours
from kemm.kg import Entity, Graph, Relation, write_graph

# Rows of the table: 1 Niger (country), 2 Niger (river), 3 franc, 4 rouble, 5 Mali.
TRIPLES = [(0, 0, 2), (4, 0, 2), (0, 1, 4), (4, 1, 0), (0, 2, 1), (0, 3, 4)]
IDS = torch.tensor([[[1, 2], [3, 4], [5, 0], [1, 0]], [[5, 0], [0, 0], [0, 0], [0, 0]]])
DECAYS = (0.0, 0.5)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    entities = [Entity(name, name, "thing") for name in ("niger", "river", "franc", "rouble", "mali")]
    names = (("currency", "currency_of"), ("borders", "borders"), ("through", "flows"), ("friend", "of"))
    relations = [Relation(name, name, inverse) for name, inverse in names]
    write_graph(Graph(entities, relations, torch.tensor(TRIPLES)), tmp_path)
    return tmp_path


def make(graph: Path, linking: str = "", **arguments: object) -> Neighbours:
    torch.manual_seed(0)
    return Neighbours(4, graph, "candidate", linking, DECAYS, **arguments).double()  # type: ignore[arg-type]


def inputs() -> tuple[dict[str, Stream], dict[str, dict[str, Tensor]]]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 4, 2, 4, generator=generator).double()
    scores = Stream(torch.randn(2, 4, 2, 1, generator=generator).double(), IDS > 0)
    priors = torch.rand(2, 4, 2, generator=generator).double() * (IDS > 0)
    return {"candidate": Stream(x, IDS > 0), "scores": scores}, {"candidate": {"ids": IDS, "priors": priors}}


def relations(one: int, other: int) -> list[int]:
    """Relations of the graph with inverses, in its order: the symmetric one is its own inverse; the last place is "the same"."""
    order = {0: 4, 2: 5, 3: 6}
    found = [r for h, r, t in TRIPLES if (h + 1, t + 1) == (one, other)]
    found += [order[r] for h, r, t in TRIPLES if r in order and (t + 1, h + 1) == (one, other)]
    return [7] if one == other else found


def reference(fusion: Neighbours, weights: Tensor, x: Tensor) -> Tensor:
    result = x.clone()
    for b in range(2):
        for i in range(4):
            for a in range(2):
                counts = torch.zeros(len(DECAYS), 8).double()
                for j in range(4):
                    for c in range(2):
                        if i != j and IDS[b, i, a] > 0 and IDS[b, j, c] > 0:
                            for r in relations(int(IDS[b, i, a]), int(IDS[b, j, c])):
                                for d, decay in enumerate(DECAYS):
                                    counts[d, r] += float(weights[b, j, c]) * math.exp(-decay * abs(i - j))
                result[b, i, a] += fusion.join.weight.detach() @ torch.log(1 + counts.flatten())
    return result


@pytest.mark.parametrize("linking", ["", "scores"])
def test_equals_loops(graph: Path, linking: str) -> None:
    fusion, (streams, batch) = make(graph, linking), inputs()
    weights = batch["candidate"]["priors"]
    if linking:
        weights = streams["scores"].x[..., 0].masked_fill(IDS == 0, -1e4).softmax(-1) * (IDS > 0)
    fused = fusion(streams, batch, None)["candidate"]  # type: ignore[arg-type]
    torch.testing.assert_close(fused.x, reference(fusion, weights, streams["candidate"].x), rtol=0, atol=1e-12)
    assert torch.equal(fused.mask, IDS > 0)


def test_every_relation_of_two_entities_counts(graph: Path) -> None:
    edges = make(graph).edges
    assert edges.sets[edges(torch.tensor([1]), torch.tensor([5]))][0].nonzero()[:, 0].tolist() == [1, 3]
    assert edges.sets[edges(torch.tensor([5]), torch.tensor([5]))][0].nonzero()[:, 0].tolist() == [7]
    assert not edges.sets[edges(torch.tensor([4]), torch.tensor([1]))].any()


def test_held_out_triples_are_not_known(graph: Path) -> None:
    (graph / "held.tsv").write_text("mali\tcurrency\tfranc\n")
    pair = torch.tensor([5]), torch.tensor([3])
    known, held = make(graph).edges, make(graph, without=[graph / "held.tsv"]).edges
    assert known.sets[known(*pair)].any() and not held.sets[held(*pair)].any()
    assert not held.sets[held(pair[1], pair[0])].any()


def test_what_one_mention_may_mean_says_nothing_about_itself(graph: Path) -> None:
    fusion, (streams, batch) = make(graph), inputs()
    alone = {"candidate": {name: value[:, :1] for name, value in batch["candidate"].items()}}
    stream = Stream(streams["candidate"].x[:, :1], IDS[:, :1] > 0)
    assert torch.equal(fusion({"candidate": stream}, alone, None)["candidate"].x, stream.x)  # type: ignore[arg-type]
