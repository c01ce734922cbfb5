"""The shapes that flags are made of: each turns itself into coloured outlines (polygons) inside a frame.

A frame is a rectangle of the page. Points are `[x, y]` with `y` a fraction of the frame's height from the top and `x` a fraction of its width
from the hoist; `x` may also be written `0.5h` (heights from the hoist) or `0.5-0.2h` (a fraction and heights), which keeps a crescent and its star
together at any aspect. Every length (radius, width, depth, size) is a fraction of the frame's height, so that discs stay round. Angles are
degrees, clockwise, 0 = up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Horizontal:
    """Horizontal stripes from the top to the bottom of a box."""

    horizontal: tuple[str, ...]
    weights: tuple[float, ...] = ()
    box: Box = WHOLE

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        inner = frame.inner(self.box)
        for colour, start, end in stack(self.horizontal, self.weights):
            yield colour, inner.inner(Box(Across(0.0), start, Across(1.0), end)).corners()


@dataclass(frozen=True)
class Vertical:
    """Vertical stripes from the hoist to the fly of a box."""

    vertical: tuple[str, ...]
    weights: tuple[float, ...] = ()
    box: Box = WHOLE

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        inner = frame.inner(self.box)
        for colour, start, end in stack(self.vertical, self.weights):
            yield colour, inner.inner(Box(Across(start), 0.0, Across(end), 1.0)).corners()


@dataclass(frozen=True)
class Checker:
    """A board of two colours; the first is at the top of the hoist."""

    checker: tuple[str, ...]
    rows: int
    columns: int
    box: Box = WHOLE

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        for row in range(self.rows):
            shifted = self.checker[row % 2 :] + self.checker[: row % 2]
            cells = tuple(shifted[column % len(shifted)] for column in range(self.columns))
            line = frame.inner(self.box).inner(Box(Across(0.0), row / self.rows, Across(1.0), (row + 1) / self.rows))
            yield from Vertical(cells).outlines(line)


@dataclass(frozen=True)
class Rectangle:
    rectangle: str
    box: Box

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        yield self.rectangle, frame.inner(self.box).corners()


@dataclass(frozen=True)
class Border:
    """A frame of even width along the four edges."""

    border: str
    width: float

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        corners, middle = frame.corners(), np.array([frame.left + frame.width / 2, frame.top + frame.height / 2])
        inner = corners + np.sign(middle - corners) * self.width * frame.height
        yield self.border, np.concatenate([corners, corners[:1], inner[:1], inner[:0:-1], inner[:1]])


@dataclass(frozen=True)
class Cross:
    """A cross whose arms reach the edges."""

    cross: str
    width: float
    at: Point = CENTRE

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        (x, y), half = frame.place(self.at), self.width * frame.height / 2
        yield self.cross, Frame(x - half, frame.top, 2 * half, frame.height).corners()
        yield self.cross, Frame(frame.left, y - half, frame.width, 2 * half).corners()


@dataclass(frozen=True)
class Plus:
    """A free-standing cross of a size, its arms of a width."""

    plus: str
    size: float
    width: float
    at: Point = CENTRE
    turn: float = 0.0

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        centre = frame.place(self.at)
        for turn in (self.turn, self.turn + 90.0):
            ends = around(centre, self.size * frame.height / 2, np.array([turn, turn + 180.0]))
            yield self.plus, segment(ends[0], ends[1], self.width * frame.height, 0.0)


@dataclass(frozen=True)
class Saltire:
    """Two diagonals from corner to corner."""

    saltire: str
    width: float

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        corners, width = frame.corners(), self.width * frame.height
        for start, end in ((0, 2), (1, 3)):
            yield self.saltire, segment(corners[start], corners[end], width, width)


@dataclass(frozen=True)
class Band:
    """A straight band between two points, running on a little beyond both; `offset` moves it to its right-hand side."""

    band: str
    start: Point
    end: Point
    width: float
    offset: float = 0.0

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        start, end = np.array(frame.place(self.start)), np.array(frame.place(self.end))
        yield self.band, segment(start, end, self.width * frame.height, self.width * frame.height, self.offset * frame.height)


@dataclass(frozen=True)
class Triangle:
    """A triangle on the hoist, between two heights."""

    triangle: str
    depth: float
    top: float = 0.0
    bottom: float = 1.0

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        tip = (frame.left + self.depth * frame.height, frame.top + frame.height * (self.top + self.bottom) / 2)
        yield (
            self.triangle,
            np.array([(frame.left, frame.top + frame.height * self.top), tip, (frame.left, frame.top + frame.height * self.bottom)]),
        )


@dataclass(frozen=True)
class Polygon:
    """Any outline; with `mirror`, the points of the left half, the right half being its reflection."""

    polygon: str
    points: tuple[Point, ...]
    mirror: bool = False

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        corners = np.array([frame.place(point) for point in self.points])
        if self.mirror:
            corners = np.concatenate([corners, reflect(corners, frame)[::-1]])
        yield self.polygon, corners


@dataclass(frozen=True)
class Line:
    """A thick line through points, with round joints; with `mirror`, its reflection too."""

    line: str
    points: tuple[Point, ...]
    width: float
    mirror: bool = False

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        path, width = np.array([frame.place(point) for point in self.points]), self.width * frame.height
        for corners in (path, reflect(path, frame)) if self.mirror else (path,):
            for start, end in zip(corners[:-1], corners[1:], strict=True):
                yield self.line, segment(start, end, width, 0.0)
                yield self.line, around((end[0], end[1]), width / 2, np.arange(0.0, 360.0, 45.0))


def reflect(corners: np.ndarray, frame: Frame) -> np.ndarray:
    """The reflection at the frame's vertical middle."""
    return np.stack([2 * frame.left + frame.width - corners[:, 0], corners[:, 1]], axis=1)
