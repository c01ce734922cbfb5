"""Build the graph of the Atlas (entities, relations, triples) from the written tables in `graph/`.

    python prepare_graph.py [FOLDER]

The tables are the only place where a fact or a name is written; the three files made from them are never edited by hand.
Running this twice gives the same bytes. The format of tables and files is described in README.md.
"""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

# id, name, inverse, kinds of the head, kinds of the tail, at most one tail per head, head and tail can be exchanged
RELATIONS: tuple[tuple[str, str, str, str, str, bool, bool], ...] = (
    ("capital", "capital", "capital_of", "country", "city", False, False),
    ("continent", "continent", "continent_of", "country", "continent", True, False),
    ("subregion", "subregion", "subregion_of", "country", "subregion", True, False),
    ("official_language", "official language", "official_language_of", "country", "language", False, False),
    ("currency", "currency", "currency_of", "country", "currency", False, False),
    ("borders", "shares a land border with", "borders", "country", "country", False, True),
    ("largest_city", "largest city", "largest_city_of", "country", "city", True, False),
    ("highest_point", "highest point", "highest_point_of", "country", "mountain", True, False),
    ("river", "river", "flows_through", "country", "river", False, False),
    ("coast", "has a coast on", "washes", "country", "sea", False, False),
    ("member_of", "member of", "member", "country", "organization", False, False),
    ("flag_colour", "colour of the flag", "flag_colour_of", "country", "colour", False, False),
    ("former_ruler", "became independent from", "former_colony", "country", "country", False, False),
    (
        "located_in",
        "located in",
        "contains",
        "city|desert|island|lake|mountain|people|region|sea|state|subregion",
        "city|continent|country|island|region|sea|state|subregion",
        False,
        False,
    ),
    ("language_family", "language family", "family_of", "language", "family", True, False),
    ("branch_of", "branch of", "has_branch", "family", "family", True, False),
    ("mouth", "flows into", "receives", "river", "lake|river|sea", True, False),
    ("headquarters", "headquarters", "headquarters_of", "organization", "city", True, False),
)

# Letters that Unicode decomposition leaves whole (id slugs are ASCII).
LETTERS = str.maketrans(
    {"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "Ae", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ß": "ss"}
    | {"\N{LATIN SMALL LETTER DOTLESS I}": "i", "\N{MODIFIER LETTER TURNED COMMA}": "'", "\N{EN DASH}": "-"}
)

# Units whose English plural takes an s; the others (yen, baht, won, rand ...) keep their form or have it written in the table.
PLURAL = frozenset(
    (
        "afghani",
        "balboa",
        "bolívar",
        "bolivar",
        "boliviano",
        "cedi",
        "crown",
        "dalasi",
        "denar",
        "dinar",
        "dirham",
        "dobra",
        "dollar",
        "drachma",
        "escudo",
        "euro",
        "florin",
        "forint",
        "franc",
        "gourde",
        "guarani",
        "guaraní",
        "guilder",
        "hryvnia",
        "kina",
        "koruna",
        "kroon",
        "kuna",
        "lari",
        "lempira",
        "leone",
        "loonie",
        "mark",
        "naira",
        "peseta",
        "peso",
        "pound",
        "pula",
        "quetzal",
        "rial",
        "riyal",
        "rouble",
        "ruble",
        "rupee",
        "shekel",
        "shilling",
        "sol",
        "somoni",
        "sucre",
        "tugrik",
        "zloty",
        "złoty",
    )
)

CONTINENTS = ("Africa", "Asia", "Europe", "North America", "South America", "Oceania")


def ascii_form(text: str) -> str:
    """`text` without diacritics: "Bogotá" becomes "Bogota"."""
    folded = unicodedata.normalize("NFKD", text.translate(LETTERS))
    return "".join(c for c in folded if not unicodedata.combining(c))


def slug(name: str) -> str:
    """The last part of an id: "St. George's" becomes "st-george-s"."""
    return re.sub(r"[^a-z0-9]+", "-", ascii_form(name).lower()).strip("-")


def cells(text: str) -> list[str]:
    """The items of one cell, which are separated by semicolons."""
    return [item.strip() for item in text.split(";") if item.strip()]


def rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column name of each row of one table.

    Raises:
        ValueError: a row has another number of cells than the header.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    header = lines[0].split("\t")
    for number, line in enumerate(lines[1:], start=2):
        values = line.split("\t")
        if len(values) != len(header):
            raise ValueError(f"{path}:{number}: {len(values)} cells, but the header has {len(header)}: {', '.join(header)}")
        yield number, dict(zip(header, values, strict=True))


def write(path: Path, lines: list[str]) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    os.replace(part, path)


class Graph:
    """Entities and triples while they are gathered; each method adds what one table says."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.aliases: dict[str, dict[str, None]] = {}
        self.triples: dict[tuple[str, str, str], None] = {}

    def entity(self, identity: str, name: str, aliases: list[str]) -> str:
        """Add an entity, or more aliases for one that is there; returns its id."""
        known = self.names.setdefault(identity, name)
        forms = self.aliases.setdefault(identity, {})
        for form in (known, name, *aliases):
            for text in (form, ascii_form(form)):
                forms.setdefault(text)
        return identity

    def alias(self, identity: str, aliases: list[str], where: str) -> None:
        """Add aliases to an entity that must be there."""
        if identity not in self.names:
            raise ValueError(f"{where}: no entity has the id {identity!r}")
        self.entity(identity, self.names[identity], aliases)

    def triple(self, head: str, relation: str, tail: str) -> None:
        """Add a fact; the order of adding is kept."""
        self.triples.setdefault((head, relation, tail))

    def place(self, kind: str, text: str, country: str) -> str:
        """A city or a mountain named in countries.tsv, `Name` or `Name=slug`, that lies in `country`."""
        name, _, given = (part.strip() for part in text.partition("="))
        aliases: list[str] = []
        if "," in name:
            aliases.append(name.split(",")[0])
        if kind == "mountain" and name.startswith("Mount "):
            aliases.append(name.removeprefix("Mount "))
        short = aliases[-1] if kind == "mountain" and aliases else name
        identity = self.entity(f"{kind}:{given or slug(short)}", name, aliases)
        self.triple(identity, "located_in", country)
        return identity

    def countries(self, path: Path, continents: dict[str, str]) -> list[str]:
        """countries.tsv: one row holds what is known of a country. `continents` maps subregion to continent."""
        found: list[str] = []
        columns = (
            ("languages", "official_language", "language"),
            ("currencies", "currency", "currency"),
            ("borders", "borders", "country"),
            ("coasts", "coast", "sea"),
            ("independent from", "former_ruler", "country"),
            ("flag colours", "flag_colour", "colour"),
        )
        for number, row in rows(path):
            country = self.entity(f"country:{row['slug']}", row["name"], cells(row["aliases"]) + cells(row["demonyms"]))
            found.append(country)
            for text in cells(row["capitals"]):
                self.triple(country, "capital", self.place("city", text, country))
            self.triple(country, "largest_city", self.place("city", row["largest city"], country))
            for text in cells(row["other cities"]):
                self.place("city", text, country)
            if row["highest point"]:
                self.triple(country, "highest_point", self.place("mountain", row["highest point"], country))
            region = f"subregion:{row['subregion']}"
            if region not in continents:
                raise ValueError(f"{path}:{number}: subregion {row['subregion']!r} is not in subregions.tsv")
            self.triple(country, "subregion", region)
            self.triple(country, "continent", continents[region])
            for column, relation, kind in columns:
                for text in cells(row[column]):
                    self.triple(country, relation, f"{kind}:{text}")
        return found

    def places(self, path: Path) -> None:
        """places.tsv: rivers, lakes, seas, mountains, islands, states, regions, peoples, colours."""
        for _, row in rows(path):
            kind = row["id"].partition(":")[0]
            aliases = cells(row["aliases"])
            if kind == "river":
                stem = re.sub(r" River$", "", row["name"])
                aliases += [f"{stem} River", f"River {stem}"]
            self.entity(row["id"], row["name"], aliases)
            for country in cells(row["countries"]):
                if kind == "river":
                    self.triple(f"country:{country}", "river", row["id"])
                else:
                    self.triple(row["id"], "located_in", f"country:{country}")
            for inside in cells(row["inside"]):
                self.triple(row["id"], "located_in", inside)
            for mouth in cells(row["mouth"]):
                self.triple(row["id"], "mouth", mouth)

    def languages(self, folder: Path) -> None:
        """languages.tsv and families.tsv."""
        for _, row in rows(folder / "families.tsv"):
            self.entity(row["id"], row["name"], cells(row["aliases"]))
            for parent in cells(row["part of"]):
                self.triple(row["id"], "branch_of", f"family:{parent}")
        for _, row in rows(folder / "languages.tsv"):
            self.entity(row["id"], row["name"], [*cells(row["aliases"]), f"{row['name']} language"])
            self.triple(row["id"], "language_family", f"family:{row['family']}")

    def currencies(self, path: Path) -> None:
        """currencies.tsv; plurals that only take an s are added here."""
        for _, row in rows(path):
            forms = [row["name"], *cells(row["aliases"])]
            plurals = [f"{form}s" for form in forms if form.split()[-1] in PLURAL]
            self.entity(row["id"], row["name"], forms + plurals)

    def organizations(self, path: Path, countries: list[str]) -> None:
        """organizations.tsv; members `*` are all countries but the two observers of the United Nations."""
        everyone = [c for c in countries if c not in ("country:vatican-city", "country:palestine")]
        for _, row in rows(path):
            self.entity(row["id"], row["name"], cells(row["aliases"]))
            members = everyone if row["members"] == "*" else [f"country:{text}" for text in cells(row["members"])]
            for member in members:
                self.triple(member, "member_of", row["id"])
            for city in cells(row["headquarters"]):
                self.triple(row["id"], "headquarters", f"city:{slug(city)}")

    def subregions(self, path: Path) -> dict[str, str]:
        """subregions.tsv and the six continents; returns the continent of each subregion."""
        for name in CONTINENTS:
            self.entity(f"continent:{slug(name)}", name, [])
        found: dict[str, str] = {}
        for _, row in rows(path):
            self.entity(row["id"], row["name"], cells(row["aliases"]))
            found[row["id"]] = f"continent:{row['continent']}"
            self.triple(row["id"], "located_in", found[row["id"]])
        return found


def gather(folder: Path) -> Graph:
    """Read all tables of `folder`/graph."""
    graph, tables = Graph(), folder / "graph"
    continents = graph.subregions(tables / "subregions.tsv")
    countries = graph.countries(tables / "countries.tsv", continents)
    graph.organizations(tables / "organizations.tsv", countries)
    graph.languages(tables)
    graph.currencies(tables / "currencies.tsv")
    graph.places(tables / "places.tsv")
    for number, row in rows(tables / "aliases.tsv"):
        graph.alias(row["id"], cells(row["aliases"]), f"{tables / 'aliases.tsv'}:{number}")
    return graph


def main(folder: Path) -> None:
    """Write entities.jsonl, relations.jsonl and triples.tsv into `folder` from the tables in `folder`/graph."""
    graph = gather(folder)
    keys = ("id", "name", "inverse", "head", "tail", "functional", "symmetric")
    write(folder / "relations.jsonl", [json.dumps(dict(zip(keys, row, strict=True)), ensure_ascii=False) for row in RELATIONS])
    write(
        folder / "entities.jsonl",
        [
            json.dumps({"id": i, "name": n, "kind": i.partition(":")[0], "aliases": list(graph.aliases[i])}, ensure_ascii=False)
            for i, n in graph.names.items()
        ],
    )
    write(folder / "triples.tsv", ["\t".join(triple) for triple in graph.triples])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
