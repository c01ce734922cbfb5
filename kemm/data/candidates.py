"""Mentions with their candidates, from character offsets to the tensors that knowledge attention reads."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from kemm.batch import CandidateInput, MentionInput
from kemm.data.tokens import Tokens
from kemm.rows import Gate, RowError, list_of, number_of


class LinkedMention(NamedTuple):
    """A mention of a text: characters (end exclusive), candidates with priors, the true entity or "" where it is unknown."""

    start: int
    end: int
    candidates: tuple[tuple[str, float], ...]
    gold: str = ""


def read_mentions(path: Path, known: Mapping[str, int], texts: Mapping[int, str], gate: Gate) -> dict[int, list[LinkedMention]]:
    """Reads JSON lines `{"question_id": ..., "mentions": [...]}`; see `parse_mentions`.

    Args:
        path: The file.
        known: Entity id -> index.
        texts: Question id -> text; lines of other questions are passed over.
        gate: What happens to a bad line; a question whose line is skipped has no mentions.

    Raises:
        ValueError: A line is bad, or no line is about one of the questions.
    """
    found: dict[int, list[LinkedMention]] = {}
    for where, row in gate.objects(path, "JSON lines of mentions"):
        with gate.row(where):
            name = number_of(row, "question_id")
            if name in found:
                raise RowError("duplicate", f"the mentions of question {name} are given twice, expected one line for each question")
            if name in texts:
                found[name] = parse_mentions(row, texts[name], known)
    if not found and texts:
        raise ValueError(
            f"{path}: expected mentions of the {len(texts)} questions from {next(iter(texts))} on, and no line is about one of them"
        )
    return found


def parse_mentions(row: Mapping[str, Any], text: str, known: Mapping[str, int]) -> list[LinkedMention]:
    """The mentions of a text: `"mentions": [{"start", "end", "candidates": [[id, prior], ...], "entity": id or null}]`.

    Candidates come out with the most probable first.

    Args:
        row: A row that has them.
        text: Its text.
        known: Entity id -> index.

    Raises:
        RowError: Offsets lie outside the text, an entity is unknown, a prior is no probability, or something is of another form.
    """
    return [_mention(mention, f"mentions[{place}]", text, known) for place, mention in enumerate(list_of(row, "mentions"))]


def _mention(mention: Any, where: str, text: str, known: Mapping[str, int]) -> LinkedMention:
    if not isinstance(mention, Mapping) or not {"start", "end", "candidates"} <= mention.keys():
        raise RowError("malformed", f"{where}: expected start, end, candidates and perhaps entity, got {mention!r:.80}")
    start, end, listed, gold = mention["start"], mention["end"], mention["candidates"], mention.get("entity") or ""
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
        raise RowError("offset", f"{where}: characters {start!r} to {end!r}, expected a part of the text's {len(text)}, the end exclusive")
    if not isinstance(listed, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in listed):
        raise RowError("malformed", f"{where}: 'candidates' is {listed!r:.80}, expected a list of [entity id, prior]")
    for entity, prior in listed:
        if type(prior) not in (int, float) or not math.isfinite(prior) or prior < 0:
            raise RowError("prior", f"{where}: the prior of {entity!r} is {prior!r}, expected a finite number of at least 0")
    for entity in (*(entity for entity, _ in listed), gold):
        if entity != "" and (not isinstance(entity, str) or entity not in known):
            raise RowError("unknown id", f"{where}: the entity {entity!r} is not among the {len(known)} of the graph")
    candidates = sorted(((entity, float(prior)) for entity, prior in listed), key=lambda pair: -pair[1])
    return LinkedMention(start, end, tuple(candidates), gold)


def candidate_batch(
    tokens: Tokens, mentions: Sequence[Sequence[LinkedMention]], known: Mapping[str, int], most: int = 30
) -> CandidateInput:
    """Candidates of a batch of texts; mentions that were cut off with their text are left out.

    Args:
        tokens: The texts.
        mentions: Those of each text.
        known: Entity id -> index; row 0 of the table is "none", so rows are one more.
        most: Candidates kept per mention, the most probable first.
    """
    placed = []
    for row, listed in enumerate(mentions):
        found = tokens.spans(row, [(m.start, m.end) for m in listed])
        placed.append([(span, m) for span, m in zip(found, listed, strict=True) if span[0] >= 0])
    number = max(1, *(len(listed) for listed in placed))
    width = max([1, *(min(most, len(m.candidates)) for listed in placed for _, m in listed)])
    shape = (len(placed), number)
    ids, priors = torch.zeros(*shape, width, dtype=torch.long), torch.zeros(*shape, width)
    spans, gold = torch.full((*shape, 2), -1), torch.zeros(shape, dtype=torch.long)
    for row, pairs in enumerate(placed):
        for place, (span, mention) in enumerate(pairs):
            kept = mention.candidates[:width]
            spans[row, place] = torch.tensor(span)
            ids[row, place, : len(kept)] = torch.tensor([known[entity] + 1 for entity, _ in kept], dtype=torch.long)
            priors[row, place, : len(kept)] = torch.tensor([prior for _, prior in kept])
            gold[row, place] = known[mention.gold] + 1 if mention.gold else 0
    return {"ids": ids, "priors": priors, "spans": spans, "gold": gold}


def mention_batch(candidate: CandidateInput) -> MentionInput:
    """The true entities of the mentions of a batch, in their order, and the tokens of each."""
    first, last = candidate["spans"].unbind(-1)  # (B, E)
    longest = int((last - first).max()) + 1
    positions = first[..., None] + torch.arange(longest)  # (B, E, M)
    outside = (positions > last[..., None]) | (first[..., None] < 0)
    return {"ids": candidate["gold"], "positions": positions.masked_fill(outside, -1)}
