"""Linked passages made of sentence frames: text that teaches a linker what a name means by the words and the names around it.

A file has one frame a line; lines that begin with # are comments.

    In {c.capital} the news is read in {c.language}, while {d:adj} engineers repair the port on the {c.river}.

A slot is `{place}` or `{place:form}`. Its place is a country of the passage (`c` what it is about, `n` a neighbour, `w` a former ruler,
`d` and `e` any others), something that a relation leads to from there (`c.capital`; a 2 at the end asks for another one), or a kind of
entity (`river`). Its form is a name (none is given), a country's adjective (`adj`), its people (`folk`), a currency's unit (`unit`,
`units`).
"""

import csv
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kemm.data.facts import Facts
from kemm.data.passage_sets import Sieve
from kemm.data.passages import Passage, Span
from kemm.kg import Entity

SLOT = re.compile(r"\{([a-z]+)(2?)(?:\.([a-z]+)(2?))?(?::([a-z]+))?\}")
ADJECTIVE = re.compile(r"[a-z](?:ians?|eans?|ans?|ese|ish)$")
"""What the adjectives and the people of states, regions and islands end with."""
TAILS = {
    "capital": "capital",
    "language": "official_language",
    "currency": "currency",
    "river": "river",
    "sea": "coast",
    "mountain": "highest_point",
    "continent": "continent",
    "subregion": "subregion",
    "organization": "member_of",
}
"""Word of a slot -> relation of a country."""
INSIDE = ("city", "lake", "island", "state", "people", "region", "desert", "mountain")
"""Kinds that are found by `located_in`."""
FORMS = ("", "adj", "folk", "unit", "units")
AMBIGUOUS = 0.5
"""Share of names for which one is taken that means something else as well, where there is one."""


class UnfitError(LookupError):
    """A frame has a slot that the graph cannot fill here."""


class Frames:
    """Makes passages of sentence frames.

    Args:
        files: Of the frames.
        facts: Fill them.
        demonyms: The adjectives and names of people of each country.

    Raises:
        ValueError: A slot is not of the form above: file, line and slot.
    """

    def __init__(self, files: Sequence[Path], facts: Facts, demonyms: Mapping[str, Sequence[str]]) -> None:
        self.facts, self.demonyms = facts, demonyms
        self.entities = {entity.id: entity for entity in facts.graph.entities}
        self.kinds: dict[str, list[str]] = {}
        self.bearers: Counter[str] = Counter()
        for entity in facts.graph.entities:
            self.kinds.setdefault(entity.kind, []).append(entity.id)
            self.bearers.update(set(entity.surfaces))
        self.frames = [frame for path in files for frame in self._read(path)]

    def passages(self, count: int, sieve: Sieve, seed: int) -> Iterator[Passage]:
        """Passages of three to six sentences about one country each, the countries in turn; no sentence tells what the sieve keeps back."""
        draw = random.Random(f"{seed}/frames")
        order: list[str] = []
        for number in range(count):
            country = self.facts.countries[number % len(self.facts.countries)]
            scene = _Scene(country, self, draw)
            wanted, text, spans = draw.randint(3, 6), "", []
            for _ in range(10 * wanted):
                if not order:
                    order = draw.sample(self.frames, len(self.frames))
                try:
                    sentence = scene.fill(order.pop())
                except UnfitError:
                    continue
                # A word of a name ("the Samoan tala") counts for all that it may mean.
                if sieve.told(sentence) or sieve.told(replace(sentence, text=" | ".join(sentence.text.split()), spans=())):
                    continue
                text += " " if text else ""
                spans += [Span(span.start + len(text), span.end + len(text), span.entity) for span in sentence.spans]
                text += sentence.text
                wanted -= 1
                if not wanted:
                    break
            if text:
                yield Passage(f"frames-{number + 1}", country, text, tuple(spans), "train")

    def adjectives(self, entity: Entity) -> list[str]:
        """The surface forms that are adjectives or names of people, not of the place itself."""
        if entity.kind == "country":
            return [name for name in self.demonyms.get(entity.id, ()) if name]
        if entity.kind not in ("state", "region", "island"):
            return []
        return [name for name in entity.surfaces if name != entity.name and " " not in name and ADJECTIVE.search(name)]

    def _read(self, path: Path) -> Iterator[str]:
        roots = {*"cndew", *self.kinds}
        for place, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            if re.search(r"[{}]", SLOT.sub("", line)):
                raise ValueError(f"{path}:{place}: expected slots like {{c}}, {{c.river}} or {{d:adj}}, given {line!r:.100}")
            for match in SLOT.finditer(line):
                root, _, step, _, form = match.groups()
                if root not in roots or (step and step not in {*TAILS, *INSIDE, "in", "mouth"}) or (form or "") not in FORMS:
                    raise ValueError(
                        f"{path}:{place}: the slot {match.group()} names no entity that is known, or no form among {FORMS[1:]}"
                    )
            yield line


class _Scene:
    """What the slots of one passage stand for: c, n and w throughout, all else for one sentence."""

    def __init__(self, country: str, frames: Frames, draw: random.Random) -> None:
        self.frames, self.facts, self.draw = frames, frames.facts, draw
        self.country = country
        self.lasting = {"c": country}
        for name, relation in (("n", "borders"), ("w", "former_ruler")):
            if known := self.facts.tails(country, relation):
                self.lasting[name] = draw.choice(known)

    def fill(self, frame: str) -> Passage:
        """The frame as a sentence.

        Raises:
            UnfitError: The graph has nothing for one of its slots.
        """
        bound = dict(self.lasting)
        text, spans, done = "", [], 0
        for match in SLOT.finditer(frame):
            text += frame[done : match.start()]
            entity = self._entity(match, bound)
            surface = self._surface(self.frames.entities[entity], match.group(5) or "")
            if not text:
                surface = surface[:1].upper() + surface[1:]
            spans.append(Span(len(text), len(text) + len(surface), entity))
            text += surface
            done = match.end()
        return Passage("", self.country, text + frame[done:], tuple(spans))

    def _entity(self, match: re.Match[str], bound: dict[str, str]) -> str:
        root, other, step, further, _ = match.groups()
        key = root + other
        if key not in bound:
            if root in ("n", "w"):
                raise UnfitError(key)
            kind = "country" if root in ("d", "e") else root
            bound[key] = self._choose(self.frames.kinds[kind], bound)
        if not step:
            return bound[key]
        path = f"{key}.{step}{further}"
        if path not in bound:
            bound[path] = self._choose(self._reached(bound[key], step), bound)
        return bound[path]

    def _reached(self, entity: str, step: str) -> list[str]:
        if step in ("in", "mouth"):
            return self.facts.tails(entity, "located_in" if step == "in" else "mouth")
        found = list(self.facts.tails(entity, TAILS[step])) if step in TAILS else []
        if step in INSIDE:
            found += [inside for inside in self.facts.heads("located_in", entity) if self.facts.kinds[inside] == step]
        return found

    def _choose(self, known: Sequence[str], bound: dict[str, str]) -> str:
        """One that the sentence does not have yet; of three, the one with the most ambiguous name."""
        free = [entity for entity in known if entity not in bound.values()]
        if not free:
            raise UnfitError
        drawn = [self.draw.choice(free) for _ in range(3)]
        return max(drawn, key=lambda entity: max(self.frames.bearers[form] for form in self.frames.entities[entity].surfaces) > 1)

    def _surface(self, entity: Entity, form: str) -> str:
        adjectives = self.frames.adjectives(entity)
        if form in ("adj", "folk"):
            plural = [name for name in adjectives if name.endswith("s")] if form == "folk" else []
            known = plural[-1:] or adjectives[:1]
        elif form:
            units = [name for name in entity.surfaces if name.islower() and " " not in name]
            known = [name for name in units if name.endswith("s")][:1] or units[:1] if form == "units" else units[:1]
        else:
            names = [name for name in entity.surfaces if name not in adjectives]
            shared = [name for name in names if self.frames.bearers[name] > 1]
            known = shared if shared and self.draw.random() < AMBIGUOUS else [entity.name, self.draw.choice([entity.name, *names])]
        if not known:
            raise UnfitError(form)
        return self.draw.choice(known)


def read_demonyms(path: Path) -> dict[str, list[str]]:
    """The adjectives and names of people of each country, from the columns `slug` and `demonyms` of the countries' table."""
    with path.open(encoding="utf-8", newline="") as lines:
        return {f"country:{row['slug']}": row["demonyms"].split(";") for row in csv.DictReader(lines, delimiter="\t")}
