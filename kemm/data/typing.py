"""Entity typing in the format that ERNIE gives to Open Entity and FIGER (thunlp/ERNIE: code/run_typing.py), as a source."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from kemm.batch import Batch
from kemm.data.known import Layout
from kemm.data.marked import Marked, MarkedTexts, parse_span
from kemm.kg import Answers, Labels
from kemm.rows import OnBad, text_of


class TypedMentions(MarkedTexts):
    """Mentions with any number of types; the batch has `types` (B, labels), 0 or 1, beside what `MarkedTexts` says.

    Args:
        path: JSON: a list of {"sent", "start", "end", "labels": [...], "ents": [[entity id, start, end, confidence], ...]}.
        labels: The training file, which says what types there are.
        tokenizer: A tokenizer file.
        graph: Folder of the graph that the entities are of.
        max_length: Longer texts are cut, in tokens.
        confidence: Entities of less are not told (ERNIE: 0.3; above 1, none is).
        on_bad: What happens to a bad row: an error that names it, or it is skipped and counted.
        layout: How entities enter the text, `Injection` or `WordGraphs`; None for beside it.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A row is bad, or none is left.
    """

    def __init__(
        self,
        path: Path,
        labels: Path,
        tokenizer: Path,
        graph: Path,
        max_length: int = 128,
        confidence: float = 0.3,
        on_bad: OnBad = "error",
        layout: Layout | None = None,
    ) -> None:
        self.confidence = confidence
        super().__init__(path, labels, tokenizer, graph, self._parse, max_length, on_bad, layout)

    def _parse(self, row: Any) -> Marked:
        text = text_of(row, "sent")
        span = parse_span(row.get("start"), row.get("end"), "the mention", text)
        return Marked(text, [span], self.entities(row, "ents", text, self.confidence), self.labels.places(row))

    @property
    def lists(self) -> dict[str, Answers | Labels]:
        return {"types": self.labels}

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        types = torch.zeros(len(rows), len(self.labels))
        for place, row in enumerate(rows):
            types[place, self.samples[row].labels] = 1.0
        return {**self.marked(rows, epoch), "types": types}
