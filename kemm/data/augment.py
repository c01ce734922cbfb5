"""Seeded augmentation of pictures of flags: each picture's result depends on its own seed only, never on the batch around it.

Geometry (crop or margin, aspect, rotation, shear, perspective, waves) is one `grid_sample`; then folds' shading, gloss, light and colour,
occlusion, blur, noise and JPEG's block quantisation. Nothing is ever mirrored: Ireland is not Ivory Coast.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

DRAWS = 64
"""Uniform numbers for the choices of one picture; noise draws follow them."""
LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601, also JPEG's."""


def uniform(seeds: Tensor, count: int, first: int = 0) -> Tensor:
    """Uniform numbers in [0, 1) that are a pure function of (seed, position).

    Two rounds of the 32-bit finaliser of Wellons' hash-prospector ("lowbias32"), here in 64-bit integers so that nothing overflows.

    Args:
        seeds: (B,) int64.
        count: numbers per seed.
        first: the position of the first number.

    Returns:
        (B, count) float32.
    """
    position = torch.arange(first, first + count, device=seeds.device) * 0x9E3779B9
    low, high = seeds & 0xFFFFFFFF, (seeds >> 32) & 0xFFFFFFFF
    state = (mix(mix(low) ^ high).unsqueeze(1) + position) & 0xFFFFFFFF
    return (mix(state) >> 8).float() * 2.0**-24


def mix(state: Tensor) -> Tensor:
    """A bijection of 32-bit numbers (held in int64) in which each input bit changes each output bit with probability near one half."""
    state = ((state ^ (state >> 16)) * 0x21F0AAAD) & 0xFFFFFFFF
    state = ((state ^ (state >> 15)) * 0x735A2D97) & 0xFFFFFFFF
    return state ^ (state >> 15)


def resize(images: Tensor, size: int) -> Tensor:
    """The plain evaluation resize to a square, anti-aliased: (B, 3, h, w) uint8 -> (B, 3, size, size) uint8."""
    small = F.interpolate(images.float(), (size, size), mode="bilinear", align_corners=False, antialias=True)
    return small.round().clamp(0, 255).to(torch.uint8)


class Draws:
    """Hands out the uniform numbers of a batch one name after the other; all are (B, 1, 1, 1) unless told otherwise."""

    def __init__(self, seeds: Tensor) -> None:
        self._numbers, self._next = uniform(seeds, DRAWS), 0
        self.device = seeds.device

    def between(self, low: float, high: float, count: int = 1) -> Tensor:
        """(B, count, 1, 1) numbers in [low, high)."""
        self._next += count
        return (low + (high - low) * self._numbers[:, self._next - count : self._next])[..., None, None]

    def chance(self, probability: float) -> Tensor:
        """(B, 1, 1, 1) of 0.0 or 1.0."""
        return (self.between(0.0, 1.0) < probability).float()


class Augment:
    """Random views of pictures.

    Args:
        size: side of the square results in pixels; a multiple of 8 (JPEG's blocks).
        strength: 0 leaves only the resize, 1 is meant for recognising another artist's drawings and photographs of flags.
    """

    def __init__(self, size: int, strength: float = 1.0) -> None:
        if size < 8 or size % 8:
            raise ValueError(f"size is {size}, expected a multiple of 8, at least 8")
        if not 0.0 <= strength <= 1.5:
            raise ValueError(f"strength is {strength}, expected a number from 0 to 1.5")
        self.size, self.strength = size, strength

    def __call__(self, images: Tensor, seeds: Tensor) -> Tensor:
        """One random view of each picture.

        Args:
            images: (B, 3, h, w) uint8.
            seeds: (B,) int64; equal seeds and pictures give equal results, whatever else is in the batch.

        Returns:
            (B, 3, size, size) uint8.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images are {images.dtype} {tuple(images.shape)}, expected uint8 (B, 3, h, w)")
        if seeds.dtype != torch.int64 or seeds.shape != images.shape[:1]:
            raise ValueError(f"seeds are {seeds.dtype} {tuple(seeds.shape)}, expected int64 ({len(images)},)")
        if self.strength == 0.0:
            return resize(images, self.size)
        draws = Draws(seeds)
        grid, fold = self.grid(draws)
        x = self.view(images, grid, draws)
        x = self.light(x, fold, draws)
        x = self.occlude(x, draws)
        x = self.degrade(x, seeds, draws)
        return (x * 255).round().clamp(0, 255).to(torch.uint8)

    def grid(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """Where each pixel looks in the picture, (B, size, size, 2) in [-1, 1], and the folds' steepness, (B, 1, size, size)."""
        s = self.strength
        line = (torch.arange(self.size, device=draws.device) * 2 + 1) / self.size - 1
        y, x = line.view(1, 1, -1, 1), line.view(1, 1, 1, -1)
        scale = torch.exp(draws.between(-0.22, 0.3) * s)
        stretch = torch.exp(draws.between(-0.2, 0.2) * s)
        letterbox = 1 + draws.chance(0.25 * min(s, 1.0)) * draws.between(0.1, 0.5)
        angle = torch.deg2rad(draws.between(-1, 1) ** 3 * 28 * s)
        shear = draws.between(-0.18, 0.18) * s
        tilt_x, tilt_y = draws.between(-0.16, 0.16) * s, draws.between(-0.16, 0.16) * s
        move_x, move_y = draws.between(-0.15, 0.15) * s, draws.between(-0.15, 0.15) * s
        depth = 1 + tilt_x * x + tilt_y * y
        across = (torch.cos(angle) * x - torch.sin(angle) * y + shear * y) * scale * stretch / depth + move_x
        down = (torch.sin(angle) * x + torch.cos(angle) * y) * scale / stretch * letterbox / depth + move_y
        # A wave of slope a * k < 1 never folds the cloth over itself, so left stays left.
        wavy = draws.chance(0.5 * min(s, 1.0))
        pitch, phase = draws.between(1.5, 6.0), draws.between(0, 2 * math.pi)
        swing = wavy * draws.between(0.1, 0.35) / pitch * min(s, 1.2)
        lean = draws.between(-0.5, 0.5)
        fold = pitch * (across + lean * down) + phase
        down = down + swing * torch.sin(fold)
        across = across + 0.4 * swing * torch.sin(fold + 1.0)
        return torch.stack([across, down], dim=-1).squeeze(1), wavy * torch.cos(fold)

    def view(self, images: Tensor, grid: Tensor, draws: Draws) -> Tensor:
        """The pictures in [0, 1] before a background: a colour with a slope of light, often white or black."""
        x = F.grid_sample(images.float() / 255, grid, mode="bilinear", padding_mode="border", align_corners=False)
        edge = (1 - grid.abs()).amin(dim=-1).unsqueeze(1) * (self.size / 2)
        inside = (edge + 0.5).clamp(0, 1)
        colour, kind = draws.between(0, 1, 3), draws.between(0, 1)
        colour = torch.where(kind < 0.25, 1.0, torch.where(kind < 0.35, 0.0, torch.where(kind < 0.5, colour.mean(1, keepdim=True), colour)))
        line = torch.linspace(-0.5, 0.5, self.size, device=draws.device)
        slope = draws.between(-0.4, 0.4) * line.view(1, 1, -1, 1) + draws.between(-0.4, 0.4) * line.view(1, 1, 1, -1)
        return inside * x + (1 - inside) * (colour + slope).clamp(0, 1)

    def light(self, x: Tensor, fold: Tensor, draws: Draws) -> Tensor:
        """Folds' shading, gloss, then gamma, contrast, brightness, saturation, hue and a colour cast."""
        s = self.strength
        x = x * (1 + fold * draws.between(0.0, 0.3) * s)
        line = torch.linspace(-1, 1, self.size, device=draws.device)
        height = line.view(1, 1, -1, 1) + draws.between(-0.6, 0.6) * line.view(1, 1, 1, -1) + draws.between(-0.5, 0.8)
        gloss = draws.chance(0.15 * min(s, 1.0)) * draws.between(0.05, 0.35) * (height * -8).sigmoid()
        x = x + gloss * (1 - x)
        x = x.clamp(1e-4, 1) ** torch.exp(draws.between(-0.3, 0.3) * s)
        x = (x - 0.5) * torch.exp(draws.between(-0.3, 0.2) * s) + 0.5 + draws.between(-0.12, 0.12) * s
        # Saturation and hue are a stretch and a turn of the colour differences of luma and chroma.
        luma = sum(weight * x[:, i : i + 1] for i, weight in enumerate(LUMA))
        red, blue = x[:, :1] - luma, x[:, 2:] - luma
        turn, amount = torch.deg2rad(draws.between(-14, 14) * s), torch.exp(draws.between(-0.45, 0.3) * s)
        cos, sin = torch.cos(turn) * amount, torch.sin(turn) * amount
        red, blue = cos * red - sin * blue, sin * red + cos * blue
        green = -(LUMA[0] * red + LUMA[2] * blue) / LUMA[1]
        return ((luma + torch.cat([red, green, blue], dim=1)) * (1 + draws.between(-0.1, 0.1, 3) * s)).clamp(0, 1)

    def occlude(self, x: Tensor, draws: Draws) -> Tensor:
        """Sometimes an ellipse or a rectangle of one colour lies over the picture."""
        line = torch.linspace(-1, 1, self.size, device=draws.device)
        across = (line.view(1, 1, 1, -1) - draws.between(-1, 1)) / draws.between(0.08, 0.4)
        down = (line.view(1, 1, -1, 1) - draws.between(-1, 1)) / draws.between(0.08, 0.4)
        round_, box = across.square() + down.square() < 1, torch.maximum(across.abs(), down.abs()) < 1
        covered = torch.where(draws.chance(0.5) > 0, round_, box) & (draws.chance(0.3 * min(self.strength, 1.0)) > 0)
        return torch.where(covered, draws.between(0, 1, 3), x)

    def degrade(self, x: Tensor, seeds: Tensor, draws: Draws) -> Tensor:
        """Blur or sharpening, noise, JPEG."""
        weight = draws.chance(0.6) * draws.between(-0.12, 0.45) * min(self.strength, 1.2)
        for axis in (2, 3):
            x = x + weight * (neighbours(x, axis) - x)
        noise = uniform(seeds, self.size * self.size, DRAWS).view(-1, 1, self.size, self.size)
        rough = draws.chance(0.5) * draws.between(0.0, 0.12) * self.strength
        tint = draws.between(-1, 1, 3)
        x = x + rough * (noise - 0.5) * (1 + tint)
        rows = (draws.chance(0.3 * min(self.strength, 1.0)).flatten() > 0).nonzero().flatten()
        step = draws.between(0.05, 0.35)
        if len(rows):
            x = x.index_copy(0, rows, quantise(x[rows], step[rows]))
        return x


def neighbours(x: Tensor, axis: int) -> Tensor:
    """The mean of the two neighbours along an axis, edges repeated."""
    size = x.shape[axis]
    before = torch.cat([x.narrow(axis, 0, 1), x.narrow(axis, 0, size - 1)], dim=axis)
    after = torch.cat([x.narrow(axis, 1, size - 1), x.narrow(axis, size - 1, 1)], dim=axis)
    return (before + after) / 2


def quantise(x: Tensor, step: Tensor) -> Tensor:
    """JPEG's loss: the cosine transform of 8 x 8 blocks, rounded to steps that grow with frequency.

    Float64, since a matrix product's rounding may depend on the number of rows, and a result must not depend on its batch.

    Args:
        x: (B, 3, size, size).
        step: (B, 1, 1, 1), the step of the highest frequencies.
    """
    order = torch.arange(8, dtype=torch.float64, device=x.device)
    basis = torch.cos(math.pi / 8 * (order + 0.5) * order.unsqueeze(1)) * torch.where(order == 0, 0.125, 0.25).sqrt().unsqueeze(1)
    count, channels, size, _ = x.shape
    blocks = x.double().reshape(count, channels, size // 8, 8, size // 8, 8).transpose(3, 4)  # (B, 3, rows, columns, 8, 8)
    steps = step.double()[..., None, None] * (0.15 + (order + order.unsqueeze(1)) / 14)
    coefficients = ((basis @ blocks @ basis.T) / steps).round() * steps
    return (basis.T @ coefficients @ basis).transpose(3, 4).reshape(x.shape).to(x.dtype)
