"""A published model with the classifier of a task above it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from kemm.checkpoint import learner_from_config, load_state
from kemm.convert.knowbert import knowbert

CASE = Path(__file__).parents[1] / "golden" / "knowledge" / "knowbert_one_kg.safetensors"


def checkpoint(parts: int) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """A fine-tuned KnowBERT as its code saves it, and what its keys cannot tell."""
    state = {f"model.{key.removeprefix('weights/')}": x for key, x in load_file(CASE).items() if key.startswith("weights/")}
    words = state["model.pretrained_bert.bert.embeddings.word_embeddings.weight"]
    graph = next(key for key in state if "_soldered_kg." in key).split("_soldered_kg.")[0].removeprefix("model.")
    head = {"classifier.weight": torch.randn(5, parts * words.shape[1]), "classifier.bias": torch.randn(5)}
    return state | head, {"soldered": {graph: 0}, "heads": 2, "kg_heads": {graph: 2}}


@pytest.mark.parametrize(("parts", "marked", "multi_label"), [(1, 0, False), (2, 2, False), (2, 1, True), (3, 2, True)])
def test_the_classifier_comes_with_its_knowbert(parts: int, marked: int, multi_label: bool) -> None:
    state, options = checkpoint(parts)
    converted = knowbert(state, **options, marked=marked, multi_label=multi_label)
    learner = learner_from_config(converted.config)
    load_state(learner, converted.state)
    assert type(learner.objectives["classification"]).__name__ == "MultiLabel" * multi_label + "Place" * bool(marked) + "Classification"
    assert torch.equal(learner.state_dict()["objectives.classification.classifier.weight"], state["classifier.weight"])


def test_a_classifier_of_another_width_is_refused() -> None:
    state, options = checkpoint(3)
    with pytest.raises(ValueError, match="for each of 0 marked words"):
        knowbert(state, **options)
