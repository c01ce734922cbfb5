"""Pictures with captions, as a source."""

from collections.abc import Sequence
from pathlib import Path

import torch

from kemm.batch import Batch
from kemm.data.images import Images
from kemm.data.source import Reach, Source
from kemm.data.tokens import TextReader
from kemm.kg import read_graph
from kemm.rows import Gate, OnBad, RowError, number_of, text_of


class Captions(Source):
    """Pairs of a picture and a text.

    Pairs of one group match each other: captions of one picture, or of one thing where `entity` names what the picture shows.

    Args:
        path: JSON lines {"image_id": int, "text": str, "entity": id of what it shows, or none}; lines without a picture are passed over.
        tokenizer: A tokenizer file.
        images: Where the pictures come from.
        graph: Folder of the graph that the entities are of, or None.
        max_length: Longer captions are cut, in tokens.
        on_bad: What happens to a bad line, or one whose picture is bad: an error that names it, or it is skipped and counted; see
            `Images.check`.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A line is bad, or none is left.
    """

    def __init__(
        self,
        path: Path,
        tokenizer: Path,
        images: Images,
        graph: Path | None = None,
        max_length: int = 32,
        on_bad: OnBad = "error",
    ) -> None:
        self.reader, self.images, self.graph = TextReader(tokenizer, max_length), images, graph
        self.known = read_graph(graph)[0].entity_index if graph else {}
        self.gate = Gate(on_bad)
        self.rows: list[tuple[int, str, str]] = []
        for where, row in self.gate.objects(path, "JSON lines of captions"):
            if "image_id" not in row:
                continue
            with self.gate.row(where):
                image, text, entity = number_of(row, "image_id"), text_of(row, "text"), row.get("entity") or ""
                if self.known and entity and (not isinstance(entity, str) or entity not in self.known):
                    raise RowError("unknown id", f"the entity {entity!r} is not among the {len(self.known)} of {graph}")
                images.check(image, decode=on_bad == "skip")
                self.rows.append((image, text, entity))
        if not self.rows:
            raise ValueError(f"{path}: expected captions of pictures, and none is left; skipped: {self.skipped}")

    @property
    def skipped(self) -> dict[str, int]:
        return dict(self.gate.skipped)

    @property
    def reaches(self) -> dict[str, Reach]:
        return self.reader.reaches

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        images, texts, entities = zip(*(self.rows[row] for row in rows), strict=True)
        tokens = self.reader(texts)
        shown = torch.tensor([self.known[entity] + 1 if entity in self.known else 0 for entity in entities])
        # Pictures of nothing known are groups of their own, below zero.
        group = torch.where(shown > 0, shown, -1 - torch.tensor(images))
        return {
            "id": torch.tensor(rows),
            "text": {"ids": tokens.ids, "mask": tokens.mask},
            "image": {"pixels": self.images.batch(images, epoch), "entity": shown},
            "group": group,
        }
