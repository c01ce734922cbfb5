"""Packing: the real places of padded rows, several rows in one, so that layers do not compute on padding.

A packed row's mask lets each place see the places of its own sample only: what layers make of the real places is what they would have
made of them in their own row (Krell et al., "Efficient Sequence Packing without Cross-contamination", arXiv 2107.02027, section 3.2).
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from kemm.nn.attention import visible


class Fit(NamedTuple):
    """Lengths in bins: the bin of each, where it begins in it, the number of bins, and how far the fullest is filled."""

    row: list[int]
    start: list[int]
    bins: int
    capacity: int


class Packing:
    """Where each real place of a batch lies in fewer, fuller rows.

    Args:
        real: The places that are kept, bool (B, L).
        fitted: Where the rows' real places go.
    """

    def __init__(self, real: Tensor, fitted: Fit) -> None:
        self.rows, self.length = real.shape
        self.bins, self.capacity = fitted.bins, fitted.capacity
        origin = torch.tensor([r * self.capacity + s for r, s in zip(fitted.row, fitted.start, strict=True)], device=real.device)
        sample, place = real.nonzero(as_tuple=True)
        self.source = sample * self.length + place  # (N,) in the padded batch
        self.target = origin[sample] + (real.cumsum(1) - 1)[sample, place]  # (N,) in the packed one
        owner = torch.full((self.bins * self.capacity,), -1, device=real.device)
        owner = owner.index_copy(0, self.target, sample).view(self.bins, self.capacity)
        self.mask = owner[:, :, None] == owner[:, None]  # (bins, capacity, capacity)

    @classmethod
    def of(cls, mask: Tensor, width: int, below: float) -> Self | None:
        """The packing of rows with a padding mask (B, L), None where its cost is not below this share of the padded batch's.

        A row without a real place keeps them all, since all see each other (`visible`). Rows twice or three times as long as the
        longest fit better, and attention costs more in them: what is cheapest for states of this width is taken.
        """
        real = visible(mask)
        lengths = real.sum(1).tolist()
        if sum(lengths) >= below * mask.numel():
            return None
        fits = [fit(lengths, times * max(lengths)) for times in (1, 2, 3)]
        best = min(fits, key=lambda fitted: cost(fitted.bins, fitted.capacity, width))
        rows, length = mask.shape
        return cls(real, best) if cost(best.bins, best.capacity, width) < below * cost(rows, length, width) else None

    def pack(self, x: Tensor) -> Tensor:
        """States or positions (B, L, ...) as (bins, capacity, ...); what is left over is zero."""
        return _move(x, self.source, self.target, self.bins, self.capacity)

    def unpack(self, x: Tensor) -> Tensor:
        """The inverse of `pack`; padding is zero."""
        return _move(x, self.target, self.source, self.rows, self.length)


def cost(rows: int, length: int, width: int) -> int:
    """What a transformer layer computes, in units of 4 * width operations: 24 width^2 + 4 length width for each place."""
    return rows * length * (6 * width + length)


def fit(lengths: list[int], capacity: int) -> Fit:
    """First fit decreasing, which takes at most 11/9 of the fewest possible bins, and 6/9 (Dósa, "The tight bound of first fit decreasing
    bin-packing algorithm", ESCAPE 2007)."""
    row, start, used = [0] * len(lengths), [0] * len(lengths), list[int]()
    for sample in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        found = next((i for i, filled in enumerate(used) if filled + lengths[sample] <= capacity), len(used))
        if found == len(used):
            used.append(0)
        row[sample], start[sample] = found, used[found]
        used[found] += lengths[sample]
    return Fit(row, start, len(used), max(used))


def _move(x: Tensor, source: Tensor, target: Tensor, rows: int, length: int) -> Tensor:
    moved = x.new_zeros(rows * length, *x.shape[2:]).index_copy(0, target, x.flatten(0, 1)[source])
    return moved.unflatten(0, (rows, length))
