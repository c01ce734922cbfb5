"""Zero-shot classification against CLIP_benchmark and open_clip."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from kemm.metrics import ZeroShotAccuracy, class_vectors, classification_scores

GOLDEN = Path(__file__).parents[1] / "golden" / "multimodal"


def test_golden_case() -> None:
    case = load_file(GOLDEN / "zero_shot_classification.safetensors")
    expected = json.loads((GOLDEN / "zero_shot_classification.json").read_text())["metrics"]
    classes = class_vectors(case["inputs/text_features"])
    logits = 100 * F.normalize(case["inputs/image_features"], dim=-1) @ classes.T
    torch.testing.assert_close(classes.T, case["outputs/classifier"], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(logits, case["outputs/logits"], rtol=1e-5, atol=1e-5)

    scores = classification_scores(logits, case["inputs/labels"])
    assert scores["acc@1"] == expected["acc1"]
    assert scores["acc@5"] == expected["acc5"]
    assert scores["mean_class_recall"] == pytest.approx(expected["mean_per_class_recall"], rel=1e-15)

    metric = ZeroShotAccuracy(num_classes=9)
    for rows in torch.arange(40).split(7):
        metric.update(logits[rows], case["inputs/labels"][rows])
    assert {name: float(value) for name, value in metric.compute().items()} == pytest.approx(scores, rel=1e-15)


def test_classes_that_do_not_occur_have_no_recall() -> None:
    logits = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert classification_scores(logits, torch.tensor([0, 1, 1]), top=[2])["mean_class_recall"] == 0.75
