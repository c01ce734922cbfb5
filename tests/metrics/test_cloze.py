"""Ranks of words at a mask (LAMA's own numbers: tests/parity)."""

import pytest
import torch

from kemm.metrics import cloze_scores, mean_over_relations

LOG_PROBS = torch.tensor([-3.0, -1.0, -2.0, -4.0])


def test_rank_and_precisions() -> None:
    scores = cloze_scores(LOG_PROBS, 2, at=2)
    assert scores == ([1, 2, 0, 3], 0.5, False, True, -2.0)
    assert cloze_scores(LOG_PROBS, 1, at=2)[1:4] == (1.0, True, True)
    assert cloze_scores(LOG_PROBS, 3, at=3)[1:4] == (0.25, False, False)


def test_restricted_and_cut_lists() -> None:
    assert cloze_scores(LOG_PROBS, 70, words=[50, 60, 70, 80]).best == [60, 70, 50, 80]
    assert cloze_scores(LOG_PROBS, 3, top=3)[:4] == ([1, 2, 0], 0.0, False, False)
    assert cloze_scores(LOG_PROBS, None)[1:] == (0.0, False, False, None)
    with pytest.raises(ValueError, match="the right word 9 is not among the 4 words"):
        cloze_scores(LOG_PROBS, 9)


def test_relations_count_alike_whatever_their_size() -> None:
    assert mean_over_relations({"capital": [True, False, False, False], "currency": [True]}) == pytest.approx((0.25 + 1) / 2)
    assert mean_over_relations({}) == 0
