"""Tokens: ids, words, and characters' spans as tokens'."""

from pathlib import Path

import pytest
import torch

from kemm.data.tokens import SPECIALS, TextReader, train_tokenizer

TEXTS = [
    "Paris is the capital of France.",
    "Niger borders Nigeria; the capital of Niger is Niamey.",
    "São Tomé, Zürich and the Côte d'Ivoire!",
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "deep" / "tokenizer.json"
    train_tokenizer(TEXTS * 3, file, 90)
    return file


def test_ids_begin_with_the_special_tokens(path: Path) -> None:
    reader = TextReader(path)
    assert [reader.tokenizer.token_to_id(token) for token in SPECIALS] == [0, 1, 2, 3, 4]
    assert len(SPECIALS) < reader.vocab_size <= 90
    assert [file.name for file in path.parent.iterdir()] == ["tokenizer.json"]


def test_texts_are_padded_between_cls_and_sep(path: Path) -> None:
    tokens = TextReader(path)(["Paris is", *TEXTS])
    lengths = tokens.mask.sum(1).tolist()
    assert tokens.ids.shape == tokens.mask.shape == tokens.words.shape == tokens.offsets.shape[:2]
    assert tokens.mask.dtype == torch.bool and max(lengths) == tokens.ids.shape[1]
    for row, length in enumerate(lengths):
        assert tokens.ids[row, 0] == 2 and tokens.ids[row, length - 1] == 3
        assert not tokens.ids[row, length:].any() and not tokens.mask[row, length:].any()
        assert tokens.words[row, 0] == -1 and (tokens.words[row, length - 1 :] == -1).all()
        inner = tokens.words[row, 1 : length - 1]
        assert (inner.diff() >= 0).all() and (inner.diff() <= 1).all() and inner[0] == 0


def test_pieces_of_a_word_share_its_number(path: Path) -> None:
    text = TEXTS[1]
    tokens = TextReader(path)([text])
    by_word: dict[int, str] = {}
    for word, (start, end) in zip(tokens.words[0].tolist(), tokens.offsets[0].tolist(), strict=True):
        if word >= 0:
            by_word[word] = by_word.get(word, "") + text[start:end]
    assert " ".join(by_word.values()) == "Niger borders Nigeria ; the capital of Niger is Niamey ."


@pytest.mark.parametrize("text", TEXTS)
def test_character_spans_become_token_spans(path: Path, text: str) -> None:
    tokens = TextReader(path)([text, " ".join(TEXTS)])
    start = 0
    for word in text.split():
        start = text.index(word, start)
        ((first, last),) = tokens.spans(0, [(start, start + len(word))])
        offsets = tokens.offsets[0].tolist()
        assert offsets[first][0] <= start < offsets[first][1]
        assert offsets[last][0] < start + len(word) <= offsets[last][1]
        assert first == 1 or offsets[first - 1][1] <= start
    assert tokens.spans(0, [(0, len(text))]) == [(1, int(tokens.mask[0].sum()) - 2)]


def test_what_was_cut_off_has_no_span(path: Path) -> None:
    reader = TextReader(path, max_length=6)
    tokens = reader([TEXTS[1]])
    assert tokens.ids.shape == (1, 6) and tokens.ids[0, -1] == 3
    end = int(tokens.offsets[0, 4, 1])
    assert tokens.spans(0, [(0, 5), (len(TEXTS[1]) - 7, len(TEXTS[1]) - 1), (0, end + 4), (end, end)])[1:] == [(-1, -1)] * 3
    assert tokens.spans(0, [(0, 5)])[0][0] == 1
    assert tokens.spans(0, []) == []


def test_case_and_accents_do_not_matter(path: Path) -> None:
    reader = TextReader(path)
    assert torch.equal(reader(["ZÜRICH and São Tomé"]).ids, reader(["zurich AND sao tome"]).ids)


def test_training_is_deterministic(path: Path, tmp_path: Path) -> None:
    train_tokenizer((text for text in TEXTS * 3), tmp_path / "again.json", 90)
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_an_unknown_letter_is_unknown_and_nothing_is_empty(path: Path) -> None:
    tokens = TextReader(path)(["Ж", ""])
    assert tokens.ids[0].tolist() == [2, 1, 3] and tokens.ids[1].tolist() == [2, 3, 0]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file, expected a tokenizer.json"):
        TextReader(tmp_path / "absent.json")
    for text in ("", "{}", "not json"):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(ValueError, match=r"x.json: expected a tokenizer.json of the tokenizers library"):
            TextReader(tmp_path / "x.json")
