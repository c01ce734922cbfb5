"""What comes from outside and is bad: one message that names file, place, what was given and what was expected; or a skipped row that is
counted; and nothing that was there before is touched."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image
from safetensors.torch import load, save, save_file
from torch._utils import ExceptionWrapper

from kemm.borders import check_lists, check_reach
from kemm.checkpoint import Pretrained, learner_from_config
from kemm.cli import main
from kemm.data import (
    Captions,
    DrawnFlags,
    FlagFiles,
    ImageFiles,
    LinkedTexts,
    Questions,
    RelatedMentions,
    TextReader,
    Triples,
    TypedMentions,
)
from kemm.data.images import read_image
from kemm.data.source import Source
from kemm.encoders import EntityEncoder, ImageEncoder, TextEncoder
from kemm.encoders.entity import read_vectors
from kemm.fusion import FactAttention, FusionPoint, MemoryAttention
from kemm.kg import Answers, Passages, TransE, passage_key, write_passages
from kemm.learner import Learner
from kemm.memory import Memory
from kemm.model import FusionModel
from kemm.objectives import CausalLM, LinkPrediction, MaskedLM, Objective, TokenMasking
from kemm.rows import OnBad
from kemm.run import _explains_itself, _one_line
from kemm.tasks import VQA, Typing
from kemm.tasks import Relation as RelationTask
from tests import small_world

ROOT = Path(__file__).parents[1]
TEXT = "Redland lies beside Blueland."
SPANS = [{"start": 0, "end": 7, "candidates": [["country:0", 0.9], ["city:0", 0.1]], "entity": "country:0"}]
ENTITIES = [["country:0", 0, 7, 1.0], ["country:1", 20, 28, 1.0]]


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind, all of them right."""
    folder = tmp_path_factory.mktemp("good")
    small_world.write(folder)
    write_lines(folder / "linked.jsonl", ({"id": f"p-{i}", "text": TEXT, "mentions": SPANS} for i in range(4)))
    write_lines(folder / "captions.jsonl", ({"image_id": 1000 * i, "text": TEXT, "entity": f"country:{i}"} for i in range(4)))
    (folder / "held.tsv").write_text("country:0\tcapital\tcity:0\ncountry:1\tcapital\tcity:1\ncountry:2\tcapital\tcity:2\n")
    typing = [{"sent": TEXT, "start": 0, "end": 7, "labels": ["country"], "ents": ENTITIES} for _ in range(4)]
    relation = [{"text": TEXT, "ents": ENTITIES, "label": "near"} for _ in range(4)]
    for name, rows in (("typing", typing), ("relation", relation)):
        (folder / f"{name}.json").write_text(json.dumps(rows))
        (folder / f"{name}_labels.json").write_text(json.dumps(rows))
    (folder / "short.json").write_text(json.dumps(json.loads((folder / "answers.json").read_text())[:5]))
    (folder / "pictures").mkdir()
    for i in range(4):
        Image.new("RGB", (8, 8), (60 * i, 10, 200)).save(folder / "pictures" / f"{1000 * i}.png")
        Image.new("RGB", (8, 8), (60 * i, 10, 200)).save(folder / "pictures" / f"c{i}.png")
    (folder / "names.txt").write_text("0.png\n1000.png\n")
    (folder / "codes.tsv").write_text("".join(f"country:{i}\tc{i}\n" for i in range(4)))
    torch.manual_seed(0)
    save_file({"vectors": torch.randn(9, 4)}, folder / "vectors.safetensors")
    words = (folder / "tokenizer.json").read_text()
    write_passages(folder / "passages.safetensors", torch.ones(3, 5), torch.ones(3, 5), ["p-0", "p-1", "p-2"], words)
    memory = Memory(4)
    memory.build(torch.randn(9, 4))
    memory.save(folder / "index.faiss")
    torch.save(learner_from_config(MODEL).state_dict(), folder / "weights.pt")
    save_file(learner_from_config(MODEL).state_dict(), folder / "weights.safetensors")
    other = {f"learner.{name}": tensor for name, tensor in learner_from_config(OTHER).state_dict().items()}
    torch.save({"state_dict": other, "pytorch-lightning_version": "2.6.0", "epoch": 0, "global_step": 0}, folder / "other.pt")
    save_file({"x": torch.zeros(1)}, folder / "vit.safetensors")
    return folder


@pytest.fixture
def world(good: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(good, tmp_path / "world"))


def model(dim: int) -> dict[str, Any]:
    text = {
        "class_path": "kemm.encoders.TextEncoder",
        "init_args": {"vocab_size": 100, "dim": dim, "depth": 1, "heads": 2, "max_length": 64},
    }
    masked = {"class_path": "kemm.objectives.MaskedLM", "init_args": {"dim": dim, "vocab_size": 100}}
    return {"network": {"encoders": {"text": text}}, "objectives": {"masked_lm": masked}}


MODEL, OTHER = model(8), model(12)


# ---- the readers, each called as a config calls it


def questions(folder: Path, on_bad: OnBad = "error") -> Questions:
    return Questions(
        folder / "questions.json",
        folder / "annotations.json",
        folder / "answers.json",
        folder / "tokenizer.json",
        DrawnFlags(folder / "flags.yaml", 16, 16),
        folder / "mentions.jsonl",
        folder / "graph",
        on_bad=on_bad,
    )


def linked(folder: Path, on_bad: OnBad = "error") -> LinkedTexts:
    return LinkedTexts(folder / "linked.jsonl", folder / "tokenizer.json", folder / "graph", on_bad=on_bad)


def captions(folder: Path, on_bad: OnBad = "error") -> Captions:
    images = DrawnFlags(folder / "flags.yaml", 16, 16)
    return Captions(folder / "captions.jsonl", folder / "tokenizer.json", images, folder / "graph", on_bad=on_bad)


def pictured(folder: Path, on_bad: OnBad = "error") -> Captions:
    images = ImageFiles(folder / "pictures", 16, "{id}.png")
    return Captions(folder / "captions.jsonl", folder / "tokenizer.json", images, folder / "graph", on_bad=on_bad)


def coded(folder: Path, on_bad: OnBad = "error") -> Captions:
    images = FlagFiles(folder / "pictures", folder / "codes.tsv", 16)
    return Captions(folder / "captions.jsonl", folder / "tokenizer.json", images, folder / "graph", on_bad=on_bad)


def triples(folder: Path, on_bad: OnBad = "error") -> Triples:
    return Triples(folder / "graph", folder / "held.tsv", on_bad=on_bad)


def typed(folder: Path, on_bad: OnBad = "error") -> TypedMentions:
    files = (folder / name for name in ("typing.json", "typing_labels.json", "tokenizer.json", "graph"))
    return TypedMentions(*files, on_bad=on_bad)


def related(folder: Path, on_bad: OnBad = "error") -> RelatedMentions:
    files = (folder / name for name in ("relation.json", "relation_labels.json", "tokenizer.json", "graph"))
    return RelatedMentions(*files, on_bad=on_bad)


# ---- the damages: what a file holds becomes something else

Damage = Callable[[bytes], bytes]


def raw(content: bytes) -> Damage:
    return lambda _: content


def cut(share: float) -> Damage:
    return lambda content: content[: int(len(content) * share)]


def entry(field: str, place: int, without: str = "", **changes: Any) -> Damage:
    """Changes one entry of a list in a JSON document."""

    def damage(content: bytes) -> bytes:
        document = json.loads(content)
        chosen = (document[field] if field else document)[place]
        chosen.update(changes)
        chosen.pop(without, None)
        return json.dumps(document).encode()

    return damage


def saved(content: Any) -> Damage:
    def damage(_: bytes) -> bytes:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        return buffer.getvalue()

    return damage


def renamed(before: str, after: str) -> Damage:
    """Renames a tensor of a safetensors file."""

    def damage(content: bytes) -> bytes:
        return save({after if name == before else name: tensor for name, tensor in load(content).items()})

    return damage


def instead(field: str, place: int, value: Any) -> Damage:
    """Puts something else in the place of an entry."""

    def damage(content: bytes) -> bytes:
        document = json.loads(content)
        (document[field] if field else document)[place] = value
        return json.dumps(document).encode()

    return damage


def again(field: str, place: int) -> Damage:
    """Repeats an entry at the end."""

    def damage(content: bytes) -> bytes:
        document = json.loads(content)
        listed = document[field] if field else document
        listed.append(listed[place])
        return json.dumps(document).encode()

    return damage


def line(number: int, text: bytes) -> Damage:
    """Replaces a line."""

    def damage(content: bytes) -> bytes:
        lines = content.split(b"\n")
        lines[number - 1] = text
        return b"\n".join(lines)

    return damage


def row(number: int, without: str = "", **changes: Any) -> Damage:
    """Changes a line of JSON lines."""

    def damage(content: bytes) -> bytes:
        chosen = json.loads(content.split(b"\n")[number - 1]) | changes
        chosen.pop(without, None)
        return line(number, json.dumps(chosen).encode())(content)

    return damage


def span(number: int, without: str = "", **changes: Any) -> Damage:
    """Changes the first mention of a line of JSON lines."""

    def damage(content: bytes) -> bytes:
        chosen = json.loads(content.split(b"\n")[number - 1])
        chosen["mentions"][0].update(changes)
        chosen["mentions"][0].pop(without, None)
        return line(number, json.dumps(chosen).encode())(content)

    return damage


class Bad(NamedTuple):
    """A damaged file, how it is read, and the message's place, given and expected; then what `skip` counts."""

    file: str
    damage: Damage
    read: Callable[..., Any]
    place: str
    given: str
    expected: str
    skipped: dict[str, int]


NINE = [{"answer": "yes"}] * 9
Q, A, M, L, C = "questions.json", "annotations.json", "mentions.jsonl", "linked.jsonl", "captions.jsonl"
ROWS = {
    # questions
    "blank question": Bad(Q, entry("questions", 3, question=" "), questions, f"{Q}: questions[3]", "' '", "not blank", {"empty": 1}),
    "question of a number": Bad(Q, entry("questions", 3, question=7), questions, "questions[3]", "is 7", "a text", {"malformed": 1}),
    "half a character": Bad(Q, entry("questions", 3, question="\ud800"), questions, "questions[3]", "\\ud800", "half", {"malformed": 1}),
    "no image": Bad(Q, entry("questions", 3, "image_id"), questions, "questions[3]", "'image_id' is missing", "whole", {"malformed": 1}),
    "question is true": Bad(Q, entry("questions", 3, question_id=True), questions, "[3]", "is True", "a whole number", {"malformed": 1}),
    "question is huge": Bad(Q, entry("questions", 3, question_id=2**63), questions, "[3]", "9223372036854775808", "2^63", {"malformed": 1}),
    "question is negative": Bad(Q, entry("questions", 3, question_id=-1), questions, "[3]", "is -1", "from 0", {"malformed": 1}),
    "no object": Bad(Q, instead("questions", 3, 5), questions, "questions[3]", "got 5", "an object", {"malformed": 1}),
    "unanswered": Bad(Q, entry("questions", 3, question_id=99), questions, "questions[3]", "question 99", A, {"unanswered": 1}),
    "question twice": Bad(Q, again("questions", 3), questions, "questions[20]", "question 3", "once", {"duplicate": 1}),
    "another picture": Bad(Q, entry("questions", 3, image_id=5), questions, "questions[3]", "image 5", "about 3003", {"image": 1}),
    # annotations
    "nine answers": Bad(A, entry("annotations", 4, answers=NINE), questions, "annotations[4]", "9 answers", "ten", {"answers": 1}),
    "no answers": Bad(A, entry("annotations", 4, answers="x"), questions, "annotations[4]", "is 'x'", "a list", {"malformed": 1}),
    "answer of a number": Bad(
        A,
        entry("annotations", 4, answers=[*NINE, 3]),
        questions,
        "annotations[4]: answers: question 4: answers[9]",
        "is 3",
        "a text",
        {"answers": 1},
    ),
    "no answer type": Bad(A, entry("annotations", 4, "answer_type"), questions, "annotations[4]", "missing", "a text", {"malformed": 1}),
    "annotated twice": Bad(A, again("annotations", 4), questions, "annotations[20]", "question 4", "once", {"duplicate": 1}),
    "annotation of text": Bad(
        A, instead("annotations", 4, "x"), questions, "annotations[4]", "'x'", "an object", {"malformed": 1, "unanswered": 1}
    ),
    # pictures that are drawn
    "too few flags": Bad(
        "flags.yaml", lambda text: text[: text.index(b"  country:3")], questions, f"{Q}: questions[3]", "3003", "0 to 2", {"image": 5}
    ),
    "caption of no flag": Bad(C, row(2, image_id=4000), captions, f"{C}:2", "image id 4000", "0 to 3", {"image": 1}),
    # mentions
    "mentions cut off": Bad(M, line(5, b'{"question_id": 4'), questions, f"{M}:5", "{", "delimiter", {"malformed": 1}),
    "mentions in Latin 1": Bad(M, line(5, b'"\xe9"'), questions, f"{M}:5", "byte 2", "UTF-8", {"malformed": 1}),
    "mentions in a list": Bad(M, line(5, b"[1]"), questions, f"{M}:5", "[1]", "a JSON object", {"malformed": 1}),
    "nested beyond reason": Bad(M, line(5, b"[" * 100_000), questions, f"{M}:5", "[[[", "recursion", {"malformed": 1}),
    "a key twice": Bad(M, line(5, b'{"question_id": 4, "question_id": 4}'), questions, f"{M}:5", "question_id", "twice", {"malformed": 1}),
    "a blank line": Bad(M, line(5, b""), questions, f"{M}:5", "''", "value", {"malformed": 1}),
    "mentions twice": Bad(M, row(5, question_id=3), questions, f"{M}:5", "question 3", "one line for each", {"duplicate": 1}),
    "no list": Bad(M, row(5, mentions={}), questions, f"{M}:5", "is {}", "a list", {"malformed": 1}),
    "no end": Bad(M, span(5, "end"), questions, f"{M}:5: malformed: mentions[0]", "'start': 41", "start, end", {"malformed": 1}),
    "starts before": Bad(M, span(5, start=-1), questions, f"{M}:5", "characters -1 to 48", "the text's 68", {"offset": 1}),
    "of no length": Bad(M, span(5, start=48), questions, f"{M}:5", "characters 48 to 48", "the text's 68", {"offset": 1}),
    "backwards": Bad(M, span(5, start=49), questions, f"{M}:5", "characters 49 to 48", "the text's 68", {"offset": 1}),
    "ends behind": Bad(M, span(5, end=69), questions, f"{M}:5", "characters 41 to 69", "the text's 68", {"offset": 1}),
    "offset as text": Bad(M, span(5, start="41"), questions, f"{M}:5", "characters '41' to 48", "the text's 68", {"offset": 1}),
    "candidates as text": Bad(M, span(5, candidates="x"), questions, f"{M}:5", "is 'x'", "a list of", {"malformed": 1}),
    "candidate without prior": Bad(M, span(5, candidates=[["a"]]), questions, f"{M}:5", "[['a']]", "[entity id, prior]", {"malformed": 1}),
    "negative prior": Bad(M, span(5, candidates=[["country:1", -0.1]]), questions, f"{M}:5", "is -0.1", "at least 0", {"prior": 1}),
    "prior not a number": Bad(M, span(5, candidates=[["country:1", float("nan")]]), questions, f"{M}:5", "is nan", "finite", {"prior": 1}),
    "infinite prior": Bad(M, span(5, candidates=[["country:1", float("inf")]]), questions, f"{M}:5", "is inf", "finite", {"prior": 1}),
    "prior as text": Bad(M, span(5, candidates=[["country:1", "1"]]), questions, f"{M}:5", "is '1'", "a finite number", {"prior": 1}),
    "unknown candidate": Bad(M, span(5, candidates=[["x", 1]]), questions, f"{M}:5", "entity 'x'", "the 8 of the graph", {"unknown id": 1}),
    "unknown entity": Bad(M, span(5, entity="y"), questions, f"{M}:5", "entity 'y'", "the 8 of the graph", {"unknown id": 1}),
    "entity in a list": Bad(M, span(5, entity=["y"]), questions, f"{M}:5", "['y']", "the 8 of the graph", {"unknown id": 1}),
    # linked texts
    "no text": Bad(L, row(2, "text"), linked, f"{L}:2", "'text' is missing", "a text", {"malformed": 1}),
    "blank text": Bad(L, row(2, text="\n"), linked, f"{L}:2", r"'\n'", "not blank", {"empty": 1}),
    "id twice": Bad(L, row(2, id="p-0"), linked, f"{L}:2", "'p-0'", "already in line 1", {"duplicate": 1}),
    "mention outside": Bad(L, span(2, end=99), linked, f"{L}:2", "0 to 99", "the text's 29", {"offset": 1}),
    "entity outside": Bad(L, span(2, entity="z"), linked, f"{L}:2", "'z'", "the 8 of the graph", {"unknown id": 1}),
    # captions
    "blank caption": Bad(C, row(2, text=""), captions, f"{C}:2", "''", "not blank", {"empty": 1}),
    "image as text": Bad(C, row(2, image_id="1"), captions, f"{C}:2", "'1'", "a whole number", {"malformed": 1}),
    "caption of nothing known": Bad(C, row(2, entity="x"), captions, f"{C}:2", "'x'", "the 8 of", {"unknown id": 1}),
    "caption of a list": Bad(C, row(2, entity=["x"]), captions, f"{C}:2", "['x']", "the 8 of", {"unknown id": 1}),
    # triples
    "unknown head": Bad("held.tsv", line(2, b"x\tcapital\tcity:0"), triples, "held.tsv:2", "head 'x'", "8 entities", {"unknown id": 1}),
    "unknown relation": Bad("held.tsv", line(2, b"city:0\tr\tcity:1"), triples, "held.tsv:2", "'r'", "2 relations", {"unknown id": 1}),
    "two cells": Bad(
        "held.tsv", line(2, b"city:0\tnear"), triples, "held.tsv:2", r"city:0\tnear", "head, relation and tail", {"malformed": 1}
    ),
    "triple twice": Bad("held.tsv", line(2, b"country:0\tcapital\tcity:0"), triples, "held.tsv:2", "city:0", "line 1", {"duplicate": 1}),
    # typing and relations
    "typed outside": Bad("typing.json", entry("", 1, end=99), typed, "typing.json: [1]", "0 to 99", "the text's 29", {"offset": 1}),
    "typed as nothing": Bad("typing.json", entry("", 1, labels=["x"]), typed, "[1]", "'x'", "the 1 of", {"unknown label": 1}),
    "typed without text": Bad("typing.json", entry("", 1, "sent"), typed, "[1]", "'sent' is missing", "a text", {"malformed": 1}),
    "told outside": Bad("typing.json", entry("", 1, ents=[["country:0", 7, 7, 1]]), typed, "[1]", "7 to 7", "the text's 29", {"offset": 1}),
    "told of nothing": Bad("typing.json", entry("", 1, ents=[["x", 0, 7, 1]]), typed, "ents[0]", "'x'", "the 8 of", {"unknown id": 1}),
    "told of a list": Bad("typing.json", entry("", 1, ents=[[["x"], 0, 7, 1]]), typed, "ents[0]", "['x']", "the 8 of", {"unknown id": 1}),
    "told without end": Bad("typing.json", entry("", 1, ents=[["x", 0]]), typed, "ents[0]", "['x', 0]", "start, end", {"malformed": 1}),
    "told unsurely": Bad("typing.json", entry("", 1, ents=[["x", 0, 7, "1"]]), typed, "ents[0]", "'1'", "finite", {"malformed": 1}),
    "typed as a number": Bad("typing.json", entry("", 1, labels=[3]), typed, "[1]", "[3]", "a list of texts", {"malformed": 1}),
    "one end": Bad("relation.json", entry("", 1, ents=ENTITIES[:1]), related, "relation.json: [1]", "1 entries", "two", {"malformed": 1}),
    "related outside": Bad(
        "relation.json", entry("", 1, ents=[ENTITIES[0], ["country:1", 20, 40, 1]]), related, "ents[1]", "20 to 40", "29", {"offset": 1}
    ),
    "related by nothing": Bad("relation.json", entry("", 1, label="x"), related, "[1]", "'x'", "the 1 of", {"unknown label": 1}),
    # pictures in files
    "picture cut off": Bad("pictures/2000.png", cut(0.7), pictured, f"{C}:3", "2000.png", "cannot be decoded", {"image": 1}),
    "picture of text": Bad("pictures/2000.png", raw(b"<svg/>"), pictured, f"{C}:3", "2000.png", "cannot be decoded", {"image": 1}),
    "picture not there": Bad(C, row(3, image_id=7), pictured, f"{C}:3", "7.png: no such", "image 7", {"image": 1}),
    "flag cut off": Bad("pictures/c2.png", cut(0.7), coded, f"{C}:3", "c2.png", "cannot be decoded", {"image": 1}),
    "flag of no code": Bad(C, row(3, image_id=4000), coded, f"{C}:3", "codes.tsv: there is no image 4000", "0 to 3", {"image": 1}),
}


def at_use(read: Callable[..., Any], folder: Path) -> None:
    source = read(folder)
    source.batch(range(len(source)), 0)


@pytest.mark.parametrize("bad", ROWS.values(), ids=ROWS)
def test_a_bad_row_is_an_error_or_skipped_and_counted(bad: Bad, world: Path) -> None:
    whole = bad.read(world)
    assert whole.skipped == {}
    path = world / bad.file
    path.write_bytes(bad.damage(path.read_bytes()))
    # A picture that only decoding finds bad is an error when it is used.
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        at_use(bad.read, world)
    message, decoded = str(raised.value), "decoded" in bad.expected
    assert all(part in message for part in (bad.given, bad.expected, *([] if decoded else [bad.place]))), message
    assert "\n" not in message
    left = bad.read(world, on_bad="skip")
    assert left.skipped == bad.skipped
    lost = 0 if bad.file == M else sum(bad.skipped.values())
    if bad.place.endswith("[20]") or (bad.skipped.get("unanswered") and "malformed" in bad.skipped):
        lost -= 1  # what is too much, or counted in both files
    assert len(left) == len(whole) - lost
    left.batch(range(len(left)), 0)


# ---- files that are bad as a whole: an error, whatever `on_bad` says


class Whole(NamedTuple):
    """A damaged file, how it is read, what the message says."""

    file: str
    damage: Damage
    read: Callable[[Path], Any]
    parts: tuple[str, ...]


def lenient(read: Callable[..., Any]) -> Callable[[Path], Any]:
    return lambda folder: read(folder, on_bad="skip")


def states(**changed: Any) -> Damage:
    return lambda content: json.dumps(json.loads(content) | changed).encode()


def index(folder: Path) -> Memory:
    return Memory.load(folder / "index.faiss", rows=9, dim=4)


def stated_alone(folder: Path) -> Memory:
    """The index of a description whose checksum is right."""
    import hashlib

    described = folder / "index.faiss.json"
    checksum = hashlib.sha256((folder / "index.faiss").read_bytes()).hexdigest()
    described.write_bytes(states(sha256=checksum)(described.read_bytes()))
    return Memory.load(folder / "index.faiss")


def pretrained(name: str) -> Callable[[Path], Any]:
    return lambda folder: Pretrained("", folder / name).load(learner_from_config(MODEL))


def timm_weights(folder: Path) -> Any:
    options = {"embed_dim": 12, "depth": 1, "num_heads": 2, "img_size": 32}
    return ImageEncoder("vit_tiny_patch16_224", options, weights=folder / "vit.safetensors")


NO_PADDING = b'{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}}'
GRAPH = "graph/triples.tsv"
WHOLE = {
    "questions cut off": Whole(Q, cut(0.5), lenient(questions), (Q, "a JSON file of VQA questions")),
    "questions in Latin 1": Whole(Q, raw(b'{"questions": ["\xe9"]}'), lenient(questions), (Q, "a JSON file of VQA questions", "0xe9")),
    "questions nested": Whole(Q, raw(b"[" * 100_000), lenient(questions), (Q, "a JSON file of VQA questions", "recursion")),
    "questions elsewhere": Whole(Q, raw(b'{"data": []}'), lenient(questions), (Q, "an object with a list 'questions'", "{'data': []}")),
    "questions as a list": Whole(Q, raw(b"[]"), lenient(questions), (Q, "none is left")),
    "no question": Whole(Q, raw(b'{"questions": []}'), lenient(questions), (Q, "expected questions, and none is left")),
    "annotations cut off": Whole(A, cut(0.5), lenient(questions), (A, "a JSON file of VQA annotations")),
    "mentions of others": Whole(M, raw(b'{"question_id": 99, "mentions": []}'), lenient(questions), (M, "the 20 questions from 0 on")),
    "no mention": Whole(M, raw(b""), lenient(questions), (M, "no line is about one of them")),
    "answers of a dict": Whole("answers.json", raw(b"{}"), lenient(questions), ("answers.json", "expected a list of answers", "{}")),
    "no answer": Whole("answers.json", raw(b"[]"), lenient(questions), ("answers.json", "a list of answers, and it is empty")),
    "blank answer": Whole("answers.json", entry("", 2, answer=" "), lenient(questions), ("answers.json: [2]", "' '", "not blank")),
    "answer of a list": Whole(
        "answers.json", entry("", 2, entity=[1]), lenient(questions), ("answers.json: [2]", "[1]", "id of an entity")
    ),
    "unknown answer": Whole("answers.json", entry("", 2, entity="x"), lenient(questions), ("answers.json: [2]", "'x'", "the 8 of")),
    "graph with a stranger": Whole(GRAPH, line(2, b"x\tnear\tcity:0"), lenient(linked), ("triples.tsv:2", "head 'x'", "8 entities")),
    "graph that repeats": Whole(
        "graph/entities.jsonl", row(2, id="country:0"), lenient(triples), ("entities.jsonl:2", "'country:0'", "already in line 1")
    ),
    "no tokenizer": Whole("tokenizer.json", raw(b"{}"), lenient(linked), ("tokenizer.json", "of the tokenizers library")),
    "tokenizer cut off": Whole("tokenizer.json", cut(0.5), lenient(linked), ("tokenizer.json", "of the tokenizers library")),
    "tokenizer without padding": Whole(
        "tokenizer.json", raw(NO_PADDING), lenient(linked), ("tokenizer.json", "[PAD]", "1 tokens hold none")
    ),
    "flags cut off": Whole("flags.yaml", cut(0.97), lenient(captions), ("flags.yaml",)),
    "codes with spaces": Whole(
        "codes.tsv", line(2, b"country:1 c1"), lenient(coded), ("codes.tsv:2", "'country:1 c1'", "country id<TAB>code")
    ),
    "codes in Latin 1": Whole("codes.tsv", line(2, b"\xe9\tc1"), lenient(coded), ("codes.tsv", "UTF-8", "0xe9")),
    "no caption": Whole(C, raw(b'{"text": "x"}'), lenient(captions), (C, "captions of pictures, and none is left")),
    "no linked text": Whole(L, raw(b"x"), lenient(linked), (L, "none is left", "'malformed': 1")),
    "no triple": Whole("held.tsv", raw(b"x\n"), lenient(triples), ("held.tsv", "none is left", "'malformed': 1")),
    "no typed text": Whole("typing.json", raw(b"[5]"), lenient(typed), ("typing.json", "none is left", "'malformed': 1")),
    "labels of nothing": Whole("relation_labels.json", instead("", 1, {}), lenient(related), ("relation_labels.json: [1]", "'label'")),
    "vectors cut off": Whole(
        "vectors.safetensors", cut(0.9), lambda f: read_vectors(f / "vectors.safetensors", 9, 4), ("vectors.safetensors",)
    ),
    "vectors of fewer": Whole(
        "vectors.safetensors", lambda x: x, lambda f: read_vectors(f / "vectors.safetensors", 8, 4), ("(9, 4)", "the table's (8, 4)")
    ),
    "passages cut off": Whole(
        "passages.safetensors", cut(0.9), lambda f: Passages(f / "passages.safetensors"), ("passages.safetensors", "no safetensors")
    ),
    "passages of more words": Whole(
        "passages.safetensors", lambda x: x, lambda f: Passages(f / "passages.safetensors").check_vocabulary(1), ("from 1 to 1", "1 words")
    ),
    "passages of something else": Whole(
        "passages.safetensors",
        renamed("ids", "words"),
        lambda f: Passages(f / "passages.safetensors"),
        ("'ids' and 'mask'", "'words'"),
    ),
    "vectors of something else": Whole(
        "vectors.safetensors", renamed("vectors", "x"), lambda f: read_vectors(f / "vectors.safetensors", 9, 4), ("'vectors'", "['x']")
    ),
    "weights without tensors": Whole("weights.pt", saved({"a": 1}), pretrained("weights.pt"), ("weights.pt", "named tensors", "dict")),
    "no label": Whole("typing_labels.json", raw(b"[]"), lenient(typed), ("typing_labels.json", "labelled rows, and there is none")),
    "index cut off": Whole("index.faiss", cut(0.9), index, ("index.faiss", "checksum", "index.faiss.json")),
    "index described elsewhere": Whole("index.faiss.json", raw(b"[]"), index, ("index.faiss.json", "rows, dim, factory, sha256")),
    "index of other rows": Whole("index.faiss.json", states(rows=8), index, ("index.faiss", "rows 8", "rows 9 was expected")),
    "index of another width": Whole("index.faiss.json", states(dim=5), index, ("index.faiss", "dim 5", "dim 4 was expected")),
    "index that was exchanged": Whole("index.faiss.json", states(rows=8), stated_alone, ("index.faiss", "(9, 4)", "states (8, 4)")),
    "no index": Whole("index.faiss", raw(b"no index"), stated_alone, ("index.faiss: expected a FAISS index", "'Flat' of width 4")),
    "index of no kind": Whole("index.faiss.json", states(factory="Flatt"), stated_alone, ("index.faiss", "'Flatt'")),
    "weights cut off": Whole("weights.pt", cut(0.5), pretrained("weights.pt"), ("weights.pt", "a pickle of tensors alone")),
    "weights of text": Whole("weights.pt", raw(b"x"), pretrained("weights.pt"), ("weights.pt", "a pickle of tensors alone")),
    "safe weights cut off": Whole(
        "weights.safetensors", cut(0.5), pretrained("weights.safetensors"), ("weights.safetensors", "a safetensors file")
    ),
    "weights of another": Whole(
        "other.pt", lambda x: x, pretrained("other.pt"), ("other.pt", "another architecture", "(100, 12) for (100, 8)")
    ),
    "weights of no ViT": Whole(
        "vit.safetensors", lambda x: x, timm_weights, ("vit.safetensors", "timm's vit_tiny_patch16_224", "Missing key")
    ),
    "ViT weights cut off": Whole("vit.safetensors", cut(0.5), timm_weights, ("vit.safetensors", "timm's vit_tiny_patch16_224")),
}


@pytest.mark.parametrize("bad", WHOLE.values(), ids=WHOLE)
def test_a_bad_file_is_an_error(bad: Whole, world: Path) -> None:
    path = world / bad.file
    path.write_bytes(bad.damage(path.read_bytes()))
    before = contents(world, "index.faiss.json")
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        bad.read(world)
    assert all(part in str(raised.value) for part in bad.parts), raised.value
    assert contents(world, "index.faiss.json") == before, "reading leaves files alone"


def contents(folder: Path, but: str = "") -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != but}


READS = {
    questions: [Q, A, M, "answers.json", "tokenizer.json", "flags.yaml", "graph/entities.jsonl", "graph/relations.jsonl", GRAPH],
    linked: [L, "tokenizer.json", GRAPH],
    captions: [C, "tokenizer.json", "flags.yaml"],
    coded: ["codes.tsv"],
    triples: ["held.tsv", GRAPH],
    typed: ["typing.json", "typing_labels.json"],
    related: ["relation.json"],
    index: ["index.faiss", "index.faiss.json"],
    timm_weights: ["vit.safetensors"],
    pretrained("weights.pt"): ["weights.pt"],
    lambda folder: read_vectors(folder / "vectors.safetensors", 9, 4): ["vectors.safetensors"],
    lambda folder: Passages(folder / "passages.safetensors"): ["passages.safetensors"],
    lambda folder: ImageFiles(folder / "pictures", names=folder / "names.txt"): ["names.txt"],
    lambda folder: ImageFiles(folder / "pictures", pattern="{id}.png").batch([1000], 0): ["pictures/1000.png"],
    lambda folder: Answers(folder / "answers.json"): ["answers.json"],
    lambda folder: TextReader(folder / "tokenizer.json"): ["tokenizer.json"],
}


@pytest.mark.parametrize(("read", "file"), [(read, file) for read, files in READS.items() for file in files])
def test_a_missing_file_is_named(read: Callable[[Path], Any], file: str, world: Path) -> None:
    (world / file).unlink()
    # The specification of flags has an error of its own kind.
    with pytest.raises((FileNotFoundError, ValueError)) as raised:
        read(world)
    assert str(world / file) in str(raised.value)
    assert not isinstance(raised.value, OSError) or raised.value.errno is None, "found before it was opened"


def test_settings_of_readers(good: Path) -> None:
    with pytest.raises(ValueError, match=r"max_length is 2, expected more than the special tokens that .*tokenizer.json adds"):
        TextReader(good / "tokenizer.json", 2)
    with pytest.raises(ValueError, match="on_bad is 'pass', expected 'error' or 'skip'"):
        triples(good, "pass")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"pattern is '\{name\}.png', expected the name of a file with \{id\}"):
        ImageFiles(ROOT, pattern="{name}.png")


def test_skipped_lines_do_not_move_passages(world: Path) -> None:
    path = world / L
    path.write_bytes(line(2, b"x")(path.read_bytes()))
    assert linked(world, "skip").batch([0, 1, 2], 0)["passage"].tolist() == [passage_key(f"p-{line}") for line in (0, 2, 3)]


def test_the_most_probable_candidate_comes_first(world: Path) -> None:
    path = world / M
    path.write_bytes(span(1, candidates=[["city:0", 0.1], ["country:0", 0.7], ["city:1", 0.2]])(path.read_bytes()))
    assert questions(world).batch([0], 0)["candidate"]["priors"][0, 0].tolist() == pytest.approx([0.7, 0.2, 0.1])


def test_a_picture_that_is_too_large(tmp_path: Path) -> None:
    Image.new("1", (9000, 6000)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"x.png: 9000 x 6000 pixels, more than the 50000000 that are decoded"):
        read_image(tmp_path / "x.png")


def test_no_outside_program_decodes(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError, match=r"x.png: cannot be decoded as an image \(UnidentifiedImageError"):
        read_image(tmp_path / "x.png")


def test_an_index_that_cannot_be_written_leaves_the_old_one(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(world)
    memory = Memory(4)
    memory.build(torch.randn(3, 4))
    monkeypatch.setattr("kemm.memory._checksum", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        memory.save(world / "index.faiss")
    assert contents(world) == before


# ---- what fits each other


def learner(vocabulary: int = 100, length: int = 128, entities: int = 9, relations: int = 5) -> Learner:
    network = FusionModel(
        {
            "text": TextEncoder(vocabulary, 8, 1, 2, max_length=length),
            "candidate": EntityEncoder(entities, 4),
            "relation": EntityEncoder(relations, 4),
        }
    )
    objectives = {"masked_lm": MaskedLM(8, vocabulary), "links": LinkPrediction(TransE(), entity="candidate")}
    return Learner(network, objectives)


UNFIT = {
    "vocabulary": (linked, {"vocabulary": 40}, "text.ids reaches 100", "tokenizer.json", "network.encoders.text ends at 40"),
    "length": (linked, {"length": 100}, "text.length reaches 128", "max_length", "network.encoders.text ends at 100"),
    "entities": (linked, {"entities": 8}, "candidate.ids reaches 9", "graph", "network.encoders.candidate ends at 8"),
    "entities of questions": (questions, {"entities": 8}, "candidate.ids reaches 9", "graph", "network.encoders.candidate ends at 8"),
    "entities of triples": (triples, {"entities": 8}, "triple.head reaches 9", "graph", "objectives.links ends at 8"),
    "relations": (triples, {"relations": 4}, "triple.relation reaches 5", "graph", "objectives.links ends at 4"),
    "vocabulary of captions": (captions, {"vocabulary": 40}, "text.ids reaches 100", "tokenizer.json", "network.encoders.text ends at 40"),
    "vocabulary of types": (typed, {"vocabulary": 40}, "text.ids reaches 100", "tokenizer.json", "network.encoders.text ends at 40"),
}


@pytest.mark.parametrize(("read", "small", "given", "of", "expected"), UNFIT.values(), ids=UNFIT)
def test_a_table_that_is_too_small(
    read: Callable[[Path], Any], small: dict[str, int], given: str, of: str, expected: str, good: Path
) -> None:
    reaches = read(good).reaches
    check_reach(learner(), "data.sources.x", reaches)
    with pytest.raises(ValueError, match=r"data\.sources\.x: ") as raised:
        check_reach(learner(**small), "data.sources.x", reaches)
    assert all(part in str(raised.value) for part in (given, of, expected)), raised.value


MASKING = TokenMasking(4, 101)
HEADS: dict[str, tuple[Callable[[], Objective], str]] = {
    "smaller": (lambda: MaskedLM(8, 40), "vocab_size is 40, expected 100, the vocab_size of model.network.encoders.text"),
    "larger": (lambda: MaskedLM(8, 101), "vocab_size is 101, expected 100, the vocab_size of model.network.encoders.text"),
    "random words": (lambda: MaskedLM(8, 100, MASKING), "masking.vocab_size is 101, expected at most 100, the vocab_size of "),
    "random words of a matrix": (lambda: MaskedLM(8, 50, MASKING, tied=False), "masking.vocab_size is 101, expected at most 100"),
    "causal": (lambda: CausalLM(8, 99), "vocab_size is 99, expected 100, the vocab_size of model.network.encoders.text"),
    "another input": (lambda: MaskedLM(8, 100, text="words"), "text is 'words', expected one of the network's inputs ['text']"),
}


@pytest.mark.parametrize(("make", "message"), HEADS.values(), ids=HEADS)
def test_a_head_of_another_vocabulary(make: Callable[[], Objective], message: str) -> None:
    network = FusionModel({"text": TextEncoder(100, 8, 1, 2)})
    with pytest.raises(ValueError, match=r"^model\.objectives\.it: ") as raised:
        Learner(network, {"it": make()})
    assert message in str(raised.value)
    for right in (MaskedLM(8, 100, TokenMasking(4, 100)), MaskedLM(8, 50, tied=False), CausalLM(8, 100), CausalLM(8, 50, tied=False)):
        Learner(network, {"it": right})


@pytest.mark.parametrize("head", [MaskedLM(8, 50, tied=False), CausalLM(8, 50, tied=False)], ids=lambda head: type(head).__name__)
def test_a_matrix_smaller_than_the_vocabulary(head: Objective, good: Path) -> None:
    made = Learner(FusionModel({"text": TextEncoder(100, 8, 1, 2)}), {"it": head})
    with pytest.raises(ValueError, match=r"x: text\.ids reaches 100 .*tokenizer\.json\), but model\.objectives\.it ends at 50"):
        check_reach(made, "x", linked(good).reaches)


LISTS: dict[str, tuple[Callable[[Path], Source], Callable[[Path], Objective], str]] = {
    "answers": (
        questions,
        lambda folder: VQA(8, folder / "short.json"),
        r"answer\.scores counts in the 10 entries of \S+answers.json, but model\.objectives\.it in the 5 of \S+short.json, "
        r"expected the same: entry 6 is 'Blueland City' there and None here",
    ),
    "types": (
        typed,
        lambda folder: Typing(8, folder / "other_labels.json"),
        r"types counts in the 1 entries of \S+typing_labels.json, .* entry 1 is 'country' there and 'city' here",
    ),
    "relations": (
        related,
        lambda folder: RelationTask(8, folder / "other_labels.json", null=""),
        r"label counts in the 1 entries of \S+relation_labels.json, .* entry 1 is 'near' there and 'city' here",
    ),
}


@pytest.mark.parametrize(("read", "make", "message"), LISTS.values(), ids=LISTS)
def test_a_head_of_another_list(read: Callable[[Path], Source], make: Callable[[Path], Objective], message: str, world: Path) -> None:
    source = read(world)
    (world / "other_labels.json").write_text(json.dumps([{"label": "city"}, {"label": "near"}]))
    network = FusionModel({"text": TextEncoder(100, 8, 1, 2)})
    with pytest.raises(ValueError, match=rf"^data\.sources\.x: {message}$"):
        check_lists(Learner(network, {"it": make(world)}), "data.sources.x", source.lists)
    (listed,) = source.lists.values()
    for name in ("short.json", "other_labels.json"):
        shutil.copy(listed.path, world / name)
    check_lists(Learner(network, {"it": make(world)}), "data.sources.x", source.lists)
    check_lists(Learner(network, {"it": make(world)}), "data.sources.x", {})


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"candidate": 8, "relation": 5}, r"fusions\[0\], FactAttention, reads 9 rows .* 'candidate', which has 8"),
        ({"candidate": 9, "relation": 4}, r"fusions\[0\], FactAttention, reads 5 rows .* 'relation', which has 4"),
        ({"candidate": 9}, r"fusions\[0\], FactAttention, reads the table of 'relation', but the inputs are \['candidate', 'text'\]"),
    ],
)
def test_a_graph_that_is_larger_than_a_table(tables: dict[str, int], message: str, good: Path) -> None:
    def build(sizes: dict[str, int]) -> FusionModel:
        facts = FactAttention("fact", ["x"], "q", 8, 4, good / "graph", entity="candidate")
        encoders = {name: EntityEncoder(size, 4) for name, size in sizes.items()}
        return FusionModel({"text": TextEncoder(100, 8, 1, 2), **encoders}, [FusionPoint({"text": 1}, facts)])

    build({"candidate": 9, "relation": 5})
    with pytest.raises(ValueError, match=message):
        build(tables)


def test_a_memory_that_does_not_fit_its_table() -> None:
    memory = MemoryAttention(8, 6, 4)
    with pytest.raises(ValueError, match="MemoryAttention, reads 6 rows"):
        FusionModel({"text": TextEncoder(9, 8, 1, 2), "entity": EntityEncoder(5, 4)}, [FusionPoint({"text": 1}, memory)])
    network = FusionModel({"text": TextEncoder(9, 8, 1, 2), "entity": EntityEncoder(7, 4)}, [FusionPoint({"text": 1}, memory)])
    with pytest.raises(ValueError, match=r"MemoryAttention: there are keys \(7, 4\), and the memory has \(6, 4\)"):
        memory.refresh(network)


# ---- the command line

CONFIG = """\
trainer: {{max_steps: 1, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false, num_sanity_val_steps: 0}}
model:
  network:
    encoders:
      text: {{class_path: kemm.encoders.TextEncoder, init_args: {{vocab_size: 100, dim: 8, depth: 1, heads: 2, max_length: 64}}}}
      image: {{class_path: kemm.encoders.ConvEncoder, init_args: {{widths: [8]}}}}
    fusions:
      - {{at: {{text: 1}}, fusion: {{class_path: kemm.fusion.Feature, init_args: {{stream: text, name: pooled, dim: 8}}}}}}
  objectives:
    vqa: {{class_path: kemm.tasks.VQA, init_args: {{dim: 8, answers: &answers {world}/answers.json, hidden: 8}}}}
    masked_lm:
      class_path: kemm.objectives.MaskedLM
      init_args:
        dim: 8
        vocab_size: 100
        masking: {{class_path: kemm.objectives.TokenMasking, init_args: {{mask_id: 4, vocab_size: 100}}}}
data:
  class_path: kemm.data.Mixture
  init_args:
    batch_size: 4
    steps_per_epoch: 1
    sources:
      captions:
        class_path: kemm.data.Captions
        init_args:
          path: {world}/captions.jsonl
          tokenizer: &tokenizer {world}/tokenizer.json
          images: {{class_path: kemm.data.ImageFiles, init_args: {{folder: {world}/pictures, size: 16, pattern: "{{id}}.png"}}}}
    test:
      asked:
        class_path: kemm.data.Questions
        init_args: {{questions: {world}/questions.json, annotations: {world}/annotations.json, answers: *answers, tokenizer: *tokenizer}}
"""


@pytest.fixture
def config(world: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config over the files of the world, with the results of an earlier run beside it."""
    path = world.parent / "small.yaml"
    path.write_text(CONFIG.format(world=world))
    monkeypatch.chdir(world.parent)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("KEMM_TRACEBACK", raising=False)
    earlier = world.parent / "runs" / "small"
    earlier.mkdir(parents=True)
    for name in ("report.html", "metrics.json", "training.json"):
        (earlier / name).write_text("of an earlier run")
    return path


SMALLER = "--model.network.encoders.text.init_args.vocab_size=40"
HEAD = "--model.objectives.masked_lm.init_args."
SHORT = "--model.objectives.vqa.init_args.answers=world/short.json"
LINES = {
    "a row": (
        Q,
        entry("questions", 3, question=""),
        ["test"],
        "questions.json: questions[3]: empty: 'question' is '', expected a text that is not",
    ),
    "a file": (A, None, ["fit"], "annotations.json: no such file, expected a JSON file of VQA annotations"),
    "a picture at use": ("pictures/1000.png", cut(0.7), ["fit"], "pictures/1000.png: cannot be decoded as an image"),
    "a table": (
        Q,
        lambda x: x,
        ["fit", SMALLER, f"{HEAD}vocab_size=40", f"{HEAD}masking.init_args.vocab_size=40"],
        "data.sources.captions: text.ids reaches ",
    ),
    "a head": (Q, lambda x: x, ["fit", SMALLER], "model.objectives.masked_lm: vocab_size is 100, expected 40, the vocab_size of model.net"),
    "a list": ("short.json", lambda x: x, ["fit", SHORT], "data.test.asked: answer.scores counts in the 10 entries of "),
    "weights": (
        "weights.pt",
        cut(0.5),
        ["fit", "--model.pretrained=[{into: '', path: world/weights.pt}]"],
        "weights.pt: cannot be read as a",
    ),
    "a checkpoint": ("other.pt", cut(0.5), ["test", "--ckpt_path=world/other.pt"], "world/other.pt: cannot be read as a checkpoint"),
    "bare weights": ("weights.pt", lambda x: x, ["test", "--ckpt_path=world/weights.pt"], "weights.pt: holds no 'state_dict', exp"),
    "a checkpoint of others": (
        "other.pt",
        saved({"state_dict": {}}),
        ["test", "--ckpt_path=world/other.pt"],
        "'pytorch-lightning_version'",
    ),
    "another architecture": ("other.pt", lambda x: x, ["test", "--ckpt_path=world/other.pt"], "world/other.pt: its weights do not fit"),
}


@pytest.mark.parametrize(("file", "damage", "call", "message"), LINES.values(), ids=LINES)
def test_one_line_and_status_1(
    file: str, damage: Damage | None, call: list[str], message: str, config: Path, world: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = world / file
    path.write_bytes(damage(path.read_bytes())) if damage else path.unlink()
    results = [found for found in contents(world.parent / "runs").items() if "earlier" in found[1].decode(errors="replace")]
    status = main([call[0], "--config", str(config), *call[1:]])
    lines = capfd.readouterr().err.strip().splitlines()
    assert status == 1
    assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0], lines
    assert len(results) == 3 and all((after := contents(world.parent / "runs"))[name] == content for name, content in results)
    assert not [name for name in after if name.endswith((".ckpt", ".tmp"))]


def test_skipped_rows_are_shown(config: Path, world: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for file, damage in ((Q, entry("questions", 3, question="")), (A, entry("annotations", 5, answers=NINE))):
        (world / file).write_bytes(damage((world / file).read_bytes()))
    skip = "--data.init_args.test.asked.init_args.on_bad=skip"
    assert main(["test", "--config", str(config), skip]) == 0
    assert "data.test.asked: 2 bad rows were skipped: 1 answers, 1 empty\n" in capfd.readouterr().out
    folder = world.parent / "runs" / "small"
    assert json.loads((folder / "metrics.json").read_text())["skipped"] == {"test.asked": {"answers": 1, "empty": 1}}
    assert "bad rows, skipped" in (folder / "report.html").read_text()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["a row", "another architecture"])
def test_the_real_command(name: str, config: Path, world: Path) -> None:
    file, damage, call, message = LINES[name]
    assert damage is not None
    (world / file).write_bytes(damage((world / file).read_bytes()))
    command = [sys.executable, str(ROOT / "train.py"), call[0], "--config", str(config), *call[1:]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=world.parent, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr


def test_an_error_of_a_worker_is_one_line(world: Path) -> None:
    """What torch makes of an error in a process that prepares batches."""
    caught: list[Exception] = []
    for path, image in ((world / "pictures" / "1000.png", 1000), (world / "pictures", 7)):
        if path.is_file():
            path.write_bytes(b"x")
        try:
            ImageFiles(world / "pictures", pattern="{id}.png").batch([image], 0)
        except (ValueError, FileNotFoundError):
            wrapped = ExceptionWrapper(where="in DataLoader worker process 0")
        with pytest.raises((ValueError, FileNotFoundError)) as raised:
            wrapped.reraise()
        caught.append(raised.value)
    assert all(_explains_itself(error) for error in caught)
    assert _one_line(caught[0]).startswith(f"{world}/pictures/1000.png: cannot be decoded as an image")
    assert _one_line(caught[1]) == f"{world}/pictures/7.png: no such image"
    try:
        int("x")
    except ValueError:
        wrapped = ExceptionWrapper(where="in DataLoader worker process 0")
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        wrapped.reraise()
    assert not _explains_itself(raised.value), "a fault of the program keeps its traceback"
