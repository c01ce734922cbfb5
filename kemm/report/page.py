"""The report of an evaluation as one HTML file: style, pictures and curves are inside, nothing is loaded from anywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kemm.metrics import Interval
from kemm.report.curves import Curve, draw
from kemm.report.examples import SHOWN, Album
from kemm.report.html import anchor, element, safe
from kemm.report.mistakes import confusions
from kemm.report.numbers import AllScores, estimate, metrics_of, number
from kemm.report.sample import sample
from kemm.report.style import CSS
from kemm.tasks import Row

HOW_TO_READ = (
    "Each table has one column for each split: a set of samples that training has not seen. The small numbers in brackets are the 95 % "
    "confidence interval: the true value lies in it with that probability, as far as the number of samples tells. Below, single samples "
    "show what the model saw, what it looked up on the way to its answer (a green line marks where the answer was found), and how sure "
    "it was."
)
MOST_PICTURES = 9


@dataclass
class Run:
    """What a report tells.

    Args:
        name: Of the run.
        facts: Label -> text, for the head: parameters, time, seed, versions.
        scores: Split -> task -> metric -> value.
        rows: Split -> task -> rows.
        albums: (split, task) -> samples that are shown.
        curves: Of the training.
        config: The config as YAML.
    """

    name: str
    facts: Mapping[str, str] = field(default_factory=dict)
    scores: AllScores = field(default_factory=dict)
    rows: Mapping[str, Mapping[str, Sequence[Row]]] = field(default_factory=dict)
    albums: Mapping[tuple[str, str], Album] = field(default_factory=dict)
    curves: Sequence[Curve] = ()
    config: str = ""


def page(run: Run) -> str:
    """The whole file."""
    sections = {
        "Scores": _scores(run.scores),
        "Training": _curves(run.curves),
        "Examples": "".join(_album(*key, album.examples) for key, album in run.albums.items()),
        "Mistakes": "".join(_mistakes(split, task, run) for split, task in run.albums),
        "Config": element("details", element("summary", "The whole config, defaults included") + element("pre", safe(run.config))),
    }
    shown = {title: content for title, content in sections.items() if content and (title != "Config" or run.config)}
    links = "".join(f'<a href="#{anchor(title)}">{title}</a>' for title in shown)
    body = "".join(f'<section id="{anchor(title)}"><h2>{title}</h2>{content}</section>' for title, content in shown.items())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{safe(run.name)}</title><style>{CSS}</style></head><body>{_head(run)}<nav>{links}</nav><main>{body}</main></body></html>\n"
    )


def _head(run: Run) -> str:
    facts = "".join(element("div", element("dt", safe(label)) + element("dd", safe(text))) for label, text in run.facts.items())
    tiles = [
        element("div", safe(split) + f"<b>{_value(metrics[main])}</b>" + element("span", safe(f"{task} {main}"), "soft"), "card tile")
        for split, tasks in run.scores.items()
        for task, metrics in tasks.items()
        for main in list(metrics)[:1]
    ]
    head = f"<h1>{safe(run.name)}</h1><dl class='grid facts'>{facts}</dl>"
    return element("header", head + element("div", "".join(tiles), "grid tiles") + element("p", HOW_TO_READ, "soft"))


def _value(value: float | Interval, bounds: bool = False) -> str:
    text = number(estimate(value))
    if bounds and isinstance(value, Interval):
        text += f" <small>[{number(value.low)}, {number(value.high)}]</small>"
    return text


def _scores(scores: AllScores) -> str:
    parts = []
    for task, metrics in metrics_of(scores).items():
        splits = [split for split, tasks in scores.items() if task in tasks]
        head = element("thead", element("tr", "<th></th>" + "".join(f"<th>{safe(split)}</th>" for split in splits)))
        lines = []
        for metric in metrics:
            found = [scores[split][task].get(metric) for split in splits]
            cells = "".join(f"<td class='n'>{'' if value is None else _value(value, True)}</td>" for value in found)
            lines.append(element("tr", f"<th>{safe(metric)}</th>{cells}", "inner" if "/" in metric else ""))
        parts.append(f"<h3>{safe(task)}</h3>" + element("div", element("table", head + element("tbody", "".join(lines))), "scroll"))
    return "".join(parts)


def _curves(curves: Sequence[Curve]) -> str:
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        if len(set(curve.values)) > 1:  # a count of samples is no curve
            groups.setdefault(curve.group, []).append(curve)
    drawn = "".join(element("div", draw(listed, group), "card") for group, listed in list(groups.items())[:MOST_PICTURES])
    said = "The loss of each objective on its training batches (faint: each logged step), and the scores on the validation splits."
    return element("p", said, "soft") + element("div", drawn, "grid curves") if drawn else ""


def _album(split: str, task: str, examples: Sequence, opened: bool = True) -> str:
    if not examples:
        return ""
    cards = element("div", "".join(sample(example) for example in examples), "grid examples")
    return f"<details{' open' if opened else ''}><summary>{safe(split)}: {safe(task)}</summary>{cards}</details>"


def _mistakes(split: str, task: str, run: Run) -> str:
    rows = [row for row in run.rows.get(split, {}).get(task, ()) if row.keys() >= SHOWN]
    if not rows:
        return ""
    wrong = run.albums[split, task].mistakes
    title = f"{split}: {task}, by kind"
    worst = _album(split, f"{task}, the {len(wrong)} wrong answers that the model was surest of", wrong, opened=False)
    return f"<h3>{safe(title)}</h3>" + confusions(rows) + worst
