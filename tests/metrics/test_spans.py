"""Named entities as spans and tags (LUKE's own numbers: tests/parity)."""

import pytest
import torch

from kemm.metrics import choose_spans, span_f1, spans_of_tags, tags_of_spans

LABELS = ["none", "PER", "LOC"]


def test_the_surest_spans_win_and_do_not_overlap() -> None:
    spans = [(0, 1), (0, 2), (1, 3), (3, 4), (4, 5)]
    logits = torch.tensor([[0.0, 1.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 4.0], [9.0, 1.0, 1.0], [0.0, 0.0, 0.5]])
    assert choose_spans(spans, logits, LABELS) == [(0, 1, "PER"), (1, 3, "LOC"), (4, 5, "LOC")]
    assert choose_spans([], torch.zeros(0, 3), LABELS) == []
    tied = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert choose_spans([(0, 2), (1, 3)], tied, LABELS) == [(0, 2, "PER")]


def test_tags() -> None:
    assert spans_of_tags(["I-PER", "I-PER", "B-PER", "O", "I-LOC", "I-PER"]) == [(0, 2, "PER"), (2, 3, "PER"), (4, 5, "LOC"), (5, 6, "PER")]
    spans = [(0, 2, "PER"), (2, 3, "PER"), (4, 5, "LOC")]
    tags = tags_of_spans(spans, 6)
    assert tags == ["B-PER", "I-PER", "B-PER", "O", "B-LOC", "O"]
    assert spans_of_tags(tags) == spans


def test_words_and_label_must_be_right() -> None:
    gold = [[(0, 2, "PER"), (3, 4, "LOC")], [(0, 1, "LOC")]]
    predicted = [[(0, 2, "LOC"), (3, 4, "LOC")], []]
    assert span_f1(predicted, gold) == pytest.approx((1 / 2, 1 / 3, 0.4))
    assert span_f1([[]], [[]]) == (0.0, 0.0, 0.0)
