"""Triples put into a text behind the words that they are about, told apart by soft positions and a visible matrix (K-BERT, arXiv
1909.07606, sections 3.3 and 3.4; autoliuweijie/K-BERT: brain/knowgraph.py)."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from kemm.batch import TextInput
from kemm.data.known import Knowledge, Layout, Placed, specials
from kemm.data.tokens import TextReader
from kemm.kg import read_names
from kemm.rows import OnBad


class Word(NamedTuple):
    """A word of the text: its tokens, and the tokens of each of its branches."""

    tokens: Sequence[int]
    branches: Sequence[Sequence[int]] = ()


class Injected(NamedTuple):
    """A sentence tree as a sequence.

    Attributes:
        ids: Tokens (L): each word's, then its branches'.
        positions: Soft positions (L): a branch counts on from its word, the text counts on without the branches.
        injected: Bool (L), the tokens of branches.
        visible: Bool (L, L): the text sees itself; a branch sees itself and its word, which sees it too.
        places: Where each token of the text went; it is behind the end if it was cut off.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    injected: torch.Tensor
    visible: torch.Tensor
    places: list[int]


def inject(words: Iterable[Word], max_length: int) -> Injected:
    """A sentence tree (section 3.2, figure 3) as a sequence.

    Args:
        words: The words, the special tokens among them.
        max_length: The rest of a longer sequence is cut off, a branch in its middle if need be, as in the original.
    """
    ids: list[int] = []
    positions: list[int] = []
    owners: list[tuple[int, int]] = []  # of each token: the word, and the number of the branch, -1 for the word itself
    places: list[int] = []
    position = 0
    for number, word in enumerate(words):
        places += range(len(ids), len(ids) + len(word.tokens))
        for branch, tokens in enumerate((word.tokens, *word.branches), start=-1):
            ids += tokens
            positions += range(position, position + len(tokens))
            owners += [(number, branch)] * len(tokens)
            if branch < 0:
                position += len(tokens)
    word_of, branch_of = torch.tensor(owners[:max_length], dtype=torch.long).reshape(-1, 2).unbind(1)
    text = branch_of < 0
    same = word_of[:, None] == word_of
    visible = (text[:, None] & text) | (same & (text[:, None] | text | (branch_of[:, None] == branch_of)))
    return Injected(torch.tensor(ids[:max_length]), torch.tensor(positions[:max_length]), ~text, visible, places)


def padded(parts: Sequence[Injected], padding_id: int, size: int | None = None) -> TextInput:
    """Sequences as a batch: what is padded sees nothing, is not seen, and stands at the last position.

    Args:
        parts: The sequences.
        padding_id: The id of [PAD].
        size: Places of each; those of the longest by default.
    """
    size = max(len(part.ids) for part in parts) if size is None else size
    ids, positions = torch.full((len(parts), size), padding_id), torch.full((len(parts), size), size - 1)
    mask = torch.zeros(len(parts), size, size, dtype=torch.bool)
    for row, part in enumerate(parts):
        length = len(part.ids)
        ids[row, :length], positions[row, :length], mask[row, :length, :length] = part.ids, part.positions, part.visible
    return {"ids": ids, "mask": mask, "positions": positions}


def read_branches(path: Path, predicate: bool = True, on_bad: OnBad = "error") -> dict[str, list[str]]:
    """The branches of each word from a file of triples (subject, predicate and object with tabs between them), in the order of the file.

    Args:
        path: The file.
        predicate: Whether a branch is predicate and object, written together as in the original, or the object alone.
        on_bad: What happens to a bad or repeated line: an error that names it, or it is skipped.
    """
    found: dict[str, list[str]] = {}
    for subject, relation, answer in read_names(path, on_bad)[0]:
        listed = found.setdefault(subject, [])
        branch = relation + answer if predicate else answer
        if branch not in listed:
            listed.append(branch)
    return found


class Injection(Layout):
    """Texts with facts behind the mentions of their entities, as `TextEncoder` reads them.

    Args:
        graph: Folder of the graph that the facts are of.
        most: Facts told of each mention, the first of the graph (K-BERT: 2; 0 for none).
        without: Files of triples that are not told.
        shuffled: Seed of the control that exchanges tails within each relation; None for the true graph.
        types: Segment of all real tokens (BERT: 0; UER's checkpoints: 1).
    """

    def __init__(self, graph: Path, most: int = 2, without: Sequence[Path] = (), shuffled: int | None = None, types: int = 0) -> None:
        self.knowledge, self.most, self.types = Knowledge(graph, without, shuffled), most, types

    def __call__(self, reader: TextReader, samples: Sequence[Placed], rows: Sequence[int], epoch: int) -> dict[str, object]:
        _, _, padding_id = specials(reader)
        parts = [inject(self._words(reader, sample), reader.max_length) for sample in samples]
        text = padded(parts, padding_id)
        text["types"] = self.types * text["mask"].diagonal(dim1=1, dim2=2).long()
        size = text["ids"].shape[1]
        places = [[self._place(part, place, size) for place in sample.places] for part, sample in zip(parts, samples, strict=True)]
        return {"text": text, "places": torch.tensor(places)}

    def _place(self, part: Injected, place: int, size: int) -> int:
        """The place of a token of the text; the first where it was cut off."""
        found = part.places[place] if place >= 0 else 0
        return found if found < size else 0

    def _words(self, reader: TextReader, sample: Placed) -> list[Word]:
        starts = {first: (last, entity) for (first, last), entity in sample.entities.items()}
        words, place = [], 0
        while place < len(sample.ids):
            last, entity = starts.get(place, (place, -1))
            facts = self.knowledge.facts(entity, sample.hidden)[: self.most] if entity >= 0 else []
            texts = [self.knowledge.text(fact) for fact in facts]
            branches = [reader.tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
            words.append(Word(sample.ids[place : last + 1], branches))
            place = last + 1
        return words
