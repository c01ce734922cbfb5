"""Compare the graph of the Atlas with an outside database of countries.

    python compare.py countries.json [FOLDER]

`countries.json` is the file of that name of the mledoze/countries project (a list with one object per country). The table printed has
one row per difference: field, country, what only the Atlas has, what only the other side has. README.md explains each of them.
The outside facts are only read here; none is copied into the Atlas.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

RELATION = {
    "capital": "capital",
    "borders": "borders",
    "languages": "official_language",
    "currencies": "currency",
    "subregion": "subregion",
}
KIND = {"capital": "city", "borders": "country", "languages": "language", "currencies": "currency", "subregion": "subregion"}

# Names of the other side which mean one of our entities but are not among its aliases, or which it splits further than we do.
OTHER_NAMES = {
    "Persian (Farsi)": "language:persian",
    "Austro-Bavarian German": "language:german",
    "Norwegian Nynorsk": "language:norwegian",
    "Norwegian Bokmål": "language:norwegian",
    "Ndonga": "language:oshiwambo",
    "North America": "subregion:northern-america",
}


class Difference(NamedTuple):
    """One field of one country on which the two sides differ."""

    field: str
    country: str
    ours: str
    theirs: str


def load_graph(folder: Path) -> tuple[dict[str, dict[str, Any]], dict[tuple[str, str], set[str]]]:
    """Entities by id, and tails by (head, relation)."""
    lines = (folder / "entities.jsonl").read_text(encoding="utf-8").splitlines()
    entities = {row["id"]: row for row in map(json.loads, lines)}
    tails: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in (folder / "triples.tsv").read_text(encoding="utf-8").splitlines():
        head, relation, tail = line.split("\t")
        tails[head, relation].add(tail)
    return entities, tails


def resolver(entities: dict[str, dict[str, Any]]) -> dict[tuple[str, str], set[str]]:
    """Ids by (kind, alias in lower case)."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for identity, row in entities.items():
        for alias in row["aliases"]:
            found[row["kind"], alias.lower()].add(identity)
    return found


def match_countries(records: list[dict[str, Any]], names: dict[tuple[str, str], set[str]]) -> dict[str, dict[str, Any]]:
    """Our country id to the record of the other side; records of territories match none.

    A common name that several of our countries share (Guinea) says nothing, so the official one is tried after it.
    """
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        for name in (record["name"]["common"], record["name"]["official"]):
            ids = names.get(("country", name.lower()), set())
            if len(ids) == 1:
                found.setdefault(next(iter(ids)), record)
                break
    return found


def theirs_of(field: str, record: dict[str, Any], by_code: dict[str, str]) -> set[str]:
    """The names (for borders: ids) that the other side gives for one field."""
    if field == "capital":
        return set(record["capital"])
    if field == "borders":
        return {by_code.get(code, code) for code in record["borders"]}
    if field == "languages":
        return set(record["languages"].values())
    if field == "currencies":
        return {currency["name"] for currency in record["currencies"].values()}
    return {record["subregion"]}


def resolve(name: str, field: str, ours: set[str], names: dict[tuple[str, str], set[str]]) -> str:
    """The id that a name of the other side means: the one we also state if the name allows it, else the first; the name if none."""
    if OTHER_NAMES.get(name, "").startswith(KIND[field]):
        return OTHER_NAMES[name]
    ids = names.get((KIND[field], name.lower()), set())
    return min(ids & ours or ids, default=name)


def compare(folder: Path, countries: Path) -> list[Difference]:
    """All differences, sorted by field and country.

    Raises:
        ValueError: a country of the Atlas is not in `countries`.
    """
    entities, tails = load_graph(folder)
    names = resolver(entities)
    records = match_countries(json.loads(countries.read_text(encoding="utf-8")), names)
    by_code = {record["cca3"]: identity for identity, record in records.items()}
    found: list[Difference] = []
    ours_all = sorted(i for i, row in entities.items() if row["kind"] == "country")
    missing = [i for i in ours_all if i not in records]
    if missing:
        raise ValueError(f"{countries}: no record for {', '.join(missing)}")
    for field, relation in RELATION.items():
        for country in ours_all:
            ours = tails[country, relation]
            theirs = {t if ":" in t else resolve(t, field, ours, names) for t in theirs_of(field, records[country], by_code)}
            if ours != theirs:
                only = [", ".join(sorted(t.partition(":")[2] or t for t in side)) for side in (ours - theirs, theirs - ours)]
                found.append(Difference(field, country.partition(":")[2], *only))
    return found


def main(countries: Path, folder: Path) -> None:
    """Print the table of differences."""
    sys.stdout.write("| field | country | only here | only there |\n|---|---|---|---|\n")
    sys.stdout.writelines(f"| {' | '.join(difference)} |\n" for difference in compare(folder, countries))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: compare.py countries.json [FOLDER]")
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).parent)
