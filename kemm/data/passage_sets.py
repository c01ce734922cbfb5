"""Training text and the sets of typing, relation classification and linking, made of the annotated passages."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from kemm.data.facts import Facts
from kemm.data.mentions import AliasMatcher
from kemm.data.passages import Passage, count_senses, join

GROUPS = {
    "location": ("country", "city", "continent", "subregion", "state", "region", "river", "lake", "sea", "mountain", "desert", "island"),
    "polity": ("country", "state"),
    "water": ("river", "lake", "sea"),
    "group": ("people", "organization"),
    "speech": ("language", "family"),
}
"""Coarse types over the kinds of entities."""
PARTS = {"train": "train", "dev": "tune", "test": "test"}
"""Name of a set's part -> split of the passages that it is made of."""
NO_RELATION = "no_relation"
CERTAIN = 1.0
"""Confidence of an annotated entity, where the formats of ERNIE hold that of an entity linker."""


class Sieve:
    """Keeps facts out of training text.

    Args:
        matcher: Finds names in text.
        secret: Pairs of entity ids that are joined by a fact which training must not state.
    """

    def __init__(self, matcher: AliasMatcher, secret: Collection[frozenset[str]]) -> None:
        self.matcher = matcher
        self._names = {entity.id: entity.name for entity in matcher.graph.entities}
        self._partners: dict[str, set[str]] = {}
        for pair in secret:
            for one in pair:
                self._partners.setdefault(one, set()).update(pair - {one})

    def told(self, sentence: Passage) -> set[frozenset[str]]:
        """The secret pairs whose two names stand in a sentence, or of which one is what its passage is about (a pronoun needs no name).

        A mention counts for its entity, and for what has that very name; a name without annotation counts for everything that it may mean.
        """
        known = {sentence.entity, *(span.entity for span in sentence.spans)}
        names = set(known)
        for mention in self.matcher.find(sentence.text):
            annotated = any(span.start < mention.end and mention.start < span.end for span in sentence.spans)
            names |= {entity for entity, _ in mention.candidates if not annotated or self._names[entity] == mention.surface}
        pairs = [(one, other) for one in names & self._partners.keys() for other in self._partners[one] & names]
        # One name does not tell of two namesakes: both must be meant.
        return {frozenset(pair) for pair in pairs if self._names[pair[0]] != self._names[pair[1]] or set(pair) <= known}

    def clean(self, passage: Passage) -> list[Passage]:
        """The sentences of a passage that tell no secret."""
        return [sentence for sentence in passage.sentences() if not self.told(sentence)]


def kept_sentences(passages: Sequence[Passage], part: str, sieve: Sieve) -> Iterator[tuple[Passage, list[Passage]]]:
    """Each passage of a part with its sentences; those of the training part are sieved."""
    for passage in passages:
        if passage.split == PARTS[part]:
            yield passage, sieve.clean(passage) if part == "train" else passage.sentences()


def training_sentences(passages: Sequence[Passage], sieve: Sieve) -> list[dict[str, Any]]:
    """The sentences of `train_text.jsonl`."""
    return [
        {"kind": "sentence", "text": sentence.text, "passage": passage.id, "entity": passage.entity, "mentions": _mentions(sentence)}
        for passage, sentences in kept_sentences(passages, "train", sieve)
        for sentence in sentences
    ]


def typing_set(passages: Sequence[Passage], part: str, sieve: Sieve, facts: Facts) -> list[dict[str, Any]]:
    """Entity typing in the format that ERNIE gives to Open Entity and FIGER: one row for each mention."""
    rows = []
    for _, sentences in kept_sentences(passages, part, sieve):
        for sentence in sentences:
            entities = [[span.entity, span.start, span.end, CERTAIN] for span in sentence.spans]
            for span in sentence.spans:
                kind = facts.kinds[span.entity]
                labels = [kind, *(group for group, kinds in GROUPS.items() if kind in kinds)]
                rows.append({"sent": sentence.text, "start": span.start, "end": span.end, "labels": labels, "ents": entities})
    return rows


def relation_set(passages: Sequence[Passage], part: str, sieve: Sieve, facts: Facts) -> list[dict[str, Any]]:
    """Relation classification in ERNIE's format of FewRel: sentences with a head and a tail.

    Each pair of mentions that the graph joins is a row, under the first of its relations; a sentence gives as many rows with no relation,
    at least one.
    """
    order = {relation.id: place for place, relation in enumerate(facts.graph.relations)}
    labels: dict[tuple[str, str], str] = {}
    for head, relation, tail in sorted(facts.triples, key=lambda triple: -order[triple[1]]):
        labels[head, tail] = relation
    rows = []
    for _, sentences in kept_sentences(passages, part, sieve):
        for sentence in sentences:
            pairs = [(one, other) for one in sentence.spans for other in sentence.spans if one.entity != other.entity]
            joined = [pair for pair in pairs if (pair[0].entity, pair[1].entity) in labels]
            apart = [pair for pair in pairs if not {(pair[0].entity, pair[1].entity), (pair[1].entity, pair[0].entity)} & labels.keys()]
            step = max(1, len(apart) // max(1, len(joined)))
            for first, second in [*joined, *apart[::step][: max(1, len(joined))]]:
                entities = [[span.entity, span.start, span.end, CERTAIN] for span in (first, second)]
                rows.append({"text": sentence.text, "ents": entities, "label": labels.get((first.entity, second.entity), NO_RELATION)})
    return rows


def linking_set(passages: Sequence[Passage], part: str, sieve: Sieve, matcher: AliasMatcher) -> list[dict[str, Any]]:
    """Entity linking: whole passages (training ones without sieved sentences) under their headings, each mention with its candidates.

    A mention's own entity may be missing among its candidates: then the surface form is not one of the graph's, and no linker can find it.
    The priors are counted in the training passages; a training passage's own counts are left out of its priors, or these would tell in
    training what they cannot tell in any other text.
    """
    rows = []
    for passage, sentences in kept_sentences(passages, part, sieve):
        own = count_senses([passage], matcher.graph) if part == "train" else {}
        rows.append(linked_row(join(passage, sentences), matcher, own))
    return [row for row in rows if len(row["mentions"]) > 1]


def linked_row(passage: Passage, matcher: AliasMatcher, own: Mapping[tuple[str, int], float] = {}) -> dict[str, Any]:
    """A passage under its heading, the name of what it is about, as a row of a linking set; the counts `own` are left out of the priors."""
    heading = matcher.graph.entities[matcher.graph.entity_index[passage.entity]].name
    mentions = [{"start": 0, "end": len(heading), "surface": heading, "entity": passage.entity, "candidates": [[passage.entity, 1.0]]}]
    text = f"{heading}. {passage.text}"
    for span in passage.spans:
        surface = passage.text[span.start : span.end]
        candidates = [[entity, round(prior, 6)] for entity, prior in matcher.candidates(surface, own)]
        start = span.start + len(heading) + 2
        mentions.append({"start": start, "end": start + len(surface), "surface": surface, "entity": span.entity, "candidates": candidates})
    return {"id": passage.id, "entity": passage.entity, "text": text, "mentions": mentions}


def _mentions(passage: Passage) -> list[dict[str, Any]]:
    return [span._asdict() for span in passage.spans]
