"""Entity typing: strict accuracy, loose macro and loose micro F1 (Ling and Weld 2012), in the variants of the published scorers.

With P the predicted and G the gold types of an example:

    strict        share of examples with P = G
    loose macro   precision = mean of |P and G| / |P|,   recall = mean of |P and G| / |G|
    loose micro   precision = sum |P and G| / sum |P|,   recall = sum |P and G| / sum |G|

The macro means differ where P (or G) is empty: ERNIE, K-Adapter and KnowBERT count such an example as 0 ("zero"); CoLAKE and Ultra-Fine
Entity Typing (Choi et al. 2018) leave it out of the mean ("skip"). Where nothing at all is predicted or right, each score is 0.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from kemm.metrics.f1 import f1_from_counts, harmonic, ratio

EmptyPrediction = Literal["zero", "skip"]


def predict_types(logits: Tensor, always: bool = False) -> Tensor:
    """Types (N, L) bool that are predicted: logits above 0.

    Args:
        logits: (N, L).
        always: Also predict the best type of each row (all of them where several are best), so that no row is empty: ERNIE's rule for
            FIGER.
    """
    predicted = logits > 0
    return predicted | (logits == logits.amax(1, keepdim=True)) if always else predicted


class TypingCounts(NamedTuple):
    """Sums over examples from which every variant follows; sums of two sets of examples add up."""

    examples: Tensor
    exact: Tensor
    overlap: Tensor
    predicted: Tensor
    gold: Tensor
    precision: Tensor
    recall: Tensor
    with_prediction: Tensor
    with_gold: Tensor


def typing_counts(predicted: Tensor, gold: Tensor) -> TypingCounts:
    """Counts of one batch.

    Args:
        predicted: (N, L) bool.
        gold: (N, L) bool.
    """
    if predicted.shape != gold.shape:
        raise ValueError(f"predicted is {tuple(predicted.shape)} and gold is {tuple(gold.shape)}, expected the same (examples, types)")
    overlap, p, g = (predicted & gold).sum(1), predicted.sum(1), gold.sum(1)
    return TypingCounts(
        examples=torch.tensor(len(gold), device=gold.device),
        exact=(predicted == gold).all(1).sum(),
        overlap=overlap.sum(),
        predicted=p.sum(),
        gold=g.sum(),
        precision=(overlap.double() / p.clamp(min=1)).sum(),
        recall=(overlap.double() / g.clamp(min=1)).sum(),
        with_prediction=(p > 0).sum(),
        with_gold=(g > 0).sum(),
    )


def typing_scores(counts: TypingCounts, empty: EmptyPrediction = "zero") -> dict[str, float]:
    """Strict accuracy (`accuracy`), `macro_*` and `micro_*` precision, recall and F1, each in [0, 1].

    Args:
        counts: From `typing_counts`.
        empty: What an example without a prediction (without a gold type) is to the macro precision (recall).
    """
    if empty not in ("zero", "skip"):
        raise ValueError(f"empty is {empty!r}, expected 'zero' or 'skip'")
    examples, exact, overlap, predicted, gold, precision_sum, recall_sum, with_prediction, with_gold = (value.item() for value in counts)
    micro = f1_from_counts(overlap, predicted, gold)
    precision = ratio(precision_sum, examples if empty == "zero" else with_prediction)
    recall = ratio(recall_sum, examples if empty == "zero" else with_gold)
    return {
        "accuracy": ratio(exact, examples),
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": harmonic(precision, recall),
        "micro_precision": micro.precision,
        "micro_recall": micro.recall,
        "micro_f1": micro.f1,
    }
