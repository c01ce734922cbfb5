"""Texts to tokens, with the `tokenizers` library: ids, words, and the places of character spans."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from kemm.data.source import Reach
from kemm.rows import require_file

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PADDING = ("[PAD]", "<pad>", "<|endoftext|>")
"""Names of the token that fills up short texts: BERT's, RoBERTa's, and what CLIP takes for it."""


class Tokens(NamedTuple):
    """A batch of texts: `ids` (B, T), `mask` (B, T), `words` (B, T) with -1 for special tokens, `offsets` (B, T, 2) in characters."""

    ids: Tensor
    mask: Tensor
    words: Tensor
    offsets: Tensor

    def spans(self, row: int, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """First and last token (inclusive) of character spans (end exclusive) of one text; (-1, -1) where the text was cut before."""
        start, end = self.offsets[row].unbind(-1)
        real = self.words[row] >= 0
        found = []
        for first, last in spans:
            inside = ((start < last) & (end > first) & real).nonzero()[:, 0].tolist()
            found.append((inside[0], inside[-1]) if inside and int(end[inside[-1]]) >= last else (-1, -1))
        return found


class TextReader:
    """A tokenizer file, checked.

    Args:
        path: A `tokenizer.json` of the tokenizers library, with a [PAD] or <pad>.
        max_length: Longer texts are cut.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no tokenizer, or cannot pad.
    """

    def __init__(self, path: Path, max_length: int = 64) -> None:
        self.path, self.max_length = path, max_length
        require_file(path, "a tokenizer.json of the tokenizers library")
        try:
            self.tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exceptions
            raise ValueError(f"{path}: expected a tokenizer.json of the tokenizers library ({error})") from None
        padding = [id for id in map(self.tokenizer.token_to_id, PADDING) if id is not None]
        if not padding:
            raise ValueError(f"{path}: expected a tokenizer with one of {list(PADDING)}, and its {self.vocab_size} tokens hold none")
        if max_length <= self.tokenizer.num_special_tokens_to_add(False):
            raise ValueError(f"max_length is {max_length}, expected more than the special tokens that {path} adds to each text")
        self.tokenizer.enable_truncation(max_length)
        self.tokenizer.enable_padding(pad_id=padding[0])

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return int(self.tokenizer.get_vocab_size())

    @property
    def reaches(self) -> dict[str, Reach]:
        """How far the ids of texts and their lengths reach."""
        # Ids may have gaps.
        size = max(self.tokenizer.get_vocab().values(), default=-1) + 1
        return {"text.ids": Reach(size, str(self.path)), "text.length": Reach(self.max_length, "max_length")}

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Texts as padded tensors."""
        encoded = self.tokenizer.encode_batch(list(texts))
        return Tokens(
            torch.tensor([e.ids for e in encoded]),
            torch.tensor([e.attention_mask for e in encoded], dtype=torch.bool),
            torch.tensor([[-1 if word is None else word for word in e.word_ids] for e in encoded]),
            torch.tensor([e.offsets for e in encoded]),
        )


def train_tokenizer(texts: Iterable[str], path: Path, vocab_size: int) -> None:
    """Trains a lower-casing WordPiece vocabulary with BERT's special tokens and writes it whole or not at all.

    The same texts give the same file.
    """
    texts = list(texts)
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    # The trainer numbers letters in the order of a hash map, and breaks ties between merges by these numbers: they are given here instead.
    letters = sorted({letter for text in texts for letter in tokenizer.normalizer.normalize_str(text) if not letter.isspace()})
    alphabet = [*SPECIALS, *letters, *(f"##{letter}" for letter in letters)]
    trainer = trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = [token for token in document["added_tokens"] if token["content"] in SPECIALS]
    temporary.write_text(json.dumps(document, ensure_ascii=False, indent=2), encoding="utf-8")
    os.replace(temporary, path)
