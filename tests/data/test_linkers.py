"""Linkers: what is found where, with exact characters under any tokenizer, and why each dropped mention was dropped."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor

from kemm.batch import CandidateInput
from kemm.data import TextReader
from kemm.data.candidates import LinkedMention, candidate_batch
from kemm.data.linkers import AliasLinker, DictionaryLinker, Dropped, GoldLinker, ModelLinker, align
from kemm.data.mentions import AliasMatcher
from kemm.data.tokens import Tokens
from kemm.kg import Entity, Graph
from kemm.kg.dictionary import STOP_WORDS, WORDS, Dictionary, spans_of
from kemm.rows import Gate

ENTITIES = [
    Entity("São_Paulo", "São Paulo", "city"),
    Entity("Berlin", "Berlin", "city"),
    Entity("Berlin,_New_Hampshire", "Berlin, New Hampshire", "city", ("Berlin",)),
    Entity("Tokyo", "東京", "city"),
    Entity("Turkey", "Türkiye", "country"),
]
GRAPH = Graph(ENTITIES, [], torch.empty(0, 3, dtype=torch.int64))
KNOWN = GRAPH.entity_index
TEXTS = ["São Paulo, Türkiye 🎉 and Berlin!", "  From Berlin\tto 東京 (not São  Paulo)…", "Nothing here.", "🎉🎉 Berlin"]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def bert() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=SPECIALS, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


def gpt2(trim: bool) -> Tokenizer:
    """Bytes, so that a letter may be several tokens; a space is part of the word behind it, and of its offsets unless they are trimmed."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=280, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def sentencepiece(prepend: str) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend)
    trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=["<pad>", "<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS * 5, trainer)
    return tokenizer


TOKENIZERS = {
    "bert": bert,
    "gpt2": lambda: gpt2(True),
    "gpt2, offsets not trimmed": lambda: gpt2(False),
    "sentencepiece": lambda: sentencepiece("always"),
    "sentencepiece, first bare": lambda: sentencepiece("never"),
}


def reader_of(tokenizer: Tokenizer, folder: Path, max_length: int = 100) -> TextReader:
    tokenizer.save(str(folder / "tokenizer.json"))
    return TextReader(folder / "tokenizer.json", max_length)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_mentions_are_the_tokens_of_their_characters(name: str, tmp_path: Path) -> None:
    links = AliasLinker(AliasMatcher(GRAPH))(TEXTS)
    surfaces = [[text[m.start : m.end] for m in listed] for text, listed in zip(TEXTS, links.mentions, strict=True)]
    assert surfaces == [["São Paulo", "Türkiye", "Berlin"], ["Berlin", "東京", "São  Paulo"], [], ["Berlin"]]
    assert links.mentions[0][2].candidates == (("Berlin", 0.5), ("Berlin,_New_Hampshire", 0.5)) and not links.dropped
    reader = reader_of(TOKENIZERS[name](), tmp_path)
    tokens = reader(TEXTS)
    placed = align(tokens, links.mentions)
    assert placed.mentions == links.mentions and placed.dropped == []
    spans = candidate_batch(tokens, links.mentions, KNOWN)["spans"]
    for row, (text, listed) in enumerate(zip(TEXTS, links.mentions, strict=True)):
        for place, mention in enumerate(listed):
            # Slowly: each letter of the mention lies in one of the tokens, and each of the tokens holds a letter of it.
            first, last = spans[row, place].tolist()
            offsets = [tuple(pair) for pair in tokens.offsets[row].tolist()]
            letters = {at for at in range(mention.start, mention.end) if not text[at].isspace()}
            assert letters <= {at for start, end in offsets[first : last + 1] for at in range(start, end)}
            assert all(set(range(*pair)) & set(range(mention.start, mention.end)) for pair in (offsets[first], offsets[last]))
            outside = {at for start, end in offsets[:first] + offsets[last + 1 :] for at in range(start, end)}
            assert not outside & letters


@pytest.mark.parametrize("name", TOKENIZERS)
def test_what_the_tokens_lack_is_reported(name: str, tmp_path: Path) -> None:
    links = AliasLinker(AliasMatcher(GRAPH))(TEXTS)
    tokenizer = TOKENIZERS[name]()
    short = reader_of(tokenizer, tmp_path, 8)
    tokens = short(TEXTS)
    placed = align(tokens, links.mentions)
    for row, listed in enumerate(links.mentions):
        reach = max(end for _, end in tokens.offsets[row].tolist())
        assert placed.mentions[row] == [mention for mention in listed if mention.end <= reach]
        lost = [Dropped(row, mention.start, mention.end, "cut off with its text") for mention in listed if mention.end > reach]
        assert [mention for mention in placed.dropped if mention.text == row] == lost
    assert placed.reasons() == {"cut off with its text": len(placed.dropped)} and placed.dropped


def test_letters_that_a_tokenizer_leaves_out_are_no_tokens(tmp_path: Path) -> None:
    tokenizer = bert()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("🎉", ""), normalizers.BertNormalizer()])
    placed = align(reader_of(tokenizer, tmp_path)([TEXTS[3]]), [[LinkedMention(0, 2, ()), LinkedMention(3, 9, ())]])
    assert placed.mentions == [[LinkedMention(3, 9, ())]]
    assert placed.dropped == [Dropped(0, 0, 2, "no token")]


LINES = [
    "Berlin\t100\t7,0.2,Berlin,_New_Hampshire\t3,0.7,Berlin\t9,0.1,Unknown",
    "berlin\t3\t3,0.9,Berlin",
    "New Berlin\t5\t9,1.0,Unknown",
    "Berlin Sao Paulo\t4\t1,0.5,São_Paulo",
    "Sao Paulo\t40\t1,1.0,São_Paulo",
    "Berlin\t2\t1,1.0,São_Paulo",
    "TOKYO\t1\t4,0.5,Tokyo\t9,0.5,Unknown",
    "of Berlin\t9\t3,1.0,Berlin",
]


@pytest.fixture
def dictionary(tmp_path: Path) -> Dictionary:
    (tmp_path / "p_e_m.txt").write_text("\n".join(LINES), encoding="utf-8")
    return Dictionary(tmp_path / "p_e_m.txt", KNOWN)


def test_p_of_entities(dictionary: Dictionary) -> None:
    both = (("Berlin", pytest.approx(0.7 / 0.9)), ("Berlin,_New_Hampshire", pytest.approx(0.2 / 0.9)))
    assert dictionary.find("Berlin") == both, "of two lines the one that was counted oftener; known entities alone, their priors sum to 1"
    assert dictionary.find("berlin") == both, "with capitals, since that was counted oftener"
    assert dictionary.find("BERLIN") == both and dictionary.find("Sao  Paulo") == (("São_Paulo", 1.0),)
    assert dictionary.find("ToKyO") == (("Tokyo", 1.0),), "without regard to case where neither is there"
    assert dictionary.find("New Berlin") == () and dictionary.find("Paris") is None
    assert len(dictionary) == 7


def test_cases_are_merged_with_the_higher_probability(tmp_path: Path) -> None:
    lines = ["ABC d\t1\t3,0.2,Berlin\t1,0.8,São_Paulo", "abc D\t1\t3,0.6,Berlin\t4,0.4,Tokyo"]
    (tmp_path / "p_e_m.txt").write_text("\n".join(lines), encoding="utf-8")
    expected = [("São_Paulo", 0.8 / 1.8), ("Berlin", 0.6 / 1.8), ("Tokyo", 0.4 / 1.8)]
    assert Dictionary(tmp_path / "p_e_m.txt", KNOWN).find("aBc d") == tuple((name, pytest.approx(p)) for name, p in expected)
    numbers = Dictionary(tmp_path / "p_e_m.txt", {"1", "4"}, by="number", most=1)
    assert numbers.find("abc D") == (("4", 1.0),) and numbers.find("abc d") == (("1", 1.0),)


def test_the_dictionary_finds_the_longest_and_says_what_it_drops(dictionary: Dictionary) -> None:
    texts = ["Old New Berlin Sao Paulo of Berlin.", ""]
    links = DictionaryLinker(dictionary)(texts)
    assert [(texts[0][m.start : m.end], m.candidates[0][0]) for m in links.mentions[0]] == [
        ("Berlin Sao Paulo", "São_Paulo"),
        ("Berlin", "Berlin"),
    ]
    dropped = [(d.text, texts[0][d.start : d.end], d.reason) for d in links.dropped]
    longer = "overlaps a longer mention"
    assert sorted(dropped) == [(0, "Berlin", longer), (0, "New Berlin", "no entity of the graph"), (0, "Sao Paulo", longer)]
    assert links.reasons() == {longer: 2, "no entity of the graph": 1} and links.mentions[1] == []
    nested = DictionaryLinker(dictionary, nested=True)(texts)
    assert len(nested.mentions[0]) == 4 and nested.reasons() == {"no entity of the graph": 1}
    assert nested.mentions[0] == sorted(nested.mentions[0])


def test_stretches_are_those_of_a_slow_search() -> None:
    text = "The U.S. isn't in São Paulo, of course; one two three four five six"
    words = ["The", "U.S.", "isn't", "in", "São", "Paulo", ",", "of", "course", ";", "one", "two", "three", "four", "five", "six"]
    expected, places, at = [], [], 0
    for word in words:
        at = text.index(word, at)
        places.append((at, at + len(word)))
        at += len(word)
    for first in range(len(words)):
        for last in range(first, len(words)):
            inside = words[first : last + 1]
            edges = {inside[0].lower(), inside[-1].lower()} & STOP_WORDS
            if len(inside) <= WORDS and not edges and not {",", ";"} & set(inside):
                expected.append((places[first][0], places[last][1]))
    assert list(spans_of(text)) == expected


WRONG = {
    "Berlin": "expected a mention, a tab",
    "Berlin\tmany\t3,1.0,Berlin": "expected a mention, a tab",
    "\t4\t3,1.0,Berlin": "expected a mention, a tab",
    "Berlin\t4\t3,1.0": "entity 1 is '3,1.0', expected number,probability,title",
    "Berlin\t4\t3,0.5,A\tx,0.5,B": "entity 2 is 'x,0.5,B', expected number",
    "Berlin\t4\t3,nan,Berlin": "the probability of entity 1 is 'nan', expected a number from 0 to 1",
    "Berlin\t4\t3,1.5,Berlin": "the probability of entity 1 is '1.5'",
}


@pytest.mark.parametrize("line", WRONG)
def test_bad_lines_of_a_dictionary(line: str, tmp_path: Path) -> None:
    path = tmp_path / "p_e_m.txt"
    path.write_text(f"Tokyo\t1\t4,1.0,Tokyo\n{line}\n")
    with pytest.raises(ValueError, match=f"p_e_m.txt:2: [a-z]+: {WRONG[line]}"):
        Dictionary(path, KNOWN)
    gate = Gate("skip")
    assert len(Dictionary(path, KNOWN, gate=gate)) == 1 and sum(gate.skipped.values()) == 1
    with pytest.raises(FileNotFoundError, match="expected a dictionary of mentions"):
        Dictionary(tmp_path / "none", KNOWN)


def test_gold_spans(tmp_path: Path) -> None:
    path, text = tmp_path / "gold.jsonl", TEXTS[0]
    mentions = [
        {"start": 25, "end": 31, "entity": "Berlin"},
        {"start": 0, "end": 9, "entity": "São_Paulo"},
        {"start": 11, "end": 18, "entity": "Atlantis"},
        {"start": 11, "end": 12, "entity": None},
    ]
    path.write_text(json.dumps({"text": text, "mentions": mentions}), encoding="utf-8")
    links = GoldLinker(path, KNOWN, Gate())([TEXTS[2], text])
    expected = [LinkedMention(start, end, ((name, 1.0),), name) for start, end, name in ((0, 9, "São_Paulo"), (25, 31, "Berlin"))]
    assert links.mentions == [[], expected]
    assert links.reasons() == {"no entity": 1, "no entity of the graph": 1}
    assert Dropped(1, 11, 18, "no entity of the graph") in links.dropped
    for wrong, message in (
        ({"start": 0, "end": 99, "entity": "Berlin"}, "characters 0 to 99, expected a part of the text's 32"),
        ({"start": 0, "entity": "Berlin"}, "expected start, end"),
        ({"start": 0, "end": 1, "entity": 7}, "expected ids or null"),
        (7, "expected a list of objects"),
    ):
        path.write_text(json.dumps({"text": text, "mentions": [wrong]}), encoding="utf-8")
        with pytest.raises(ValueError, match=rf"gold.jsonl:1: [a-z]+: .*{message}"):
            GoldLinker(path, KNOWN, Gate())
    path.write_text("\n".join([json.dumps({"text": text, "mentions": []})] * 2), encoding="utf-8")
    with pytest.raises(ValueError, match=r"gold.jsonl:2: duplicate"):
        GoldLinker(path, KNOWN, Gate())


def test_the_models_own_choice(tmp_path: Path) -> None:
    """The model likes the rarer Berlin, dislikes all of Türkiye, and its text ends before the last Berlin."""
    reader = reader_of(bert(), tmp_path)

    def score(tokens: Tokens, candidates: CandidateInput) -> Tensor:
        assert candidates["spans"].shape[:2] == candidates["ids"].shape[:2]
        likes = torch.tensor([9.0, 1.0, -1.0, 2.0, 1.0, -3.0])  # row 0 is padding: what it likes most must not count
        return likes[candidates["ids"]]

    linker = ModelLinker(AliasLinker(AliasMatcher(GRAPH)), reader, KNOWN, score, threshold=0.0)
    links = linker(TEXTS)
    assert [[m.gold for m in listed] for listed in links.mentions] == [
        ["São_Paulo", "Berlin,_New_Hampshire"],
        ["Berlin,_New_Hampshire", "Tokyo", "São_Paulo"],
        [],
        ["Berlin,_New_Hampshire"],
    ]
    assert links.dropped == [Dropped(0, 11, 18, "below the threshold")]
    chosen = links.mentions[3][0]
    likely = float(torch.tensor([2.0, -1.0]).softmax(0)[0])
    assert chosen.candidates == (("Berlin,_New_Hampshire", pytest.approx(likely)), ("Berlin", pytest.approx(1 - likely)))
    assert TEXTS[3][chosen.start : chosen.end] == "Berlin"
    linker.reader = reader_of(bert(), tmp_path, 5)
    assert linker(TEXTS).reasons()["cut off with its text"] > 0
