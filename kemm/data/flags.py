"""Flags drawn from a readable specification (`data/atlas/flags.yaml`) at any size and aspect."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from kemm.data.frame import CENTRE, Box, Frame, Outline, Point, Shape
from kemm.data.specification import FlagError, read_colour, read_document, read_shape, read_size

SAMPLES, LEAST, MOST = 288, 4, 16
"""Each pixel is the mean of n x n samples, n so large (within limits) that the picture is 288 samples high."""
CACHED_DRAWINGS = 4096


@dataclass(frozen=True)
class Part:
    """A part of the library in an upright box of a height around a point, turned, its free colours filled in."""

    part: str
    size: float
    at: Point = CENTRE
    turn: float = 0.0
    colours: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Inset:
    """A part that fills a box and is cut off at its edges (a canton)."""

    inset: str
    box: Box
    colours: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Drawing:
    """A checked flag or part: height, width, what lies under everything, the shapes in the order of painting, free colours."""

    size: tuple[float, float]
    field: str | None
    shapes: tuple[Shape | Part | Inset, ...]
    colours: tuple[str, ...] = ()

    @property
    def aspect(self) -> float:
        return self.size[1] / self.size[0]


class FlagDrawer:
    """Draws flags from a specification.

    Args:
        path: the YAML file: `palette` (name -> "#rrggbb"), `parts` and `flags` (name -> size, field, shapes).

    Raises:
        FlagError: names the file, the flag, the shape, the key, what was given and what was expected.
    """

    def __init__(self, path: str | Path) -> None:
        document = read_document(Path(path))
        self.palette = {name: read_colour(value, Path(path), name) for name, value in document["palette"].items()}
        self.parts: dict[str, Drawing] = {}
        for name, value in document["parts"].items():
            self.parts[name] = self._read(value, f"{path}: parts: {name}", part=True)
        self.flags = {name: self._read(value, f"{path}: flags: {name}", part=False) for name, value in document["flags"].items()}
        self._drawn: dict[tuple[str, int, int], Image.Image] = {}

    @property
    def countries(self) -> list[str]:
        return list(self.flags)

    def size(self, country: str, height: int, aspect: float | None = None) -> tuple[int, int]:
        """Width and height in pixels; the legal aspect (width / height) where none is given."""
        return max(1, round(height * (self._flag(country).aspect if aspect is None else aspect))), height

    def draw(self, country: str, height: int, aspect: float | None = None) -> Image.Image:
        """An anti-aliased RGB picture, `height` pixels high.

        Args:
            country: the id of a country in the specification.
            height: pixels, at least 1.
            aspect: width / height; by default the legal proportions.
        """
        if height < 1 or (aspect is not None and not 0.1 <= aspect <= 10.0):
            raise ValueError(f"height {height!r}, aspect {aspect!r}: expected a height of 1 or more and an aspect between 0.1 and 10")
        width, height = self.size(country, height, aspect)
        key = (country, width, height)
        if key not in self._drawn:
            if len(self._drawn) >= CACHED_DRAWINGS:
                self._drawn.clear()
            self._drawn[key] = self._paint(self._flag(country), width, height)
        return self._drawn[key].copy()

    def _flag(self, country: str) -> Drawing:
        if country not in self.flags:
            raise KeyError(f"no flag for {country!r} among {len(self.flags)} flags; the ids read {next(iter(self.flags), 'country:...')!r}")
        return self.flags[country]

    def _read(self, value: object, where: str, part: bool) -> Drawing:
        """A drawing, its colours and parts known: parts may use only parts above them."""
        allowed = {"size", "field", "shapes"} | ({"colours"} if part else set())
        if not isinstance(value, dict) or not value.keys() <= allowed or "shapes" not in value:
            given = sorted(map(str, value)) if isinstance(value, dict) else value
            raise FlagError(f"{where}: expected a mapping with shapes and perhaps {sorted(allowed - {'shapes'})}, given {given!r}")
        free, field, listed = value.get("colours", []), value.get("field", None if part else "white"), value["shapes"]
        if not isinstance(free, list) or not all(isinstance(name, str) for name in free):
            raise FlagError(f"{where}: colours: expected a list of names, given {free!r}")
        colours = self.palette.keys() | set(free)
        if field is not None and field not in colours:
            raise FlagError(f"{where}: field: expected a colour of the palette, given {field!r}")
        if not isinstance(listed, list) or not listed:
            raise FlagError(f"{where}: shapes: expected a list of shapes, given {listed!r}")
        parts = {name: drawing.colours for name, drawing in self.parts.items()}
        shapes = tuple(read_shape(item, f"{where}: shapes[{i}]", colours, parts, (Part, Inset)) for i, item in enumerate(listed))
        return Drawing(read_size(value.get("size", [2, 3]), where), field, shapes, tuple(free))

    def _outlines(self, drawing: Drawing, frame: Frame, colours: Mapping[str, str]) -> Iterator[Outline]:
        if drawing.field is not None:
            yield colours.get(drawing.field, drawing.field), frame.corners()
        for shape in drawing.shapes:
            for colour, corners in self._expand(shape, frame, colours):
                yield colours.get(colour, colour), corners

    def _expand(self, shape: Shape | Part | Inset, frame: Frame, colours: Mapping[str, str]) -> Iterator[Outline]:
        if isinstance(shape, Part):
            part, (x, y), height = self.parts[shape.part], frame.place(shape.at), shape.size * frame.height
            inner = Frame(x - height * part.aspect / 2, y - height / 2, height * part.aspect, height)
            for colour, corners in self._outlines(part, inner, shape.colours or {}):
                yield colour, rotate(corners, (x, y), shape.turn)
        elif isinstance(shape, Inset):
            inner = frame.inner(shape.box)
            for colour, corners in self._outlines(self.parts[shape.inset], inner, shape.colours or {}):
                yield colour, clip(corners, inner)
        else:
            yield from shape.outlines(frame)

    def _paint(self, drawing: Drawing, width: int, height: int) -> Image.Image:
        factor = min(max(math.ceil(SAMPLES / height), LEAST), MOST)
        scale = height * factor
        large = Image.new("RGB", (width * factor, scale))
        brush = ImageDraw.Draw(large)
        # A sample lies in the middle of its cell, PIL's integer coordinates are the middles: hence the half.
        for colour, corners in self._outlines(drawing, Frame(0.0, 0.0, width / height, 1.0), {}):
            if len(corners) > 2:
                brush.polygon((corners * scale - 0.5).ravel().tolist(), fill=self.palette[colour])
        return large.reduce(factor)


def rotate(corners: np.ndarray, centre: tuple[float, float], degrees: float) -> np.ndarray:
    """Turns points clockwise (as seen, y pointing down) around a centre."""
    if degrees == 0.0:
        return corners
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned: np.ndarray = (corners - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre
    return turned


def clip(corners: np.ndarray, frame: Frame) -> np.ndarray:
    """The part of a polygon inside a frame (Sutherland and Hodgman 1974: one cut for each edge)."""
    for axis, limit, sign in (
        (0, frame.left, 1.0),
        (0, frame.left + frame.width, -1.0),
        (1, frame.top, 1.0),
        (1, frame.top + frame.height, -1.0),
    ):
        if len(corners) == 0:
            break
        inside = (corners[:, axis] - limit) * sign
        kept = []
        for here, there, depth, next_depth in zip(corners, np.roll(corners, -1, 0), inside, np.roll(inside, -1), strict=True):
            if depth >= 0:
                kept.append(here)
            if depth * next_depth < 0:
                kept.append(here + (there - here) * (depth / (depth - next_depth)))
        corners = np.array(kept).reshape(-1, 2)
    return corners
