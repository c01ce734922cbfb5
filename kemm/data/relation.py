"""Relation classification in the formats that ERNIE gives to FewRel and TACRED (thunlp/ERNIE: code/run_fewrel.py, run_tacred.py), as a
source."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from kemm.batch import Batch
from kemm.data.known import Layout
from kemm.data.marked import Marked, MarkedTexts, parse_entity
from kemm.kg import Answers, Labels
from kemm.rows import OnBad, RowError, list_of, text_of


class RelatedMentions(MarkedTexts):
    """Texts with a head and a tail; the batch has `label` (B,), the place of the label in the list, beside what `MarkedTexts` says.

    Args:
        path: JSON: a list of {"text", "ents": [head, tail], "label"}, head and tail [entity id, start, end, confidence]; "ann", a list of
            such entries, tells the entities where "ents" holds names (TACRED).
        labels: The training file, which says what relations there are.
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
        text, pair = text_of(row, "text"), list_of(row, "ents")
        if len(pair) != 2:
            raise RowError("malformed", f"'ents' has {len(pair)} entries, expected two, the head and the tail")
        spans = [parse_entity(entry, f"ents[{place}]", text)[1] for place, entry in enumerate(pair)]
        entities = self.entities(row, "ann" if "ann" in row else "ents", text, self.confidence)
        return Marked(text, spans, entities, [self.labels.places({"label": row.get("label")})[0]])

    @property
    def lists(self) -> dict[str, Answers | Labels]:
        return {"label": self.labels}

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        return {**self.marked(rows, epoch), "label": torch.tensor([self.samples[row].labels[0] for row in rows])}
