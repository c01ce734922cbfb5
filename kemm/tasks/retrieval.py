"""Image-text retrieval as a task: recall at 1, 5 and 10 in both directions, with any number of true matches."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.metrics import best_positive_ranks
from kemm.objectives import Contrastive
from kemm.tasks.base import Row, Scores, Task

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Retrieval(Contrastive, Task):
    """Finds the text of an image and the image of a text among all of the split (see `Contrastive` for what is trained)."""

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        one, two = (streams[name].x[:, 0].float().cpu() for name in self.features)
        groups = batch["group"].tolist()
        return [
            {"id": sample, "group": group, "one": one[i], "two": two[i]}
            for i, (sample, group) in enumerate(zip(batch["id"].tolist(), groups, strict=True))
        ]

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        one, two = torch.stack([row["one"] for row in rows]), torch.stack([row["two"] for row in rows])
        groups = torch.tensor([row["group"] for row in rows])
        positives = groups[:, None] == groups
        scores: Scores = {}
        for direction, similarity in (("image_to_text", one @ two.T), ("text_to_image", two @ one.T)):
            found = best_positive_ranks(similarity, positives)
            scores |= {f"{direction}/R@{k}": 100 * float((found <= k).double().mean()) for k in (1, 5, 10)}
        return scores
