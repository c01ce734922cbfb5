"""Few-shot relation classification as a source of episodes: N relations, K examples of each, and queries (FewRel, arXiv 1810.10147;
with none of the above FewRel 2.0, arXiv 1910.07124; thunlp/FewRel: fewshot_re_kit/data_loader.py)."""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch

from kemm.batch import Batch
from kemm.data.source import Reach, Source
from kemm.data.tokens import TextReader
from kemm.rows import Gate, OnBad, RowError, list_of, require_file

MARKS = ("#", "$")
"""What stands before and behind head and tail, as in ERNIE's FewRel (thunlp/ERNIE: code/run_fewrel.py)."""


class Example(NamedTuple):
    """A marked text, and the characters at which the marks of head and tail begin."""

    text: str
    places: tuple[int, int]


class Episodes(Source):
    """Episodes: a sample of the source is an episode, and each of its texts a sample of the batch.

    The batch has `text`; `places` (B, 2), the marks before head and tail; `episode` (B,), the texts' episodes, counted within the batch;
    `way` (B,), which of the episode's relations a text tells, N where it is none of them; `query` (B,) bool, False for the examples.
    The examples come first, relation after relation, then the queries, then those of none.

    Args:
        path: FewRel's JSON: {relation: [{"tokens": [...], "h": [name, id, [[token, ...], ...]], "t": the same}]}.
        tokenizer: A tokenizer file.
        ways: N, the relations of an episode.
        shots: K, the examples of each.
        queries: Queries of each.
        none_rate: Queries of none of the relations, in `queries`: 5 makes them half of the queries of 5 ways.
        episodes: Number of episodes; each epoch draws others, evaluation always the same.
        max_length: Longer texts are cut, in tokens; a mark that is cut off is read at the first token.
        seed: Of the episodes.
        on_bad: What happens to a bad example: an error that names it, or it is skipped and counted.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The file is no such JSON, an example is bad, or there are too few relations or examples for an episode.
    """

    def __init__(
        self,
        path: Path,
        tokenizer: Path,
        ways: int = 5,
        shots: int = 1,
        queries: int = 1,
        none_rate: float = 0.0,
        episodes: int = 1000,
        max_length: int = 128,
        seed: int = 0,
        on_bad: OnBad = "error",
    ) -> None:
        if min(ways, shots, queries, episodes) < 1 or none_rate < 0:
            raise ValueError(
                f"ways, shots, queries, episodes and none_rate are {ways}, {shots}, {queries}, {episodes} and {none_rate}, "
                "expected at least 1 of each, and a rate of at least 0"
            )
        self.reader, self.gate = TextReader(tokenizer, max_length), Gate(on_bad)
        self.ways, self.shots, self.queries, self.none = ways, shots, queries, int(none_rate * queries)
        self.episodes, self.seed = episodes, seed
        self.relations = self._read(path)
        enough = {name: len(found) for name, found in self.relations.items() if len(found) >= shots + queries}
        if len(enough) < ways + (self.none > 0):
            raise ValueError(
                f"{path}: expected {ways} relations{' and another' if self.none else ''} with {shots + queries} examples or more, and "
                f"there are {len(enough)}; skipped: {self.skipped}"
            )
        self.names = sorted(enough)

    def _read(self, path: Path) -> dict[str, list[Example]]:
        try:
            content = json.loads(require_file(path, "FewRel's JSON").read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: expected FewRel's JSON, and it is no JSON that can be read: {error}") from None
        if not isinstance(content, dict) or not all(isinstance(listed, list) for listed in content.values()):
            raise ValueError(f"{path}: expected FewRel's JSON, an object with a list of examples for each relation")
        found: dict[str, list[Example]] = {name: [] for name in content}
        for name, listed in content.items():
            for place, row in enumerate(listed):
                with self.gate.row(f"{path}: {name}[{place}]"):
                    found[name].append(parse_example(row))
        return found

    @property
    def skipped(self) -> dict[str, int]:
        return dict(self.gate.skipped)

    @property
    def reaches(self) -> dict[str, Reach]:
        return self.reader.reaches

    def __len__(self) -> int:
        return self.episodes

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        drawn = [self.episode(row, epoch) for row in rows]
        size = len(drawn[0])
        listed = [sample for episode in drawn for sample in episode]
        tokens = self.reader([example.text for example, _ in listed])
        spans = [tokens.spans(i, [(start, start + 1) for start in example.places]) for i, (example, _) in enumerate(listed)]
        ways = torch.tensor([way for _, way in listed])
        return {
            "id": torch.tensor([row * size + place for row in rows for place in range(size)]),
            "text": {"ids": tokens.ids, "mask": tokens.mask, "words": tokens.words},
            "places": torch.tensor([[first for first, _ in pair] for pair in spans]).clamp(min=0),
            "episode": torch.arange(len(rows)).repeat_interleave(size),
            "way": ways,
            "query": (torch.arange(size) >= self.ways * self.shots).repeat(len(rows)),
        }

    def episode(self, row: int, epoch: int) -> list[tuple[Example, int]]:
        """The texts of an episode with their ways: the examples, the queries, those of none."""
        draw = Random(f"{self.seed}/{row}/{epoch}")
        names = draw.sample(self.names, self.ways)
        chosen = [draw.sample(self.relations[name], self.shots + self.queries) for name in names]
        examples = [(one, way) for way, found in enumerate(chosen) for one in found[: self.shots]]
        queries = [(one, way) for way, found in enumerate(chosen) for one in found[self.shots :]]
        others = [name for name in self.names if name not in names]
        none = [(draw.choice(self.relations[draw.choice(others)]), self.ways) for _ in range(self.none)]
        return examples + queries + none


def parse_example(row: Any) -> Example:
    """An example of FewRel as a text with marks around the first mentions of head and tail.

    Raises:
        RowError: It is of another form.
    """
    tokens = list_of(row, "tokens")
    if not tokens or not all(isinstance(token, str) for token in tokens):
        raise RowError("malformed", f"'tokens' is {tokens!r:.80}, expected a list of words")
    spans = [_span(list_of(row, key), key, len(tokens)) for key in ("h", "t")]
    text, places = "", [0, 0]
    for place, token in enumerate(tokens):
        for end, (first, _) in enumerate(spans):
            if place == first:
                places[end] = len(text)
                text += f"{MARKS[end]} "
        text += f"{token} "
        text += "".join(f"{MARKS[end]} " for end, (_, last) in enumerate(spans) if place == last)
    return Example(text.rstrip(), (places[0], places[1]))


def _span(entry: list[Any], key: str, length: int) -> tuple[int, int]:
    listed = entry[2][0] if len(entry) == 3 and isinstance(entry[2], list) and entry[2] else None
    if not isinstance(listed, list) or not listed or not all(type(place) is int and 0 <= place < length for place in listed):
        raise RowError("offset", f"{key!r} is {entry!r:.80}, expected [name, id, [[token, ...], ...]] with tokens below {length}")
    return min(listed), max(listed)
