"""Random numbers as a pure function of (seed, step, sample, place): the same on any number of ranks, whatever the padding.

A counter-based generator: each number is a hash of its own coordinates, so nothing depends on who drew before. The hash is the
finaliser of SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014), on wrapping int64.
"""

import zlib
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as int64
_MIX1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX2 = -7723592293110705685  # 0x94D049BB133111EB


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right of int64 (torch's is arithmetic)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _MIX1
    x = (x ^ _shift(x, 27)) * _MIX2
    return x ^ _shift(x, 31)


class Draws:
    """Uniform numbers for the samples of a batch.

    Args:
        ids: The samples' ids (B,) int64.
        seed: The run's seed.
        step: The optimiser step, so that a sample is corrupted anew each time it comes.
    """

    def __init__(self, ids: Tensor, seed: int = 0, step: int = 0) -> None:
        self.ids, self.seed, self.step = ids, seed, step

    def uniform(self, name: str, *shape: int) -> Tensor:
        """Numbers in [0, 1) of shape (B, *shape); `name` tells this draw from the others of the same step."""
        key = zlib.crc32(f"{self.seed}/{self.step}/{name}".encode())
        state = _mix(self.ids * _GOLDEN + key)
        for size in shape:
            place = torch.arange(1, size + 1, device=self.ids.device)
            state = _mix(state[..., None] + place * _GOLDEN)
        return _shift(state, 40).to(torch.float32) * 2.0**-24

    def integers(self, name: str, high: int | Tensor, *shape: int) -> Tensor:
        """Integers in [0, high) of shape (B, *shape)."""
        return (self.uniform(name, *shape).double() * high).long()

    def choose(self, name: str, weights: Tensor) -> Tensor:
        """One column for each row of `weights` (B, N) >= 0, drawn in proportion; a row of zeros draws uniformly."""
        weights = weights.double()
        weights = weights + (weights.sum(-1, keepdim=True) == 0)
        place = self.uniform(name).double()[:, None] * weights.sum(-1, keepdim=True)
        return (weights.cumsum(-1) <= place).sum(-1).clamp(max=weights.shape[-1] - 1)


class TapedDraws(Draws):
    """Draws replayed from a recording: the next tensor of the tape, whatever is asked for.

    Args:
        tape: The numbers in the order in which they are asked for; `uniform`, `integers` and `choose` return them as they are.
    """

    def __init__(self, tape: Iterable[Tensor]) -> None:
        self.tape = list(tape)
        self.used = 0

    def _next(self, name: str, shape: Sequence[int]) -> Tensor:
        if self.used == len(self.tape):
            raise ValueError(f"the tape holds {len(self.tape)} draws, and {name!r} of shape {tuple(shape)} asks for one more")
        self.used += 1
        return self.tape[self.used - 1]

    def uniform(self, name: str, *shape: int) -> Tensor:
        return self._next(name, shape)

    def integers(self, name: str, high: int | Tensor, *shape: int) -> Tensor:
        return self._next(name, shape)

    def choose(self, name: str, weights: Tensor) -> Tensor:
        return self._next(name, weights.shape)
