"""How what is known of a text's entities is laid out beside its words: the base of `Injection` (K-BERT) and `WordGraphs` (CoLAKE)."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kemm.data.source import Reach
from kemm.data.tokens import PADDING, TextReader
from kemm.kg import read_known

Edge = tuple[int, int]
"""A relation and a tail, as indices."""


class Placed(NamedTuple):
    """A text as tokens, with the entities that stand in it.

    Attributes:
        ids: Its tokens, special ones included.
        entities: First and last token (inclusive) of each mention -> index of its entity; mentions do not overlap.
        places: First token of each place that is asked about, -1 where it was cut off.
        hidden: Entities between which no fact may be told: those that are asked about.
    """

    ids: list[int]
    entities: Mapping[tuple[int, int], int]
    places: Sequence[int] = ()
    hidden: Collection[int] = ()


class Layout:
    """Makes the input of texts and their entities."""

    def __call__(self, reader: TextReader, samples: Sequence[Placed], rows: Sequence[int], epoch: int) -> dict[str, Any]:
        """The batch's `text`, and `places` (B, N) in it.

        Args:
            reader: What made the tokens.
            samples: The texts.
            rows: Their numbers, which key what is drawn with the epoch.
            epoch: See `Source.batch`.
        """
        raise NotImplementedError

    @property
    def reaches(self) -> dict[str, Reach]:
        """How far ids reach, those of the tokens apart."""
        return {}


class Knowledge:
    """The facts of a graph by their heads.

    Args:
        graph: Folder of the graph.
        without: Files of triples that are left out, with the same read backwards.
        shuffled: Seed of the control that exchanges tails within each relation; None for the true graph.
    """

    def __init__(self, graph: Path, without: Sequence[Path] = (), shuffled: int | None = None) -> None:
        self.path, self.graph = graph, read_known(graph, without, shuffled)
        self.names = [entity.name for entity in self.graph.entities], [relation.name for relation in self.graph.relations]

    def facts(self, entity: int, hidden: Collection[int] = ()) -> list[Edge]:
        """The facts that begin with an entity, in the order of the graph; those between two entities of `hidden` are left out."""
        edges: list[Edge] = [(relation, tail) for relation, tail in self.graph.neighbours(entity).tolist()]
        return [edge for edge in edges if entity not in hidden or edge[1] not in hidden]

    def text(self, fact: Edge) -> str:
        """A fact without its head in words: "capital Gitega"."""
        relation, tail = fact
        entities, relations = self.names
        return f"{relations[relation]} {entities[tail]}"


def specials(reader: TextReader) -> tuple[int, int, int]:
    """The ids that begin and end a text, and that of padding.

    Raises:
        ValueError: The tokenizer does not put a token before and one behind each text.
    """
    around = reader.tokenizer.encode("").ids
    if len(around) != 2:
        raise ValueError(f"{reader.path}: expected a tokenizer that begins and ends a text with one token each, it adds {len(around)}")
    padding = [id for id in map(reader.tokenizer.token_to_id, PADDING) if id is not None]
    return around[0], around[1], padding[0]
