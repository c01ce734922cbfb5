"""The part of a graph that a model may know: without held-out triples, or with its tails exchanged as a control."""

from collections.abc import Sequence
from pathlib import Path

import torch

from kemm.kg.files import read_graph, read_triples
from kemm.kg.graph import Graph


def read_known(folder: Path, without: Sequence[Path] = (), shuffled: int | None = None) -> Graph:
    """Reads a graph's folder and leaves triples out.

    Args:
        folder: The graph.
        without: Files of held-out triples; each goes with the triple that says it backwards.
        shuffled: Seed of the control that exchanges tails within each relation; None for the true graph.
    """
    graph, _ = read_graph(folder)
    if without:
        held = torch.cat([read_triples(path, graph)[0] for path in without])
        inverses = torch.tensor(graph.inverses)[held[:, 1]]
        backwards = torch.stack([held[:, 2], inverses, held[:, 0]], 1)
        left_out = {tuple(row) for row in torch.cat([held, backwards]).tolist()}
        graph = graph.with_triples(torch.tensor([row for row in graph.triples.tolist() if tuple(row) not in left_out]))
    return graph if shuffled is None else graph.shuffled(shuffled)
