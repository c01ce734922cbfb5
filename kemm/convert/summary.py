"""What became of each key of a checkpoint, as a table to read."""

from collections import Counter

from kemm.convert.systems import starred
from kemm.convert.table import Converted

KINDS = ("matched", "reshaped", "ignored", "missing")
"""What becomes of a key: it goes on as it is, or in another shape or several parts; it is left out; or no key gave what kemm has."""


def summary(converted: Converted) -> str:
    """The table of a conversion: what, how many keys, the keys, and kemm's names; keys that differ in numbers are one row.

    Rows of `missing` are tensors that the checkpoint does not hold and that begin as the converter's docstring says.
    """
    report = converted.report
    rows: Counter[tuple[str, str, str]] = Counter()
    for key, target in report.matched.items():
        names = ", ".join(dict.fromkeys(map(starred, target.names)))
        rows["reshaped" if key in report.reshaped else "matched", starred(key), names] += 1
    rows.update(("ignored", starred(key), "") for key in report.ignored)
    given = {name for target in report.matched.values() for name in target.names}
    rows.update(("missing", "", starred(name)) for name in converted.state if name not in given)
    totals = {kind: sum(number for row, number in rows.items() if row[0] == kind) for kind in KINDS}
    width = max(len(key) for _, key, _ in rows)
    lines = [f"{report.system or 'the checkpoint'}: " + ", ".join(f"{number} {kind}" for kind, number in totals.items())]
    if report.assumed:
        lines.append("not told, so assumed: " + ", ".join(f"{name} {value!r}" for name, value in report.assumed.items()))
    for kind in KINDS:
        found = [(key, names, number) for (row, key, names), number in rows.items() if row == kind]
        lines += [f"{kind:<8} {number:>5}  {key:<{width}}  {names}".rstrip() for key, names, number in found]
    return "\n".join(lines)
