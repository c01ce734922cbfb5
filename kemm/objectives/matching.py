"""Image-text matching with hard negatives from the batch (ALBEF, arXiv 2107.07651, section 3.2, equations 3 and 4)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kemm.batch import Batch, Stream, map_batch
from kemm.fusion.base import Streams
from kemm.nn import Draws, gather, offset
from kemm.objectives.base import Losses, Objective, Teacher, View, cross_entropy
from kemm.objectives.contrastive import Comparison

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Matching(Objective):
    """Does this text belong to this image? For each pair one hard negative image and one hard negative text.

    Negatives are drawn in proportion to the softmax of the similarities by which a contrastive objective scored the `after` view, its
    learned temperature and its teacher included (salesforce/ALBEF: models/model_pretrain.py), never a true match (the same row, or the
    same `group`), from all ranks. The view restarts from the `after` view's kept text and image: only the fused
    layers run again, and the positives are read from that view.

    Args:
        dim: Width of the fused text.
        features: Streams of the two contrastive features, image first.
        contrastive: Name of the objective of the `after` view that compares them.
        restart: Input -> stream of the `after` view that it restarts from; the first is the text.
        fused: The stream whose first place is classified.
        view: See `Objective`.
        after: The view that holds the features and the clean states.
    """

    def __init__(
        self,
        dim: int,
        features: tuple[str, str] = ("image_feature", "text_feature"),
        restart: dict[str, str] | None = None,
        contrastive: str = "contrastive",
        fused: str = "text",
        view: str = "matching",
        after: str = "main",
    ) -> None:
        super().__init__(view, after)
        self.features, self.contrastive, self.fused = tuple(features), contrastive, fused
        self.restart = restart or {"text": "text_kept", "image": "image"}
        self.needs = tuple(self.restart)
        self.classifier = nn.Linear(dim, 2)
        nn.init.normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

    def check_learner(self, who: str, network: "FusionModel", objectives: Mapping[str, Objective]) -> None:
        asked = objectives.get(self.contrastive)
        if not isinstance(asked, Comparison) or asked.view != self.after or set(asked.features) != set(self.features):
            known = {
                name: f"features {list(other.features)}, view {other.view!r}"
                for name, other in objectives.items()
                if isinstance(other, Comparison)
            }
            raise ValueError(
                f"{who}: contrastive is {self.contrastive!r}, expected an objective that compares {list(self.features)} in the view "
                f"{self.after!r}; there are {known}"
            )

    def corrupt(self, batch: Batch, before: dict[str, View], draws: Draws) -> Batch:
        _, clean, teacher, objectives = before[self.after]
        contrastive = objectives[self.contrastive]
        assert isinstance(contrastive, Comparison)
        with torch.no_grad():
            similarities = contrastive.similarities(clean, teacher)
        by_image, by_text = (similarities[name] for name in self.features)  # (B, W * B) each
        groups: Tensor = batch["group"] if "group" in batch else batch["id"]
        match = groups[:, None] == gather(groups)  # (B, W * B)
        match[torch.arange(len(match)), torch.arange(len(match)) + offset(len(match))] = True
        for_text, for_image = (similarity.softmax(-1).masked_fill(match, 0) for similarity in (by_text, by_image))
        texts, images = self.restart
        text_stream, image_stream = clean[self.restart[texts]], clean[self.restart[images]]
        negative_images = _rows(image_stream, draws.choose("negative image", for_text))
        negative_texts = _rows(text_stream, draws.choose("negative text", for_image))
        return {
            "id": batch["id"],
            "positive": clean[self.fused].x[:, 0],
            texts: _stack(text_stream, negative_texts),
            images: _stack(negative_images, image_stream),
        }

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        positive, negative = batch["positive"], streams[self.fused].x[:, 0]  # (B, D), (2 B, D)
        labels = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))]).long().to(positive.device)
        return cross_entropy(self.classifier(torch.cat([positive, negative])), labels)


def _rows(stream: Stream, rows: Tensor) -> Stream:
    """Rows of a stream, counted over all ranks."""
    chosen: Stream = map_batch(stream, lambda t: gather(t)[rows])
    return chosen


def _stack(one: Stream, two: Stream) -> Stream:
    positions = None if one.positions is None or two.positions is None else torch.cat([one.positions, two.positions])
    return Stream(torch.cat([one.x, two.x]), torch.cat([one.mask, two.mask]), positions, one.height)
