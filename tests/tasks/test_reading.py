"""Reading: rows counted from the distributions of texts and passages, and the passages that are told."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from kemm.batch import IGNORE, Batch
from kemm.data import TextReader, train_tokenizer
from kemm.encoders import TextEncoder
from kemm.fusion import Feature, FusionPoint
from kemm.kg import passage_key, write_passages
from kemm.learner import Learner
from kemm.metrics import Interval
from kemm.model import FusionModel
from kemm.nn import Draws
from kemm.objectives import WholeWordMasking
from kemm.report import Example
from kemm.report.sample import sample as card
from kemm.tasks import Reading

WORDS, DIM, FEATURE, K = 60, 8, 5, 2
PASSAGES = {
    "a": "The river flows north.",
    "b": "A lake lies in the <b>hills</b>.",
    "c": "The river ends at the sea.",
    "d": "North of the lake",
}
TEXTS = {"a": "The river flows north.", "x": "The lake lies north of the hills.", "y": "At the sea a river ends."}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reading")
    train_tokenizer([*PASSAGES.values(), *TEXTS.values()] * 2, path / "tokenizer.json", WORDS)
    tokens = TextReader(path / "tokenizer.json")(list(PASSAGES.values()))
    write_passages(path / "passages.safetensors", tokens.ids, tokens.mask, list(PASSAGES), (path / "tokenizer.json").read_text())
    return path


def learner(folder: Path, rate: float = 0.6) -> tuple[Learner, Any]:
    torch.manual_seed(0)
    network = FusionModel(
        {"text": TextEncoder(WORDS, DIM, 2, 2, 16, 64, dropout=0.1)},
        [FusionPoint({"text": "top"}, Feature("text", "text_feature", DIM, FEATURE))],
    )
    masking = WholeWordMasking(4, WORDS, (0, 1, 2, 3), rate)
    made = Learner(network, {"it": Reading(DIM, WORDS, folder / "passages.safetensors", FEATURE, K, masking)}).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made, made.objectives["it"]


def batch_of(folder: Path) -> Batch:
    tokens = TextReader(folder / "tokenizer.json")(list(TEXTS.values()))
    keys = torch.tensor([passage_key(name) for name in TEXTS])
    return {"id": torch.tensor([7, 8, 9]), "text": {"ids": tokens.ids, "mask": tokens.mask, "words": tokens.words}, "passage": keys}


@torch.no_grad()
def test_rows_are_counted_from_the_distributions(folder: Path) -> None:
    made, task = learner(folder)
    batch = batch_of(folder)
    rows = task.predict(made.network(batch), batch, made.network)
    hidden = task.corrupt(batch, {}, Draws(batch["id"], 0, -1))
    streams = made.network(hidden)
    read = task.read(streams, hidden, made.network)
    prior, words = read.prior.exp(), read.words.exp()
    place = 0
    assert [row["id"] for row in rows] == [7, 8, 9]
    for b, row in enumerate(rows):
        labels = [label for label in hidden["text"]["labels"][b].tolist() if label != IGNORE]
        best, alone, sure = [], [], []
        for _ in labels:
            mixed: Tensor = sum(prior[b, z] * words[place, z] for z in range(K + 1))  # type: ignore[assignment]
            best.append(int(mixed.argmax()))
            alone.append(int(words[place, K].argmax()))
            sure.append(float(mixed.max()))
            place += 1
        assert (row["words"], row["right"]) == (len(labels), sum(map(int.__eq__, best, labels)))
        assert row["right_alone"] == sum(map(int.__eq__, alone, labels))
        assert row["accuracy"] == row["right"] / len(labels)
        assert row["likelihood"] == pytest.approx(sum(sure) / len(sure), abs=1e-4)
        assert row["nothing_read"] == pytest.approx(float(prior[b, K]), abs=1e-4)
        assert row["answer"] == task.known.words(best) and row["truth"] == [task.known.words(labels)]
        assert "[MASK]" in row["question"] and "[CLS]" not in row["question"] and "[SEP]" not in row["question"]
    assert place == len(words)
    losses = task(streams, hidden, made.network)
    assert sum(row["right"] for row in rows) == float(losses["accuracy"][0])


def test_the_same_words_are_hidden_each_time(folder: Path) -> None:
    made, task = learner(folder)
    batch = batch_of(folder)
    whole = task.predict({}, batch, made.network)
    last = {name: value[1:] if isinstance(value, Tensor) else {k: v[1:] for k, v in value.items()} for name, value in batch.items()}
    assert [row["question"] for row in task.predict({}, last, made.network)] == [row["question"] for row in whole[1:]]


@torch.no_grad()
def test_passages_are_told_with_their_weights(folder: Path) -> None:
    made, task = learner(folder)
    batch = batch_of(folder)
    told = task.explain({}, batch, made.network)
    hidden = task.corrupt(batch, {}, Draws(batch["id"], 0, -1))
    read = task.read(made.network(hidden), hidden, made.network)
    for b, (name, lookups) in enumerate(zip(TEXTS, told, strict=True)):
        ((step, kind, found),) = lookups
        assert (step, kind) == ("text_feature", "passages")
        assert sum(one.weight for one in found) == pytest.approx(1)
        assert [one.weight for one in found] == sorted((one.weight for one in found), reverse=True)
        weights = {one.note: one.weight for one in found}
        expected = {list(PASSAGES)[row]: p for row, p in zip(read.rows[b].tolist(), read.prior[b].exp().tolist(), strict=False)}
        assert weights == pytest.approx(expected | {"": float(read.prior[b, K].exp())})
        assert name not in weights, "a text's own passage is not read"
        texts = {one.note: one.text for one in found}
        assert all(texts[note].replace(" ", "") == PASSAGES[note].lower().replace(" ", "") for note in texts if note)
    rows = task.predict({}, batch, made.network)
    html = card(Example(rows[1], looked_up=tuple(told[1])))
    assert "passages read" in html and "no passage, the text alone" in html and "<b>hills" not in html


def test_scores_are_percentages_of_the_hidden_words(folder: Path) -> None:
    _, task = learner(folder)
    counts = [(3, 2, 4, 0.5), (0, 1, 1, 0.1), (2, 2, 5, 0.9), (0, 0, 0, 0.3)]
    rows = [{"right": right, "right_alone": alone, "words": words, "nothing_read": none} for right, alone, words, none in counts]
    scores = task.evaluate(rows)
    assert all(isinstance(scores[name], Interval) for name in ("accuracy", "accuracy/alone", "nothing_read"))
    assert scores["accuracy"].estimate == 50 and scores["accuracy/alone"].estimate == 50
    assert scores["nothing_read"].estimate == pytest.approx(50) and scores["words"] == 10
    assert scores["accuracy"].low <= 50 <= scores["accuracy"].high
    assert task.evaluate(rows[3:]) == {"words": 0.0}


def test_a_text_that_hides_nothing_is_a_row_too(folder: Path) -> None:
    made, task = learner(folder, rate=1e-9)
    rows = task.predict({}, batch_of(folder), made.network)
    assert [(row["words"], row["answer"], row["accuracy"]) for row in rows] == [(0, "", 1.0)] * 3


def test_a_copy_knows_the_words_too(folder: Path) -> None:
    _, task = learner(folder)
    assert deepcopy(task).said(torch.tensor([2, 4, 3])) == "[MASK]"
