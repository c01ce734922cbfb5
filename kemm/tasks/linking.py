"""Entity linking as a task: accuracy over all mentions and over the ambiguous ones, beside the prior alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from kemm.batch import Batch, CandidateInput
from kemm.fusion.base import Streams
from kemm.metrics import bootstrap_interval
from kemm.objectives import EntityLinking
from kemm.tasks.base import Row, Scores, Task

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Linking(EntityLinking, Task):
    """Links the mentions of texts to candidates (see `EntityLinking` for what is trained).

    A mention is ambiguous if it has two candidates or more; mentions whose gold entity is no candidate are counted as wrong.
    """

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        return linking_rows(self.scores(streams), batch["id"], batch[self.entity])

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        return linking_scores(rows)


def linking_rows(scores: Tensor, ids: Tensor, candidates: CandidateInput) -> list[Row]:
    """One row for each mention whose entity is known.

    Args:
        scores: Those (B, E, C) of the candidates.
        ids: The samples' (B,).
        candidates: The candidates.
    """
    scores = scores.masked_fill(candidates["ids"] == 0, float("-inf"))
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
        for i, sample in enumerate(ids.tolist())
        for place in range(len(gold[i]))
        if gold[i][place] > 0
    ]


def linking_scores(rows: Sequence[Row]) -> Scores:
    """Accuracy over all mentions and over those with two candidates or more, beside the prior alone; mentions of one text are resampled
    together."""
    scores: Scores = {}
    ambiguous = [row for row in rows if row["candidates"] > 1]
    for name, chosen in (("", list(rows)), ("/ambiguous", ambiguous)):
        if chosen:
            texts = [row["text"] for row in chosen]
            for what, answer in (("", "entity"), ("/prior", "prior")):
                scores[f"accuracy{name}{what}"] = bootstrap_interval([row[answer] == row["gold"] for row in chosen], groups=texts)
            scores[f"mentions{name}"] = float(len(chosen))
    return scores
