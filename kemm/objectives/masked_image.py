"""Masked image modelling: detector regions (ViLBERT, arXiv 1908.02265, section 3.2) and patches (SimMIM, arXiv 2111.09886, section 3)."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import IGNORE, Batch, RegionInput
from kemm.fusion.base import Streams
from kemm.nn import Draws, gather, offset, world_size
from kemm.objectives.base import Losses, Objective, Teacher, View, count_of, drop_labels
from kemm.objectives.masked_lm import Transform

if TYPE_CHECKING:
    from kemm.model import FusionModel


class MaskedRegion(Objective):
    """Recovers the detector's class distribution of hidden regions: KL(target || softmax), summed over classes.

    The data brings `targets` (B, R, C). Nothing hidden: 0 (the original gives NaN).

    Args:
        dim: Width of the regions.
        classes: Width of the targets.
        rate: Share of the regions that are chosen; None where the data brings `labels` (B, R), `IGNORE` where nothing is hidden.
        zeroed: Share of the chosen whose features become zero; the others stay.
        fixed: Number of leading regions that are never hidden and have no target (ViLBERT's global region: 1).
        stream: The stream that is read.
        region: The input that is hidden.
        view: See `Objective`.
        unless: See `drop_labels`.
    """

    def __init__(
        self,
        dim: int,
        classes: int,
        rate: float | None = 0.15,
        zeroed: float = 0.9,
        fixed: int = 0,
        stream: str = "region",
        region: str = "region",
        view: str = "main",
        unless: str = "",
    ) -> None:
        super().__init__(view)
        self.rate, self.zeroed, self.fixed, self.stream, self.region, self.unless = rate, zeroed, fixed, stream, region, unless
        self.needs = (f"{region}.targets",) if rate is not None else (f"{region}.targets", f"{region}.labels")
        self.transform = Transform(dim)
        self.decoder = nn.Linear(dim, classes)

    def corrupt(self, batch: Batch, before: dict[str, View], draws: Draws) -> Batch:
        if self.rate is None:
            return batch
        region = batch[self.region]
        mask: Tensor = region["mask"]
        count = mask.shape[1]
        chosen = mask & (draws.uniform("region", count) < self.rate)
        chosen = chosen & (torch.arange(count, device=mask.device) >= self.fixed)
        zeroed = chosen & (draws.uniform("zero", count) < self.zeroed)
        features = region["features"].masked_fill(zeroed[..., None], 0)
        labels = torch.where(chosen, 1, IGNORE)[:, self.fixed :]
        return {**batch, self.region: {**region, "features": features, "labels": labels}}

    def scores(self, streams: Streams) -> Tensor:
        """Scores (B, R, C) of all regions, the fixed ones included."""
        return self.decoder(self.transform(streams[self.stream].x))

    def labels(self, batch: Batch) -> Tensor:
        """`IGNORE` (B, R) where a region does not count, the fixed ones left out."""
        return drop_labels(batch[self.region]["labels"], batch, self.unless)

    def targets(self, region: RegionInput, hidden: Tensor) -> Tensor:
        """What the hidden regions (M of the bool (B, R)) are compared with, (M, ...)."""
        return region["targets"][hidden]

    def score(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """The loss (M,) of each hidden region from predictions (M, C) and targets (M, ...)."""
        return F.kl_div(predicted.log_softmax(-1), targets, reduction="none").sum(-1)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        hidden = self.labels(batch) != IGNORE  # (B, R)
        losses = self.score(self.scores(streams)[:, self.fixed :][hidden], self.targets(batch[self.region], hidden))
        return {"loss": (losses.sum(), count_of(losses))}


class MaskedRegionRegression(MaskedRegion):
    """Recovers the features themselves: the mean squared error over the features' width (vilbert-multi-task, visual_target 1)."""

    def score(self, predicted: Tensor, targets: Tensor) -> Tensor:
        return (predicted - targets).square().mean(-1)


class MaskedRegionContrast(MaskedRegion):
    """Finds the hidden region's own features among those of other regions: cross-entropy of dot products, the features first
    (facebookresearch/vilbert-multi-task: vilbert/vilbert.py, visual_target 2).

    Of the others, 7 in 10 come from other images (of all ranks), 3 in 10 from the same image.

    Args:
        dim: Width of the regions.
        classes: Width of the features.
        negatives: Number of other regions; both shares are rounded down.
        rate: See `MaskedRegion`.
        zeroed: See `MaskedRegion`.
        fixed: See `MaskedRegion`.
        stream: See `MaskedRegion`.
        region: See `MaskedRegion`.
        view: See `Objective`.
        unless: See `drop_labels`.
    """

    reads_padding = True  # the others are drawn among all places, as in the original, whose images have equally many

    def __init__(
        self,
        dim: int,
        classes: int,
        negatives: int = 128,
        rate: float | None = 0.15,
        zeroed: float = 0.9,
        fixed: int = 0,
        stream: str = "region",
        region: str = "region",
        view: str = "main",
        unless: str = "",
    ) -> None:
        super().__init__(dim, classes, rate, zeroed, fixed, stream, region, view, unless)
        self.outside, self.inside = int(negatives * 0.7), int(negatives * 0.3)

    def corrupt(self, batch: Batch, before: dict[str, View], draws: Draws) -> Batch:
        batch = super().corrupt(batch, before, draws)
        region = batch[self.region]
        rows, count = region["targets"].shape[:2]
        device = region["targets"].device
        own = (torch.arange(rows, device=device) + offset(rows))[:, None, None]
        place = torch.arange(count, device=device)[:, None]
        # Uniform over all but one: the last stands for the one that is left out.
        image = draws.integers("other image", world_size() * rows - 1, count, self.outside)  # (B, R, N)
        image = image.where(image != own, world_size() * rows - 1)
        other = image * count + draws.integers("its region", count, count, self.outside)
        same = draws.integers("same image", count - 1, count, self.inside)
        same = own * count + same.where(same != place, count - 1)
        return {**batch, self.region: {**region, "negatives": torch.cat([other, same], -1)}}

    def targets(self, region: RegionInput, hidden: Tensor) -> Tensor:
        everything = gather(region["targets"]).flatten(0, 1)  # (W * B * R, C)
        return torch.cat([region["targets"][hidden][:, None], everything[region["negatives"][hidden]]], 1)  # (M, 1 + N, C)

    def score(self, predicted: Tensor, targets: Tensor) -> Tensor:
        return -torch.einsum("mc,mnc->mn", predicted, targets).log_softmax(-1)[:, 0]


class MaskedPatch(Objective):
    """Recovers the pixels of hidden patches from the ViT's states: L1, mean over a patch (SimMIM, equation 1).

    Args:
        dim: Width of the image stream.
        patch: Side of a patch in pixels.
        rate: Share of the patches that are hidden.
        stream: The stream that is read; its last places are the patches.
        image: The input that is hidden.
        view: See `Objective`.
    """

    def __init__(self, dim: int, patch: int, rate: float = 0.5, stream: str = "image", image: str = "image", view: str = "masked") -> None:
        super().__init__(view)
        self.patch, self.rate, self.stream, self.image = patch, rate, stream, image
        self.needs = (f"{image}.pixels",)
        self.decoder = nn.Linear(dim, 3 * patch * patch)

    def corrupt(self, batch: Batch, before: dict[str, View], draws: Draws) -> Batch:
        pixels: Tensor = batch[self.image]["pixels"]
        rows, columns = pixels.shape[2] // self.patch, pixels.shape[3] // self.patch
        hidden = draws.uniform("patch", rows * columns) < self.rate  # (B, P)
        cover = hidden.view(-1, 1, rows, columns).repeat_interleave(self.patch, 2).repeat_interleave(self.patch, 3)
        mean = pixels.float().mean((2, 3), keepdim=True).to(pixels.dtype)
        corrupted = torch.where(cover, mean, pixels)
        return {**batch, self.image: {**batch[self.image], "pixels": corrupted, "clean": pixels, "hidden": hidden}}

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        image, hidden = batch[self.image], batch[self.image]["hidden"]
        clean = image["clean"] if image["clean"].is_floating_point() else image["clean"].float() / 255
        target = F.unfold(clean, self.patch, stride=self.patch).transpose(1, 2)[hidden]  # (hidden, 3 * patch * patch)
        predicted = self.decoder(streams[self.stream].x[:, -hidden.shape[1] :][hidden])
        losses = (predicted - target).abs().mean(-1)
        return {"loss": (losses.sum(), count_of(losses))}
