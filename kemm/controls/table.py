"""One table of all controls: mean and deviation over the seeds of each metric, as markdown, CSV and HTML."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kemm.metrics import MeanDeviation, mean_deviation
from kemm.report.html import element, safe
from kemm.report.numbers import number
from kemm.report.style import CSS


class Metric(NamedTuple):
    """What is measured."""

    split: str
    task: str
    metric: str


Results = dict[Metric, dict[str, MeanDeviation]]
"""Metric -> control -> mean and deviation."""


def collect(files: Mapping[tuple[str, int], Path]) -> Results:
    """Reads the `metrics.json` of all runs.

    Args:
        files: (control, seed) -> file.

    Raises:
        ValueError: A file is none that a test wrote.
    """
    values: dict[Metric, dict[str, list[float]]] = {}
    for (control, _), path in files.items():
        for metric, value in _read(path):
            values.setdefault(metric, {}).setdefault(control, []).append(value)
    return {metric: {control: mean_deviation(found) for control, found in by.items()} for metric, by in values.items()}


def _read(path: Path) -> list[tuple[Metric, float]]:
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))["splits"]
        return [
            (Metric(split, task, metric), float(value["estimate"]))
            for split, tasks in splits.items()
            for task, metrics in tasks.items()
            for metric, value in metrics.items()
            if value["estimate"] is not None  # a score that was not a number
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'{path}: expected scores as `test` writes them, {{"splits": ...}} ({error!r})') from None


def controls_of(results: Results) -> list[str]:
    """The controls that have results, in their order."""
    return list(dict.fromkeys(control for by in results.values() for control in by))


def told(value: MeanDeviation | None) -> str:
    """A cell: `92.3 ± 0.4`, both with as many decimals."""
    if value is None:
        return ""
    mean = number(value.mean)
    return mean + (f" ± {value.deviation:.{len(mean.partition('.')[2])}f}" if value.runs > 1 else "")


def as_markdown(results: Results) -> str:
    """A table with a line for each metric and a column for each control."""
    controls = controls_of(results)
    lines = [["split", "task", "metric", *controls], ["---", "---", "---", *("---:" for _ in controls)]]
    lines += [[*metric, *(told(by.get(control)) for control in controls)] for metric, by in results.items()]
    return "".join("| " + " | ".join(_cell(cell) for cell in line) + " |\n" for line in lines) + f"\n{_note(results)}\n"


def as_csv(results: Results) -> str:
    """A line for each metric and control; the deviation of a single run is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["split", "task", "metric", "control", "mean", "deviation", "runs"])
    for metric, by in results.items():
        for control, value in by.items():
            deviation = "" if math.isnan(value.deviation) else f"{value.deviation:.6g}"
            writer.writerow([*metric, control, f"{value.mean:.6g}", deviation, value.runs])
    return file.getvalue()


def as_html(results: Results, name: str, plot: str) -> str:
    """A page of its own.

    Args:
        results: The results.
        name: Of the config.
        plot: An `<svg>` element.
    """
    controls = controls_of(results)
    head = element("tr", "".join(f"<th>{safe(title)}</th>" for title in ("split", "task", "metric", *controls)))
    lines = [_line([*metric], [told(by.get(control)) for control in controls]) for metric, by in results.items()]
    table = element("table", element("thead", head) + element("tbody", "".join(lines)))
    style = CSS + ".plot svg { width: 100%; height: auto; }"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{safe(name)}: controls</title><style>{style}</style></head><body><header><h1>{safe(name)}: controls</h1>"
        f"<p class='soft'>{safe(_note(results))}</p></header><main><div class='card plot'>{plot}</div><h2>All metrics</h2>"
        f"<div class='scroll'>{table}</div></main></body></html>\n"
    )


def _line(names: Sequence[str], values: Sequence[str]) -> str:
    return element("tr", "".join(f"<th>{safe(n)}</th>" for n in names) + "".join(f"<td class='n'>{safe(v)}</td>" for v in values))


def _note(results: Results) -> str:
    runs = sorted({value.runs for by in results.values() for value in by.values()})
    return f"Mean ± standard deviation (n - 1) over {' to '.join(map(str, dict.fromkeys((runs[0], runs[-1]))))} seeds."


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
