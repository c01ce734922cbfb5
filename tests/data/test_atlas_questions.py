"""The data sets of the Atlas: official format, splits, answers, mentions, held-out facts, and the proof that nothing leaks."""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kemm.data.atlas import MANIFEST, build, image_country, is_built
from kemm.data.facts import LINKED, Facts, answer_counts, hold_out
from kemm.data.flags import FlagDrawer
from kemm.data.leaks import leaks
from kemm.data.mentions import AliasMatcher
from kemm.data.questions import SPLITS
from kemm.data.visual import Sight, sights
from kemm.data.wordings import LISTS, Wordings
from kemm.kg import read_graph
from kemm.metrics.vqa import answer_accuracy

ATLAS = Path(__file__).resolve().parents[2] / "data" / "atlas"
EVALUATED = {"tune": "tune", "val_unseen": "unseen"}
pytestmark = pytest.mark.timeout(240)


class Built:
    """What `build` wrote, read once."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.facts = Facts(read_graph(ATLAS)[0])
        self.countries = list(yaml.safe_load((ATLAS / "flags.yaml").read_text(encoding="utf-8"))["flags"])
        self.questions = {split: self.json(f"{split}_questions.json") for split in SPLITS}
        self.annotations = {split: self.json(f"{split}_annotations.json") for split in SPLITS}
        self.mentions = {split: self.lines(f"{split}_mentions.jsonl") for split in SPLITS}
        self.held = self.json("held_out.json")

    def json(self, name: str) -> Any:
        return json.loads((self.out / name).read_text(encoding="utf-8"))

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / name).read_text(encoding="utf-8").splitlines()]

    def rows(self, split: str) -> Iterator[tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]]:
        asked, answered = self.questions[split]["questions"], self.annotations[split]["annotations"]
        for question, annotation, mentions in zip(asked, answered, self.mentions[split], strict=True):
            assert question["question_id"] == annotation["question_id"] == mentions["question_id"]
            yield question, annotation, mentions["mentions"]


@pytest.fixture(scope="module")
def built() -> Built:
    return Built(build(ATLAS))


# ---- building


def test_building_is_deterministic_and_skipped_when_up_to_date(built: Built, tmp_path: Path) -> None:
    again = build(ATLAS, tmp_path / "again")
    names = sorted([*json.loads((built.out / MANIFEST).read_text())["files"], MANIFEST])  # other preparations write beside them
    assert sorted(path.name for path in again.iterdir()) == names
    for name in names:
        assert (again / name).read_bytes() == (built.out / name).read_bytes(), name
    stamps = {path.name: path.stat().st_mtime_ns for path in again.iterdir()}
    build(ATLAS, again)
    assert {path.name: path.stat().st_mtime_ns for path in again.iterdir()} == stamps
    assert is_built(ATLAS, again) and not is_built(ATLAS, again, seed=1)
    (again / "answers.json").write_text("[]", encoding="utf-8")
    assert not is_built(ATLAS, again)
    assert [path.name for path in tmp_path.iterdir()] == ["again"], "nothing half-written is left"


def test_a_broken_source_writes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "atlas"
    shutil.copytree(ATLAS, folder, ignore=shutil.ignore_patterns("build", "__pycache__"))
    path = folder / "passages" / "africa.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("[[", "[[x", 1), encoding="utf-8")
    with pytest.raises(ValueError, match=r"africa\.txt:\d+: column \d+: the id 'x"):
        build(folder)
    assert not (folder / "build" / MANIFEST).exists() and not list(folder.glob(".build*"))
    path.unlink()
    for other in (folder / "passages").glob("*.txt"):
        other.unlink()
    with pytest.raises(FileNotFoundError, match=r"passages/\*\.txt"):
        build(folder)


# ---- format and answers


@pytest.mark.parametrize("split", SPLITS)
def test_the_format_is_official(built: Built, split: str) -> None:
    for document, part in ((built.questions[split], "questions"), (built.annotations[split], "annotations")):
        assert {"info", "license", "data_type", "data_subtype", part} <= document.keys() and document["data_type"] == "atlas"
    ids, pictures = set(), set()
    for question, annotation, _ in built.rows(split):
        assert set(question) == {"image_id", "question", "question_id"} and question["image_id"] == annotation["image_id"]
        assert question["image_id"] % 1000 in SPLITS[split] and question["image_id"] // 1000 < len(built.countries)
        assert question["question"][0].isupper() and question["question"][-1] in "?." and "{" not in question["question"]
        assert [answer["answer_id"] for answer in annotation["answers"]] == list(range(1, 11))
        given = Counter(answer["answer"] for answer in annotation["answers"])
        assert given[annotation["multiple_choice_answer"]] == max(given.values())
        assert annotation["answer_type"] in ("yes/no", "number", "other")
        if split != "train":
            assert answer_accuracy(annotation["multiple_choice_answer"], [answer["answer"] for answer in annotation["answers"]]) == 1.0
        ids.add(question["question_id"])
        pictures.add((question["image_id"], question["question"]))
    assert len(ids) == len(pictures) == len(built.questions[split]["questions"])


def test_sizes_and_kinds(built: Built) -> None:
    sizes = {split: len(built.questions[split]["questions"]) for split in SPLITS}
    assert 21_000 <= sizes["train"] <= 23_000 and 1_300 <= sizes["tune"] <= 1_700
    assert all(1_500 <= sizes[split] <= 2_500 for split in ("val_seen", "val_unseen", "val_wordings"))
    kinds = {split: {row["kind"] for row in built.annotations[split]["annotations"]} for split in SPLITS}
    everything = {"visual", "recognition", "one_hop", "two_hop", "yes_no", "comparison"}
    assert kinds["train"] == kinds["val_seen"] == kinds["val_wordings"] == everything
    assert kinds["tune"] == kinds["val_unseen"] == everything - {"visual", "recognition"}
    variants = [set(SPLITS[split]) for split in SPLITS]
    assert sum(map(len, variants)) == len(set().union(*variants)), "no two splits show the same picture"


def test_answers_are_true(built: Built) -> None:
    """Each answer is worked out again from the graph."""
    facts = built.facts
    for split in SPLITS:
        for question, row, mentions in built.rows(split):
            country = image_country(question["image_id"], built.countries)
            gold = next((mention["entity"] for mention in mentions if mention["entity"] not in (None, "organization:united-nations")), "")
            if row["kind"] == "yes_no" and row["relation"] == "member_of":
                (gold,) = [mention["entity"] for mention in mentions if mention["entity"]]
            answers = {row["entities"].get(answer["answer"], answer["answer"]) for answer in row["answers"]}
            what, where = row["relation"], (question["question"], country)
            if row["kind"] == "recognition":
                assert answers == {country}, where
            elif row["kind"] == "one_hop":
                assert answers == set(facts.answers(country, what)), where
            elif row["kind"] == "yes_no":
                assert answers == {"yes" if gold in facts.tails(country, what) else "no"}, where
            elif row["kind"] == "comparison":
                assert answers == {"yes" if set(facts.tails(country, what)) & set(facts.tails(gold, what)) else "no"}, where
            elif row["kind"] == "two_hop" and what.startswith("capital_"):
                (owner,) = facts.heads("capital", gold)
                assert answers == set(facts.answers(owner, what.removeprefix("capital_"))) and country != owner, where
            elif row["kind"] == "two_hop":
                relation = what.removeprefix("neighbour_")
                assert answers == {near for near in facts.tails(country, "borders") if gold in facts.tails(near, relation)}, where
                assert len(answers) == 1, where


def test_statements_are_balanced_in_each_wording(built: Built) -> None:
    for split in SPLITS:
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for row in built.annotations[split]["annotations"]:
            if row["answer_type"] == "yes/no":
                counts[row["wording"]][row["multiple_choice_answer"]] += 1
        for wording, given in counts.items():
            assert abs(given["yes"] - given["no"]) <= max(1, 0.1 * sum(given.values())), (split, wording, given)


def test_the_vocabulary_covers_every_answer(built: Built) -> None:
    answers = built.json("answers.json")
    assert len({(row["answer"], row["entity"]) for row in answers}) == len(answers)
    known = {row["answer"] for row in answers}
    for split in SPLITS:
        assert {answer["answer"] for row in built.annotations[split]["annotations"] for answer in row["answers"]} <= known
    for row in answers:
        assert row["entity"] is None or row["answer"] == built.facts.names[row["entity"]] or row["entity"].startswith("colour:")


def test_annotators() -> None:
    assert [list(answer_counts(number)) for number in (1, 2, 3, 4)] == [[10], [5, 5], [4, 3, 3], [3, 3, 2, 2]]
    assert all(sum(answer_counts(number)) == 10 for number in range(1, 11))


# ---- splits


def test_evaluation_rests_on_held_out_pairs_and_training_on_none(built: Built) -> None:
    held = {split: {tuple(pair) for pair in pairs} for split, pairs in built.held.items()}
    assert not held["unseen"] & held["tune"]
    for split, name in EVALUATED.items():
        for question, row, _ in built.rows(split):
            pairs = {tuple(pair) for pair in row["pairs"]}
            assert pairs & held[name], question
            assert not pairs & held["tune" if name == "unseen" else "unseen"], question
            assert {tuple(pair) for pair in row["held_out"]} == pairs & held[name], question
            # The pair that gives the answer is the first one.
            assert row["kind"] == "comparison" or tuple(row["pairs"][0]) in held[name], question
    for split in ("train", "val_seen", "val_wordings"):
        for row in built.annotations[split]["annotations"]:
            assert not row["held_out"] and not {tuple(pair) for pair in row["pairs"]} & (held["unseen"] | held["tune"])
    asked = {tuple(pair) for row in built.annotations["train"]["annotations"] if row["kind"] == "one_hop" for pair in row["pairs"]}
    for split in ("val_seen", "val_wordings"):
        for row in built.annotations[split]["annotations"]:
            if row["kind"] == "one_hop":
                assert {tuple(pair) for pair in row["pairs"]} <= asked
    pairs = sum(
        bool(built.facts.answers(country, relation)) for country in built.countries for relation in {pair[1] for pair in held["unseen"]}
    )
    assert 0.10 < len(held["unseen"]) / pairs < 0.15


def test_wordings_that_are_kept_for_evaluation(built: Built) -> None:
    used = {split: {row["wording"] for row in built.annotations[split]["annotations"]} for split in SPLITS}
    assert all("/unseen/" in wording for wording in used["val_wordings"])
    assert not any("/unseen/" in wording for split in set(SPLITS) - {"val_wordings"} for wording in used[split])


def test_links_are_held_out_from_everything(built: Built) -> None:
    parts = {
        part: [tuple(line.split("\t")) for line in (built.out / f"links_{part}.tsv").read_text().splitlines()]
        for part in ("train", "valid", "test")
    }
    everything = [triple for part in parts.values() for triple in part]
    assert sorted(everything) == sorted(built.facts.triples)
    held = {*parts["valid"], *parts["test"]}
    assert {triple[1] for triple in held} == set(LINKED) and len(held) >= 150
    for part in ("valid", "test"):
        mirrored = {(tail, relation, head) for head, relation, tail in parts[part] if relation == "borders"}
        assert mirrored <= set(parts[part])
    trained = {(triple[0], triple[1]) for triple in parts["train"]}, {(triple[2], triple[1]) for triple in parts["train"]}
    assert all((head, relation) in trained[0] and (tail, relation) in trained[1] for head, relation, tail in held)
    touched = {(triple[0], triple[1]) for triple in held}
    for split in SPLITS:
        for row in built.annotations[split]["annotations"]:
            if row["kind"] != "yes_no":
                assert not {tuple(pair) for pair in row["pairs"]} & touched


def test_another_seed_holds_out_other_facts(built: Built) -> None:
    first, second = hold_out(built.facts, 0), hold_out(built.facts, 1)
    assert first.pairs != second.pairs and first.links["test"] != second.links["test"]
    assert {split: sorted(map(list, pairs)) for split, pairs in first.pairs.items()} == built.held


# ---- mentions and wordings


def test_mentions_are_exact_and_hold_their_entity(built: Built) -> None:
    for split in SPLITS:
        for question, row, mentions in built.rows(split):
            ends = 0
            for mention in mentions:
                assert question["question"][mention["start"] : mention["end"]] == mention["surface"] and mention["start"] >= ends
                ends = mention["end"]
                assert mention["entity"] in [entity for entity, _ in mention["candidates"]], (question, mention)
                assert sum(prior for _, prior in mention["candidates"]) == pytest.approx(1, abs=1e-4)
            if row["kind"] in ("two_hop", "yes_no", "comparison"):
                assert len(mentions) == 1, question


def test_wordings_are_many_and_hold_no_names(built: Built) -> None:
    wordings, matcher = Wordings(ATLAS / "wordings.yaml"), AliasMatcher(built.facts.graph)
    seen: set[str] = set()
    for kind, what in wordings.groups:
        texts = [wording.text for part in LISTS for wording in wordings.of(kind, what, part)]
        assert not seen & set(texts)
        seen |= set(texts)
        if kind != "visual":
            assert len(texts) >= 14 and len(wordings.of(kind, what, "unseen")) >= 3, (kind, what)
        for text in texts:
            named = [mention.candidates[0][0] for mention in matcher.find(text)]
            assert named in ([], ["organization:united-nations"] if what == "member_of" else []), (text, named)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one_hop: {capital: {asked: ['What {entity}?'], unseen: ['Where?']}}", "one_hop: capital: asked: expected 0 slot"),
        ("yes_no: {capital: {asked: ['What?'], unseen: ['Is {entity}?']}}", "yes_no: capital: asked: expected 1 slot"),
        ("one_hop: {capital: {asked: ['What?'], unseen: ['What?']}}", "'What\\?' is given twice"),
        ("one_hop: {capital: {asked: ['What?']}}", "expected a mapping with the lists"),
        ("one_hop: {capital: {asked: [], unseen: ['What?']}}", "asked: expected a list of wordings"),
        ("[1, 2]", "expected a mapping from kinds"),
        ("{", "expected a readable YAML file"),
    ],
)
def test_bad_wordings(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "wordings.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        Wordings(tmp_path / "wordings.yaml")


def test_what_is_seen_on_known_flags() -> None:
    drawer = FlagDrawer(ATLAS / "flags.yaml")

    def seen(country: str) -> dict[str, str]:
        return {sight.what: sight.answer for sight in sights(drawer, f"country:{country}") if not sight.entity}

    france = {"colour_left": "blue", "colour_middle": "white", "colour_right": "red", "count_stripes": "3", "direction": "vertical"}
    assert france.items() <= seen("france").items()
    germany = {"colour_top": "black", "colour_middle": "red", "colour_bottom": "yellow", "direction": "horizontal", "has_star": "no"}
    assert germany.items() <= seen("germany").items()
    assert seen("japan")["shape_middle"] == "circle" and seen("japan")["colour_background"] == "white"
    assert seen("china")["count_stars"] == "5" and seen("turkiye")["has_crescent"] == "yes" and seen("denmark")["has_cross"] == "yes"
    assert seen("sudan")["shape_hoist"] == "triangle" and seen("new-zealand")["count_stars"] == "4"
    assert "has_star" not in seen("israel") and "count_stripes" not in seen("kenya")
    assert Sight("has_colour", "yes", "colour:green") in sights(drawer, "country:ireland")
    assert Sight("has_colour", "no", "colour:green") in sights(drawer, "country:poland")


# ---- leaks


def test_nothing_leaks(built: Built) -> None:
    assert leaks(ATLAS, built.out) == []


def test_planted_leaks_are_found(built: Built, tmp_path: Path) -> None:
    """One leak of each sort, planted in a copy."""
    out = tmp_path / "build"
    shutil.copytree(built.out, out)
    facts, country = built.facts, next(pair[0] for pair in built.held["unseen"] if pair[1] == "highest_point")
    (peak,) = facts.tails(country, "highest_point")
    place = built.countries.index(country)

    def plant(question: str, kind: str, answer: str) -> None:
        asked, answered = json.loads((out / "train_questions.json").read_text()), json.loads((out / "train_annotations.json").read_text())
        number = 900_000 + len(asked["questions"])
        asked["questions"].append({"image_id": 1000 * place, "question": question, "question_id": number})
        answers = [{"answer": answer, "answer_confidence": "yes", "answer_id": index} for index in range(1, 11)]
        row = {"question_id": number, "image_id": 1000 * place, "answers": answers, "kind": kind, "relation": "highest_point"}
        answered["annotations"].append(row | {"entities": {}, "pairs": [], "held_out": []})
        (out / "train_questions.json").write_text(json.dumps(asked), encoding="utf-8")
        (out / "train_annotations.json").write_text(json.dumps(answered), encoding="utf-8")

    def append(name: str, line: str) -> None:
        with (out / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    plant("Which summit is the tallest here, by the way?", "one_hop", facts.names[peak])
    plant(f"So {facts.names[peak]} towers over this country?", "yes_no", "yes")
    plant("Is the moon the top of this land?", "yes_no", "no")
    row = {"kind": "sentence", "text": f"{facts.names[peak]} is its crown.", "passage": "x", "entity": country, "mentions": []}
    append("train_text.jsonl", json.dumps(row))
    link = (out / "links_test.tsv").read_text(encoding="utf-8").splitlines()[0]
    append("links_train.tsv", link)
    found = leaks(ATLAS, out)
    for text in ("by the way?", "towers over", "the moon", "is its crown", f"the held-out link {link!r}"):
        assert any(text in message for message in found), (text, found)
    assert all(country in message for message in found if "train question" in message)
