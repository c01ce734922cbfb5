"""Builds the data sets of the Atlas from its sources: graph, flags, passages, wordings.

What is built is described in `data/atlas/README.md`. Building is deterministic, takes seconds, and is skipped while its manifest is up to
date.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kemm.data.bases import Bases
from kemm.data.facts import ASKED, Facts, hold_out
from kemm.data.flags import FlagDrawer
from kemm.data.frames import Frames, read_demonyms
from kemm.data.lock import alone
from kemm.data.mentions import AliasMatcher
from kemm.data.passage_sets import PARTS, Sieve, linked_row, linking_set, relation_set, training_sentences, typing_set
from kemm.data.passages import count_senses, read_passages, split_passages
from kemm.data.questions import SPLITS, Asker, Question, answer_list
from kemm.data.tokens import TextReader, train_tokenizer
from kemm.data.wordings import Wordings
from kemm.kg import read_graph, write_passages

VERSION = 8
"""Goes up whenever the same sources give other files."""
PASSAGE_LENGTH = 128
"""Longer passages are cut, in tokens, where a retriever reads them."""
VOCABULARY = 6000
"""Most ids of the tokenizer, which is trained on the training questions and text and on the names of the graph."""
COUNTRIES = "graph/countries.tsv"
FRAMED = 3000
"""Passages that are made of sentence frames."""
SOURCES = ("entities.jsonl", "relations.jsonl", "triples.tsv", "flags.yaml", "wordings.yaml", COUNTRIES)
MANIFEST = "manifest.json"
FIRST_ID = {split: 1 + place * 1_000_000 for place, split in enumerate(SPLITS)}
"""Question ids: 1, 2, ... for training, 1000001, ... for the next split, and so on."""


def image_country(image_id: int, countries: list[str]) -> str:
    """The country of a picture: image id = 1000 * place of the country in `flags.yaml` + variant."""
    return countries[image_id // 1000]


def build(folder: Path, out: Path | None = None, seed: int = 0) -> Path:
    """Builds everything. Of several processes one builds, and the others wait for it; what a killed one left behind is removed.

    Args:
        folder: With the sources: `entities.jsonl`, `relations.jsonl`, `triples.tsv`, `flags.yaml`, `wordings.yaml`, `passages/*.txt`,
            `frames/*.txt`, `graph/countries.tsv`.
        out: Where the files go; `build` in the folder by default.
        seed: Of all random choices.

    Returns:
        The folder of the files.

    Raises:
        ValueError: A source that is broken: file, line or key, what was given and expected. Nothing is written then.
    """
    folder = Path(folder)
    out = Path(out) if out is not None else folder / "build"
    manifest = _manifest(folder, seed)
    if _is_current(out, manifest):
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    with alone(out.parent / f".{out.name}.lock") as held:
        if held:
            for left in out.parent.glob(f".{out.name}.*/"):  # of builds that were killed, since nobody else builds
                shutil.rmtree(left, ignore_errors=True)
        if not _is_current(out, manifest):  # another process may have built while this one waited
            _fill(out, folder, seed, manifest)
    return out


def _fill(out: Path, folder: Path, seed: int, manifest: dict[str, Any]) -> None:
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        _build(folder, work, seed)
        manifest["files"] = {path.name: path.stat().st_size for path in sorted(work.iterdir())}
        _write_json(work / MANIFEST, manifest)
        out.mkdir(exist_ok=True)
        (out / MANIFEST).unlink(missing_ok=True)
        for path in sorted(work.iterdir(), key=lambda path: path.name == MANIFEST):
            os.replace(path, out / path.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def is_built(folder: Path, out: Path | None = None, seed: int = 0) -> bool:
    """Whether `build` has nothing to do (its arguments are the same)."""
    return _is_current(out or folder / "build", _manifest(folder, seed))


def _manifest(folder: Path, seed: int) -> dict[str, Any]:
    return {"version": VERSION, "seed": seed, "sources": _hashes(folder)}


def _hashes(folder: Path) -> dict[str, str]:
    texts = {name: sorted((folder / name).glob("*.txt")) for name in ("frames", "passages")}
    paths = [folder / name for name in SOURCES] + [path for files in texts.values() for path in files]
    missing = [str(path) for path in paths if not path.is_file()] + [str(folder / name / "*.txt") for name in texts if not texts[name]]
    if missing:
        raise FileNotFoundError(f"sources of the Atlas are missing: {', '.join(missing)}")
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _is_current(out: Path, manifest: Mapping[str, Any]) -> bool:
    try:
        known = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        sizes = {name: (out / name).stat().st_size for name in known["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(known == {**manifest, "files": sizes})


def _build(folder: Path, work: Path, seed: int) -> None:
    graph, _ = read_graph(folder)
    facts, drawer, wordings = Facts(graph), FlagDrawer(folder / "flags.yaml"), Wordings(folder / "wordings.yaml")
    passages = split_passages(read_passages(sorted((folder / "passages").glob("*.txt")), graph.entity_index), seed)
    matcher = AliasMatcher(graph, count_senses([passage for passage in passages if passage.split == "train"], graph))
    held = hold_out(facts, seed)
    bases = {split: Bases(facts, drawer, held, split, seed) for split in ("train", "unseen", "tune")}
    asker = Asker(facts, bases, wordings, matcher, drawer.countries, seed)
    asked = asker.ask()

    annotations: dict[str, list[dict[str, Any]]] = {}
    for split, questions in asked.items():
        rows = [asker.rows(question, number, held) for number, question in enumerate(questions, FIRST_ID[split])]
        annotations[split] = [annotation for _, annotation, _ in rows]
        _write_questions(work, split, [question for question, _, _ in rows], annotations[split])
        _write_lines(work / f"{split}_mentions.jsonl", (mentions for _, _, mentions in rows))
    answers = answer_list(annotations["train"], facts, ASKED)
    _write_json(work / "answers.json", answers)

    _write_lines(work / "passages.jsonl", (passage.row() for passage in passages))
    sieve = Sieve(matcher, {frozenset((head, tail)) for head, _, tail in held.secret})
    sentences = training_sentences(passages, sieve)
    training_text = [*sentences, *_captions(asker, "asked", SPLITS["train"])]
    _write_lines(work / "train_text.jsonl", training_text)
    names = [surface for entity in graph.entities for surface in entity.surfaces]
    texts = [*(question.text for question in asked["train"]), *(row["text"] for row in training_text), *names]
    train_tokenizer(texts, work / "tokenizer.json", VOCABULARY)
    _write_lines(work / "val_captions.jsonl", _captions(asker, "unseen", SPLITS["val_seen"]))
    _write_passages(work / "passages.safetensors", linking_set(passages, "train", sieve, matcher), work / "tokenizer.json")
    for part in PARTS:
        _write_json(work / f"typing_{part}.json", typing_set(passages, part, sieve, facts))
        _write_json(work / f"relation_{part}.json", relation_set(passages, part, sieve, facts))
        _write_lines(work / f"linking_{part}.jsonl", linking_set(passages, part, sieve, matcher))
    frames = Frames(sorted((folder / "frames").glob("*.txt")), facts, read_demonyms(folder / COUNTRIES))
    _write_lines(work / "linking_frames.jsonl", (linked_row(passage, matcher) for passage in frames.passages(FRAMED, sieve, seed)))

    for part, triples in held.links.items():
        (work / f"links_{part}.tsv").write_text("".join("\t".join(triple) + "\n" for triple in triples), encoding="utf-8", newline="\n")
    _write_json(work / "held_out.json", {split: sorted(map(list, pairs)) for split, pairs in held.pairs.items()})
    _write_json(work / "coverage.json", _coverage(asked, annotations, answers), indent=1)


def _write_passages(path: Path, rows: list[dict[str, Any]], tokenizer: Path) -> None:
    """The passages of `linking_train.jsonl`, row by row, as the tokens that a retriever reads; see `Passages`."""
    tokens = TextReader(tokenizer, PASSAGE_LENGTH)([row["text"] for row in rows])
    write_passages(path, tokens.ids, tokens.mask, [row["id"] for row in rows], tokenizer.read_text(encoding="utf-8"))


def _captions(asker: Asker, part: str, variants: range) -> list[dict[str, Any]]:
    """One caption of each wording for each country, each of another picture."""
    rows = []
    for country in asker.countries:
        article, surface = asker.surface(country, None)
        for place, wording in enumerate(asker.wordings.of("caption", "country", part)):
            text, (start, end) = wording.fill(surface, article)
            image = 1000 * asker.places[country] + variants[place * len(variants) // 20]
            mentions = [{"start": start, "end": end, "entity": country}]
            rows.append({"kind": "caption", "text": text, "image_id": image, "entity": country, "mentions": mentions})
    return rows


def _write_questions(work: Path, split: str, questions: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> None:
    head = {
        "info": {"description": "Questions about flags and the countries that fly them", "version": str(VERSION), "contributor": "kemm"},
        "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        "data_type": "atlas",
        "data_subtype": split,
    }
    _write_json(work / f"{split}_questions.json", {**head, "task_type": "Open-Ended", "questions": questions})
    _write_json(work / f"{split}_annotations.json", {**head, "annotations": annotations})


def _coverage(
    asked: Mapping[str, list[Question]], annotations: Mapping[str, list[dict[str, Any]]], answers: list[dict[str, Any]]
) -> dict[str, Any]:
    """What the splits hold: questions of each kind and relation, how many different ones, and how many answers the vocabulary has."""
    vocabulary = {row["answer"] for row in answers}
    report: dict[str, Any] = {}
    for split, questions in asked.items():
        counts = Counter((question.base.kind, question.base.what) for question in questions)
        different = Counter((base.kind, base.what) for base in dict.fromkeys(question.base for question in questions))
        usual = [annotation["multiple_choice_answer"] for annotation in annotations[split]]
        report[split] = {
            "questions": len(questions),
            "answers_in_vocabulary": sum(answer in vocabulary for answer in usual),
            "groups": {
                f"{kind}/{what}": {"questions": counts[kind, what], "different": different[kind, what]} for kind, what in sorted(counts)
            },
        }
    return {"answers": len(answers), "different_answers": len(vocabulary), **report}


def _write_json(path: Path, document: object, indent: int | None = None) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8", newline="\n")


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", newline="\n")
