"""Entity typing where something is empty (the published scorers' numbers: tests/parity)."""

import pytest
import torch

from kemm.metrics import typing_counts, typing_scores


def test_skipping_empty_predictions() -> None:
    predicted = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 0, 0]]).bool()
    gold = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 0]]).bool()
    zero, skip = (typing_scores(typing_counts(predicted, gold), empty) for empty in ("zero", "skip"))  # type: ignore[arg-type]
    assert zero["macro_precision"] == pytest.approx((0.5 + 0 + 0) / 3)
    assert zero["macro_recall"] == pytest.approx((1 + 0 + 0) / 3)
    assert skip["macro_precision"] == pytest.approx((0.5 + 0) / 2)
    assert skip["macro_recall"] == pytest.approx((1 + 0) / 2)
    assert skip["micro_f1"] == zero["micro_f1"] == pytest.approx(2 * (1 / 3) * (1 / 3) / (2 / 3))


def test_nothing_predicted_and_nothing_right() -> None:
    empty = torch.zeros(2, 3, dtype=torch.bool)
    assert typing_scores(typing_counts(empty, empty)) | {"accuracy": 0.0} == dict.fromkeys(typing_scores(typing_counts(empty, empty)), 0.0)
    with pytest.raises(ValueError, match="'mean'"):
        typing_scores(typing_counts(empty, empty), "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(2, 3\) and gold is \(2, 2\)"):
        typing_counts(empty, empty[:, :2])
