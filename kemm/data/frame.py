"""Frames, places and the few constructions from which the shapes of flags are made.

A frame is a rectangle of the page. Points are `[x, y]` with `y` a fraction of the frame's height from the top and `x` a fraction of its
width from the hoist; `x` may also be written `0.5h` (heights from the hoist) or `0.5-0.2h` (a fraction and heights), which keeps a crescent
and its star together at any aspect. Every length (radius, width, depth, size) is a fraction of the frame's height, so that discs stay
round. Angles are degrees, clockwise, 0 = up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

Outline = tuple[str, np.ndarray]
"""A colour name and the corners (n, 2) of a polygon."""


class Across(NamedTuple):
    """A horizontal place: a fraction of the width plus a number of heights."""

    fraction: float
    heights: float = 0.0


class Point(NamedTuple):
    x: Across
    y: float


class Box(NamedTuple):
    left: Across
    top: float
    right: Across
    bottom: float


class Frame(NamedTuple):
    """A rectangle of the page, in page units."""

    left: float
    top: float
    width: float
    height: float

    def place(self, point: Point) -> tuple[float, float]:
        return self.left + self.width * point.x.fraction + self.height * point.x.heights, self.top + self.height * point.y

    def inner(self, box: Box) -> Frame:
        left, top = self.place(Point(box.left, box.top))
        right, bottom = self.place(Point(box.right, box.bottom))
        return Frame(left, top, right - left, bottom - top)

    def corners(self) -> np.ndarray:
        right, bottom = self.left + self.width, self.top + self.height
        return np.array([[self.left, self.top], [right, self.top], [right, bottom], [self.left, bottom]])


CENTRE = Point(Across(0.5), 0.5)
WHOLE = Box(Across(0.0), 0.0, Across(1.0), 1.0)


class Shape(Protocol):
    def outlines(self, frame: Frame) -> Iterator[Outline]: ...


def around(centre: tuple[float, float], radius: float | np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Points at a radius and at angles (clockwise from up) around a centre: (n, 2)."""
    angle = np.radians(degrees)
    return np.stack([centre[0] + radius * np.sin(angle), centre[1] - radius * np.cos(angle)], axis=1)


def star(centre: tuple[float, float], radius: float, points: int, inner: float, turn: float) -> np.ndarray:
    """A star's corners; `inner` 0 gives the regular star whose edges lie on the lines between next-but-one points."""
    depth = inner or (math.cos(2 * math.pi / points) / math.cos(math.pi / points) if points > 4 else 0.4)
    radii = radius * np.where(np.arange(2 * points) % 2 == 0, 1.0, depth)
    return around(centre, radii, turn + np.arange(2 * points) * 180.0 / points)


def segment(start: np.ndarray, end: np.ndarray, width: float, beyond: float, offset: float = 0.0) -> np.ndarray:
    """A thick line as four corners, lengthened by `beyond` at both ends and moved by `offset` to its right-hand side."""
    along = (end - start) / max(float(np.hypot(*(end - start))), 1e-9)
    side = np.array([-along[1], along[0]])
    start, end = start - along * beyond + side * offset, end + along * beyond + side * offset
    return np.stack([start + side * width / 2, end + side * width / 2, end - side * width / 2, start - side * width / 2])


def stack(colours: tuple[str, ...], weights: tuple[float, ...]) -> Iterator[tuple[str, float, float]]:
    """Colours with the fractions at which each begins and ends."""
    shares = np.array(weights or (1.0,) * len(colours))
    edges = np.concatenate([[0.0], np.cumsum(shares) / shares.sum()])
    yield from zip(colours, edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def reflect(corners: np.ndarray, frame: Frame) -> np.ndarray:
    """The reflection at the frame's vertical middle."""
    return np.stack([2 * frame.left + frame.width - corners[:, 0], corners[:, 1]], axis=1)
