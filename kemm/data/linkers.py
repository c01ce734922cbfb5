"""Linkers: which stretches of a text name which entities. None needs a network connection; each links a batch of texts.

Whatever a linker finds and does not hand on is in a list with its reason, and `align` does the same where mentions meet tokens.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from kemm.batch import CandidateInput
from kemm.data.candidates import LinkedMention, candidate_batch, parse_mentions
from kemm.data.mentions import AliasMatcher
from kemm.data.tokens import TextReader, Tokens
from kemm.kg.dictionary import Dictionary, spans_of
from kemm.rows import Gate, RowError, text_of


class Dropped(NamedTuple):
    """A mention that is not handed on: which text of the batch, its characters (end exclusive), and why."""

    text: int
    start: int
    end: int
    reason: str


class Links(NamedTuple):
    """The mentions of each text of a batch, in the order of the text, and those that were dropped."""

    mentions: list[list[LinkedMention]]
    dropped: list[Dropped]

    def reasons(self) -> dict[str, int]:
        """How many mentions were dropped for each reason."""
        return dict(Counter(mention.reason for mention in self.dropped))


class Linker:
    """Finds mentions with their candidates; a candidate's id is one of the graph's, the most probable comes first."""

    def __call__(self, texts: Sequence[str]) -> Links:
        """The mentions of texts."""
        raise NotImplementedError


class DictionaryLinker(Linker):
    """Candidates by p(e|m), the share of a mention's links that lead to an entity, for every stretch of at most five words that neither
    begins nor ends with a stop word (KnowBERT, arXiv 1909.04164, section 4.1; allenai/kb: kb/wiki_linking_util.py).

    Args:
        dictionary: p(e|m).
        nested: Whether stretches inside longer ones are mentions too, as in KnowBERT; otherwise the longest is, the first of those as long.
    """

    def __init__(self, dictionary: Dictionary, nested: bool = False) -> None:
        self.dictionary, self.nested = dictionary, nested

    def __call__(self, texts: Sequence[str]) -> Links:
        links = Links([], [])
        for row, text in enumerate(texts):
            found = {}
            for start, end in spans_of(text):
                entry = self.dictionary.find(text[start:end])
                if entry is not None and not entry:
                    links.dropped.append(Dropped(row, start, end, "no entity of the graph"))
                elif entry:
                    found[start, end] = entry
            kept: list[tuple[int, int]] = []
            for start, end in sorted(found, key=lambda span: (span[0] - span[1], span)):
                if not self.nested and any(start < last and end > first for first, last in kept):
                    links.dropped.append(Dropped(row, start, end, "overlaps a longer mention"))
                else:
                    kept.append((start, end))
            links.mentions.append([LinkedMention(start, end, found[start, end]) for start, end in sorted(kept)])
        return links


class AliasLinker(Linker):
    """The names and aliases of a graph's entities.

    Args:
        matcher: The trie over them.
        most: Candidates kept per mention.
    """

    def __init__(self, matcher: AliasMatcher, most: int = 30) -> None:
        self.matcher, self.most = matcher, most

    def __call__(self, texts: Sequence[str]) -> Links:
        found = [[LinkedMention(m.start, m.end, tuple(m.candidates[: self.most])) for m in self.matcher.find(text)] for text in texts]
        return Links(found, [])


class GoldLinker(Linker):
    """What annotators said: JSON lines {"text", "mentions": [{"start", "end", "entity"}]}; a text that none is about has no mentions.

    Args:
        path: The file.
        known: Entity id -> index.
        gate: What happens to a bad line.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is bad; offsets lie outside its text, for example.
    """

    def __init__(self, path: Path, known: Mapping[str, int], gate: Gate) -> None:
        self.known = known
        self.gold: dict[str, list[LinkedMention]] = {}
        for where, row in gate.objects(path, "JSON lines of texts with mentions"):
            with gate.row(where):
                text = text_of(row, "text")
                if text in self.gold:
                    raise RowError("duplicate", f"the text {text[:80]!r} is there before, expected the mentions of a text in one line")
                self.gold[text] = parse_gold(row, text)

    def __call__(self, texts: Sequence[str]) -> Links:
        links = Links([], [])
        for row, text in enumerate(texts):
            known = []
            for mention in self.gold.get(text, []):
                if mention.gold in self.known:
                    known.append(mention)
                else:
                    links.dropped.append(
                        Dropped(row, mention.start, mention.end, "no entity of the graph" if mention.gold else "no entity")
                    )
            links.mentions.append(known)
        return links


class ModelLinker(Linker):
    """The model's own choice among the candidates of another linker.

    Args:
        proposes: Finds the mentions.
        reader: Makes the model's tokens.
        known: Entity id -> index.
        score: What the model makes of texts and candidates: scores (B, E, C), such as those of `EntityLinking`.
        threshold: A mention is linked if its best score exceeds it (KnowBERT's margin model: 0).
        most: Candidates per mention.
    """

    def __init__(
        self,
        proposes: Linker,
        reader: TextReader,
        known: Mapping[str, int],
        score: Callable[[Tokens, CandidateInput], Tensor],
        threshold: float = float("-inf"),
        most: int = 30,
    ) -> None:
        self.proposes, self.reader, self.known, self.score, self.threshold, self.most = proposes, reader, known, score, threshold, most

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Links:
        """See `Linker`; the priors are the softmax of the scores, and `gold` is the entity that is chosen."""
        tokens = self.reader(texts)
        proposed = self.proposes(texts)
        placed = align(tokens, proposed.mentions)
        links = Links([], [*proposed.dropped, *placed.dropped])
        candidates = candidate_batch(tokens, placed.mentions, self.known, self.most)
        scores = self.score(tokens, candidates).masked_fill(candidates["ids"] == 0, float("-inf"))
        for row, listed in enumerate(placed.mentions):
            kept = []
            for place, mention in enumerate(listed):
                width = len(mention.candidates[: self.most])
                own = scores[row, place, :width]
                if not width or float(own.max()) <= self.threshold:
                    reason = "below the threshold" if width else "no candidates"
                    links.dropped.append(Dropped(row, mention.start, mention.end, reason))
                    continue
                order = own.argsort(descending=True, stable=True).tolist()
                likely = own.softmax(-1).tolist()
                chosen = tuple((mention.candidates[place][0], likely[place]) for place in order)
                kept.append(LinkedMention(mention.start, mention.end, chosen, chosen[0][0]))
            links.mentions.append(kept)
        return links


def parse_gold(row: Mapping[str, object], text: str) -> list[LinkedMention]:
    """The mentions of an annotated text, in its order; each has its entity, of any id, as its one candidate.

    Raises:
        RowError: Offsets lie outside the text, or something is of another form.
    """
    listed = row.get("mentions")
    if not isinstance(listed, list) or not all(isinstance(mention, Mapping) for mention in listed):
        raise RowError("malformed", f"'mentions' is {listed!r:.80}, expected a list of objects")
    names = [mention.get("entity") for mention in listed]
    if not all(name is None or isinstance(name, str) for name in names):
        raise RowError("malformed", f"the entities are {names!r:.80}, expected ids or null")
    bare = {"mentions": [{"candidates": [], **mention, "entity": None} for mention in listed]}
    found = [
        mention._replace(candidates=((name, 1.0),) if name else (), gold=name or "")
        for mention, name in zip(parse_mentions(bare, text, {}), names, strict=True)
    ]
    return sorted(found)


def align(tokens: Tokens, mentions: Sequence[Sequence[LinkedMention]]) -> Links:
    """The mentions that have tokens; `Tokens.spans` says which. Offsets stay those of the characters.

    Args:
        tokens: The texts.
        mentions: Those of each text.
    """
    links = Links([], [])
    for row, listed in enumerate(mentions):
        spans = tokens.spans(row, [(mention.start, mention.end) for mention in listed])
        end = int(tokens.offsets[row, :, 1].max()) if tokens.offsets.shape[1] else 0
        links.mentions.append([mention for mention, span in zip(listed, spans, strict=True) if span[0] >= 0])
        for mention, span in zip(listed, spans, strict=True):
            if span[0] < 0:
                reason = "cut off with its text" if mention.end > end else "no token"
                links.dropped.append(Dropped(row, mention.start, mention.end, reason))
    return links
