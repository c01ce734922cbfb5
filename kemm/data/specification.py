"""Reading and checking the shapes of a flag specification: every error names file, flag, shape, key, what was given and expected."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from kemm.data import rounds, shapes
from kemm.data.frame import Across, Box, Point

ACROSS = re.compile(r"^(?:(?P<fraction>-?\d*\.?\d+)(?=[+-]))?(?P<heights>[+-]?\d*\.?\d+)h$")
HEX = re.compile(r"^#[0-9a-f]{6}$")


class FlagError(ValueError):
    """A flag specification that cannot be drawn."""


class UniqueLoader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_document(path: Path) -> dict[str, dict[str, Any]]:
    """The file's three mappings: palette, parts, flags."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FlagError(f"{path}: expected a readable YAML file: {error}") from error
    if not isinstance(document, dict) or document.keys() != {"palette", "parts", "flags"}:
        given = sorted(map(str, document)) if isinstance(document, dict) else type(document).__name__
        raise FlagError(f"{path}: expected the keys palette, parts and flags, given {given}")
    for key, value in document.items():
        if not isinstance(value, dict):
            raise FlagError(f"{path}: {key}: expected a mapping, given {value!r}")
    return document


def read_colour(value: object, path: Path, name: str) -> str:
    if not isinstance(value, str) or not HEX.match(value):
        raise FlagError(f"{path}: palette: {name}: expected a colour such as '#ce1126', given {value!r}")
    return value


def read_size(value: object, where: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2 or not all(is_number(side) and side > 0 for side in value):
        raise FlagError(f"{where}: size: expected [height, width], two numbers above 0, given {value!r}")
    return float(value[0]), float(value[1])


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_across(value: Any) -> Across:
    if is_number(value):
        return Across(float(value))
    match = ACROSS.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a fraction of the width such as 0.5, or heights such as 0.5h, or both such as 0.5-0.2h")
    return Across(float(match["fraction"] or 0.0), float(match["heights"]))


def read_point(value: Any) -> Point:
    if not isinstance(value, list) or len(value) != 2 or not is_number(value[1]):
        raise ValueError("a point [x, y]")
    return Point(read_across(value[0]), float(value[1]))


def read_box(value: Any) -> Box:
    if not isinstance(value, list) or len(value) != 4 or not (is_number(value[1]) and is_number(value[3])):
        raise ValueError("a box [left, top, right, bottom]")
    return Box(read_across(value[0]), float(value[1]), read_across(value[2]), float(value[3]))


def read_number(value: Any) -> float:
    if not is_number(value):
        raise ValueError("a number")
    return float(value)


def read_count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("a whole number above 0")
    return value


def read_flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def read_points(value: Any) -> tuple[Point, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("a list of points [x, y]")
    return tuple(read_point(item) for item in value)


def read_numbers(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or not all(is_number(item) and item > 0 for item in value):
        raise ValueError("a list of numbers above 0")
    return tuple(map(float, value))


def read_names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise ValueError("a list of colours")
    return tuple(value)


def read_name(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a name")
    return value


def read_mapping(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for pair in value.items() for item in pair):
        raise ValueError("a mapping from a part's free colours to colours")
    return value


READERS: dict[object, Callable[[Any], object]] = {
    float: read_number,
    int: read_count,
    bool: read_flag,
    str: read_name,
    Point: read_point,
    Box: read_box,
    Across: read_across,
    tuple[Point, ...]: read_points,
    tuple[float, ...]: read_numbers,
    tuple[str, ...]: read_names,
    Mapping[str, str] | None: read_mapping,
}
KINDS: tuple[type, ...] = (
    shapes.Horizontal,
    shapes.Vertical,
    shapes.Checker,
    shapes.Rectangle,
    shapes.Border,
    shapes.Cross,
    shapes.Plus,
    shapes.Saltire,
    shapes.Band,
    shapes.Triangle,
    shapes.Polygon,
    shapes.Line,
    rounds.Disc,
    rounds.Arc,
    rounds.Ring,
    rounds.Crescent,
    rounds.Star,
    rounds.Stars,
    rounds.StarRing,
    rounds.Spokes,
    rounds.Waves,
    rounds.Serrated,
)


def read_shape(value: object, where: str, colours: Collection[str], parts: Mapping[str, Collection[str]], nested: Collection[type]) -> Any:
    """One shape: its kind is its first key.

    Args:
        value: what YAML gave.
        where: file, flag and index, for errors.
        colours: the names that a colour may have here.
        parts: the parts that may be used here, each with its free colours.
        nested: the kinds that take a part's name, not a colour, as their value.
    """
    kinds = {fields(kind)[0].name: kind for kind in (*KINDS, *nested)}
    if not isinstance(value, dict) or not value or next(iter(value)) not in kinds:
        raise FlagError(f"{where}: expected a mapping whose first key is one of {', '.join(kinds)}, given {value!r}")
    name = next(iter(value))
    kind, where = kinds[name], f"{where}: {name}"
    hints = get_type_hints(kind)
    if unknown := value.keys() - hints.keys():
        raise FlagError(f"{where}: unknown key {sorted(map(str, unknown))[0]!r}, expected one of {', '.join(hints)}")
    if missing := [field.name for field in fields(kind) if field.default is MISSING and field.name not in value]:
        raise FlagError(f"{where}: the key {missing[0]!r} is missing")
    read: dict[str, Any] = {}
    for key, item in value.items():
        try:
            read[key] = READERS[hints[key]](item)
        except ValueError as error:
            raise FlagError(f"{where}: {key}: expected {error}, given {item!r}") from error
    check_names(read, name, where, colours, parts if kind in nested else None)
    return kind(**read)


def check_names(read: dict[str, Any], kind: str, where: str, colours: Collection[str], parts: Mapping[str, Collection[str]] | None) -> None:
    """Colours are of the palette, parts are known and all their free colours filled in, weights match the stripes."""
    painted = [read[kind]] if isinstance(read[kind], str) else list(read[kind])
    if parts is not None:
        if read[kind] not in parts:
            raise FlagError(f"{where}: expected a part given above ({', '.join(parts)}), given {read[kind]!r}")
        given, free = read.get("colours") or {}, parts[read[kind]]
        if set(given) != set(free):
            raise FlagError(f"{where}: colours: the part {read[kind]!r} expects exactly {sorted(free)}, given {sorted(given)}")
        painted = list(given.values())
    for colour in painted:
        if colour not in colours:
            raise FlagError(f"{where}: expected a colour of the palette, given {colour!r}")
    if read.get("weights") and len(read["weights"]) != len(painted):
        raise FlagError(f"{where}: weights: expected {len(painted)}, one for each stripe, given {len(read['weights'])}")
    if (kind == "line" and len(read["points"]) < 2) or (kind == "polygon" and len(read["points"]) < 3):
        raise FlagError(f"{where}: points: expected at least {2 if kind == 'line' else 3}, given {len(read['points'])}")
