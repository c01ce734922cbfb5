"""The rows that ERNIE is pre-trained on, as a source (thunlp/ERNIE: code/run_pretrain.py, collate_fn)."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from kemm.batch import IGNORE, Batch
from kemm.data.source import Reach, Source
from kemm.files import read_tensors

PARTS = 6
"""Of a row: words, mask, segments, masked-LM labels, entities, and one that is not used; the next-sentence label follows."""


def pretraining_batch(rows: Tensor) -> Batch:
    """The batch of rows (B, 6 L + 1): `text` with `labels`, `entity` ids (B, L), and `next_sentence` (B,).

    ERNIE's -1 (no label, no entity) becomes `IGNORE` and row 0, its entity n row n + 1 of the table. What is hidden of the entities is
    `EntityDenoising`'s business.

    Raises:
        ValueError: The rows are not so many numbers wide.
    """
    length, rest = divmod(rows.shape[1] - 1, PARTS)
    if rest or not length:
        raise ValueError(f"a row of pre-training holds {rows.shape[1]} numbers, expected {PARTS} for each token and one more")
    ids, mask, types, labels, entities, _ = rows[:, :-1].split(length, 1)
    text = {"ids": ids, "mask": mask > 0, "types": types, "labels": labels.masked_fill(labels == -1, IGNORE)}
    return {"text": text, "entity": {"ids": entities + 1}, "next_sentence": rows[:, -1].masked_fill(rows[:, -1] == -1, IGNORE)}


class PretrainingRows(Source):
    """Rows of masked words, entities and a next-sentence label, as ERNIE's scripts make them of Wikipedia.

    Args:
        path: A safetensors file with `rows` (N, 6 L + 1), int; see `pretraining_batch`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        tensors = read_tensors(path, "rows of pre-training")
        rows = tensors.get("rows")
        if rows is None or rows.dim() != 2 or rows.is_floating_point() or not len(rows):
            found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
            raise ValueError(f"{path}: expected 'rows' (N, {PARTS} L + 1) of whole numbers, found {found}")
        self.rows = rows.long()
        try:
            batch = pretraining_batch(self.rows)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        self.sizes = {"text.ids": batch["text"]["ids"], "text.types": batch["text"]["types"], "entity.ids": batch["entity"]["ids"]}
        for name, ids in self.sizes.items():
            if int(ids.min()) < 0:
                raise ValueError(f"{path}: {name} reach down to {int(ids.min())}, expected 0 and more (-1 is no entity)")

    @property
    def reaches(self) -> dict[str, Reach]:
        reaches = {name: Reach(int(ids.max()) + 1, str(self.path)) for name, ids in self.sizes.items()}
        return reaches | {"text.length": Reach(self.sizes["text.ids"].shape[1], str(self.path))}

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        chosen = torch.tensor(rows)
        return {"id": chosen, **pretraining_batch(self.rows[chosen])}
