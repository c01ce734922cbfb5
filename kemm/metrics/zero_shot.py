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


def average_precisions(scores: Tensor, labels: Tensor) -> Tensor:
    """Average precision (C,) of each class over images that may show several: the mean, over the images that show the class, of the
    share of such images among those that score as well or better. 0 for a class that no image shows.

    Equal scores stand in the order of the images, as in CLIP_benchmark.

    Args:
        scores: (N, C), higher is likelier.
        labels: (N, C) bool or 0/1.
    """
    order = torch.sort(scores, dim=0, descending=True, stable=True).indices
    shown = labels.gather(0, order).double()  # (N, C), the likeliest image of each class first
    place = torch.arange(1, len(scores) + 1, device=scores.device)[:, None]
    return (shown * shown.cumsum(0) / place).sum(0) / shown.sum(0).clamp(min=1)
