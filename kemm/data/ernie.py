"""Typing and relation classification as ERNIE reads them: mentions between marks, entities at the words that they begin with
(thunlp/ERNIE: code/run_typing.py, run_tacred.py, run_fewrel.py)."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from kemm.data.marked import Entities, Marked, MarkedTexts, Span, parse_entity
from kemm.data.relation import RelatedMentions
from kemm.data.tokens import Tokens
from kemm.data.typing import TypedMentions
from kemm.rows import RowError, list_of

Marks = tuple[str, str]
"""What is put before a span, and behind it."""


def mark_spans(text: str, spans: Sequence[Span], marks: Sequence[Marks]) -> tuple[str, list[tuple[int, int]]]:
    """A text with marks around spans, and what was inserted where.

    Args:
        text: The text.
        spans: Spans of characters, the end exclusive.
        marks: The marks of each.

    Returns:
        The marked text, and (place, length) of each insertion, places counting characters of the unmarked text.
    """
    pieces = [(end, 0, behind) for (_, end), (_, behind) in zip(spans, marks, strict=True)]
    pieces += [(start, 1, before) for (start, _), (before, _) in zip(spans, marks, strict=True)]
    marked, done, inserted = "", 0, []
    for place, _, mark in sorted(pieces, key=lambda piece: piece[:2]):
        marked += text[done:place] + mark
        done = place
        inserted.append((place, len(mark)))
    return marked + text[done:], inserted


class _Marking(MarkedTexts):
    """What ERNIE does differently: marks around the spans that are asked about; an entity stands at the first word piece of the word that
    its mention begins with, a word being what stands between spaces, and is dropped where the mention begins inside a word; of entities
    that begin at one place the last counts; entities that the graph lacks are dropped; their confidence must be more than the threshold.
    A text whose mention was cut off is kept, where the original leaves it out.
    """

    marks: Sequence[Marks]

    def entities(self, row: Any, key: str, text: str, confidence: float) -> Entities:
        sure: dict[int, tuple[Span, str]] = {}
        for place, entry in enumerate(list_of(row, key)):
            entity, (start, end), score = parse_entity(entry, f"{key}[{place}]", text)
            if not isinstance(entity, str):
                raise RowError("malformed", f"{key}[{place}]: the entity is {entity!r:.80}, expected a text")
            if score > confidence:
                sure[start] = (start, end), entity
        found = [(span, self.known[entity]) for span, entity in sure.values() if entity in self.known]
        return Entities([span for span, _ in found], [index for _, index in found])

    def show(self, sample: Marked) -> Marked:
        """A sample with its marks, all offsets moved with the text."""
        text, inserted = mark_spans(sample.text, sample.spans, self.marks)

        def moved(span: Span) -> Span:
            start, end = span
            before = sum(length for place, length in inserted if place <= start)
            return start + before, end + sum(length for place, length in inserted if place < end)

        spans, indices = [moved(span) for span in sample.entities.spans], sample.entities.indices
        kept = [(span, index) for span, index in zip(spans, indices, strict=True) if _begins_word(text, span[0])]
        entities = Entities([span for span, _ in kept], [index for _, index in kept])
        return sample._replace(text=text, spans=[moved(span) for span in sample.spans], entities=entities)

    def _aligned(self, tokens: Tokens, entities: Sequence[Entities]) -> Tensor:
        ids = tokens.ids.new_zeros(tokens.ids.shape)
        for row, (spans, indices) in enumerate(entities):
            begins = tokens.offsets[row, :, 0].masked_fill(tokens.words[row] < 0, -1).tolist()
            for (start, _), index in zip(spans, indices, strict=True):
                if start in begins:
                    ids[row, begins.index(start)] = index + 1  # row 0 of the table is "none"
        return ids


class MarkedTypedMentions(_Marking, TypedMentions):
    """`TypedMentions` as ERNIE reads them: the mention stands between ideographic full stops, and its types are told at [CLS]."""

    marks = (("\u3002 ", " \u3002"),)

    def _parse(self, row: Any) -> Marked:
        return self.show(super()._parse(row))


class MarkedRelatedMentions(_Marking, RelatedMentions):
    """`RelatedMentions` as ERNIE reads them: `# head #` and `$ tail $`, and the relation is told at [CLS]."""

    marks = (("# ", " #"), ("$ ", " $"))

    def _parse(self, row: Any) -> Marked:
        return self.show(super()._parse(row))


def _begins_word(text: str, place: int) -> bool:
    return place < len(text) and not text[place].isspace() and (place == 0 or text[place - 1].isspace())
