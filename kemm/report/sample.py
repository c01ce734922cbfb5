"""One sample on a report's page: picture, question, answer and truth, and what was looked up on the way."""

import re

from kemm.report.examples import Example
from kemm.report.html import element, picture, safe
from kemm.tasks import Found, Lookup, Row

KINDS = {
    "entities": "entities found",
    "mention": "what a mention means",
    "relations": "relation asked for",
    "facts": "facts found",
    "passages": "passages read",
}
WAYS = {"generated": "said from the list of answers"}


def sample(example: Example) -> str:
    """A card."""
    row = example.row
    image = picture(example.picture, f"picture of sample {row['id']}") if example.picture else "<span></span>"
    lines = element("div", safe(row["question"]), "question") + element("div", _answers(row), "answers")
    used = set(re.findall(r"\w+", str(row.get("way", ""))))
    told = "".join(_step(lookup, lookup.step in used) for lookup in example.looked_up)
    steps = element("div", told, "steps") if told else ""
    return element("article", image + element("div", lines + element("div", _details(row), "soft")) + steps, "card example")


def _answers(row: Row) -> str:
    style = "right" if row["accuracy"] > 0.99 else "wrong" if row["accuracy"] < 0.01 else "part"
    said = element("span", safe(row["answer"]), f"badge {style}")
    mark = {"right": "✓", "wrong": "✗", "part": "≈"}[style]
    truth = " / ".join(safe(answer) for answer in row["truth"])
    return f"{said} {mark}" + (f' <span class="soft">true: <b>{truth}</b></span>' if style != "right" else "")


def _details(row: Row) -> str:
    told = [f"{100 * row['likelihood']:.0f} % sure", safe(row["kind"]).replace("_", " ")]
    if row.get("way"):
        told.append(f"answer {safe(WAYS.get(row['way'], 'found by ' + str(row['way'])))}")
    if row.get("others"):
        told.append("then: " + ", ".join(safe(answer) for answer in row["others"]))
    return " · ".join(told)


def _step(lookup: Lookup, used: bool) -> str:
    name = f"{safe(KINDS.get(lookup.kind, lookup.kind))}<br><code>{safe(lookup.step)}</code>"
    return element(
        "div", element("span", name) + element("ul", "".join(_found(found) for found in lookup.found)), "step used" if used else "step"
    )


def _found(found: Found) -> str:
    share = max(0.0, min(1.0, found.weight))
    bar = f'<span class="weight"><i style="width:{100 * share:.0f}%"></i><span>{100 * share:.0f} %</span></span>'
    note = f' <span class="note">{safe(found.note)}</span>' if found.note else ""
    return element("li", f"{bar}<span>{safe(found.text)}{note}</span>")
