"""Entity linking as a task: accuracy over all mentions and over the ambiguous ones, beside the prior alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.metrics import wilson_interval
from kemm.objectives import EntityLinking
from kemm.tasks.base import Row, Scores, Task

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Linking(EntityLinking, Task):
    """Links the mentions of texts to candidates (see `EntityLinking` for what is trained).

    A mention is ambiguous if it has two candidates or more; mentions whose gold entity is no candidate are counted as wrong.
    """

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        candidates = batch[self.entity]
        scores = streams[self.stream].x[..., 0].masked_fill(candidates["ids"] == 0, float("-inf"))
        best = candidates["ids"].gather(-1, scores.argmax(-1, keepdim=True))[..., 0].tolist()
        prior = candidates["ids"].gather(-1, candidates["priors"].argmax(-1, keepdim=True))[..., 0].tolist()
        gold, counts = candidates["gold"].tolist(), (candidates["ids"] > 0).sum(-1).tolist()
        return [
            {
                "id": f"{sample}/{place}",
                "text": sample,
                "mention": place,
                "entity": best[i][place],
                "prior": prior[i][place],
                "gold": gold[i][place],
                "candidates": counts[i][place],
            }
            for i, sample in enumerate(batch["id"].tolist())
            for place in range(len(gold[i]))
            if gold[i][place] > 0
        ]

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        scores: Scores = {}
        ambiguous = [row for row in rows if row["candidates"] > 1]
        for name, chosen in (("", list(rows)), ("/ambiguous", ambiguous)):
            if chosen:
                scores[f"accuracy{name}"] = wilson_interval(sum(row["entity"] == row["gold"] for row in chosen), len(chosen))
                scores[f"accuracy{name}/prior"] = wilson_interval(sum(row["prior"] == row["gold"] for row in chosen), len(chosen))
                scores[f"mentions{name}"] = float(len(chosen))
        return scores
