"""Exact match and token F1 of SQuAD and ReCoRD (the published scorers' numbers: tests/parity)."""

import pytest

from kemm.metrics import bare_answer, record_scores, squad_scores, token_f1


def test_normal_form() -> None:
    assert bare_answer(" The U.S. (an ally),  of a Co-op ") == "us ally of coop"
    assert bare_answer("Athens theatre") == "athens theatre"


def test_words_are_shared_as_often_as_both_have_them() -> None:
    assert token_f1("new york new", "New York, New Jersey") == pytest.approx(2 * 3 / (3 + 4))
    assert token_f1("paris paris", "paris") == pytest.approx(2 / 3)
    assert token_f1("the", "a") == 0


def test_the_best_answer_counts() -> None:
    assert squad_scores("york", ["New York", "the York"]) == {"exact": 1.0, "f1": 1.0}
    assert squad_scores("old york", ["New York", "Leeds"]) == {"exact": 0.0, "f1": 0.5}


def test_no_answer() -> None:
    assert squad_scores("", []) == squad_scores("the", ["a"]) == {"exact": 1.0, "f1": 1.0}
    assert squad_scores("york", []) == {"exact": 0.0, "f1": 0.0}
    assert record_scores("the", ["a"]) == {"exact": 1.0, "f1": 0.0}
    with pytest.raises(ValueError, match="answers is empty"):
        record_scores("york", [])
