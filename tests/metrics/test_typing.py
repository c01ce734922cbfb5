"""Entity typing against ERNIE, K-Adapter, LUKE, CoLAKE and KnowBERT on the same data, and against sets."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kemm.metrics import TypingF1, predict_types, typing_counts, typing_scores

CASES = json.loads((Path(__file__).parents[1] / "golden" / "knowledge" / "metric_entity_typing.json").read_text())["cases"]
DIVISION = {"error": "ZeroDivisionError"}


def scores_of(case: dict[str, Any], always: bool = False) -> dict[str, float]:
    metric = TypingF1(always=always)
    logits, labels = torch.tensor(case["logits"], dtype=torch.float64), torch.tensor(case["labels"])
    for rows in torch.arange(len(logits)).split(4):
        metric.update(logits[rows], labels[rows])
    return {name: float(value) for name, value in metric.compute().items()}


def triple(scores: dict[str, float], prefix: str) -> list[float]:
    return [scores[f"{prefix}_{name}"] for name in ("precision", "recall", "f1")]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_golden_case(number: int) -> None:
    case, expected = CASES[number], CASES[number]["expected"]
    logits = torch.tensor(case["logits"], dtype=torch.float64)
    for name, always in (("ernie_open_entity", False), ("ernie_figer", True)):
        assert [row.nonzero()[:, 0].tolist() for row in predict_types(logits, always)] == expected[name]["predicted"]
        scores = scores_of(case, always)
        assert scores["accuracy"] == expected[name]["accuracy"]
        assert triple(scores, "macro") == pytest.approx(expected[name]["macro"], rel=4e-16)
        if expected[name]["micro"] != DIVISION:
            assert triple(scores, "micro") == pytest.approx(expected[name]["micro"], rel=2e-16)

    scores = scores_of(case)
    assert triple(scores, "micro") == pytest.approx(expected["knowbert_micro"], abs=1e-12)  # KnowBERT adds 1e-13 to each denominator
    if expected["kadapter_open_entity"] != DIVISION:
        assert triple(scores, "micro") == pytest.approx(expected["kadapter_open_entity"]["micro"], rel=2e-16)
        assert triple(scores, "macro") == pytest.approx(expected["kadapter_open_entity"]["macro"], rel=4e-16)
    if expected["luke_micro"] != DIVISION:
        assert triple(scores, "micro") == pytest.approx(list(expected["luke_micro"].values()), rel=2e-16)
    if expected["colake_micro"] != DIVISION:
        assert triple(scores, "micro") == pytest.approx([expected["colake_micro"][f"micro_{x}"] for x in "prf"], rel=2e-16)
        assert round(scores["accuracy"], 6) == expected["colake_micro"]["acc"]


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
