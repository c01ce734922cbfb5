"""Entity typing as a task: the types of a mention, scored by the strict and loose F1 of Open Entity and FIGER."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.kg import Answers, Labels
from kemm.metrics import predict_types, typing_counts, typing_scores
from kemm.objectives import MultiLabelPlaceClassification
from kemm.tasks.base import Row, Scores, Task

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Typing(MultiLabelPlaceClassification, Task):
    """Binary cross-entropy of each type at the mention's state (thunlp/ERNIE: code/run_typing.py; at the mention itself as in K-Adapter,
    arXiv 2002.01808, section 4.1): `batch["types"]` (B, types), 0 or 1, and `batch["places"]` (B, 1).

    Args:
        dim: Width of the stream.
        types: The training file, which says what types there are (see `Labels`).
        stream: The stream that is read.
        always: Whether the best type is predicted even where its score is below 0 (ERNIE's rule for FIGER).
        dropout: Rate before the classifier.
        view: See `Objective`.
    """

    def __init__(self, dim: int, types: Path, stream: str = "text", always: bool = False, dropout: float = 0.1, view: str = "main") -> None:
        listed = Labels(types)
        super().__init__(dim, len(listed), stream, places=1, labels="types", dropout=dropout, view=view)
        self.types, self.always = listed, always

    @property
    def lists(self) -> dict[str, Answers | Labels]:
        return {self.labels: self.types}

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        chosen = predict_types(self.logits(streams, batch[self.entry]), self.always)
        return [
            {"id": sample, "types": self._named(chosen[i].tolist()), "gold": self._named((batch[self.labels][i] > 0).tolist())}
            for i, sample in enumerate(batch["id"].tolist())
        ]

    def _named(self, chosen: Sequence[bool]) -> list[str]:
        return [name for name, is_chosen in zip(self.types.names, chosen, strict=True) if is_chosen]

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        predicted, gold = (torch.tensor([[name in row[key] for name in self.types.names] for row in rows]) for key in ("types", "gold"))
        return dict(typing_scores(typing_counts(predicted, gold)))
