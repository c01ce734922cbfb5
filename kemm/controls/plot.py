"""One plot of all controls: a panel for each main metric, a group of bars for each split."""

import io
import math
from typing import Any, NamedTuple

from kemm.controls.table import Metric, Results, controls_of
from kemm.report.curves import COLOURS, INK, inline
from kemm.report.html import printable
from kemm.report.numbers import number

MOST_PANELS = 12
PAPER_INK = "#24292f"


class Pictures(NamedTuple):
    """The plot as files, and as an `<svg>` element in the colour of the text around it."""

    png: bytes
    svg: str
    inline: str


def draw(results: Results) -> Pictures:
    """Draws the metrics that are not of single kinds of samples, and that differ somewhere."""
    svg = _figure(results, INK, "svg").decode()
    return Pictures(_figure(results, PAPER_INK, "png"), svg.replace(INK, PAPER_INK), inline(svg))


def panels(results: Results) -> dict[str, list[Metric]]:
    """Title -> the metric on each split, of metrics with at most one slash; numbers of samples, always the same, are left out."""
    groups: dict[str, list[Metric]] = {}
    for metric in results:
        if metric.metric.count("/") <= 1:
            groups.setdefault(f"{metric.task} {metric.metric}", []).append(metric)
    differing = {title: group for title, group in groups.items() if any(_differs(results, metric) for metric in group)}
    return dict(list((differing or groups).items())[:MOST_PANELS])


def _differs(results: Results, metric: Metric) -> bool:
    values = results[metric].values()
    return len({value.mean for value in values}) > 1 or any(value.deviation > 0 for value in values)


def _figure(results: Results, ink: str, format: str) -> bytes:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "controls",
        "font.family": "sans-serif",
        "font.size": 9,
        "text.parse_math": False,
    }
    groups, controls = panels(results), controls_of(results)
    columns = min(len(groups), 2)
    rows = math.ceil(len(groups) / columns)
    with rc_context(settings | dict.fromkeys(inked, ink)):
        figure = Figure(figsize=(5.5 * columns + 0.5, 2.6 * rows + 0.5), layout="constrained")
        for place, (title, metrics) in enumerate(groups.items()):
            axes = figure.add_subplot(rows, columns, place + 1)
            _panel(axes, results, metrics, controls, ink)
            axes.set_title(printable(title), loc="left", fontsize=10)
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(controls), frameon=False)
        file = io.BytesIO()
        metadata = {"Date": None, "Creator": None, "Type": None, "Format": None} if format == "svg" else {"Software": None}
        figure.savefig(file, format=format, dpi=150, transparent=format == "svg", metadata=metadata)
    return file.getvalue()


def _panel(axes: Any, results: Results, metrics: list[Metric], controls: list[str], ink: str) -> None:
    width = 0.8 / len(controls)
    for index, control in enumerate(controls):
        found = [results[metric].get(control) for metric in metrics]
        places = [group + (index - (len(controls) - 1) / 2) * width for group in range(len(metrics))]
        heights = [math.nan if value is None else value.mean for value in found]
        spreads = [0.0 if value is None or math.isnan(value.deviation) else value.deviation for value in found]
        error = spreads if any(spreads) else None
        axes.bar(places, heights, width * 0.92, yerr=error, color=COLOURS[index % len(COLOURS)], label=control, ecolor=ink, capsize=2)
        for x, height, spread in zip(places, heights, spreads, strict=True):
            if not math.isnan(height):
                axes.text(x, height + spread, number(height), ha="center", va="bottom", fontsize=6.5)
    axes.set_xticks(range(len(metrics)), [metric.split for metric in metrics])
    axes.margins(y=0.12)
    axes.spines[["top", "right"]].set_visible(False)
