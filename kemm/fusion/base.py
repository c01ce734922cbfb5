"""What a fusion is, and where it is placed."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from torch import nn

from kemm.batch import Batch, Stream

if TYPE_CHECKING:
    from kemm.model import FusionModel

Streams = dict[str, Stream]


class Fusion(nn.Module):
    """Mixes streams between the encoders' layers.

    A subclass takes the names of the streams that it reads as constructor arguments and returns only what it changes or adds;
    inputs are never changed in place (streams are shared).
    """

    reads_padding: bool = False
    """Whether real positions depend on padded ones."""
    unused: tuple[str, ...] = ()
    """Names of parameters that get no gradient, kept since published checkpoints hold them."""

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

    at: dict[str, int | Literal["top"]] = field(default_factory=dict)
    fusion: Fusion = field(default_factory=Fusion)
