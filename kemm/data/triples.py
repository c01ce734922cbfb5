"""Triples of a graph as a source: rows of its triples, as rows of the tables."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kemm.batch import Batch
from kemm.data.source import Reach, Source
from kemm.kg import KnownTriples, read_known, read_triples
from kemm.rows import OnBad


class Triples(Source):
    """Triples of a graph.

    Args:
        graph: Folder of the graph, which says what the names mean.
        path: File of the triples; the graph's own by default.
        without: Files of triples that are left out, with the same read backwards.
        shuffled: Seed of the control that exchanges tails within each relation; None for the true graph.
        on_bad: What happens to a bad line of `path`: an error that names it, or it is skipped and counted. A bad line of the graph is an
            error always, since whatever reads the graph must number its entities alike.
        answers: Whether the batch also tells all tails of each head and relation, and all heads, that are among the triples: `tails` (B, M)
            and `heads` (B, M'), 0 = padding (`KvsAllLinks`).

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A line is bad, or none is left.
    """

    def __init__(
        self,
        graph: Path,
        path: Path | None = None,
        without: Sequence[Path] = (),
        shuffled: int | None = None,
        on_bad: OnBad = "error",
        answers: bool = False,
    ) -> None:
        known = read_known(graph, without, shuffled)
        self.graph, self.entities = graph, known.num_entities
        self.inverses = torch.tensor(known.with_inverses().inverses)
        self.triples, self.bad = read_triples(path, known, on_bad) if path else (known.triples, {})
        if not len(self.triples):
            raise ValueError(f"{path or graph}: expected triples, and none is left; skipped: {self.bad}")
        self.answers = KnownTriples(self.triples, self.entities, len(self.inverses)) if answers else None

    @property
    def skipped(self) -> dict[str, int]:
        return self.bad

    @property
    def reaches(self) -> dict[str, Reach]:
        entities, relations = (Reach(size + 1, str(self.graph)) for size in (self.entities, len(self.inverses)))
        return {"triple.head": entities, "triple.tail": entities, "triple.relation": relations, "triple.inverse": relations}

    def __len__(self) -> int:
        return len(self.triples)

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        chosen = self.triples[torch.tensor(rows)]
        head, relation, tail = (chosen + 1).unbind(1)  # row 0 of the tables is "none"
        inverse = self.inverses[relation - 1] + 1
        triple = {"head": head, "relation": relation, "inverse": inverse, "tail": tail}
        if self.answers is not None:
            triple |= {"tails": self._all(chosen, tail=True), "heads": self._all(chosen, tail=False)}
        return {"id": torch.tensor(rows), "triple": triple}

    def _all(self, triples: Tensor, tail: bool) -> Tensor:
        """Every known answer to the queries of some triples, as rows of the table (B, M), 0 = padding."""
        assert self.answers is not None
        row, entity = self.answers.listed(triples[:, 0 if tail else 2], triples[:, 1], tail)
        return pad_sequence([entity[row == i] + 1 for i in range(len(triples))], batch_first=True)
