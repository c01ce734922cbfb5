"""Annotated passages: plain text files in which `[[id|surface]]` marks a mention, and their parts for training, tuning and testing.

    # country:austria
    Where the eastern [[mountain:alps|Alps]] sink towards the plain, ...

A line `# id` names the entity that the passage is about; the passage follows as one paragraph, to the next empty line or heading.
"""

import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from kemm.kg import Graph

MARK = re.compile(r"\[\[([^\[\]|]*)\|([^\[\]|]*)\]\]")
SPLITS = {"train": 0.6, "tune": 0.1, "test": 0.3}
# A full stop after these does not end a sentence; initials such as "J." do not either.
ABBREVIATION = re.compile(r"(?:\b(?:St|Mt|Dr|Mr|Mrs|No|ca|vs|Ft|e\.g|i\.e)|\b[A-Z])\.$")
# Straight quotation marks, then the curly ones by their code points.
OPENING, CLOSING = "\"'\u201c\u2018(", "\"'\u201d\u2019)"
END = re.compile(rf"[.!?][{CLOSING}]*(?=\s+[{OPENING}]?[^\W\d_a-z])|[.!?][{CLOSING}]*(?=\s+\d)")


class Span(NamedTuple):
    """A mention with its entity; offsets count characters of the text."""

    start: int
    end: int
    entity: str


@dataclass(frozen=True)
class Passage:
    """A paragraph.

    Args:
        id: File name and number, such as "africa-7".
        entity: What it is about.
        text: Without markup.
        spans: The mentions, from left to right.
        split: "train", "tune" or "test".
    """

    id: str
    entity: str
    text: str
    spans: tuple[Span, ...]
    split: str = ""

    def row(self) -> dict[str, Any]:
        """The line of `passages.jsonl`."""
        mentions = [span._asdict() for span in self.spans]
        return {"id": self.id, "entity": self.entity, "text": self.text, "mentions": mentions, "split": self.split}

    def sentences(self) -> list["Passage"]:
        """Each sentence as a passage of its own, with offsets that count from its start; no sentence ends inside a mention."""
        cuts = [0]
        for match in END.finditer(self.text):
            stop = match.end()
            if not ABBREVIATION.search(self.text[:stop].rstrip(CLOSING)) and not any(span.start < stop < span.end for span in self.spans):
                cuts.append(stop)
        cuts.append(len(self.text))
        parts: list[Passage] = []
        for start, end in pairwise(cuts):
            start += len(self.text[start:end]) - len(self.text[start:end].lstrip())
            if self.text[start:end].strip():
                inside = tuple(Span(span.start - start, span.end - start, span.entity) for span in self.spans if start <= span.start < end)
                parts.append(replace(self, id=f"{self.id}.{len(parts)}", text=self.text[start:end].rstrip(), spans=inside))
        return parts


def join(passage: Passage, sentences: Iterable[Passage]) -> Passage:
    """A passage made of some of its sentences, with offsets put right."""
    text, spans = "", []
    for sentence in sentences:
        text += " " if text else ""
        spans += [Span(span.start + len(text), span.end + len(text), span.entity) for span in sentence.spans]
        text += sentence.text
    return replace(passage, text=text, spans=tuple(spans))


def read_passages(files: Sequence[Path], known: Collection[str]) -> list[Passage]:
    """Reads and checks annotated files.

    Args:
        files: In the order of the passages.
        known: Entity ids that may be used.

    Raises:
        ValueError: Every broken mark, unknown id and misplaced line, each with file and line, what was given and what was expected.
    """
    passages: list[Passage] = []
    faults: list[str] = []
    for path in files:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: expected a readable UTF-8 file: {error}") from error
        entity, number = "", 0
        for place, line in enumerate(lines, start=1):
            where = f"{path}:{place}"
            if line.startswith("#"):
                entity = line[1:].strip()
                if entity not in known:
                    faults.append(f"{where}: the heading {entity!r} is not the id of an entity of the graph")
            elif line.strip() and not entity:
                faults.append(f"{where}: expected a heading '# id' before the text {line[:40]!r}")
            elif line.strip():
                number += 1
                text, spans = _strip(line.strip(), where, known, faults)
                passages.append(Passage(f"{path.stem}-{number}", entity, text, spans))
                entity = ""
    if faults:
        more = f"\n... and {len(faults) - 40} more" if len(faults) > 40 else ""
        raise ValueError(f"{len(faults)} faults in the passages:\n" + "\n".join(faults[:40]) + more)
    return passages


def _strip(line: str, where: str, known: Collection[str], faults: list[str]) -> tuple[str, tuple[Span, ...]]:
    """The text without marks, and the mentions in it."""
    text, spans, done = "", [], 0
    for match in MARK.finditer(line):
        text += line[done : match.start()]
        entity, surface = match.groups()
        if entity not in known:
            faults.append(f"{where}: column {match.start() + 1}: the id {entity!r} of the mention {surface!r} is not in the graph")
        if not surface or surface != surface.strip():
            faults.append(f"{where}: column {match.start() + 1}: expected a surface form without outer spaces, given {surface!r}")
        spans.append(Span(len(text), len(text) + len(surface), entity))
        text += surface
        done = match.end()
    text += line[done:]
    for sign in ("[[", "]]", "|"):
        if sign in text:
            faults.append(f"{where}: column {line.find(sign) + 1}: a broken mark {sign!r}, expected [[id|surface]]")
            break
    return text, tuple(spans)


def split_passages(passages: Sequence[Passage], seed: int) -> list[Passage]:
    """Gives each passage a split by chance: 60, 10 and 30 per cent in each file, so that every part of the world is in every split."""
    files: dict[str, list[int]] = {}
    for index, passage in enumerate(passages):
        files.setdefault(passage.id.rpartition("-")[0], []).append(index)
    named = list(passages)
    for name, indices in files.items():
        random.Random(f"{seed}/{name}").shuffle(indices)
        first, second = round(len(indices) * SPLITS["train"]), round(len(indices) * (SPLITS["train"] + SPLITS["tune"]))
        for place, index in enumerate(indices):
            named[index] = replace(passages[index], split="train" if place < first else "tune" if place < second else "test")
    return named


def count_senses(passages: Iterable[Passage], graph: Graph) -> Counter[tuple[str, int]]:
    """How often each (surface form, entity index) is annotated: the counts behind the priors of candidates."""
    return Counter((passage.text[start:end], graph.entity_index[entity]) for passage in passages for start, end, entity in passage.spans)
