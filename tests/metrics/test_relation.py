"""Relation classification without a null relation, and bad labels (the published scorers' numbers: tests/parity)."""

import pytest
import torch

from kemm.metrics import relation_counts, relation_scores


def test_without_a_null_relation_micro_f1_is_accuracy() -> None:
    scores = relation_scores(relation_counts(torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 1, 2]), 3), null=None)
    assert scores["precision"] == scores["recall"] == scores["f1"] == scores["accuracy"] == 0.75


def test_errors() -> None:
    with pytest.raises(ValueError, match="gold holds relations from 0 to 3, expected 0 to 2"):
        relation_counts(torch.tensor([0, 1]), torch.tensor([0, 3]), 3)
    with pytest.raises(ValueError, match="expected the same"):
        relation_counts(torch.tensor([0, 1]), torch.tensor([0]), 3)
    assert set(relation_scores(relation_counts(torch.tensor([], dtype=torch.long), torch.tensor([], dtype=torch.long), 3)).values()) == {
        0.0,
        1.0,
    }
