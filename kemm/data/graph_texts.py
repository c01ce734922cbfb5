"""Texts with linked mentions as word-knowledge graphs: what CoLAKE is pre-trained on (arXiv 2010.00309, section 3.2)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from kemm.batch import Batch
from kemm.data.known import Layout
from kemm.data.marked import Entities, parse_span, place
from kemm.data.passages import Passage, Span, join
from kemm.data.source import Reach, Source
from kemm.data.tokens import TextReader
from kemm.data.word_graph import blocks
from kemm.kg import read_graph
from kemm.rows import Gate, OnBad, RowError, list_of, text_of


class GraphTexts(Source):
    """Texts in blocks of sentences, with their entities; a block without any is left out. The batch has the layout's `text`, as `entry`.

    Args:
        path: JSON lines {"text", "mentions": [{"start", "end", "entity"}]}; a mention without an entity stays words.
        tokenizer: A tokenizer file.
        graph: Folder of the graph that the entities are of.
        layout: How entities enter the text: `WordGraphs`.
        block: Least tokens of a block, the last of a text apart (CoLAKE: 80).
        max_length: Longer blocks are cut, in tokens.
        entry: Name of the graph in the batch.
        on_bad: What happens to a bad line: an error that names it, or it is skipped and counted.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A line is bad, or no block is left.
    """

    def __init__(
        self,
        path: Path,
        tokenizer: Path,
        graph: Path,
        layout: Layout,
        block: int = 80,
        max_length: int = 256,
        entry: str = "text",
        on_bad: OnBad = "error",
    ) -> None:
        self.reader, self.layout, self.block, self.gate = TextReader(tokenizer, max_length), layout, block, Gate(on_bad)
        self.entry = entry
        self.known = read_graph(graph)[0].entity_index
        self.blocks: list[Passage] = []
        for where, row in self.gate.objects(path, "JSON lines of texts with mentions"):
            with self.gate.row(where):
                self.blocks += self._blocks(self._parse(row))
        if not self.blocks:
            raise ValueError(f"{path}: expected texts with entities of {graph}, and none is left; skipped: {self.skipped}")

    def _parse(self, row: dict[str, Any]) -> Passage:
        text, spans = text_of(row, "text"), []
        for number, mention in enumerate(list_of(row, "mentions")):
            where = f"mentions[{number}]"
            if not isinstance(mention, dict):
                raise RowError("malformed", f"{where} is {mention!r:.80}, expected an object with start, end and entity")
            start, end = parse_span(mention.get("start"), mention.get("end"), where, text)
            entity = mention.get("entity") or ""
            if entity != "" and (not isinstance(entity, str) or entity not in self.known):
                raise RowError("unknown id", f"{where}: the entity {entity!r} is not among the {len(self.known)} of the graph")
            spans += [Span(start, end, entity)] if entity else []
        return Passage("", "", text, tuple(sorted(spans)))

    def _blocks(self, passage: Passage) -> list[Passage]:
        sentences = passage.sentences()
        encoded = self.reader.tokenizer.encode_batch([sentence.text for sentence in sentences], add_special_tokens=False)
        lengths = [sum(one.attention_mask) for one in encoded]
        parts = [join(passage, [sentences[i] for i in block]) for block in blocks(lengths, self.block)]
        return [part for part in parts if part.spans]

    @property
    def skipped(self) -> dict[str, int]:
        return dict(self.gate.skipped)

    @property
    def reaches(self) -> dict[str, Reach]:
        reaches = {**self.reader.reaches, **self.layout.reaches}
        return {f"{self.entry}.{name.removeprefix('text.')}": reach for name, reach in reaches.items()}

    def __len__(self) -> int:
        return len(self.blocks)

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        chosen = [self.blocks[row] for row in rows]
        tokens = self.reader([block.text for block in chosen])
        found = [Entities([(start, end) for start, end, _ in one.spans], [self.known[id] for *_, id in one.spans]) for one in chosen]
        placed = [place(tokens, row, entities) for row, entities in enumerate(found)]
        return {"id": torch.tensor(rows), self.entry: self.layout(self.reader, placed, rows, epoch)["text"]}
