"""p(e|m): how often a stretch of text that links somewhere links to an entity, from a file of counts made by others.

YAGO's and CrossWikis' dictionaries, merged (Ganea and Hofmann, arXiv 1704.04920, section 4; read as allenai/kb: kb/wiki_linking_util.py):

    mention<TAB>how often it links<TAB>number,probability,Title<TAB>number,probability,Title ...
"""

import math
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

from kemm.rows import Gate, RowError

Entry = tuple[tuple[str, float], ...]
"""(entity id, prior), the most probable first; the priors sum to 1."""

WORDS = 5
"""A mention's words at most."""

# fmt: off
STOP_WORDS = frozenset([
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "did", "do", "does", "for", "from", "had", "has", "have",
    "he", "her", "his", "how", "i", "if", "in", "into", "is", "it", "its", "me", "my", "no", "nor", "not", "of", "off", "on",
    "or", "our", "out", "over", "she", "so", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this",
    "those", "to", "too", "under", "up", "us", "was", "we", "were", "what", "when", "where", "which", "who", "whom", "whose",
    "why", "will", "with", "would", "you", "your",
])
# fmt: on

_WORD = re.compile(r"(?:[^\W\d_]\.){2,}|\w+(?:['’]\w+)*|[^\w\s]")  # U.S., isn't, ! # noqa: RUF001


class Dictionary:
    """Mention -> candidates.

    Args:
        path: The file.
        known: Ids of the entities that may be candidates.
        by: Which of the file's fields is their id: the Wikipedia "title" (with underscores), or its "number".
        most: Candidates kept per mention.
        gate: What happens to a bad line.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is bad.
    """

    def __init__(
        self, path: Path, known: Collection[str], by: Literal["title", "number"] = "title", most: int = 30, gate: Gate | None = None
    ) -> None:
        if by not in ("title", "number"):
            raise ValueError(f"by is {by!r}, expected 'title' or 'number'")
        self.entries: dict[str, tuple[int, Entry]] = {}
        gate = gate or Gate()
        for where, line in gate.lines(path, "a dictionary of mentions"):
            with gate.row(where):
                mention, count, found = _parse(line, by)
                kept = tuple((name, p) for name, p in found if name in known)[:most]
                # Of a mention that comes twice, the line that was counted oftener stays.
                if mention not in self.entries or count > self.entries[mention][0]:
                    self.entries[mention] = (count, kept)
        self._lower: dict[str, Entry] = {}
        for mention in self.entries:
            self._lower.setdefault(mention.lower(), ())
        for mention, (_, candidates) in self.entries.items():
            self._lower[mention.lower()] = _merge(self._lower[mention.lower()], candidates, most)

    def __len__(self) -> int:
        return len(self.entries)

    def find(self, surface: str) -> Entry | None:
        """The candidates of a stretch of text; none where its entities are all unknown, None where the dictionary lacks it.

        As it is written, or with capitals, whichever was counted oftener; if neither is there, without regard to case.
        """
        form = " ".join(surface.split())
        counted = [self.entries[name] for name in (form.title(), form) if name in self.entries]
        found = max(counted, key=lambda entry: entry[0])[1] if counted else self._lower.get(form.lower())
        total = sum(p for _, p in found or ())
        return None if found is None else tuple((name, p / total) for name, p in found)


def spans_of(text: str) -> Iterator[tuple[int, int]]:
    """Characters (end exclusive) of all stretches of at most `WORDS` words that hold no punctuation, and neither begin nor end with a stop
    word."""
    words = [(match.start(), match.end()) for match in _WORD.finditer(text)]
    stops = [text[start:end].lower() in STOP_WORDS for start, end in words]
    for first, (start, _) in enumerate(words):
        for last in range(first, min(first + WORDS, len(words))):
            begin, end = words[last]
            if not text[begin].isalnum():
                break
            if not stops[first] and not stops[last]:
                yield start, end


def _merge(one: Entry, other: Entry, most: int) -> Entry:
    best = dict(one)
    for name, p in other:
        best[name] = max(p, best.get(name, 0.0))
    return tuple(sorted(best.items(), key=lambda item: -item[1])[:most])


def _parse(line: str, by: str) -> tuple[str, int, list[tuple[str, float]]]:
    mention, *cells = line.rstrip().split("\t")
    if not mention.strip() or not cells or not cells[0].isdigit():
        raise RowError("malformed", f"expected a mention, a tab, how often it links, and entities with tabs before them, got {line[:80]!r}")
    found = []
    for place, cell in enumerate(cells[1:], start=1):
        parts = [part.strip() for part in cell.split(",", 2)]
        if len(parts) != 3 or not parts[0].isdigit() or not parts[2]:
            raise RowError("malformed", f"entity {place} is {cell[:80]!r}, expected number,probability,title")
        try:
            p = float(parts[1])
        except ValueError:
            p = math.nan
        if not 0 <= p <= 1 + 1e-6:
            raise RowError("prior", f"the probability of entity {place} is {parts[1]!r}, expected a number from 0 to 1")
        if p > 0:
            found.append((parts[2] if by == "title" else parts[0], p))
    return mention, int(cells[0]), sorted(found, key=lambda pair: -pair[1])
