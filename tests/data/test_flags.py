from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from kemm.data.flags import FlagDrawer, clip, rotate
from kemm.data.frame import Frame
from kemm.data.rounds import Crescent
from kemm.data.specification import FlagError, read_across

PATH = Path(__file__).parents[2] / "data" / "atlas" / "flags.yaml"


@pytest.fixture(scope="module")
def drawer() -> FlagDrawer:
    return FlagDrawer(PATH)


def colour(image: object, x: float, y: float) -> tuple[int, ...]:
    """The pixel at fractions of the width and the height."""
    pixels = np.asarray(image)
    return tuple(int(value) for value in pixels[int(y * pixels.shape[0]), int(x * pixels.shape[1])])


def test_every_country_has_a_flag_of_its_own(drawer: FlagDrawer) -> None:
    assert len(drawer.countries) == 195 and all(name.startswith("country:") for name in drawer.countries)
    pictures = {country: np.asarray(drawer.draw(country, 24, 4 / 3)).astype(int) for country in drawer.countries}
    names = sorted(pictures)
    stack = np.stack([pictures[name] for name in names]).reshape(len(names), -1)
    for i, name in enumerate(names):
        difference = np.abs(stack - stack[i]).mean(axis=1)
        difference[i] = 999
        assert difference.min() > 3, (name, names[int(difference.argmin())], difference.min())


@pytest.mark.parametrize(
    ("country", "x", "y", "name"),
    [
        ("france", 0.1, 0.5, "blue-pure"),
        ("france", 0.5, 0.5, "white"),
        ("france", 0.9, 0.5, "red-signal"),
        ("ireland", 0.1, 0.5, "green-emerald"),
        ("ireland", 0.9, 0.5, "orange"),
        ("ivory-coast", 0.1, 0.5, "orange"),
        ("germany", 0.5, 0.9, "yellow"),
        ("japan", 0.5, 0.5, "red-crimson"),
        ("japan", 0.1, 0.1, "white"),
        ("georgia", 0.5, 0.1, "red-pure"),
        ("georgia", 0.2, 0.2, "red-pure"),
        ("georgia", 0.35, 0.2, "white"),
        ("czechia", 0.05, 0.5, "blue-steel"),
        ("czechia", 0.9, 0.9, "red-vermilion"),
        ("chile", 0.05, 0.1, "blue-royal"),
        ("chile", 0.9, 0.1, "white"),
        ("qatar", 0.05, 0.5, "white"),
        ("qatar", 0.9, 0.5, "maroon"),
        ("brazil", 0.05, 0.05, "green-grass"),
        ("brazil", 0.2, 0.5, "yellow"),
        ("united-kingdom", 0.5, 0.5, "red-ruby"),
        ("new-zealand", 0.25, 0.25, "red-ruby"),
        ("new-zealand", 0.5, 0.9, "blue-union"),
        ("switzerland", 0.5, 0.5, "white"),
        ("switzerland", 0.1, 0.1, "red-pure"),
        ("colombia", 0.5, 0.4, "yellow"),
        ("colombia", 0.5, 0.6, "blue-finnish"),
        ("turkiye", 0.25, 0.5, "white"),
        ("turkiye", 0.9, 0.9, "red-signal"),
        ("south-korea", 0.5, 0.4, "red-rose"),
        ("south-korea", 0.5, 0.6, "blue"),
    ],
)
def test_colours_at_known_places(drawer: FlagDrawer, country: str, x: float, y: float, name: str) -> None:
    expected = tuple(bytes.fromhex(drawer.palette[name][1:]))
    for aspect in (None, 4 / 3) if country != "turkiye" else (None,):
        assert colour(drawer.draw(f"country:{country}", 96, aspect), x, y) == expected


def test_the_red_of_the_union_flag_lies_low_in_the_upper_hoist(drawer: FlagDrawer) -> None:
    image = np.asarray(drawer.draw("country:united-kingdom", 300)).astype(int)
    red = np.array(list(bytes.fromhex(drawer.palette["red-ruby"][1:])))
    x = 120  # on the diagonal at y = 60
    rows = np.nonzero((np.abs(image[:100, x] - red) < 30).all(axis=1))[0]
    assert rows.min() >= 59 and rows.max() > 70
    rows = np.nonzero((np.abs(image[:100, 600 - x] - red) < 30).all(axis=1))[0]
    assert rows.max() <= 61 and rows.min() < 50


@pytest.mark.parametrize(
    ("country", "aspect"), [("nepal", 1 / 1.219), ("qatar", 28 / 11), ("switzerland", 1.0), ("belgium", 15 / 13), ("italy", 1.5)]
)
def test_legal_proportions(drawer: FlagDrawer, country: str, aspect: float) -> None:
    image = drawer.draw(f"country:{country}", 100)
    assert image.mode == "RGB" and image.size == (round(100 * aspect), 100)


@pytest.mark.parametrize(("height", "aspect"), [(1, 1.0), (7, 0.5), (48, 4 / 3), (33, 2.7)])
def test_any_size_and_aspect(drawer: FlagDrawer, height: int, aspect: float) -> None:
    for country in drawer.countries[::13]:
        assert drawer.draw(country, height, aspect).size == (max(1, round(height * aspect)), height)


def test_edges_are_anti_aliased_and_small_pictures_agree_with_large_ones(drawer: FlagDrawer) -> None:
    for country in ("country:kenya", "country:united-states", "country:brazil"):
        small = np.asarray(drawer.draw(country, 24, 1.5)).astype(float)
        large = np.asarray(drawer.draw(country, 240, 1.5)).astype(float).reshape(24, 10, 36, 10, 3).mean(axis=(1, 3))
        assert np.abs(small - large).mean() < 6
    assert len(np.unique(np.asarray(drawer.draw("country:japan", 48)).reshape(-1, 3), axis=0)) > 4


def test_drawings_are_the_same_each_time_and_not_shared(drawer: FlagDrawer) -> None:
    first = drawer.draw("country:fiji", 40)
    before = np.asarray(first).copy()
    first.paste((0, 0, 0), (0, 0, 40, 40))
    assert (np.asarray(drawer.draw("country:fiji", 40)) == before).all()
    assert (np.asarray(FlagDrawer(PATH).draw("country:fiji", 40)) == before).all()


def test_a_small_flag_takes_under_five_milliseconds(drawer: FlagDrawer) -> None:
    start = time.process_time()
    for country in drawer.countries:
        drawer.draw(country, 48, 1.37)
    assert (time.process_time() - start) / 195 < 0.005


def test_crescent_is_a_disc_less_a_disc() -> None:
    ((_, corners),) = Crescent("white", radius=0.3, bite=0.25, shift=0.1).outlines(Frame(0, 0, 1, 1))
    outer, inner = np.hypot(*(corners - [0.5, 0.5]).T), np.hypot(*(corners - [0.6, 0.5]).T)
    assert np.allclose(outer[:49], 0.3) and (inner[:49] >= 0.25 - 1e-9).all()
    assert np.allclose(inner[49:], 0.25) and (outer[49:] <= 0.3 + 1e-9).all()
    assert np.allclose(corners[48], corners[49])


def test_clip_keeps_the_inside_and_rotation_is_clockwise() -> None:
    square = np.array([[-1.0, -1.0], [3.0, -1.0], [3.0, 3.0], [-1.0, 3.0]])
    kept = clip(square, Frame(0, 0, 1, 2))
    assert {tuple(corner) for corner in kept.tolist()} == {(0, 0), (1, 0), (1, 2), (0, 2)}
    assert len(clip(square + 10, Frame(0, 0, 1, 1))) == 0
    assert np.allclose(rotate(np.array([[0.0, -1.0]]), (0.0, 0.0), 90), [[1.0, 0.0]])


@pytest.mark.parametrize(
    ("text", "value"), [(0.5, (0.5, 0)), ("0.5h", (0, 0.5)), ("-0.1h", (0, -0.1)), ("1-0.25h", (1, -0.25)), ("0.5+.2h", (0.5, 0.2))]
)
def test_places_across(text: object, value: tuple[float, float]) -> None:
    assert tuple(read_across(text)) == value


GOOD: dict[str, object] = {
    "palette": {"white": "#ffffff", "red": "#ff0000"},
    "parts": {"dot": {"size": [1, 1], "colours": ["ink"], "shapes": [{"disc": "ink", "radius": 0.5}]}},
    "flags": {"country:x": {"shapes": [{"part": "dot", "size": 0.5, "colours": {"ink": "red"}}]}},
}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "flags.yaml"
    path.write_text(yaml.safe_dump({**GOOD, **changes}, sort_keys=False), encoding="utf-8")
    return path


def test_a_part_takes_its_colours(tmp_path: Path) -> None:
    image = FlagDrawer(write(tmp_path)).draw("country:x", 40)
    assert colour(image, 0.5, 0.5) == (255, 0, 0) and colour(image, 0.5, 0.1) == (255, 255, 255)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"dics": "red"}, ["shapes[0]", "dics", "expected a mapping whose first key is one of horizontal"]),
        ({"disc": "redd", "radius": 1}, ["disc", "colour of the palette", "redd"]),
        ({"disc": "red"}, ["disc", "'radius' is missing"]),
        ({"disc": "red", "radius": "big"}, ["radius", "a number", "big"]),
        ({"disc": "red", "radius": 1, "width": 1}, ["unknown key 'width'", "radius"]),
        ({"disc": "red", "radius": 1, "at": [0.5]}, ["at", "a point", "[0.5]"]),
        ({"disc": "red", "radius": 1, "at": ["half", 0]}, ["at", "heights", "half"]),
        ({"star": "red", "radius": 1, "points": 0}, ["points", "whole number", "0"]),
        ({"horizontal": ["red", "white"], "weights": [1]}, ["weights", "expected 2", "given 1"]),
        ({"part": "dots", "size": 1}, ["part given above", "dot", "dots"]),
        ({"part": "dot", "size": 1}, ["colours", "exactly ['ink']", "given []"]),
        ({"polygon": "red", "points": [[0, 0], [1, 1]]}, ["points", "at least 3"]),
        ({"polygon": "red", "points": [[0, 0], [1, 1], [1, 0]], "mirror": 1}, ["mirror", "true or false"]),
        ("red", ["expected a mapping", "red"]),
    ],
)
def test_bad_shapes_are_named(tmp_path: Path, shape: object, words: list[str]) -> None:
    path = write(tmp_path, flags={"country:x": {"shapes": [shape]}})
    with pytest.raises(FlagError) as caught:
        FlagDrawer(path)
    for word in [str(path), "country:x", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"palette": {"red": "crimson"}}, ["palette", "red", "#ce1126", "crimson"]),
        ({"flags": {"country:x": {"size": [0, 1], "shapes": [{"disc": "red", "radius": 1}]}}}, ["size", "[height, width]", "[0, 1]"]),
        ({"flags": {"country:x": {"field": "blue", "shapes": [{"disc": "red", "radius": 1}]}}}, ["field", "blue"]),
        ({"flags": {"country:x": {"shape": []}}}, ["country:x", "shapes", "['shape']"]),
        ({"flags": {"country:x": {"shapes": []}}}, ["shapes", "a list of shapes"]),
        ({"flags": []}, ["flags", "a mapping"]),
        ({"more": {}}, ["palette, parts and flags", "more"]),
    ],
)
def test_bad_documents_are_named(tmp_path: Path, changes: dict[str, object], words: list[str]) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(FlagError) as caught:
        FlagDrawer(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_missing_file_repeated_key_unknown_country(tmp_path: Path, drawer: FlagDrawer) -> None:
    with pytest.raises(FlagError, match=r"absent\.yaml"):
        FlagDrawer(tmp_path / "absent.yaml")
    twice = tmp_path / "twice.yaml"
    twice.write_text("palette: {}\nparts: {}\nflags: {a: 1, a: 2}\n", encoding="utf-8")
    with pytest.raises(FlagError, match="'a' is given twice"):
        FlagDrawer(twice)
    with pytest.raises(KeyError, match="atlantis"):
        drawer.draw("country:atlantis", 10)
    with pytest.raises(ValueError, match="height of 1 or more"):
        drawer.draw("country:italy", 0)
