"""The straight shapes of flags: each turns itself into coloured outlines (polygons) inside a frame (see `kemm.data.frame` for units)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kemm.data.frame import CENTRE, WHOLE, Across, Box, Frame, Outline, Point, around, reflect, segment, stack


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
            for start, end in itertools.pairwise(corners):
                yield self.line, segment(start, end, width, 0.0)
                yield self.line, around((end[0], end[1]), width / 2, np.arange(0.0, 360.0, 45.0))
