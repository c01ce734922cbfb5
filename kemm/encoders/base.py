"""The encoder: a container that `FusionModel` climbs."""

from collections.abc import Sequence
from typing import Any

from torch import nn


class Encoder(nn.Module):
    """One modality's layers, to be entered at any height; it has no forward of its own.

    Args:
        embed: Makes a `Stream` of height 0 of the modality's entry in the batch.
        layers: Each is called `(x, mask, positions) -> x`; a final norm, if any, is the last.
    """

    reads_padding: bool = False
    """Whether real positions depend on padded ones (declared by what does, respected by the tests and by packing)."""

    limits: dict[str, int] = {}
    """Entry of the input, such as `ids` -> its values must lie below; `length` limits the tokens of a text."""

    embed: Any
    """The embedding; fusions and objectives read its tables."""

    def __init__(self, embed: nn.Module, layers: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self.embed = embed
        self.layers = nn.ModuleList(layers)

    @property
    def top(self) -> int:
        """The height above the last layer."""
        return len(self.layers)
