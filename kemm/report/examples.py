"""The samples that a report shows: some of each kind, and the mistakes of which the model was surest."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from kemm.batch import Batch, Stream
from kemm.tasks import Lookup, Row

PER_KIND = 4
"""Samples of one kind among the first ones."""
SIDE = 128
"""Pixels of a picture's longer side, at most."""
SHOWN = frozenset({"question", "answer", "truth", "kind", "accuracy", "likelihood"})
"""What a row needs to be shown (see `Task.explain`)."""


@dataclass(frozen=True)
class Example:
    """A sample with its answer.

    Args:
        row: What the task said of it.
        picture: A PNG file, or nothing.
        looked_up: What the network looked up for it.
    """

    row: Row
    picture: bytes = b""
    looked_up: tuple[Lookup, ...] = ()


class Album:
    """Samples of one split and task.

    Args:
        first: How many are kept as examples, in the order of the split.
        worst: How many wrong ones are kept, the surest first.
    """

    def __init__(self, first: int, worst: int) -> None:
        self.first, self.worst = first, worst
        self.examples: list[Example] = []
        self.mistakes: list[Example] = []

    def choose(self, rows: Sequence[Row]) -> list[int]:
        """Places of the rows of a batch that are to be shown; of rows that lack what is shown, none."""
        if not rows or not rows[0].keys() >= SHOWN:
            return []
        early, wrong = self._early([*self._rows(self.examples), *rows]), self._surest([*self._rows(self.mistakes), *rows])
        kept = {id(row) for row in (*early, *wrong)}
        return [place for place, row in enumerate(rows) if id(row) in kept]

    def add(self, examples: Sequence[Example]) -> None:
        """Takes samples up, and drops those that they displace."""
        self._keep([*self.examples, *examples], [*self.mistakes, *examples])

    def merge(self, albums: Sequence["Album"]) -> None:
        """Takes up what other ranks have, in the order of the ids."""
        examples = [example for album in albums for example in album.examples]
        examples.sort(key=lambda example: (str(type(example.row["id"])), example.row["id"]))
        self._keep(examples, [example for album in albums for example in album.mistakes])

    def _keep(self, examples: Sequence[Example], mistakes: Sequence[Example]) -> None:
        early = {id(row) for row in self._early(self._rows(examples))}
        wrong = {id(row): place for place, row in enumerate(self._surest(self._rows(mistakes)))}
        self.examples = [example for example in examples if id(example.row) in early]
        self.mistakes = sorted((e for e in mistakes if id(e.row) in wrong), key=lambda e: wrong[id(e.row)])

    def _early(self, rows: Sequence[Row]) -> list[Row]:
        kept: list[Row] = []
        for row in rows:
            if len(kept) < self.first and sum(other["kind"] == row["kind"] for other in kept) < PER_KIND:
                kept.append(row)
        return kept

    def _surest(self, rows: Sequence[Row]) -> list[Row]:
        return sorted((row for row in rows if row["accuracy"] < 0.5), key=lambda row: -row["likelihood"])[: self.worst]

    @staticmethod
    def _rows(examples: Sequence[Example]) -> list[Row]:
        return [example.row for example in examples]


def take(value: Any, places: Sequence[int], size: int) -> Any:
    """The samples at some places of a nested batch (or of streams) of `size` samples; what is not one per sample stays whole."""
    if isinstance(value, Tensor):
        return value[list(places)] if value.dim() and len(value) == size else value
    if isinstance(value, Stream):
        x, mask, positions = (take(part, places, size) for part in value[:3])
        return Stream(x, mask, positions, value.height)
    if isinstance(value, dict):
        return {name: take(inner, places, size) for name, inner in value.items()}
    if isinstance(value, list) and len(value) == size:
        return [value[place] for place in places]
    return value


def pictures(batch: Batch) -> list[bytes]:
    """The pictures of a batch as PNG files, those of its first input of `pixels` (B, 3, h, w); none if there is no such input."""
    for value in batch.values():
        if isinstance(value, dict) and "pixels" in value:
            return [png(pixels) for pixels in value["pixels"]]
    return []


def png(pixels: Tensor) -> bytes:
    """A picture (3, h, w) as a small PNG file; floats, whatever they were normalised by, are stretched to the whole range."""
    values = pixels.detach().float().cpu()
    if pixels.is_floating_point():
        low, high = values.amin(), values.amax()
        values = (values - low) / (high - low).clamp(min=1e-6) * 255
    array = values.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(np.ascontiguousarray(array[..., :3] if array.shape[2] >= 3 else array.repeat(3, 2)[..., :3]))
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
