"""Official VQA accuracy: its closed form, its oddities, its errors (the consortium's own numbers: tests/parity)."""

import pytest

from kemm.metrics import vqa


def test_only_the_first_32_stops_go() -> None:
    assert vqa.strip_punctuation("." * 40) == "." * 8


@pytest.mark.parametrize("matches", range(11))
def test_closed_form_for_ten_annotators(matches: int) -> None:
    answers = ["cat"] * matches + [f"other{i}" for i in range(10 - matches)]
    assert vqa.answer_accuracy("cat", answers) == pytest.approx((0, 0.3, 0.6, 0.9, 1)[min(matches, 4)], abs=1e-15)


def test_unanimous_answers_are_compared_raw() -> None:
    assert vqa.answer_accuracy("Yes", ["yes"] * 10) == 0
    assert vqa.answer_accuracy("Yes", ["yes"] * 9 + ["no"]) == 1


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
