"""What can be asked about a flag by looking at it, read from its specification; what people might answer differently is not asked.

Colours are the base words of the palette's names ("blue-navy" is "blue"). Where a word is a matter of taste (maroon or red, gold or
yellow), the question is left out, and so is a count that depends on whether thin edges, halves at the rim or parts of a coat of arms are
counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from kemm.data import rounds, shapes
from kemm.data.flags import Drawing, FlagDrawer, Inset, Part
from kemm.data.frame import WHOLE, Point

CLEAR = ("red", "white", "blue", "green", "yellow", "black", "orange")
"""Colours that are asked for."""
ALIKE = {
    "orange": {"gold", "copper", "brown", "red", "yellow"},
    "yellow": {"gold", "copper", "brown", "orange", "pink"},
    "red": {"maroon", "orange", "copper", "brown", "pink", "purple"},
    "white": {"silver", "grey"},
    "black": {"brown", "grey", "blue"},
    "blue": {"purple", "black", "grey"},
    "green": {"blue"},
}
"""Words that somebody might use for a colour, or that are near it: a flag with one of these is not asked about that colour."""
STAR_POINTS = range(5, 8)
SMALL = 0.035
"""A star of a smaller radius, in heights, may be overlooked."""
Stripes = shapes.Horizontal | shapes.Vertical
STARS = (rounds.Star, rounds.Stars, rounds.StarRing)
CROSSES = (shapes.Cross, shapes.Plus, shapes.Saltire)


@dataclass(frozen=True)
class Sight:
    """One thing to ask about one flag.

    Args:
        what: Group of wordings, such as "colour_top".
        answer: The one answer.
        entity: A colour's id where the question mentions it, "" elsewhere.
    """

    what: str
    answer: str
    entity: str = ""


def base(colour: str) -> str:
    """The word for a colour of the palette."""
    return colour.split("-")[0]


def sights(drawer: FlagDrawer, country: str) -> list[Sight]:
    """All that is unambiguous about a country's flag."""
    drawing = drawer.flags[country]
    return [*_stripes(drawing), *_figures(drawer, drawing), *_presence(drawer, drawing), *_colours(drawer, drawing)]


def _stripes(drawing: Drawing) -> Iterator[Sight]:
    first, rest = drawing.shapes[0], drawing.shapes[1:]
    if not isinstance(first, Stripes) or first.box != WHOLE:
        if (
            all(isinstance(shape, (*STARS, rounds.Disc, rounds.Crescent, Part)) for shape in drawing.shapes)
            and base(drawing.field or "") in CLEAR
        ):
            yield Sight("colour_background", base(drawing.field or ""))
        return
    upright = isinstance(first, shapes.Vertical)
    colours = [base(colour) for colour in (first.vertical if isinstance(first, shapes.Vertical) else first.horizontal)]
    weights = first.weights or (1.0,)
    # Thin edges between broad stripes are counted by some and not by others; what lies across the stripes hides them.
    if max(weights) > 2 * min(weights) or any(isinstance(shape, (shapes.Rectangle, shapes.Polygon, shapes.Band, Inset)) for shape in rest):
        return
    yield Sight("direction", "vertical" if upright else "horizontal")
    yield Sight("count_stripes", str(len(colours)))
    if len(colours) > 5:
        return
    ends = ("colour_left", "colour_right") if upright else ("colour_top", "colour_bottom")
    places = [*zip(ends, (colours[0], colours[-1]), strict=True)] + ([("colour_middle", colours[1])] if len(colours) == 3 else [])
    for what, colour in places:
        covered = what == "colour_left" and any(isinstance(shape, shapes.Triangle) for shape in rest)
        if colour in CLEAR and not covered:
            yield Sight(what, colour)


def _figures(drawer: FlagDrawer, drawing: Drawing) -> Iterator[Sight]:
    figures = [shape for shape in drawing.shapes if not (isinstance(shape, Stripes) and shape.box == WHOLE)]
    if any(isinstance(shape, shapes.Triangle) for shape in figures):
        yield Sight("shape_hoist", "triangle")
    if len(figures) == 1:
        (figure,) = figures
        if isinstance(figure, (rounds.Disc, rounds.Star)) and figure.radius >= 0.12 and _central(figure.at):
            if isinstance(figure, rounds.Disc):
                yield Sight("shape_middle", "circle")
            elif _counts(figure):
                yield Sight("shape_middle", "star")
    stars = _stars(drawing)
    if stars and all(_counts(star) for star in stars) and not _nested(drawer, drawing, STARS):
        places = {(round(at.x.fraction, 2), round(at.x.heights, 2), round(at.y, 2)) for star in stars for at in _places(star)}
        number = len(places) + sum(star.count for star in stars if isinstance(star, rounds.StarRing))
        if number <= 15 and all(0.04 < at.y < 0.96 for star in stars for at in _places(star)):
            yield Sight("count_stars", str(number))


def _presence(drawer: FlagDrawer, drawing: Drawing) -> Iterator[Sight]:
    stars = _stars(drawing)
    if any(_counts(star) for star in stars):
        yield Sight("has_star", "yes")
    elif not _nested(drawer, drawing, STARS) and not any(
        isinstance(shape, (*STARS, shapes.Line, shapes.Polygon)) for shape in drawing.shapes
    ):
        # Lines and polygons may form a star, as on the flag of Israel.
        yield Sight("has_star", "no")
    plain = not any(isinstance(shape, Part) for shape in drawing.shapes)
    crescents = [shape for shape in drawing.shapes if isinstance(shape, rounds.Crescent)]
    if any(crescent.radius >= 0.1 for crescent in crescents):
        yield Sight("has_crescent", "yes")
    elif plain and not crescents and not any(isinstance(shape, rounds.Arc) for shape in drawing.shapes):
        yield Sight("has_crescent", "no")
    if any(isinstance(shape, CROSSES) or (isinstance(shape, Inset) and shape.inset == "union-jack") for shape in drawing.shapes):
        yield Sight("has_cross", "yes")
    elif plain and not any(isinstance(shape, (shapes.Line, shapes.Polygon, Inset)) for shape in drawing.shapes):
        yield Sight("has_cross", "no")
    if any(isinstance(shape, shapes.Triangle) and shape.depth >= 0.3 for shape in drawing.shapes):
        yield Sight("has_triangle", "yes")
    elif plain and not any(isinstance(shape, (shapes.Triangle, shapes.Polygon, shapes.Band, Inset)) for shape in drawing.shapes):
        yield Sight("has_triangle", "no")


def _colours(drawer: FlagDrawer, drawing: Drawing) -> Iterator[Sight]:
    used = {base(colour) for colour in _painted(drawer, drawing)}
    large: set[str] = set()
    for shape in drawing.shapes:
        if isinstance(shape, Stripes):
            large |= {base(colour) for colour in (shape.vertical if isinstance(shape, shapes.Vertical) else shape.horizontal)}
        elif isinstance(shape, shapes.Triangle) or (isinstance(shape, (rounds.Disc, rounds.Star)) and shape.radius >= 0.12):
            large.add(base(next(iter(vars(shape).values()))))
    for colour in CLEAR:
        if colour in large:
            yield Sight("has_colour", "yes", f"colour:{colour}")
        elif not used & {colour, *ALIKE[colour]}:
            yield Sight("has_colour", "no", f"colour:{colour}")


def _painted(drawer: FlagDrawer, drawing: Drawing) -> Iterator[str]:
    """Every colour that a drawing may show, those of its parts included."""
    if drawing.field is not None:
        yield drawing.field
    for shape in drawing.shapes:
        if isinstance(shape, (Part, Inset)):
            yield from (shape.colours or {}).values()
            yield from _painted(drawer, drawer.parts[shape.part if isinstance(shape, Part) else shape.inset])
        else:
            value = next(iter(vars(shape).values()))
            yield from (value,) if isinstance(value, str) else value


def _nested(drawer: FlagDrawer, drawing: Drawing, kinds: tuple[type, ...]) -> bool:
    """Whether a part of the drawing holds a shape of some kinds."""
    for shape in drawing.shapes:
        if isinstance(shape, (Part, Inset)):
            part = drawer.parts[shape.part if isinstance(shape, Part) else shape.inset]
            if any(isinstance(inner, kinds) for inner in part.shapes) or _nested(drawer, part, kinds):
                return True
    return False


def _stars(drawing: Drawing) -> list[rounds.Star | rounds.Stars | rounds.StarRing]:
    return [shape for shape in drawing.shapes if isinstance(shape, STARS)]


def _counts(star: rounds.Star | rounds.Stars | rounds.StarRing) -> bool:
    """Whether everybody would call it a star: not a sun of many rays, not a speck."""
    return star.points in STAR_POINTS and star.radius >= SMALL


def _places(star: rounds.Star | rounds.Stars | rounds.StarRing) -> tuple[Point, ...]:
    if isinstance(star, rounds.StarRing):
        return ()
    return (star.at,) if isinstance(star, rounds.Star) else star.at


def _central(at: Point) -> bool:
    return 0.4 <= at.x.fraction <= 0.6 and abs(at.x.heights) < 0.05 and 0.4 <= at.y <= 0.6
