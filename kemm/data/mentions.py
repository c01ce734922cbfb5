"""Finding the names of entities in a text: a longest-match trie over a graph's surface forms."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from kemm.kg import AliasIndex, Graph

FLOOR = 0.1
"""Weight of a graph's own surface form beside the counts from text, so that a sense which was never seen keeps a small prior."""


class Mention(NamedTuple):
    """A stretch of a text that may name an entity.

    `candidates` holds (entity id, prior), the most probable first; the priors sum to 1.
    """

    start: int
    end: int
    surface: str
    candidates: list[tuple[str, float]]


class AliasMatcher:
    """Finds mentions, from left to right, the longest one at each place, none inside a word.

    Upper and lower case tell apart "Turkey" and "turkey", "Polish" and "polish": a form written with a capital is found only so; a form
    without one is also found with a capital first letter, as at the start of a sentence ("Francs were ..."). Any white space between the
    words of a form will do.

    Args:
        graph: Gives entities and their surface forms.
        counts: How often a (surface form, entity index) was seen in text: the priors are in proportion to them; uniform without.
        floor: Weight of each of the graph's own forms beside the counts.
    """

    def __init__(self, graph: Graph, counts: Mapping[tuple[str, int], float] = {}, floor: float = FLOOR) -> None:
        self.graph = graph
        self._root: dict[str, Any] = {}
        entries: list[tuple[str, int, float]] = []
        for index, entity in enumerate(graph.entities):
            for form in dict.fromkeys(_bare(form, entity.surfaces) for form in entity.surfaces):
                entries.append((form, index, floor))
                node = self._root
                for letter in form:
                    node = node.setdefault(letter, {})
                node[""] = form
        entries += [(self._form(surface), index, count) for (surface, index), count in counts.items()]
        self.index = AliasIndex(entries)

    def candidates(self, form: str, without: Mapping[tuple[str, int], float] = {}) -> list[tuple[str, float]]:
        """(entity id, prior) of a stretch of text; one that is no surface form of an entity and was never seen as one has none.

        Args:
            form: The stretch.
            without: Counts that are left out, like those that the matcher was made with: a text's own say what its mentions mean.
        """
        known = self._form(form)
        own = {entity: count for (surface, entity), count in without.items() if self._form(surface) == known}
        return [(self.graph.entities[entity].id, prior) for entity, prior in self.index.candidates(known, without=own)]

    def _form(self, surface: str) -> str:
        """The form that a stretch of text stands for: itself, or itself with a small first letter where only that is known."""
        known = " ".join(surface.split())
        small = known[:1].lower() + known[1:]
        return known if self._is_form(known) or not self._is_form(small) else small

    def find(self, text: str) -> list[Mention]:
        """The mentions in the order of the text; offsets count characters (code points), `end` is exclusive."""
        found, place = [], 0
        while place < len(text):
            end, form = self._longest(text, place) if _starts_word(text, place) else (place, "")
            if form:
                found.append(Mention(place, end, text[place:end], self.candidates(form)))
            place = max(end, place + 1)
        return found

    def _is_form(self, form: str) -> bool:
        node = self._root
        for letter in form:
            if letter not in node:
                return False
            node = node[letter]
        return "" in node

    def _longest(self, text: str, place: int) -> tuple[int, str]:
        best = self._walk(self._root.get(text[place], {}), text, place + 1)
        small = text[place].lower()
        if small != text[place]:
            other = self._walk(self._root.get(small, {}), text, place + 1)
            best = max(best, other, key=lambda found: found[0])
        return best if best[1] else (place, "")

    def _walk(self, node: dict[str, Any], text: str, place: int) -> tuple[int, str]:
        best = (-1, "")
        while True:
            if "" in node and _ends_word(text, place):
                best = (place, node[""])
            if place == len(text):
                return best
            letter = " " if text[place].isspace() else text[place]
            if letter not in node:
                return best
            node, place = node[letter], place + 1
            while letter == " " and place < len(text) and text[place].isspace():
                place += 1


def _bare(form: str, forms: Collection[str]) -> str:
    """A form without its article, so that "the Congo" means no less than "Congo" does; "The Hague" keeps it, since "Hague" is no form of
    the city."""
    form = " ".join(form.split())
    return form[4:] if form.startswith("the ") or (form.startswith("The ") and form[4:] in forms) else form


def _starts_word(text: str, place: int) -> bool:
    return not text[place].isspace() and (place == 0 or not (text[place].isalnum() and text[place - 1].isalnum()))


def _ends_word(text: str, place: int) -> bool:
    return place == len(text) or not (text[place].isalnum() and text[place - 1].isalnum())
