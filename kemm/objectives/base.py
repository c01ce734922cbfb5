"""What an objective is: it hides something and scores the recovery."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from kemm.batch import IGNORE, Batch, has
from kemm.fusion.base import Streams
from kemm.kg import Answers, Labels
from kemm.nn import Draws

if TYPE_CHECKING:
    from kemm.model import FusionModel

Losses = dict[str, tuple[Tensor, Tensor]]
"""Name -> (sum, count) of this rank's part; `loss` is what is minimised, the others are logged."""


class View(NamedTuple):
    """One forward of a step.

    Attributes:
        batch: The batch, corrupted.
        streams: What the network made of it.
        teacher: What the momentum copy made of it, where an objective of the view is taught.
        objectives: Name -> objective that scored it.
    """

    batch: Batch
    streams: Streams
    teacher: Streams | None = None
    objectives: Mapping[str, "Objective"] = MappingProxyType({})


class Teacher(NamedTuple):
    """The momentum copy's answer to the same batch: its streams, its network, its copy of the asking objective (the objective itself
    where that does not teach)."""

    streams: Streams
    network: "FusionModel"
    objective: "Objective"


class Objective(nn.Module):
    """Owns what is hidden and the head that recovers it.

    Args:
        view: Objectives of one view share one forward, on the batch that all of them have corrupted in turn.
        after: The view whose streams the corruption reads, "" for none.
        reuse: Inputs that are not encoded again: the view takes up their streams where the `after` view left them (and the teacher
            its own).
    """

    needs: tuple[str, ...] = ()
    """Entries without which a batch is none of this objective's business; `text.labels` names an entry of an entry."""
    taught: bool = False
    """Whether the objective reads the teacher, where the learner has one."""
    teaches: bool = False
    """Whether the teacher answers with its own copy of the objective's head."""
    reads_padding: bool = False
    """Whether the loss depends on padded places."""
    unused: tuple[str, ...] = ()
    """Names of parameters that get no gradient, kept since published checkpoints hold them."""

    def __init__(self, view: str = "main", after: str = "", reuse: Sequence[str] = ()) -> None:
        super().__init__()
        self.view, self.after, self.reuse = view, after, tuple(reuse)

    def limits(self, network: "FusionModel") -> dict[str, int]:
        """Entry of the batch, such as `text.ids` -> its values must lie below, where the objective looks them up or predicts them."""
        return {}

    @property
    def lists(self) -> dict[str, Answers | Labels]:
        """Entry of the batch, such as `answer.scores` -> the closed list that the objective's head was made of."""
        return {}

    def check_learner(self, who: str, network: "FusionModel", objectives: Mapping[str, "Objective"]) -> None:
        """Refuses a learner in which the objective cannot work.

        Args:
            who: What a message calls the objective.
            network: The learner's network.
            objectives: The learner's objectives, by name.

        Raises:
            ValueError: Something is missing, or does not fit: what was given and what was expected.
        """

    def wants(self, batch: Batch) -> bool:
        """Whether the batch has all that the objective needs."""
        return all(has(batch, path) for path in self.needs)

    def corrupt(self, batch: Batch, before: dict[str, View], draws: Draws) -> Batch:
        """The batch with something hidden: a new dict, a pure function of the arguments."""
        return batch

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        """This rank's sums and counts.

        Args:
            streams: What the network made of the corrupted batch.
            batch: The corrupted batch.
            network: The network, for shared tables.
            teacher: The momentum copy's answer, if the learner has one and the objective is `taught`.
        """
        raise NotImplementedError


def drop_labels(labels: Tensor, batch: Batch, unless: str) -> Tensor:
    """Labels (B, L) that are `IGNORE` in samples where the entry `unless` (B,) of the batch is not 0; "" drops none.

    What is hidden in a pair that does not match cannot be told from the other half (facebookresearch/vilbert-multi-task:
    train_concap.py, objective 1).
    """
    return labels.masked_fill(batch[unless].bool()[:, None], IGNORE) if unless in batch else labels


def wide(x: Tensor) -> Tensor:
    """In float32 at least: half precision rounds likelihoods away."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def count_of(values: Tensor) -> Tensor:
    """Number of elements as a tensor on the values' device, in their dtype."""
    return torch.full((), values.numel(), dtype=values.dtype, device=values.device)


def cross_entropy(logits: Tensor, labels: Tensor) -> Losses:
    """Summed cross-entropy and hits of logits (..., N) against labels (...), those that are `IGNORE` apart."""
    counted = labels != IGNORE
    logits, labels = logits[counted], labels[counted]
    count = count_of(labels.to(logits.dtype))
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    return {"loss": (loss, count), "accuracy": ((logits.argmax(-1) == labels).sum().to(logits.dtype), count)}


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Losses:
    """Summed binary cross-entropy and right decisions of logits (..., N) against labels (..., N), 0 or 1, each counted by itself."""
    labels = labels.to(logits.dtype)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
    right = ((logits > 0) == (labels > 0)).sum().to(logits.dtype)
    return {"loss": (loss, count_of(logits)), "accuracy": (right, count_of(logits))}
