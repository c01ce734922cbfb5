"""The passages of a retriever's memory: a safetensors file with their tokens, their ids, and the tokenizer that made them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from kemm.files import read_tensors


class Passages:
    """Passages, row by row.

    Args:
        path: Tensors `ids` (N, T), integers, and `mask` (N, T), True = real, each row beginning with [CLS]; and the metadata `passages`, a
            JSON object of `names`, a list of N different texts, and `tokenizer`, the content of a `tokenizer.json`; see `write_passages`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.path, tensors = path, read_tensors(path, "passages")
        if not {"ids", "mask"} <= tensors.keys():
            raise ValueError(f"{path}: expected tensors 'ids' and 'mask', found {sorted(tensors)}")
        self.ids, self.mask = tensors["ids"].long(), tensors["mask"].bool()
        if self.ids.dim() != 2 or self.ids.shape != self.mask.shape or not len(self.ids):
            shapes = f"'ids' is {tuple(self.ids.shape)} and 'mask' {tuple(self.mask.shape)}"
            raise ValueError(f"{path}: {shapes}, expected both (passages, tokens)")
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        try:
            known = json.loads(metadata["passages"])
            names, tokenizer = known["names"], str(known["tokenizer"])
        except (KeyError, TypeError, ValueError):
            given = str(metadata.get("passages", "missing"))
            raise ValueError(
                f"{path}: the metadata 'passages' is {given[:80]!r}, expected a JSON object of 'names' and 'tokenizer'"
            ) from None
        if (
            not isinstance(names, list)
            or not all(isinstance(name, str) for name in names)
            or not len(set(names)) == len(names) == len(self.ids)
        ):
            raise ValueError(f"{path}: 'names' is {str(names)[:80]!r}, expected a list of {len(self.ids)} different texts")
        self.names: list[str] = names
        try:
            self.tokenizer = Tokenizer.from_str(tokenizer)
        except Exception as error:  # the library raises plain Exceptions
            raise ValueError(f"{path}: 'tokenizer' is no tokenizer of the tokenizers library ({error})") from None

    def __len__(self) -> int:
        return len(self.names)

    def keys(self) -> Tensor:
        """The keys (N,) of the ids; see `passage_key`."""
        return torch.tensor([passage_key(name) for name in self.names])

    def words(self, ids: Sequence[int]) -> str:
        """Tokens as a text, those such as [MASK] included."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def check_vocabulary(self, vocab_size: int) -> None:
        """Refuses a vocabulary that does not hold all tokens.

        Raises:
            ValueError: It does not.
        """
        low, high = int(self.ids.min()), int(self.ids.max())
        if low < 0 or high >= vocab_size:
            raise ValueError(f"{self.path}: 'ids' reach from {low} to {high}, and the vocabulary has {vocab_size} words")


def write_passages(path: Path, ids: Tensor, mask: Tensor, names: Sequence[str], tokenizer: str) -> None:
    """Writes what `Passages` reads, the same bytes for the same passages (several entries of metadata would come in any order)."""
    known = json.dumps({"names": list(names), "tokenizer": tokenizer})
    save_file({"ids": ids.int(), "mask": mask.bool()}, path, {"passages": known})


def passage_key(name: str) -> int:
    """A passage's id as a number that tensors hold, the same for the same id in whatever file: 63 bits of a hash."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1
