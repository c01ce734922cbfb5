"""What is confused with what, for each kind of sample, and how far each way to an answer can be trusted."""

from collections import Counter
from collections.abc import Sequence

from kemm.report.html import element, safe
from kemm.tasks import Row

SHOWN = 5
"""Confusions that are told of a kind."""


def confusions(rows: Sequence[Row]) -> str:
    """A table: kinds, the hardest first, with their accuracy, that of each way, and the commonest wrong answers for the true ones."""
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(str(row["kind"]), []).append(row)
    ways = [way for way, _ in Counter(str(row["way"]) for row in rows if row.get("way")).most_common()]
    head = ["kind", "samples", "accuracy", "most often confused (true → answered)", *(f"by {way}" for way in ways)]
    lines = [_line(kind, listed, ways) for kind, listed in sorted(kinds.items(), key=lambda item: accuracy(item[1]))]
    table = element("thead", element("tr", "".join(f"<th>{safe(title)}</th>" for title in head))) + element("tbody", "".join(lines))
    return element("div", element("table", table), "scroll")


def accuracy(rows: Sequence[Row]) -> float:
    """Mean accuracy in percent."""
    return 100 * sum(row["accuracy"] for row in rows) / len(rows)


def _line(kind: str, rows: Sequence[Row], ways: Sequence[str]) -> str:
    cells = [f"<th>{safe(kind).replace('_', ' ')}</th>", f"<td class='n'>{len(rows)}</td>", f"<td class='n'>{accuracy(rows):.1f}</td>"]
    wrong = Counter((str(row["truth"][0]), str(row["answer"])) for row in rows if row["accuracy"] < 0.5 and row["truth"])
    told = ", ".join(f"{safe(true)} → {safe(said)}{f' ({n})' if n > 1 else ''}" for (true, said), n in wrong.most_common(SHOWN))
    cells.append(f"<td class='wide'>{told}</td>")
    for way in ways:
        mine = [row for row in rows if row.get("way") == way]
        cells.append(f"<td class='n'>{f'{accuracy(mine):.1f} <small>of {len(mine)}</small>' if mine else ''}</td>")
    return element("tr", "".join(cells))
