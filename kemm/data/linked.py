"""Texts whose mentions are linked to entities, as a source: for masked LM, entity denoising, linking and latent retrieval."""

from collections.abc import Sequence
from pathlib import Path

import torch

from kemm.batch import Batch
from kemm.data.candidates import LinkedMention, candidate_batch, mention_batch, parse_mentions
from kemm.data.source import Reach, Source
from kemm.data.tokens import TextReader, Tokens
from kemm.kg import passage_key, read_graph
from kemm.rows import Gate, OnBad, RowError, text_of


class LinkedTexts(Source):
    """Texts with mentions.

    The batch has `text` (with the words of its tokens), `candidate` (the mentions' candidates), `mention` (their true entities and the
    tokens of each, as LUKE reads them; arXiv 2010.01057, section 3.1) and `entity` (B, T): the true entity at the first token of each
    mention, as ERNIE aligns them (arXiv 1905.07129, section 3.1).

    Args:
        path: JSON lines {"id", "text", "mentions": [{"start", "end", "candidates": [[id, prior], ...], "entity"}]}.
        tokenizer: A tokenizer file.
        graph: Folder of the graph that the entities are of.
        max_length: Longer texts are cut, in tokens.
        candidates: Candidates kept per mention.
        on_bad: What happens to a bad line: an error that names it, or it is skipped and counted.
        own: Whether a passage with the id of a text, in a retriever's memory, is that text, which is then not retrieved for it (`passage`
            (B,), see `passage_key`); False for texts whose ids are those of other passages by chance (`passage` is -1).

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A line is bad, or none is left.
    """

    def __init__(
        self,
        path: Path,
        tokenizer: Path,
        graph: Path,
        max_length: int = 128,
        candidates: int = 10,
        on_bad: OnBad = "error",
        own: bool = True,
    ) -> None:
        self.reader, self.candidates, self.graph = TextReader(tokenizer, max_length), candidates, graph
        self.known = read_graph(graph)[0].entity_index
        self.gate = Gate(on_bad)
        self.texts: list[tuple[str, list[LinkedMention]]] = []
        self.keys: list[int] = []
        seen: dict[str, str] = {}
        for where, row in self.gate.objects(path, "JSON lines of texts with mentions"):
            with self.gate.row(where):
                text, name, line = text_of(row, "text"), text_of(row, "id"), where.rpartition(":")[2]
                if name in seen:
                    raise RowError("duplicate", f"the id {name!r} is already in line {seen[name]}")
                self.texts.append((text, parse_mentions(row, text, self.known)))
                self.keys.append(passage_key(name) if own else -1)
                seen[name] = line
        if not self.texts:
            raise ValueError(f"{path}: expected texts with mentions, and none is left; skipped: {self.skipped}")

    @property
    def skipped(self) -> dict[str, int]:
        return dict(self.gate.skipped)

    @property
    def reaches(self) -> dict[str, Reach]:
        entities = Reach(len(self.known) + 1, str(self.graph))
        length = Reach(self.reader.max_length, "max_length")
        return {
            **self.reader.reaches,
            "candidate.ids": entities,
            "entity.ids": entities,
            "mention.ids": entities,
            "mention.positions": length,
        }

    def __len__(self) -> int:
        return len(self.texts)

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        chosen = [self.texts[row] for row in rows]
        tokens = self.reader([text for text, _ in chosen])
        mentions = [listed for _, listed in chosen]
        candidate = candidate_batch(tokens, mentions, self.known, self.candidates)
        return {
            "id": torch.tensor(rows),
            "text": {"ids": tokens.ids, "mask": tokens.mask, "words": tokens.words},
            "candidate": candidate,
            "mention": mention_batch(candidate),
            "entity": {"ids": self._aligned(tokens, mentions)},
            "passage": torch.tensor([self.keys[row] for row in rows]),
        }

    def _aligned(self, tokens: Tokens, mentions: Sequence[Sequence[LinkedMention]]) -> torch.Tensor:
        ids = torch.zeros_like(tokens.ids)
        for row, listed in enumerate(mentions):
            for (first, _), mention in zip(tokens.spans(row, [(m.start, m.end) for m in listed]), listed, strict=True):
                if first >= 0 and mention.gold:
                    ids[row, first] = self.known[mention.gold] + 1
        return ids
