"""Relation classification against the TACRED scorer and the systems' own."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kemm.metrics import RelationF1, relation_counts, relation_scores

CASES = json.loads((Path(__file__).parents[1] / "golden" / "knowledge" / "metric_relation.json").read_text())["cases"]


def counts_of(case: dict[str, Any]) -> Any:
    index = {label: i for i, label in enumerate(case["labels"])}
    predicted, gold = (torch.tensor([index[label] for label in case[name]], dtype=torch.long) for name in ("predicted", "gold"))
    metric = RelationF1(len(index))
    for rows in torch.arange(len(gold)).split(11):
        metric.update(predicted[rows], gold[rows])
    counts = relation_counts(predicted, gold, len(index))
    assert {name: float(value) for name, value in metric.compute().items()} == relation_scores(counts)
    return counts


@pytest.mark.parametrize("number", range(len(CASES)))
def test_golden_case(number: int) -> None:
    expected = CASES[number]["expected"]
    counts = counts_of(CASES[number])
    official, zero = relation_scores(counts), relation_scores(counts, empty_precision=0.0)
    for name in ("tacred_scorer", "kadapter_micro_f1_tacred"):
        assert [official[key] for key in ("precision", "recall", "f1")] == expected[name]
    assert [zero[key] for key in ("accuracy", "precision", "recall", "f1")] == list(expected["ernie_eval_result"].values())
    if "error" not in expected["luke"]:
        assert {key: zero[key] for key in expected["luke"]} == expected["luke"]
    assert [zero[key] for key in ("precision", "recall", "f1")] == pytest.approx(expected["knowbert_microf1"], abs=1e-12)
    assert official["accuracy"] == expected["fewrel_accuracy"]
    macro = expected["colake_macro_sklearn"]
    assert [official[f"macro_{key}"] for key in ("precision", "recall", "f1")] == pytest.approx(
        [macro["precision"], macro["recall"], macro["f_score"]], rel=1e-14
    )


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
