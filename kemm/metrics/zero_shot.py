"""Zero-shot classification: class vectors from prompts (Radford et al. 2021, section 3.1.4) and the accuracies that are reported for it."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kemm.metrics.f1 import ratio
from kemm.metrics.rankings import Ties, ranks


def class_vectors(text_features: Tensor) -> Tensor:
    """One unit vector per class from the text features of its prompts: normalise each prompt, average, normalise.

    Args:
        text_features: (C, T, D) of C classes and T prompt templates.

    Returns:
        (C, D).
    """
    return F.normalize(F.normalize(text_features, dim=-1).mean(1), dim=-1)


def class_hits(logits: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Right predictions and examples of each class.

    Args:
        logits: (N, C); the first of equal maxima is the prediction.
        labels: (N,) class of each row.
        num_classes: C.

    Returns:
        Two (C,) int64 tensors.
    """
    right = labels[logits.argmax(1) == labels]
    return torch.bincount(right, minlength=num_classes), torch.bincount(labels, minlength=num_classes)


def classification_scores(logits: Tensor, labels: Tensor, top: Sequence[int] = (1, 5), ties: Ties = "realistic") -> dict[str, float]:
    """`acc@k` for each k of `top`, and `mean_class_recall` over the classes that occur in `labels`.

    Args:
        logits: (N, C).
        labels: (N,).
        top: The k of each accuracy.
        ties: What an equal score counts in the ranks behind `acc@k`.
    """
    place = ranks(logits, labels, ties=ties)
    right, total = class_hits(logits, labels, logits.shape[1])
    occurring = total > 0
    recall = (right[occurring].double() / total[occurring]).sum()
    return {f"acc@{k}": float((place <= k).double().mean()) for k in top} | {
        "mean_class_recall": ratio(float(recall), float(occurring.sum()))
    }
