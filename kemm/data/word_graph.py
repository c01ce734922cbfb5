"""Word-knowledge graphs: a text whose mentions are entities, with facts of these around it (CoLAKE, arXiv 2010.00309, section 3.1;
txsun1997/CoLAKE: preprocess/gen_data.py, pretrain/dataset.py)."""

import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from kemm.batch import WordGraphInput
from kemm.data.known import Edge, Knowledge, Layout, Placed, specials
from kemm.data.source import EVALUATION, Reach
from kemm.data.tokens import TextReader

Node = TypeVar("Node", bound=Hashable)


class WordGraph(NamedTuple, Generic[Node]):
    """Nodes: words, then entities (those of the text first), then relations.

    Attributes:
        words: Tokens, the special ones included.
        entities: Each once.
        relations: One for each fact.
        positions: Soft positions of all nodes.
        visible: Bool (L, L): words and the text's entities see each other; a relation sees its head and its tail, and they it; all see
            themselves.
        places: The node of each part of the text: of its entity, or of its first word.
    """

    words: list[int]
    entities: list[Node]
    relations: list[Node]
    positions: list[int]
    visible: Tensor
    places: list[int]


def build_graph(
    parts: Iterable[tuple[Sequence[int], Node | None]],
    facts: Callable[[Node], Iterable[tuple[Node, Node]]],
    begin: Sequence[int] = (),
    end: Sequence[int] = (),
    longest: int = 200,
) -> WordGraph[Node]:
    """A text's graph. A mention is its entity's node in the place of its words, and takes one position; further mentions of the same
    entity stay words. A fact about an entity at position p has its relation at p + 1 and its tail, if that is new, at p + 2.

    Args:
        parts: The text in parts: tokens, and the entity that they mention.
        facts: The facts (relation, tail) of an entity of the text that join the graph.
        begin: Tokens before the text ([CLS]).
        end: Tokens behind it ([SEP]).
        longest: Words that are kept of each part.
    """
    words, word_positions = list(begin), list(range(len(begin)))
    anchors: dict[Node, int] = {}
    kept: list[tuple[str, Any]] = []
    position = len(begin)
    for tokens, entity in parts:
        if entity is not None and entity not in anchors:
            kept.append(("entity", len(anchors)))
            anchors[entity] = position
            position += 1
        else:
            kept.append(("word", len(words)))
            words += tokens[:longest]
            word_positions += range(position, position + len(tokens[:longest]))
            position += len(tokens[:longest])
    words += end
    word_positions += range(position, position + len(end))
    nodes = dict(anchors)
    links: list[tuple[Node, Node, Node, int]] = []
    for entity, place in anchors.items():
        for relation, tail in facts(entity):
            nodes.setdefault(tail, place + 2)
            links.append((entity, relation, tail, place + 1))
    entities = list(nodes)
    index = {entity: len(words) + i for i, entity in enumerate(entities)}
    length = len(words) + len(entities) + len(links)
    visible = torch.eye(length, dtype=torch.bool)
    visible[: len(words) + len(anchors), : len(words) + len(anchors)] = True
    for node, (head, _, tail, _) in enumerate(links, start=len(words) + len(entities)):
        for other in (index[head], index[tail]):
            visible[node, other] = visible[other, node] = True
    positions = [*word_positions, *nodes.values(), *(place for *_, place in links)]
    places = [place + len(words) * (kind == "entity") for kind, place in kept]
    return WordGraph(words, entities, [relation for _, relation, _, _ in links], positions, visible, places)


def collate(graphs: Sequence[WordGraph[int]], padding: tuple[int, int, int] = (0, 0, 0)) -> tuple[WordGraphInput, list[list[int]]]:
    """Graphs as a batch: a block of words, one of entities, one of relations, each as long as the longest and one place at least.

    A padded node stands at position 0, sees what is real, and is not seen.

    Args:
        graphs: Their nodes are rows of the tables.
        padding: Rows that fill up the blocks.

    Returns:
        The batch, and of each graph where its nodes went.
    """
    blocks = [(graph.words, graph.entities, graph.relations) for graph in graphs]
    sizes = [max(1, *(len(block[kind]) for block in blocks)) for kind in range(3)]
    sizes[0] = max(len(block[0]) for block in blocks)
    kinds = torch.cat([torch.full((size,), kind) for kind, size in enumerate(sizes)]).repeat(len(graphs), 1)
    ids = torch.tensor(padding)[kinds]
    positions = torch.zeros_like(ids)
    mask = torch.zeros(*ids.shape, ids.shape[1], dtype=torch.bool)
    moved = []
    for row, (graph, block) in enumerate(zip(graphs, blocks, strict=True)):
        starts = (0, sizes[0], sizes[0] + sizes[1])
        where = [start + i for start, nodes in zip(starts, block, strict=True) for i in range(len(nodes))]
        ids[row, where] = torch.tensor([node for nodes in block for node in nodes])
        positions[row, where] = torch.tensor(graph.positions)
        mask[row][:, where] = True
        mask[row][torch.tensor(where)[:, None], where] = graph.visible
        moved.append(where)
    return {"ids": ids, "kinds": kinds, "positions": positions, "mask": mask}, moved


def blocks(lengths: Sequence[int], least: int) -> Iterator[range]:
    """Sentences that stand together: as few as have `least` tokens, and what is left over at the end.

    Args:
        lengths: Tokens of each sentence.
        least: Tokens of a block.
    """
    start = 0
    for end in range(1, len(lengths) + 1):
        if sum(lengths[start:end]) >= least or end == len(lengths):
            yield range(start, end)
            start = end


class WordGraphs(Layout):
    """Texts as word-knowledge graphs, as `WordGraphEncoder` reads them; row 0 of the tables is "none", the hidden and the padded node.

    In training each entity of the text brings facts with the chance `share`, those that fit drawn by chance; in evaluation all bring their
    first ones.

    Args:
        graph: Folder of the graph that the facts are of.
        most: Facts told of each entity (0 for none).
        share: Chance that an entity's facts are told.
        without: Files of triples that are not told.
        shuffled: Seed of the control that exchanges tails within each relation; None for the true graph.
        seed: Of what is drawn.
    """

    def __init__(
        self,
        graph: Path,
        most: int = 15,
        share: float = 0.5,
        without: Sequence[Path] = (),
        shuffled: int | None = None,
        seed: int = 0,
    ) -> None:
        self.knowledge, self.most, self.share, self.seed = Knowledge(graph, without, shuffled), most, share, seed

    @property
    def reaches(self) -> dict[str, Reach]:
        known = self.knowledge.graph
        sizes = {"text.entities": known.num_entities + 1, "text.relations": known.num_relations + 1}
        return {name: Reach(size, str(self.knowledge.path)) for name, size in sizes.items()}

    def __call__(self, reader: TextReader, samples: Sequence[Placed], rows: Sequence[int], epoch: int) -> dict[str, Any]:
        padding_id = specials(reader)[2]
        graphs, nodes = [], []
        for sample, row in zip(samples, rows, strict=True):
            graph, of_token = self.graph(sample, row, epoch)
            graphs.append(graph)
            nodes.append([of_token[place] if place >= 0 else 0 for place in sample.places])
        text, moved = collate(graphs, (padding_id, 0, 0))
        places = [[where[node] for node in listed] for where, listed in zip(moved, nodes, strict=True)]
        return {"text": text, "places": torch.tensor(places)}

    def graph(self, sample: Placed, row: int, epoch: int) -> tuple[WordGraph[int], list[int]]:
        """A text's graph of rows of the tables, and the node of each token."""
        draw = random.Random(f"{self.seed}/{row}/{epoch}")
        parts, of_token = cut(sample)

        def facts(node: int) -> list[Edge]:
            known = self.knowledge.facts(node - 1, sample.hidden)
            if epoch != EVALUATION:
                known = draw.sample(known, len(known)) if draw.random() < self.share else []
            return [(relation + 1, tail + 1) for relation, tail in known[: self.most]]

        graph = build_graph([(tokens, None if entity < 0 else entity + 1) for tokens, entity in parts], facts, longest=len(sample.ids))
        starts = [graph.places[part] + offset * (graph.places[part] < len(graph.words)) for part, offset in of_token]
        return graph, starts


def cut(sample: Placed) -> tuple[list[tuple[list[int], int]], list[tuple[int, int]]]:
    """A text in parts (tokens, index of the entity or -1), and of each token its part and its place there."""
    owner = [(-1, -1)] * len(sample.ids)
    for (first, last), entity in sample.entities.items():
        owner[first : last + 1] = [(first, entity)] * (last + 1 - first)
    parts: list[tuple[list[int], int]] = []
    of_token: list[tuple[int, int]] = []
    for (_, entity), group in groupby(range(len(owner)), owner.__getitem__):
        places = list(group)
        of_token += [(len(parts), offset) for offset in range(len(places))]
        parts.append(([sample.ids[place] for place in places], entity))
    return parts, of_token
