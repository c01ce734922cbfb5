"""Official VQA accuracy against the numbers of the consortium's own scorer."""

import json
from pathlib import Path
from typing import Any

import pytest

from kemm.metrics import vqa

GOLDEN = Path(__file__).parents[1] / "golden" / "multimodal"
ROWS = json.loads((GOLDEN / "vqa_normalisation.json").read_text(encoding="utf-8"))["rows"]


@pytest.fixture(scope="module")
def accuracy_case() -> dict[str, Any]:
    return json.loads((GOLDEN / "vqa_accuracy.json").read_text(encoding="utf-8"))


def python3(row: dict[str, Any]) -> dict[str, Any]:
    changed = {"softscore_preprocess": row["python3_softscore_preprocess"]} if "python3_softscore_preprocess" in row else {}
    return row | row.get("python3", {}) | changed


@pytest.mark.parametrize("row", [python3(row) for row in ROWS], ids=lambda row: repr(row["raw"])[:40])
def test_normalisation_of_each_golden_answer(row: dict[str, Any]) -> None:
    assert vqa.tidy(row["raw"]) == row["prepared"]
    assert vqa.strip_punctuation(row["prepared"]) == row["punctuation"]
    assert vqa.normalise_answer(row["raw"]) == row["normalised"]
    assert vqa.target_answer(row["raw"]) == row["softscore_preprocess"]


def test_only_the_first_32_stops_go() -> None:
    assert vqa.strip_punctuation("." * 40) == "." * 8


def predictions(case: dict[str, Any]) -> dict[int, str]:
    return {row["question_id"]: row["answer"] for row in case["predictions"]}


@pytest.mark.parametrize(
    ("digits", "overall", "question"), [(2, "python3_accuracy_n2", "per_question_n2"), (6, "accuracy_n6", "per_question_n6")]
)
def test_report_is_the_official_one(accuracy_case: dict[str, Any], digits: int, overall: str, question: str) -> None:
    report = vqa.vqa_report(accuracy_case["annotations"], predictions(accuracy_case), digits)
    expected = accuracy_case[overall]
    assert report.overall == expected["overall"]
    assert report.question_type == expected["perQuestionType"]
    assert report.answer_type == expected["perAnswerType"]
    assert report.question == {int(id): value for id, value in accuracy_case[question].items()}


def test_report_of_a_subset(accuracy_case: dict[str, Any]) -> None:
    subset = accuracy_case["subset"]
    chosen = [annotation for annotation in accuracy_case["annotations"] if annotation["question_id"] in subset["question_ids"]]
    report = vqa.vqa_report(chosen, predictions(accuracy_case))
    expected = subset["accuracy"]
    assert (report.overall, report.question_type, report.answer_type) == (
        expected["overall"],
        expected["perQuestionType"],
        expected["perAnswerType"],
    )


@pytest.mark.parametrize("matches", range(11))
def test_closed_form_for_ten_annotators(matches: int) -> None:
    answers = ["cat"] * matches + [f"other{i}" for i in range(10 - matches)]
    assert vqa.answer_accuracy("cat", answers) == pytest.approx((0, 0.3, 0.6, 0.9, 1)[min(matches, 4)], abs=1e-15)


def test_unanimous_answers_are_compared_raw() -> None:
    assert vqa.answer_accuracy("Yes", ["yes"] * 10) == 0
    assert vqa.answer_accuracy("Yes", ["yes"] * 9 + ["no"]) == 1


@pytest.mark.parametrize("min_occurrence", [2, 4])
def test_vocabulary_and_soft_targets(accuracy_case: dict[str, Any], min_occurrence: int) -> None:
    expected = accuracy_case["softscore"][f"min_occurrence_{min_occurrence}"]
    vocabulary = vqa.answer_vocabulary(accuracy_case["annotations"], min_occurrence)
    assert vocabulary == expected["answers"]
    targets = {row["question_id"]: row["scores"] for row in expected["targets"]}
    for annotation in accuracy_case["annotations"]:
        answers = [answer["answer"] for answer in annotation["answers"]]
        assert vqa.soft_targets(answers, vocabulary, form=str) == targets[annotation["question_id"]]


def test_soft_targets_normalise_unless_told_otherwise() -> None:
    answers = ["Two", "2", "two.", "The two"] + [f"{i}{i}" for i in range(3, 9)]
    assert vqa.soft_targets(answers, ["2"]) == {"2": 1.0}
    assert vqa.soft_targets(answers, ["2"], form=str) == {"2": 0.3}


def test_coverage_is_the_best_choice_from_the_vocabulary() -> None:
    annotations = [
        {"answers": [{"answer": "Red", "answer_id": i} for i in range(6)] + [{"answer": "blue", "answer_id": i} for i in range(6, 10)]},
        {"answers": [{"answer": f"a{i}x", "answer_id": i} for i in range(10)]},
    ]
    assert vqa.vocabulary_coverage(annotations, ["red", "blue"]) == 0.5
    assert vqa.vocabulary_coverage(annotations, ["a3x"]) == pytest.approx(0.15)


def test_errors_say_what_is_missing() -> None:
    with pytest.raises(ValueError, match="question 7 has no prediction"):
        vqa.vqa_report([{"question_id": 7}], {8: "no"})
    with pytest.raises(ValueError, match="no annotation"):
        vqa.vqa_report([], {})
    with pytest.raises(ValueError, match="at least one"):
        vqa.answer_accuracy("no", [])
