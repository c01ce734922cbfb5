"""Relation classification as a task: what joins the head and the tail of a text, scored as TACRED and FewRel are."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.kg import Answers, Labels
from kemm.metrics import relation_counts, relation_scores
from kemm.objectives import PlaceClassification
from kemm.tasks.base import Row, Scores, Task

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Relation(PlaceClassification, Task):
    """Classifies the joined states of head and tail (KnowBERT, arXiv 1909.04164, section 4.2): `batch["label"]` (B,), and
    `batch["places"]` (B, 2).

    Args:
        dim: Width of the stream.
        relations: The training file, which says what relations there are (see `Labels`).
        stream: The stream that is read.
        null: The relation that means none, which precision, recall and F1 leave out (TACRED); "" where there is none (FewRel).
        dropout: Rate before the classifier.
        view: See `Objective`.
    """

    def __init__(
        self,
        dim: int,
        relations: Path,
        stream: str = "text",
        null: str = "no_relation",
        dropout: float = 0.1,
        view: str = "main",
    ) -> None:
        listed = Labels(relations)
        if null and null not in listed.index:
            raise ValueError(f"null is {null!r}, and {relations} has the relations {listed.names}")
        super().__init__(dim, len(listed), stream, places=2, labels="label", dropout=dropout, view=view)
        self.relations, self.null = listed, listed.index[null] if null else None

    @property
    def lists(self) -> dict[str, Answers | Labels]:
        return {self.labels: self.relations}

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        likelihood, best = self.logits(streams, batch[self.entry]).softmax(-1).max(-1)
        names = self.relations.names
        columns = zip(batch["id"].tolist(), best.tolist(), batch[self.labels].tolist(), likelihood.tolist(), strict=True)
        return [{"id": sample, "relation": names[one], "gold": names[gold], "likelihood": sure} for sample, one, gold, sure in columns]

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        predicted, gold = (torch.tensor([self.relations.index[row[key]] for row in rows]) for key in ("relation", "gold"))
        return dict(relation_scores(relation_counts(predicted, gold, len(self.relations)), self.null))
