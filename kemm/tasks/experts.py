"""What Entities as Experts is asked (arXiv 2004.07202): where a text mentions entities, and which of all they are."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.metrics import bootstrap_interval, f1_from_counts
from kemm.metrics.intervals import Array
from kemm.objectives import MentionDetection, MentionLinking
from kemm.objectives.base import wide
from kemm.objectives.mention_detection import BEGIN, IN, decode_tags
from kemm.tasks.base import Row, Scores, Task
from kemm.tasks.linking import linking_rows, linking_scores

if TYPE_CHECKING:
    from kemm.model import FusionModel


class ExpertLinking(MentionLinking, Task):
    """Links mentions among all entities; `mention` is a candidates' entry (see `CandidateInput`), so that the choice among a mention's
    candidates is scored beside it, as other linkers are (see `linking_scores`)."""

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        given = batch[self.mention]
        scores = self.logits(streams[self.stream].x, network)  # (B, E, N)
        rows = linking_rows(scores.gather(-1, given["ids"]), batch["id"], given)
        best = scores.argmax(-1)[given["gold"] > 0].tolist()
        return [{**row, "among_all": one} for row, one in zip(rows, best, strict=True)]

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        hits = [row["among_all"] == row["gold"] for row in rows]
        return {"accuracy/among_all": bootstrap_interval(hits, groups=[row["text"] for row in rows]), **linking_scores(rows)}


class Detection(MentionDetection, Task):
    """Finds the mentions of texts: micro precision, recall and F1 of their spans, texts resampled.

    Sequences of tags that no spans have are not found (see `decode_tags`).
    """

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        mask = batch[self.text]["mask"]
        scores = wide(self.logits(streams)[:, : mask.shape[1]]).log_softmax(-1)
        predicted, gold = decode_tags(scores, mask).tolist(), batch[self.mention]["spans"].tolist()
        return [
            {"id": sample, "mentions": spans_of(tags), "gold": [span for span in spans if span[0] >= 0]}
            for sample, tags, spans in zip(batch["id"].tolist(), predicted, gold, strict=True)
        ]

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        def f1(counts: Array) -> float:
            return f1_from_counts(*counts.sum(0).tolist()).f1

        found, gold = ([set(map(tuple, row[key])) for row in rows] for key in ("mentions", "gold"))
        counts = [(len(ours & theirs), len(ours), len(theirs)) for ours, theirs in zip(found, gold, strict=True)]
        total = f1_from_counts(*(sum(column) for column in zip(*counts, strict=True)))
        return {"f1": bootstrap_interval(counts, f1), "precision": total.precision, "recall": total.recall}


def spans_of(tags: Sequence[int]) -> list[list[int]]:
    """The spans [first, last] of tags in which no I follows an O."""
    spans: list[list[int]] = []
    for place, tag in enumerate(tags):
        if tag == BEGIN:
            spans.append([place, place])
        elif tag == IN:
            spans[-1][1] = place
    return spans
