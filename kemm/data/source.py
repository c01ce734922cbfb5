"""What a source of data is: samples by number, a whole batch at a time."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from kemm.batch import Batch
from kemm.kg import Answers, Labels

EVALUATION = -1
"""The epoch of evaluation: nothing is drawn anew."""


class Reach(NamedTuple):
    """How far the ids of an entry of the batch reach.

    Attributes:
        size: They lie below it.
        of: The file that says so.
    """

    size: int
    of: str


class Source:
    """Samples of one kind.

    A batch is a pure function of (rows, epoch): whatever is random in it is keyed by the sample and the epoch, so that neither the
    number of workers nor of ranks, nor an interruption, changes it.
    """

    def __len__(self) -> int:
        """Number of samples."""
        raise NotImplementedError

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        """The batch of some samples.

        Args:
            rows: Numbers below the length.
            epoch: Keys what is drawn anew each time; `EVALUATION` for none of that.
        """
        raise NotImplementedError

    @property
    def skipped(self) -> dict[str, int]:
        """Reason -> number of bad rows that were left out."""
        return {}

    @property
    def reaches(self) -> dict[str, Reach]:
        """Entry of the batch, such as `text.ids` -> how far its ids reach, so that a table that is too small is found before training.

        `text.length` is the number of tokens of the longest text.
        """
        return {}

    @property
    def lists(self) -> dict[str, Answers | Labels]:
        """Entry of the batch, such as `answer.scores` -> the closed list whose places it counts in, so that a head that was made of another
        list is found before training."""
        return {}


def lengths_to_mask(lengths: Tensor, size: int) -> Tensor:
    """Bool (B, size): True on the first `lengths` places of each row."""
    return lengths.new_tensor(range(size)) < lengths[:, None]
