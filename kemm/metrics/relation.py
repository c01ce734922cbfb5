"""Relation classification: the TACRED scorer's micro F1 (Zhang et al. 2017), macro F1 over relations, accuracy (FewRel)."""

from typing import NamedTuple

import torch
from torch import Tensor

from kemm.metrics.f1 import F1, f1_from_counts, ratio


class RelationCounts(NamedTuple):
    """Right predictions, predictions and gold labels of each relation, (R,) int64; counts of two sets of examples add up."""

    correct: Tensor
    predicted: Tensor
    gold: Tensor


def relation_counts(predicted: Tensor, gold: Tensor, num_relations: int) -> RelationCounts:
    """Counts of one batch.

    Args:
        predicted: (N,) relation indices.
        gold: (N,) relation indices.
        num_relations: R.
    """
    if predicted.shape != gold.shape:
        raise ValueError(f"predicted is {tuple(predicted.shape)} and gold is {tuple(gold.shape)}, expected the same (examples,)")
    for name, index in (("predicted", predicted), ("gold", gold)):
        if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < num_relations:
            raise ValueError(f"{name} holds relations from {int(index.min())} to {int(index.max())}, expected 0 to {num_relations - 1}")
    return RelationCounts(*(torch.bincount(index, minlength=num_relations) for index in (gold[predicted == gold], predicted, gold)))


def relation_scores(counts: RelationCounts, null: int | None = 0, empty_precision: float = 1.0) -> dict[str, float]:
    """Scores in [0, 1].

    Args:
        counts: From `relation_counts`.
        null: Index of "no relation": neither predicting it nor missing it counts in `precision`, `recall` and `f1`; accuracy and the macro
            average, which runs over the relations that occur among predictions or gold labels, treat it like any other. None: there is no
            such relation.
        empty_precision: Precision where no relation is predicted: 1 in the TACRED scorer, 0 in ERNIE's and LUKE's own.
    """
    rows = torch.stack(counts).T.tolist()  # R times [correct, predicted, gold]
    real = [row for index, row in enumerate(rows) if index != null]
    correct, predicted, gold = (sum(row[i] for row in real) for i in range(3))
    micro = f1_from_counts(correct, predicted, gold, empty_precision)
    each = [f1_from_counts(*row) for row in rows if row[1] or row[2]]
    macro = F1(*(ratio(sum(values), len(each)) for values in zip(*each, strict=True))) if each else F1(0.0, 0.0, 0.0)
    return {
        "accuracy": ratio(sum(row[0] for row in rows), sum(row[2] for row in rows)),
        "precision": micro.precision,
        "recall": micro.recall,
        "f1": micro.f1,
        "macro_precision": macro.precision,
        "macro_recall": macro.recall,
        "macro_f1": macro.f1,
    }
