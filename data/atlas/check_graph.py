"""Check the graph of the Atlas: entities.jsonl, relations.jsonl, triples.tsv.

    python check_graph.py [FOLDER]

Each problem is one line: file, line number, what is wrong. No problem: exit status 0.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

KINDS = frozenset(
    (
        "city",
        "colour",
        "continent",
        "country",
        "currency",
        "desert",
        "family",
        "island",
        "lake",
        "language",
        "mountain",
        "organization",
        "people",
        "region",
        "river",
        "sea",
        "state",
        "subregion",
    )
)
ENTITY: dict[str, type] = {"id": str, "name": str, "kind": str, "aliases": list}
RELATION: dict[str, type] = {"id": str, "name": str, "inverse": str, "head": str, "tail": str, "functional": bool, "symmetric": bool}
REQUIRED = ("capital", "continent", "subregion", "official_language", "currency", "largest_city", "flag_colour")
LEAST = {"countries": 195, "entities": 800, "relations": 12, "triples": 4000}


def read_rows(path: Path, keys: dict[str, type], problems: list[str]) -> dict[str, dict[str, Any]]:
    """Rows of a JSON Lines file by id, each with its line number under "line"; rows that are wrong are reported and left out."""
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{path.name}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append(f"{where}: not JSON: {error.msg}")
            continue
        if not isinstance(row, dict) or set(row) != set(keys):
            problems.append(f"{where}: expected the keys {', '.join(keys)}, got {line[:80]}")
            continue
        wrong = [key for key, kind in keys.items() if not isinstance(row[key], kind) or row[key] in ("", [])]
        if wrong:
            problems.append(f"{where}: empty or of a wrong type: {', '.join(wrong)}")
        elif row["id"] in found:
            problems.append(f"{where}: the id {row['id']!r} is already in line {found[row['id']]['line']}")
        else:
            found[row["id"]] = {**row, "line": number}
    return found


def read_triples(path: Path, problems: list[str]) -> dict[tuple[str, str, str], int]:
    """Triples with their line numbers."""
    found: dict[tuple[str, str, str], int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        parts = line.split("\t")
        if len(parts) != 3:
            problems.append(f"{path.name}:{number}: expected head, relation, tail separated by tabs, got {len(parts)} cells")
            continue
        triple = (parts[0], parts[1], parts[2])
        if triple in found:
            problems.append(f"{path.name}:{number}: the triple is already in line {found[triple]}: {' '.join(triple)}")
        else:
            found[triple] = number
    return found


def check_entities(entities: dict[str, dict[str, Any]], problems: list[str]) -> None:
    """The kind is known and is the first part of the id; the name leads the aliases, which are different and not empty."""
    for identity, row in entities.items():
        where = f"entities.jsonl:{row['line']}: {identity}"
        if row["kind"] not in KINDS:
            problems.append(f"{where}: unknown kind {row['kind']!r}")
        kind, colon, slug = identity.partition(":")
        if not colon or kind != row["kind"] or not slug or set(slug) - set("abcdefghijklmnopqrstuvwxyz0123456789-"):
            problems.append(f"{where}: an id is kind:slug with the kind of its row ({row['kind']}) and a slug of a-z, 0-9, -")
        aliases = row["aliases"]
        if not all(isinstance(alias, str) and alias and alias == alias.strip() for alias in aliases):
            problems.append(f"{where}: an alias is empty, not a text, or has spaces around it")
        elif len(set(aliases)) != len(aliases):
            problems.append(f"{where}: an alias is there twice")
        elif aliases[0] != row["name"]:
            problems.append(f"{where}: the first alias is {aliases[0]!r}, expected the name {row['name']!r}")


def check_triples(
    triples: dict[tuple[str, str, str], int], entities: dict[str, dict[str, Any]], relations: dict[str, dict[str, Any]], problems: list[str]
) -> None:
    """Ids resolve, kinds fit, `functional` and `symmetric` hold."""
    first: dict[tuple[str, str], tuple[str, int]] = {}
    for (head, name, tail), number in triples.items():
        where = f"triples.tsv:{number}"
        if name not in relations:
            problems.append(f"{where}: unknown relation {name!r}")
            continue
        relation = relations[name]
        for side, identity in (("head", head), ("tail", tail)):
            if identity not in entities:
                problems.append(f"{where}: unknown {side} {identity!r} of {name}")
            elif entities[identity]["kind"] not in relation[side].split("|"):
                problems.append(f"{where}: the {side} of {name} is {identity}, expected a {relation[side]}")
        if head == tail:
            problems.append(f"{where}: {head} is both head and tail of {name}")
        if relation["functional"] and (head, name) in first:
            other, line = first[head, name]
            problems.append(f"{where}: {name} has one tail per head, but {head} has {tail} here and {other} in line {line}")
        first.setdefault((head, name), (tail, number))
        if relation["symmetric"] and (tail, name, head) not in triples:
            problems.append(f"{where}: {name} is symmetric, but {tail} {name} {head} is missing")


def check_countries(triples: dict[tuple[str, str, str], int], entities: dict[str, dict[str, Any]], problems: list[str]) -> None:
    """Each country has what every country has; its capitals and its largest city lie in it; the continent is that of its subregion."""
    tails: dict[tuple[str, str], list[str]] = defaultdict(list)
    for head, name, tail in triples:
        tails[head, name].append(tail)
    for identity, row in entities.items():
        if row["kind"] != "country":
            continue
        for name in REQUIRED:
            if (identity, name) not in tails:
                problems.append(f"triples.tsv: {identity} (entities.jsonl:{row['line']}) has no {name}")
        for name in ("capital", "largest_city", "highest_point"):
            for place in tails.get((identity, name), []):
                if identity not in tails.get((place, "located_in"), []):
                    number = triples[identity, name, place]
                    problems.append(f"triples.tsv:{number}: {place} is the {name} of {identity}, but is not located in it")
        for region in tails.get((identity, "subregion"), []):
            if tails.get((region, "located_in")) != tails.get((identity, "continent")):
                number = triples[identity, "subregion", region]
                problems.append(f"triples.tsv:{number}: {identity} and {region} lie on different continents")


def check(folder: Path) -> list[str]:
    """All problems of the graph in `folder`, empty if there are none."""
    problems: list[str] = []
    entities = read_rows(folder / "entities.jsonl", ENTITY, problems)
    relations = read_rows(folder / "relations.jsonl", RELATION, problems)
    triples = read_triples(folder / "triples.tsv", problems)
    check_entities(entities, problems)
    for name, row in relations.items():
        unknown = (set(row["head"].split("|")) | set(row["tail"].split("|"))) - KINDS
        if unknown:
            problems.append(f"relations.jsonl:{row['line']}: {name}: unknown kinds {sorted(unknown)}")
        if row["symmetric"] != (row["inverse"] == name):
            problems.append(f"relations.jsonl:{row['line']}: {name}: a symmetric relation, and no other, is its own inverse")
        if not any(name == used for _, used, _ in triples):
            problems.append(f"relations.jsonl:{row['line']}: {name}: no triple uses it")
    check_triples(triples, entities, relations, problems)
    check_countries(triples, entities, problems)
    used = {identity for head, _, tail in triples for identity in (head, tail)}
    for kind in ("country", "city", "river", "lake", "mountain", "language"):
        for identity, row in entities.items():
            if row["kind"] == kind and identity not in used:
                problems.append(f"entities.jsonl:{row['line']}: {identity}: no triple holds it")
    counts = {
        "countries": sum(row["kind"] == "country" for row in entities.values()),
        "entities": len(entities),
        "relations": len(relations),
        "triples": len(triples),
    }
    for what, least in LEAST.items():
        if counts[what] < least or (what == "countries" and counts[what] != least):
            problems.append(f"{folder.name}: {counts[what]} {what}, expected {'exactly' if what == 'countries' else 'at least'} {least}")
    return problems


def main(folder: Path) -> int:
    """Print all problems; the exit status."""
    problems = check(folder)
    sys.stdout.writelines(problem + "\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent))
