"""Tokenizer files as BERT, RoBERTa, GPT-2 and ModernBERT are published with, against transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from kemm.data.tokens import TextReader

BYTES = pre_tokenizers.ByteLevel.alphabet()
TEXTS = ["Der Aare entlang.", "a", "Bern lies on the Aare, and Thun does too"]


def byte_level(start: str, end: str, padding: str) -> Tokenizer:
    """A byte-level BPE as GPT-2 and RoBERTa have it; special tokens around a text where they are named."""
    specials = [token for token in dict.fromkeys((start, padding, end, "<mask>")) if token]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=300, special_tokens=specials, initial_alphabet=BYTES))
    if start:
        ids = [(token, tokenizer.token_to_id(token)) for token in (end, start)]
        tokenizer.post_processor = processors.RobertaProcessing(*ids, trim_offsets=True, add_prefix_space=False)
    return tokenizer


def word_pieces() -> Tokenizer:
    """A WordPiece vocabulary as BERT and DistilBERT have it."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=60, special_tokens=specials))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


@pytest.mark.parametrize(
    ("make", "padding"),
    [
        (word_pieces, "[PAD]"),
        (lambda: byte_level("<s>", "</s>", "<pad>"), "<pad>"),
        (lambda: byte_level("", "<|endoftext|>", ""), "<|endoftext|>"),
        (lambda: byte_level("[CLS]", "[SEP]", "[PAD]"), "[PAD]"),
    ],
    ids=["bert", "roberta", "gpt2", "modernbert"],
)
@pytest.mark.parametrize("limit", [6, 64])
def test_a_published_tokenizer_is_read_as_transformers_reads_it(make: Any, padding: str, limit: int, tmp_path: Path) -> None:
    """Saved with a truncation and a padding of its own, as sentence encoders are."""
    inner = make()
    inner.enable_truncation(4)
    inner.enable_padding(length=9, direction="left", pad_id=1)
    saved = PreTrainedTokenizerFast(tokenizer_object=inner, pad_token=padding)
    saved.save_pretrained(tmp_path)
    expected = saved(
        TEXTS, padding=True, truncation=True, max_length=limit, padding_side="right", return_tensors="pt", return_special_tokens_mask=True
    )
    tokens = TextReader(tmp_path / "tokenizer.json", limit)(TEXTS)
    assert torch.equal(tokens.mask.long(), expected["attention_mask"])
    assert torch.equal(tokens.ids, expected["input_ids"])
    assert torch.equal(tokens.words < 0, expected["special_tokens_mask"].bool())
