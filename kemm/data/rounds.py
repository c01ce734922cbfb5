"""The round shapes of flags: discs, rings, crescents, stars, wheels, waves, saw teeth (see `kemm.data.frame` for frames and units)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from kemm.data.frame import CENTRE, Across, Frame, Outline, Point, around, segment, star

CIRCLE = np.arange(0.0, 360.0, 7.5)


@dataclass(frozen=True)
class Disc:
    """A disc; `tall` makes it an ellipse, that many times as tall as wide."""

    disc: str
    radius: float
    at: Point = CENTRE
    tall: float = 1.0

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        yield self.disc, np.array(frame.place(self.at)) + around((0.0, 0.0), self.radius * frame.height, CIRCLE) * [1.0, self.tall]


@dataclass(frozen=True)
class Arc:
    """A part of a ring, from one angle to another; `radius` is the outer one."""

    arc: str
    radius: float
    width: float
    start: float
    end: float
    at: Point = CENTRE

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        angles, centre = np.linspace(self.start, self.end, 49), frame.place(self.at)
        outer = around(centre, self.radius * frame.height, angles)
        inner = around(centre, (self.radius - self.width) * frame.height, angles)
        yield self.arc, np.concatenate([outer, inner[::-1]])


@dataclass(frozen=True)
class Ring:
    ring: str
    radius: float
    width: float
    at: Point = CENTRE

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        yield from Arc(self.ring, self.radius, self.width, 0.0, 360.0, self.at).outlines(frame)


@dataclass(frozen=True)
class Crescent:
    """A disc less a second disc of radius `bite` whose centre is `shift` away; it opens towards `turn` (90 = the fly)."""

    crescent: str
    radius: float
    bite: float
    shift: float
    at: Point = CENTRE
    turn: float = 90.0

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        # Where two circles meet, seen from each centre: the law of cosines in the triangle (radius, bite, shift).
        outer = math.degrees(math.acos(cosine(self.radius, self.shift, self.bite)))
        inner = math.degrees(math.acos(cosine(self.bite, self.shift, self.radius)))
        centre = frame.place(self.at)
        (away,) = around(centre, self.shift * frame.height, np.array([self.turn]))
        edge = around(centre, self.radius * frame.height, self.turn + np.linspace(outer, 360.0 - outer, 49))
        hollow = around((away[0], away[1]), self.bite * frame.height, self.turn + np.linspace(180.0 + inner, 180.0 - inner, 49))
        yield self.crescent, np.concatenate([edge, hollow])


def cosine(side: float, base: float, opposite: float) -> float:
    """The cosine of the angle between `side` and `base`, kept inside [-1, 1]."""
    return min(max((side**2 + base**2 - opposite**2) / (2 * side * base), -1.0), 1.0)


@dataclass(frozen=True)
class Star:
    star: str
    radius: float
    at: Point = CENTRE
    points: int = 5
    inner: float = 0.0
    turn: float = 0.0

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        yield self.star, star(frame.place(self.at), self.radius * frame.height, self.points, self.inner, self.turn)


@dataclass(frozen=True)
class Stars:
    """Equal stars at several places."""

    stars: str
    radius: float
    at: tuple[Point, ...]
    points: int = 5
    inner: float = 0.0
    turn: float = 0.0

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        for point in self.at:
            yield from Star(self.stars, self.radius, point, self.points, self.inner, self.turn).outlines(frame)


@dataclass(frozen=True)
class StarRing:
    """Equal stars on a circle of radius `around`: the first at `start`, the others over `span` degrees."""

    star_ring: str
    radius: float
    count: int
    around: float
    at: Point = CENTRE
    points: int = 5
    start: float = 0.0
    span: float = 360.0

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        step = self.span / (self.count if self.span == 360.0 else self.count - 1)
        for x, y in around(frame.place(self.at), self.around * frame.height, self.start + step * np.arange(self.count)):
            yield self.star_ring, star((x, y), self.radius * frame.height, self.points, 0.0, 0.0)


@dataclass(frozen=True)
class Spokes:
    """Straight spokes from the centre."""

    spokes: str
    radius: float
    count: int
    width: float
    at: Point = CENTRE
    start: float = 0.0

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        centre = frame.place(self.at)
        for end in around(centre, self.radius * frame.height, self.start + np.arange(self.count) * 360.0 / self.count):
            yield self.spokes, segment(np.array(centre), end, self.width * frame.height, 0.0)


@dataclass(frozen=True)
class Waves:
    """A wavy stripe around the height `y`, rising and falling `count` times by `swing`."""

    waves: str
    y: float
    width: float
    swing: float
    count: int

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        across = np.linspace(0.0, 1.0, 12 * self.count + 1)
        x, y = frame.left + across * frame.width, self.y + self.swing * np.cos(2 * np.pi * self.count * across)
        upper, lower = frame.top + frame.height * (y - self.width / 2), frame.top + frame.height * (y + self.width / 2)
        yield self.waves, np.concatenate([np.stack([x, upper], 1), np.stack([x, lower], 1)[::-1]])


@dataclass(frozen=True)
class Serrated:
    """A field from `start` to the fly whose hoist edge is a saw: `teeth` points of the neighbouring field reach `depth` into it."""

    serrated: str
    start: Across
    depth: float
    teeth: int

    def outlines(self, frame: Frame) -> Iterator[Outline]:
        left, right = frame.place(Point(self.start, 0.0))[0], frame.left + frame.width
        y = frame.top + frame.height * np.linspace(0.0, 1.0, 2 * self.teeth + 1)
        x = left + self.depth * frame.height * (np.arange(2 * self.teeth + 1) % 2)
        yield self.serrated, np.concatenate([np.stack([x, y], 1), [[right, y[-1]], [right, y[0]]]])
