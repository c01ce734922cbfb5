"""Facts as texts with a gap, as a source (LAMA, arXiv 1909.01066; objects of several tokens: mLAMA, arXiv 2102.00894, section 3)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from kemm.batch import IGNORE, Batch
from kemm.data.source import Reach, Source
from kemm.data.tokens import TextReader
from kemm.rows import Gate, OnBad, RowError, text_of


class ClozeFact(NamedTuple):
    """A subject and the object that is asked for."""

    relation: str
    subject: str
    object: str


class ClozeFacts(Source):
    """Facts of relations that have a template; a sample is a fact, and its candidates are all objects of its relation.

    A candidate of m tokens is asked for by m masks, so that a fact has a text for each number of tokens that its candidates have. The batch
    has these texts as `text`, with `labels` where the object has their number of tokens, and `cloze`: for each text a dict with its `fact`,
    `relation`, `places` of the masks, `candidates` (their tokens), their `objects`, and the fact's `answer`.

    Args:
        folder: Holds `<relation>.jsonl` with lines {"sub_label", "obj_label"} for each relation that it knows.
        relations: JSON lines {"relation", "template"}, with [X] for the subject and [Y] for the object.
        tokenizer: A tokenizer file with a [MASK] or <mask>.
        max_length: A fact whose text is longer in tokens, with the masks of the longest candidate, is a bad row.
        helped: Whether facts stay whose object is part of the subject's name ("Apple Watch", "Apple"); False is the first filter of
            LAMA-UHN (arXiv 1911.03681, section 2.1), upper and lower case alike. Its second, of names that a model guesses from, is not.
        on_bad: What happens to a bad line: an error that names it, or it is skipped and counted.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A line is bad, there is no mask, or no fact is left.
    """

    def __init__(
        self, folder: Path, relations: Path, tokenizer: Path, max_length: int = 128, helped: bool = True, on_bad: OnBad = "error"
    ) -> None:
        self.reader, self.gate, self.templates = TextReader(tokenizer, max_length), Gate(on_bad), dict[str, str]()
        vocabulary: dict[str, int] = self.reader.tokenizer.get_vocab()
        masks = [name for name in ("[MASK]", "<mask>") if name in vocabulary]
        if not masks:
            raise ValueError(f"{tokenizer}: expected a tokenizer with [MASK] or <mask>")
        self.mask, self.mask_id = masks[0], vocabulary[masks[0]]
        for where, row in self.gate.objects(relations, "JSON lines of relations"):
            with self.gate.row(where):
                self._template(text_of(row, "relation"), text_of(row, "template"))
        self.facts: list[ClozeFact] = []
        self.objects: dict[str, dict[str, list[int]]] = {}
        for relation in self.templates:
            if (Path(folder) / f"{relation}.jsonl").is_file():
                self._read(Path(folder) / f"{relation}.jsonl", relation, helped)
        self.most = 1 + max((len(tokens) for listed in self.objects.values() for tokens in listed.values()), default=0)
        if not self.facts:
            raise ValueError(f"{folder}: expected facts of {sorted(self.templates)[:8]}, and none is left; skipped: {self.skipped}")

    def _template(self, relation: str, template: str) -> None:
        if template.count("[X]") != 1 or template.count("[Y]") != 1:
            raise RowError("malformed", f"the template of {relation!r} is {template!r:.80}, expected one [X] and one [Y]")
        if relation in self.templates:
            raise RowError("duplicate", f"the relation {relation!r} has a template already")
        self.templates[relation] = template

    def _read(self, path: Path, relation: str, helped: bool) -> None:
        objects = self.objects.setdefault(relation, {})
        found: dict[ClozeFact, str] = {}
        for where, row in self.gate.objects(path, "JSON lines of facts"):
            with self.gate.row(where):
                fact = ClozeFact(relation, text_of(row, "sub_label"), text_of(row, "obj_label"))
                tokens = self.reader.tokenizer.encode(" " + fact.object, add_special_tokens=False).ids
                if not tokens:
                    raise RowError("empty", f"the object {fact.object!r} has no token")
                objects.setdefault(fact.object, tokens)
                if helped or fact.object.lower() not in fact.subject.lower():
                    found.setdefault(fact, where)
        longest = max(map(len, objects.values()), default=0)
        for fact, where in found.items():
            with self.gate.row(where):
                masks = self.reader.tokenizer.encode(self._text(fact, longest)).ids.count(self.mask_id)
                if masks != longest:
                    limit = self.reader.max_length
                    raise RowError("length", f"the text about {fact.subject!r:.80} has {masks} masks in {limit} tokens, expected {longest}")
                self.facts.append(fact)

    def _text(self, fact: ClozeFact, masks: int) -> str:
        before, behind = self.templates[fact.relation].split("[Y]")
        return (before + " ".join([self.mask] * masks) + behind).replace("[X]", fact.subject)

    @property
    def skipped(self) -> dict[str, int]:
        return dict(self.gate.skipped)

    @property
    def reaches(self) -> dict[str, Reach]:
        return self.reader.reaches

    def __len__(self) -> int:
        return len(self.facts)

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        asked = [(row, length, group) for row in rows for length, group in self._by_length(self.facts[row].relation).items()]
        tokens = self.reader([self._text(self.facts[row], length) for row, length, _ in asked])
        labels, cloze = torch.full_like(tokens.ids, IGNORE), []
        for i, (row, _, group) in enumerate(asked):
            fact = self.facts[row]
            places = (tokens.ids[i] == self.mask_id).nonzero()[:, 0].tolist()
            if fact.object in group:
                labels[i, places] = torch.tensor(group[fact.object])
            names = {"fact": row, "relation": fact.relation, "answer": fact.object}
            cloze.append({**names, "places": places, "objects": list(group), "candidates": list(group.values())})
        return {
            "id": torch.tensor([row * self.most + length for row, length, _ in asked]),
            "text": {"ids": tokens.ids, "mask": tokens.mask, "words": tokens.words, "labels": labels},
            "cloze": cloze,
        }

    def _by_length(self, relation: str) -> Mapping[int, dict[str, list[int]]]:
        found: dict[int, dict[str, list[int]]] = {}
        for name, tokens in self.objects[relation].items():
            found.setdefault(len(tokens), {})[name] = tokens
        return dict(sorted(found.items()))
