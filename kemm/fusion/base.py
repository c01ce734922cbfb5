"""What a fusion is, and where it is placed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import nn

from kemm.batch import Batch, Stream, has

if TYPE_CHECKING:
    from kemm.model import FusionModel

Streams = dict[str, Stream]


class Fusion(nn.Module):
    """Mixes streams between the encoders' layers.

    A subclass takes the names of the streams that it reads as constructor arguments and returns only what it changes or adds;
    inputs are never changed in place (streams are shared).
    """

    needs: tuple[str, ...] = ()
    """Streams, and entries of the batch, without which the fusion is skipped; `mention.spans` names an entry of an entry."""
    reads_padding: bool = False
    """Whether real positions depend on padded ones."""
    unused: tuple[str, ...] = ()
    """Names of parameters that get no gradient, kept since published checkpoints hold them."""

    tables: dict[str, int] = {}
    """Encoder -> rows that its table must have, where the fusion reads it by rows that it knows itself (those of a graph)."""

    def wants(self, streams: Streams, batch: Batch) -> bool:
        """Whether there is all that the fusion needs."""
        return all(path in streams or has(batch, path) for path in self.needs)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        """The streams that the fusion changes or adds.

        Args:
            streams: All streams, at the heights of the fusion point.
            batch: The batch, for what is not a stream (spans, priors, ids).
            network: The network, for shared tables.
        """
        raise NotImplementedError


@dataclass
class FusionPoint:
    """A fusion and where it happens.

    Args:
        at: The height (layers run) of each stream that must have been climbed before, `top` for the last; a batch that lacks one of
            these streams skips the fusion.
        fusion: The fusion.
    """

    at: dict[str, int | Literal["top"]]
    fusion: Fusion
