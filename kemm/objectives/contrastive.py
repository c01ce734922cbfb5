"""Contrastive objectives over features: InfoNCE (CLIP, arXiv 2103.00020, figure 3), sigmoid (SigLIP, arXiv 2303.15343, algorithm 1),
and ALBEF's with a momentum teacher and queues (arXiv 2107.07651, equations 1, 2 and 6).

Features are streams of one place that a `Feature` fusion made. The rows of a rank are compared with the columns of all ranks, with
exact gradients through the gather: the gradient is one process's on the whole batch.
"""

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.nn import gather, offset
from kemm.objectives.base import Losses, Objective, Teacher, count_of

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Comparison(Objective):
    """An objective that compares two features within the batch."""

    needs = ("group",)
    features: tuple[str, str]

    def similarities(self, streams: Streams, teacher: Streams | None = None) -> dict[str, Tensor]:
        """Feature -> how near each row of this rank is to each of the other feature's rows, of all ranks (B, W * B), as the loss scales it.

        Args:
            streams: Streams that hold the features.
            teacher: The momentum copy's streams, for a comparison with those.
        """
        raise NotImplementedError


class Contrastive(Comparison):
    """Symmetric InfoNCE; rows of one `group` (the same image, the same caption) are all positives of each other.

    Args:
        features: The two streams that are compared.
        scale: Inverse temperature to begin with.
        max_scale: Bound of the inverse temperature.
        view: See `Objective`.
    """

    def __init__(
        self,
        features: tuple[str, str] = ("image_feature", "text_feature"),
        scale: float = 1 / 0.07,
        max_scale: float = 100.0,
        view: str = "main",
    ) -> None:
        super().__init__(view)
        self.features, self.max_scale = features, max_scale
        self.log_scale = nn.Parameter(torch.full((1,), math.log(scale)))

    def scale(self) -> Tensor:
        """The inverse temperature, (1,)."""
        return self.log_scale.clamp(max=math.log(self.max_scale)).exp()

    def similarities(self, streams: Streams, teacher: Streams | None = None) -> dict[str, Tensor]:
        one, two = (streams[name].x[:, 0] for name in self.features)  # (B, E)
        pairs = zip(self.features, ((one, gather(two)), (two, gather(one))), strict=True)
        return {name: self.scale() * rows @ columns.T for name, (rows, columns) in pairs}

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        one = streams[self.features[0]].x[:, 0]  # (B, E)
        positive = positives(batch, len(one)).to(one.dtype)  # (B, W * B)
        target = positive / positive.sum(-1, keepdim=True)
        loss, hits = one.new_zeros(()), one.new_zeros(())
        for logits in self.similarities(streams).values():
            loss = loss - (target * logits.log_softmax(-1)).sum() / 2
            hits = hits + positive.gather(1, logits.argmax(-1, keepdim=True)).sum() / 2
        count = count_of(one[:, 0])
        return {"loss": (loss, count), "accuracy": (hits.detach(), count)}


class SigmoidContrastive(Comparison):
    """SigLIP: every pair is a yes/no question of its own; the sum over pairs, per row.

    Args:
        features: The two streams that are compared.
        scale: Inverse temperature to begin with (paper: 10).
        bias: Bias to begin with (paper: -10).
        view: See `Objective`.
    """

    def __init__(
        self,
        features: tuple[str, str] = ("image_feature", "text_feature"),
        scale: float = 10.0,
        bias: float = -10.0,
        view: str = "main",
    ) -> None:
        super().__init__(view)
        self.features = features
        self.log_scale = nn.Parameter(torch.full((1,), math.log(scale)))
        self.bias = nn.Parameter(torch.full((1,), bias))

    def similarities(self, streams: Streams, teacher: Streams | None = None) -> dict[str, Tensor]:
        one, two = self.features
        return {one: self.logits(streams, one, two), two: self.logits(streams, two, one)}

    def logits(self, streams: Streams, rows: str, columns: str) -> Tensor:
        """The scaled and shifted similarities (B, W * B) of this rank's rows and all ranks' columns."""
        return self.log_scale.exp() * streams[rows].x[:, 0] @ gather(streams[columns].x[:, 0]).T + self.bias

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        one = streams[self.features[0]].x[:, 0]
        positive = positives(batch, len(one)).to(one.dtype)
        logits = self.logits(streams, *self.features)  # (B, W * B)
        loss = -F.logsigmoid((2 * positive - 1) * logits).sum()
        hits = positive.gather(1, logits.argmax(-1, keepdim=True)).sum()
        count = count_of(one[:, 0])
        return {"loss": (loss, count), "accuracy": (hits.detach(), count)}


class MomentumContrastive(Comparison):
    """ALBEF's: the columns are the teacher's features and a queue of earlier ones, the targets partly the teacher's own softmax.

    Args:
        features: The two streams that are compared.
        dim: Width of the features.
        queue_size: Columns kept from earlier steps; a multiple of the batch over all ranks.
        temperature: To begin with; kept in [0.001, 0.5].
        distill: Weight of the teacher's distribution against the match.
        view: See `Objective`.
    """

    taught = True
    queue_one: Tensor
    queue_two: Tensor
    place: Tensor

    def __init__(
        self,
        features: tuple[str, str] = ("image_feature", "text_feature"),
        dim: int = 256,
        queue_size: int = 65536,
        temperature: float = 0.07,
        distill: float = 0.4,
        view: str = "main",
    ) -> None:
        super().__init__(view)
        self.features, self.distill = features, distill
        self.temperature = nn.Parameter(torch.full((1,), temperature))
        for side in ("one", "two"):
            self.register_buffer(f"queue_{side}", F.normalize(torch.randn(dim, queue_size), dim=0))
        self.register_buffer("place", torch.zeros(1, dtype=torch.long))

    def similarities(self, streams: Streams, teacher: Streams | None = None) -> dict[str, Tensor]:
        assert teacher is not None
        one, two = self.features
        pairs = ((one, two), (two, one))
        return {rows: streams[rows].x[:, 0] @ gather(teacher[columns].x[:, 0]).T / self.temperature for rows, columns in pairs}

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        if teacher is None:
            raise ValueError("MomentumContrastive needs a learner with a teacher: set its momentum")
        students = [streams[name].x[:, 0] for name in self.features]
        teachers = [teacher.streams[name].x[:, 0] for name in self.features]
        gathered = [gather(t).detach() for t in teachers]  # (W * B, E)
        # In place on the data, as the original does: the clamp gets no gradient.
        self.temperature.data.clamp_(0.001, 0.5)
        queues = (self.queue_one, self.queue_two)
        columns = [torch.cat([g.T, queue], 1) for g, queue in zip(gathered, queues, strict=True)]  # (E, W * B + K)
        match = positives(batch, len(students[0])).to(columns[0].dtype)
        match = F.pad(match / match.sum(-1, keepdim=True), (0, columns[0].shape[1] - match.shape[1]))
        loss = students[0].new_zeros(())
        for side in (0, 1):
            other = columns[1 - side]
            with torch.no_grad():
                taught = (teachers[side] @ other / self.temperature).softmax(-1)
                target = self.distill * taught + (1 - self.distill) * match
            loss = loss - (target * (students[side] @ other / self.temperature).log_softmax(-1)).sum() / 2
        if self.training:
            self.enqueue(gathered)
        return {"loss": (loss, count_of(students[0][:, 0]))}

    @torch.no_grad()
    def enqueue(self, features: list[Tensor]) -> None:
        """Writes the teacher's features (W * B, E) of both sides over the oldest columns."""
        size, rows = self.queue_one.shape[-1], len(features[0])
        if size % rows:
            raise ValueError(f"the queue holds {size} columns, which is no multiple of the {rows} rows of all ranks")
        place = (self.place + torch.arange(rows, device=self.place.device)) % size
        self.queue_one[:, place], self.queue_two[:, place] = (f.T for f in features)
        self.place.copy_((self.place + rows) % size)


def positives(batch: Batch, rows: int) -> Tensor:
    """Bool (B, W * B): the true matches of this rank's rows among all ranks': the same row, and rows of the same group."""
    groups = batch["group"]
    match = groups[:, None] == gather(groups)
    own = torch.arange(rows, device=groups.device)
    match[own, own + offset(rows)] = True
    return match
