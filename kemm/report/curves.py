"""Curves of a training: read from the CSV logs of its runs, drawn as pictures that fit a light and a dark page."""

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kemm.report.html import printable

COLOURS = ("#4c8bf5", "#e8710a", "#12a150", "#c2479e", "#b0860a", "#0aa5b5", "#d93f3c", "#8a63d2")
INK = "#123456"
"""Stands for the page's own colour of text while a picture is drawn."""
WINDOW = 9
"""Points over which the thick line of a noisy curve is the mean."""


class Curve(NamedTuple):
    """A series of points: `group` names the picture that it is in, `name` the line."""

    group: str
    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


def read_curves(logs: Path) -> list[Curve]:
    """Reads `version_<n>/metrics.csv` of all calls that trained; one that goes on from a step replaces what an earlier one did after it.

    Args:
        logs: Folder of the CSV logs.

    Returns:
        The losses of the objectives in the group "loss", and each main validation score (`split/task/metric`) in a group `task metric`.
    """
    points: dict[str, dict[int, float]] = {}
    for file in sorted(logs.glob("version_*/metrics.csv"), key=lambda path: int(path.parent.name.rpartition("_")[2])):
        with file.open(encoding="utf-8", newline="") as opened:
            rows = [(int(row["step"]), row) for row in csv.DictReader(opened) if row.get("step")]
        trained = [step for step, row in rows if row.get("train/loss")]
        if not trained:
            continue
        for known in points.values():
            for step in [step for step in known if step >= min(trained)]:
                del known[step]
        for step, row in rows:
            for column, text in row.items():
                if text and column not in ("step", "epoch"):
                    points.setdefault(column, {})[step] = float(text)
    placed = [(_place(column), known) for column, known in points.items()]
    return [Curve(*place, tuple(known), tuple(known.values())) for place, known in placed if place and known]


def _place(column: str) -> tuple[str, str] | None:
    parts = column.split("/")
    if parts[0] == "train":
        return ("loss", parts[1]) if len(parts) == 3 and parts[2] == "loss" else None
    return (f"{parts[1]} {parts[2]}", parts[0]) if len(parts) == 3 else None


def draw(curves: Sequence[Curve], title: str) -> str:
    """Curves in one picture, as an `<svg>` element whose ink is the colour of the text around it.

    Args:
        curves: At most as many as there are colours are told apart by colour alone.
        title: Stands above.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": title,
        "font.family": "sans-serif",
        "font.size": 10,
        "text.parse_math": False,
    }
    with rc_context(settings | dict.fromkeys(inked, INK)):
        figure = Figure(figsize=(5.6, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for place, curve in enumerate(curves):
            colour = COLOURS[place % len(COLOURS)]
            noisy = len(curve.steps) > 2 * WINDOW
            if noisy:
                axes.plot(curve.steps, curve.values, color=colour, alpha=0.25, linewidth=0.8)
            values = smooth(curve.values) if noisy else curve.values
            axes.plot(
                curve.steps,
                values,
                color=colour,
                label=printable(curve.name),
                linewidth=1.8,
                marker="" if len(values) > 12 else "o",
                markersize=4,
            )
        values = [value for curve in curves for value in curve.values if math.isfinite(value)]
        if values and min(values) > 0 and max(values) > 30 * min(values):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")  # the usual labels are formulas, which a page shows as such
        axes.set_title(printable(title), loc="left", fontsize=11)
        axes.set_xlabel("step")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.15, color=INK)
        axes.legend(frameon=False, fontsize=9, ncols=1 + len(curves) // 5)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    return inline(file.getvalue())


def smooth(values: Sequence[float]) -> list[float]:
    """Means of the last `WINDOW` values."""
    parts = [values[max(0, place - WINDOW + 1) : place + 1] for place in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def inline(svg: str) -> str:
    """An SVG file as an element of a page: without head, metadata and names of groups, its ink the colour of the text."""
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", element, flags=re.S)
    element = re.sub(r'<g id="[^"]*"', "<g", element)
    element = re.sub(r' xmlns(:xlink)?="[^"]*"', "", element).replace("xlink:href", "href")
    return element.replace(INK, "currentColor").strip()
