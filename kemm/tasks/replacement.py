"""Replacement as a task: which of a text's mentions were replaced (WKLM, arXiv 1912.09637)?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.metrics import bootstrap_interval, f1_from_counts
from kemm.objectives import ReplacementDetection
from kemm.tasks.base import Row, Scores, Task

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Replacement(ReplacementDetection, Task):
    """Finds replaced mentions: accuracy, beside that of "none was"; precision, recall and F1 of those that were. Mentions of one text are
    resampled together."""

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        given = batch[self.mention]
        likely = torch.sigmoid(self.logits(streams, given["spans"])).tolist()
        real, replaced = (given["spans"][..., 0] >= 0).tolist(), given["replaced"].tolist()
        return [
            {"id": f"{sample}/{place}", "text": sample, "mention": place, "likelihood": p, "replaced": gold}
            for sample, *columns in zip(batch["id"].tolist(), likely, replaced, real, strict=True)
            for place, (p, gold, counted) in enumerate(zip(*columns, strict=True))
            if counted
        ]

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        texts, found = [row["text"] for row in rows], [row["likelihood"] > 0.5 for row in rows]
        gold = [bool(row["replaced"]) for row in rows]
        hits = [ours == right for ours, right in zip(found, gold, strict=True)]
        right = sum(ours and right for ours, right in zip(found, gold, strict=True))
        f1 = f1_from_counts(right, sum(found), sum(gold))
        return {
            "accuracy": bootstrap_interval(hits, groups=texts),
            "accuracy/none": bootstrap_interval([not right for right in gold], groups=texts),
            **f1._asdict(),
            "mentions": float(len(rows)),
        }
