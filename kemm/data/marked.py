"""Texts of which some places are marked, beside the entities that stand in them: the base of typing and relation classification."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kemm.batch import Batch
from kemm.data.known import Layout, Placed
from kemm.data.source import Reach, Source
from kemm.data.tokens import TextReader, Tokens
from kemm.kg import Labels, read_graph
from kemm.rows import Gate, OnBad, RowError, list_of, read_list

Span = tuple[int, int]
"""Characters of a text, the end exclusive."""


class Entities(NamedTuple):
    """What stands in a text: spans, and for each the index of its entity in the graph."""

    spans: list[Span]
    indices: list[int]


class Marked(NamedTuple):
    """A sample: its text, the spans that are asked about, the entities that stand in it, the places of its labels in their list."""

    text: str
    spans: list[Span]
    entities: Entities
    labels: list[int]


class MarkedTexts(Source):
    """Texts with marked spans; subclasses say how a row is read and what its labels become.

    The batch has `text`, `places` (B, N), the first token of each marked span (a span that was cut off with its text is read at the first
    token), and `entity` (B, T): an entity at the first token of its mention, as ERNIE aligns them (arXiv 1905.07129, section 3.1); the
    first token, [CLS], sees and is seen without one. A layout puts entities, and facts about them, into the text itself instead (K-BERT,
    CoLAKE): then there is no `entity`.

    Args:
        path: JSON: a list of rows.
        labels: The training file, which says what labels there are.
        tokenizer: A tokenizer file.
        graph: Folder of the graph that the entities are of.
        parse: Makes a sample of a row.
        max_length: Longer texts are cut, in tokens.
        on_bad: What happens to a bad row: an error that names it, or it is skipped and counted.
        layout: How entities enter the text; None for beside it.
    """

    def __init__(
        self,
        path: Path,
        labels: Path,
        tokenizer: Path,
        graph: Path,
        parse: Callable[[Any], Marked],
        max_length: int,
        on_bad: OnBad,
        layout: Layout | None = None,
    ) -> None:
        self.reader, self.graph, self.gate, self.layout = TextReader(tokenizer, max_length), graph, Gate(on_bad), layout
        self.labels = Labels(labels)
        self.known: Mapping[str, int] = read_graph(graph)[0].entity_index
        self.samples: list[Marked] = []
        for where, row in read_list(path, "labelled texts"):
            with self.gate.row(where):
                self.samples.append(parse(row))
        if not self.samples:
            raise ValueError(f"{path}: expected labelled texts, and none is left; skipped: {self.skipped}")

    @property
    def skipped(self) -> dict[str, int]:
        return dict(self.gate.skipped)

    @property
    def reaches(self) -> dict[str, Reach]:
        beside = {"entity.ids": Reach(len(self.known) + 1, str(self.graph))}
        return {**self.reader.reaches, **(self.layout.reaches if self.layout else beside)}

    def __len__(self) -> int:
        return len(self.samples)

    def marked(self, rows: Sequence[int], epoch: int) -> Batch:
        """The batch without labels."""
        chosen = [self.samples[row] for row in rows]
        tokens = self.reader([sample.text for sample in chosen])
        if self.layout is not None:
            placed = [place(tokens, row, sample.entities, sample.spans) for row, sample in enumerate(chosen)]
            return {"id": torch.tensor(rows), **self.layout(self.reader, placed, rows, epoch)}
        places = [[first for first, _ in tokens.spans(row, sample.spans)] for row, sample in enumerate(chosen)]
        ids = self._aligned(tokens, [sample.entities for sample in chosen])
        mask = ids > 0
        mask[:, 0] = True
        return {
            "id": torch.tensor(rows),
            "text": {"ids": tokens.ids, "mask": tokens.mask},
            "entity": {"ids": ids, "mask": mask},
            "places": torch.tensor(places).clamp(min=0),
        }

    def _aligned(self, tokens: Tokens, entities: Sequence[Entities]) -> Tensor:
        ids = torch.zeros_like(tokens.ids)
        for row, (spans, indices) in enumerate(entities):
            for (first, _), index in zip(tokens.spans(row, spans), indices, strict=True):
                if first >= 0:
                    ids[row, first] = index + 1  # row 0 of the table is "none"
        return ids

    def entities(self, row: Any, key: str, text: str, confidence: float) -> Entities:
        """The entities `key: [[id, start, end, confidence], ...]` of a row that are sure enough.

        Args:
            row: The row.
            key: Where they are listed.
            text: The row's text.
            confidence: Entities of less are left out.

        Raises:
            RowError: One is malformed, unknown or outside the text.
        """
        spans, indices = [], []
        for place, entry in enumerate(list_of(row, key)):
            entity, span, sure = parse_entity(entry, f"{key}[{place}]", text)
            if not isinstance(entity, str) or entity not in self.known:
                raise RowError("unknown id", f"{key}[{place}]: the entity {entity!r} is not among the {len(self.known)} of {self.graph}")
            if sure >= confidence:
                spans.append(span)
                indices.append(self.known[entity])
        return Entities(spans, indices)


def place(tokens: Tokens, row: int, entities: Entities, asked: Sequence[Span] = ()) -> Placed:
    """A text's tokens with its entities, the first of those that overlap.

    Args:
        tokens: A batch of texts.
        row: Which of them.
        entities: What stands in it.
        asked: The spans that are asked about; no fact may be told between their entities where there are several.
    """
    found: dict[tuple[int, int], int] = {}
    free = 0
    for (first, last), index in sorted(zip(tokens.spans(row, entities.spans), entities.indices, strict=True)):
        if first >= free:
            found[first, last], free = index, last + 1
    between = {index for span, index in zip(*entities, strict=True) if span in asked} if len(asked) > 1 else set()
    places = [first for first, _ in tokens.spans(row, asked)]
    return Placed(tokens.ids[row][tokens.mask[row]].tolist(), found, places, between)


def parse_entity(entry: Any, where: str, text: str) -> tuple[Any, Span, float]:
    """An entry `[id, start, end]` or `[id, start, end, confidence]` of a row: the id, the characters, the confidence (1 by default).

    Raises:
        RowError: It is something else, or lies outside the text.
    """
    if not isinstance(entry, list) or len(entry) not in (3, 4):
        raise RowError("malformed", f"{where} is {entry!r:.80}, expected [entity id, start, end, confidence]")
    entity, start, end, sure = (*entry, 1.0)[:4]
    if type(sure) not in (int, float) or not math.isfinite(sure):
        raise RowError("malformed", f"{where}: the confidence of {entity!r} is {sure!r}, expected a finite number")
    return entity, parse_span(start, end, where, text), float(sure)


def parse_span(start: Any, end: Any, where: str, text: str) -> Span:
    """The characters from `start` to `end`, the end exclusive.

    Raises:
        RowError: They lie outside the text.
    """
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
        raise RowError("offset", f"{where}: characters {start!r} to {end!r}, expected a part of the text's {len(text)}, the end exclusive")
    return start, end
