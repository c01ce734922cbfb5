"""Few-shot classification as a task: FewRel's accuracy over episodes, with intervals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.metrics import bootstrap_interval
from kemm.objectives import Prototypes
from kemm.tasks.base import Row, Scores, Task

if TYPE_CHECKING:
    from kemm.model import FusionModel


class FewShot(Prototypes, Task):
    """Classifies the queries of episodes: accuracy (FewRel), and where some are none of the classes, that of these and of the others
    (FewRel 2.0). Queries of one episode are resampled together."""

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        likelihood, best = self.logits(streams, batch).softmax(-1).max(-1)
        columns = (batch[name].tolist() for name in ("id", "episode", "way", "query"))
        rows: list[Row] = []
        first: dict[int, int] = {}
        for sample, episode, gold, query, way, sure in zip(*columns, best.tolist(), likelihood.tolist(), strict=True):
            first.setdefault(episode, sample)
            if query:
                known = gold < self.ways
                rows.append({"id": sample, "episode": first[episode], "way": way, "gold": gold, "known": known, "likelihood": sure})
        return rows

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        scores: Scores = {}
        parts = {"accuracy": list(rows)}
        if not all(row["known"] for row in rows):
            parts |= {
                f"accuracy/{name}": [row for row in rows if row["known"] == known] for name, known in (("known", True), ("none", False))
            }
        for name, chosen in parts.items():
            if chosen:
                hits = [row["way"] == row["gold"] for row in chosen]
                scores[name] = bootstrap_interval(hits, groups=[row["episode"] for row in chosen])
        return scores
