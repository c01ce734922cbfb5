"""Texts in which some mentions name another entity of the same kind (WKLM, arXiv 1912.09637, section 2.2), as a source."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch

from kemm.batch import Batch
from kemm.data.candidates import LinkedMention
from kemm.data.linked import LinkedTexts
from kemm.data.source import EVALUATION, Reach
from kemm.kg import Entity, read_graph
from kemm.rows import OnBad


class Replaced(NamedTuple):
    """A text after replacement: the characters of its mentions (end exclusive), and which of them name another entity than before."""

    text: str
    spans: list[tuple[int, int]]
    replaced: list[bool]


class ReplacedMentions(LinkedTexts):
    """Texts of which some mentions are replaced; mentions whose entity is unknown are no mentions here.

    The batch has `text` (with the words of its tokens) and `mention`: `spans` (B, E, 2), -1 at padding, and `replaced` (B, E) bool.

    A text has a fixed number of versions, and each epoch reads the next; evaluation reads one of its own. In a version each mention is
    replaced with the same chance, but none whose neighbour in the text was: facts that stay true lie between those that do not. The
    other entity is of the same kind, and is called by one of its names at random, never by what stood there.

    Args:
        path: See `LinkedTexts`.
        tokenizer: A tokenizer file.
        graph: Folder of the graph that the entities are of: their kinds and names.
        max_length: Longer texts are cut, in tokens.
        rate: Chance that a mention is replaced whose neighbour before it was not.
        versions: Number of versions of a text.
        seed: Of the replacements.
        on_bad: What happens to a bad line: an error that names it, or it is skipped and counted.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A line is bad, or none is left; `rate` is no chance, or there is no version.
    """

    def __init__(
        self,
        path: Path,
        tokenizer: Path,
        graph: Path,
        max_length: int = 128,
        rate: float = 0.5,
        versions: int = 10,
        seed: int = 0,
        on_bad: OnBad = "error",
    ) -> None:
        if not 0 < rate <= 1 or versions < 1:
            raise ValueError(f"rate is {rate} and versions {versions}, expected a rate in (0, 1] and at least one version")
        super().__init__(path, tokenizer, graph, max_length, on_bad=on_bad)
        self.rate, self.versions, self.seed = rate, versions, seed
        self.entities = read_graph(graph)[0].entities
        self.kinds: dict[str, list[Entity]] = {}
        for entity in self.entities:
            self.kinds.setdefault(entity.kind, []).append(entity)

    @property
    def reaches(self) -> dict[str, Reach]:
        return self.reader.reaches

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        chosen = [self.replaced(row, epoch) for row in rows]
        tokens = self.reader([version.text for version in chosen])
        placed = [
            [(span, changed) for span, changed in zip(tokens.spans(row, version.spans), version.replaced, strict=True) if span[0] >= 0]
            for row, version in enumerate(chosen)
        ]
        number = max(1, *(len(listed) for listed in placed))
        spans, replaced = torch.full((len(rows), number, 2), -1), torch.zeros(len(rows), number, dtype=torch.bool)
        for row, listed in enumerate(placed):
            for place, (span, changed) in enumerate(listed):
                spans[row, place], replaced[row, place] = torch.tensor(span), changed
        return {
            "id": torch.tensor(rows),
            "text": {"ids": tokens.ids, "mask": tokens.mask, "words": tokens.words},
            "mention": {"spans": spans, "replaced": replaced},
        }

    def replaced(self, row: int, epoch: int) -> Replaced:
        """The version of a text that an epoch reads."""
        version = EVALUATION if epoch == EVALUATION else epoch % self.versions
        text, mentions = self.texts[row]
        listed = sorted((mention for mention in mentions if mention.gold), key=lambda mention: mention.start)
        draw = Random(f"{self.seed}/{row}/{version}")
        return replace(text, listed, self._names(listed, text), self.rate, draw)

    def _names(self, mentions: Sequence[LinkedMention], text: str) -> list[Mapping[str, tuple[str, ...]]]:
        """For each mention the entities that may take its place, with their names."""
        found: list[Mapping[str, tuple[str, ...]]] = []
        for mention in mentions:
            own, surface = self.entities[self.known[mention.gold]], text[mention.start : mention.end].casefold()
            others = {
                entity.id: tuple(name for name in entity.surfaces if name.casefold() != surface)
                for entity in self.kinds[own.kind]
                if entity.id != own.id
            }
            found.append({id: names for id, names in others.items() if names})
        return found


def replace(
    text: str, mentions: Sequence[LinkedMention], names: Sequence[Mapping[str, Sequence[str]]], rate: float, draw: Random
) -> Replaced:
    """A text some of whose mentions are replaced, none beside another that is.

    Args:
        text: The text.
        mentions: Its mentions, in their order; one that overlaps the one before is left out.
        names: For each mention the entities that may take its place, with what they are called.
        rate: Chance that a mention is replaced where the one before was not.
        draw: The random numbers.
    """
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    changed: list[bool] = []
    length = read = 0
    for mention, others in zip(mentions, names, strict=True):
        if mention.start < read:
            continue
        before, surface = text[read : mention.start], text[mention.start : mention.end]
        change = bool(others) and not (changed and changed[-1]) and draw.random() < rate
        if change:
            surface = draw.choice(others[draw.choice(sorted(others))])
        start = length + len(before)
        length, read = start + len(surface), mention.end
        parts += [before, surface]
        spans.append((start, length))
        changed.append(change)
    return Replaced("".join([*parts, text[read:]]), spans, changed)
