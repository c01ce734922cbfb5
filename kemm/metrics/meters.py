"""The metrics as `torchmetrics.Metric`: each adds up counts over batches, and ranks add their counts, so that no example is dropped or
counted twice.

What is counted, and how scores follow from counts, stands in the modules beside this one, which need no torchmetrics.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from kemm.metrics.f1 import f1_from_counts
from kemm.metrics.linking import Link, LinkingCounts, MentionCounts, Unproposed, linking_counts, mention_counts, mention_scores
from kemm.metrics.rankings import Ties, best_positive_ranks, ranks, recall_at
from kemm.metrics.relation import RelationCounts, relation_counts, relation_scores
from kemm.metrics.typing import EmptyPrediction, TypingCounts, predict_types, typing_counts, typing_scores
from kemm.metrics.vqa import annotation_accuracy
from kemm.metrics.zero_shot import class_hits

ACCURACY_UNITS = 7560
"""3 times the least common multiple of 1 to 10: with up to ten annotators every accuracy is a whole number of 1/7560, so that sums are
exact whatever their order and an exact tie in the last decimal rounds the same way on any number of ranks."""


class _Meter(Metric):
    """A metric whose states are sums."""

    full_state_update = False
    higher_is_better = True

    def _count(self, name: str, size: Sequence[int] = (), dtype: torch.dtype = torch.int64) -> None:
        self.add_state(name, torch.zeros(*size, dtype=dtype) if size else torch.zeros((), dtype=dtype), dist_reduce_fx="sum")

    def _add(self, counts: NamedTuple) -> None:
        for name, value in counts._asdict().items():
            setattr(self, name, getattr(self, name) + (value.to(self.device) if isinstance(value, Tensor) else value))

    def _as_tensors(self, scores: Mapping[str, float]) -> dict[str, Tensor]:
        return {name: torch.tensor(value, dtype=torch.float64, device=self.device) for name, value in scores.items()}


class VQAAccuracy(_Meter):
    """Official VQA accuracy in percent (see `kemm.metrics.vqa`), over all questions and per type.

    Args:
        answer_types: Answer types to report apart.
        question_types: Question types to report apart; none by default.
    """

    units: Tensor
    questions: Tensor

    def __init__(self, answer_types: Sequence[str] = ("yes/no", "number", "other"), question_types: Sequence[str] = ()) -> None:
        super().__init__()
        types = [("answer_type", name) for name in answer_types] + [("question_type", name) for name in question_types]
        self.fields = tuple(field for field, names in (("answer_type", answer_types), ("question_type", question_types)) if names)
        self.rows = {key: row for row, key in enumerate(types, start=1)}
        self._count("units", [len(types) + 1])
        self._count("questions", [len(types) + 1])

    def update(self, predictions: Sequence[str], annotations: Sequence[Mapping[str, Any]]) -> None:
        """Adds questions.

        Args:
            predictions: One raw answer per question.
            annotations: The questions' entries of an official annotation file: `answers`, and `answer_type` and `question_type` where these
                are reported.
        """
        rows, units = [], []
        for prediction, annotation in zip(predictions, annotations, strict=True):
            accuracy = round(ACCURACY_UNITS * annotation_accuracy(prediction, annotation))
            for row in [0, *(self._row(field, annotation[field]) for field in self.fields)]:
                rows.append(row)
                units.append(accuracy)
        index = torch.tensor(rows, dtype=torch.int64, device=self.device)
        self.units = self.units.index_add(0, index, torch.tensor(units, dtype=torch.int64, device=self.device))
        self.questions = self.questions.index_add(0, index, torch.ones_like(index))

    def _row(self, field: str, name: str) -> int:
        if (field, name) not in self.rows:
            raise ValueError(f"{field} {name!r} is not among those reported, {[known for key, known in self.rows if key == field]}")
        return self.rows[field, name]

    def compute(self) -> dict[str, Tensor]:
        """`accuracy`, and `answer_type/...` and `question_type/...` for each type that occurred, in percent."""
        percent = 100 * self.units / (ACCURACY_UNITS * self.questions.double())
        names = ["accuracy", *(f"{field}/{name}" for field, name in self.rows)]
        return {name: percent[row] for row, name in enumerate(names) if row == 0 or self.questions[row]}


class TypingF1(_Meter):
    """Strict accuracy, loose macro and loose micro scores of entity typing (see `kemm.metrics.typing`).

    Args:
        always: Predict the best type even where no logit is above 0.
        empty: Whether an example without a prediction is a "zero" of the macro precision or is left out ("skip").
    """

    def __init__(self, always: bool = False, empty: EmptyPrediction = "zero") -> None:
        super().__init__()
        self.always, self.empty = always, empty
        for name in TypingCounts._fields:
            self._count(name, dtype=torch.float64 if name in ("precision", "recall") else torch.int64)

    def update(self, logits: Tensor, gold: Tensor) -> None:
        """Adds examples: `logits` (N, L), `gold` (N, L) bool or 0/1."""
        self._add(typing_counts(predict_types(logits, self.always), gold.bool()))

    def compute(self) -> dict[str, Tensor]:
        """`accuracy`, `macro_*` and `micro_*` precision, recall and f1, in [0, 1]."""
        return self._as_tensors(typing_scores(TypingCounts(*(getattr(self, name) for name in TypingCounts._fields)), self.empty))


class RelationF1(_Meter):
    """Micro F1 without "no relation", macro F1 and accuracy of relation classification (see `kemm.metrics.relation`).

    Args:
        num_relations: R, "no relation" included.
        null: Index of "no relation", or None.
        empty_precision: Precision where no relation is predicted.
    """

    def __init__(self, num_relations: int, null: int | None = 0, empty_precision: float = 1.0) -> None:
        super().__init__()
        self.num_relations, self.null, self.empty_precision = num_relations, null, empty_precision
        for name in RelationCounts._fields:
            self._count(name, [num_relations])

    def update(self, predicted: Tensor, gold: Tensor) -> None:
        """Adds examples: indices `predicted` (N,) and `gold` (N,)."""
        self._add(relation_counts(predicted, gold, self.num_relations))

    def compute(self) -> dict[str, Tensor]:
        """`accuracy`, `precision`, `recall`, `f1` and `macro_*`, in [0, 1]."""
        counts = RelationCounts(*(getattr(self, name) for name in RelationCounts._fields))
        return self._as_tensors(relation_scores(counts, self.null, self.empty_precision))


class LinkingF1(_Meter):
    """Micro F1 over sets of (mention, entity) (see `kemm.metrics.linking`).

    Args:
        unproposed: "keep" counts a gold mention without candidates as missed, "drop" leaves it out.
    """

    def __init__(self, unproposed: Unproposed = "keep") -> None:
        super().__init__()
        self.unproposed = unproposed
        for name in LinkingCounts._fields:
            self._count(name)

    def update(
        self, predicted: Sequence[Iterable[Link]], gold: Sequence[Iterable[Link]], proposed: Sequence[Iterable[Hashable]] = ()
    ) -> None:
        """Adds texts: links predicted and right, and, for "drop", the mentions that have candidates; one entry per text."""
        self._add(linking_counts(predicted, gold, proposed, self.unproposed))

    def compute(self) -> dict[str, Tensor]:
        """`precision`, `recall` and `f1`, in [0, 1]."""
        return self._as_tensors(f1_from_counts(*(getattr(self, name).item() for name in LinkingCounts._fields))._asdict())


class LinkingAccuracy(_Meter):
    """Share of gold mentions that are linked right, and what the candidates allow (see `kemm.metrics.linking`).

    Args:
        null: The entity id that stands for none.
    """

    def __init__(self, null: int = 0) -> None:
        super().__init__()
        self.null = null
        for name in MentionCounts._fields:
            self._count(name)

    def update(self, predicted: Tensor, gold: Tensor, candidates: Tensor) -> None:
        """Adds mentions: `predicted` (..., E), `gold` (..., E) and `candidates` (..., E, C), entity ids."""
        self._add(mention_counts(predicted, gold, candidates, self.null))

    def compute(self) -> dict[str, Tensor]:
        """`accuracy`, `candidate_recall` and `reachable_accuracy`, in [0, 1]."""
        return self._as_tensors(mention_scores(MentionCounts(*(getattr(self, name) for name in MentionCounts._fields))))


class RankingMetrics(_Meter):
    """Mean rank, mean reciprocal rank and Hits@k.

    Args:
        hits: The k of each Hits@k.
    """

    rank_sum: Tensor
    reciprocal_sum: Tensor
    hit_sums: Tensor
    total: Tensor

    def __init__(self, hits: Sequence[int] = (1, 3, 10)) -> None:
        super().__init__()
        self.hits = tuple(hits)
        self._count("rank_sum", dtype=torch.float64)
        self._count("reciprocal_sum", dtype=torch.float64)
        self._count("hit_sums", [len(self.hits)])
        self._count("total")

    def update(self, ranks: Tensor) -> None:
        """Adds ranks (N,), as `kemm.metrics.ranks` and `kemm.kg.rank_links` give them."""
        ranks = ranks.to(self.device, torch.float64)
        self.rank_sum = self.rank_sum + ranks.sum()
        self.reciprocal_sum = self.reciprocal_sum + ranks.reciprocal().sum()
        self.hit_sums = self.hit_sums + (ranks[:, None] <= ranks.new_tensor(self.hits)).sum(0)
        self.total = self.total + len(ranks)

    def compute(self) -> dict[str, Tensor]:
        """`mean_rank`, `mrr` and `hits@k`."""
        hits = {f"hits@{k}": value / self.total.double() for k, value in zip(self.hits, self.hit_sums, strict=True)}
        return {"mean_rank": self.rank_sum / self.total, "mrr": self.reciprocal_sum / self.total} | hits


class Recall(_Meter):
    """Retrieval with several right answers per query: `recall@k`, the share of queries with a right answer among the k best (what
    image-text retrieval calls R@k), and `true_recall@k`, the mean share of a query's right answers among them.

    Args:
        top: The k of each.
        ties: What an equal score counts.
    """

    found: Tensor
    shares: Tensor
    total: Tensor

    def __init__(self, top: Sequence[int] = (1, 5, 10), ties: Ties = "realistic") -> None:
        super().__init__()
        self.top, self.ties = tuple(top), ties
        self._count("found", [len(self.top)])
        self._count("shares", [len(self.top)], torch.float64)
        self._count("total")

    def update(self, scores: Tensor, positives: Tensor) -> None:
        """Adds queries: `scores` (N, L) against the whole gallery, `positives` (N, L) bool."""
        place = best_positive_ranks(scores, positives, self.ties)
        self.found = self.found + (place[:, None] <= place.new_tensor(self.top)).sum(0)
        self.shares = self.shares + torch.stack([recall_at(scores, positives, k, self.ties).sum() for k in self.top])
        self.total = self.total + len(scores)

    def compute(self) -> dict[str, Tensor]:
        """`recall@k` and `true_recall@k`, in [0, 1]."""
        recall = {f"recall@{k}": value / self.total.double() for k, value in zip(self.top, self.found, strict=True)}
        return recall | {f"true_recall@{k}": value / self.total for k, value in zip(self.top, self.shares, strict=True)}


class ZeroShotAccuracy(_Meter):
    """`acc@k` and the mean recall over classes of zero-shot (or any) classification.

    Args:
        num_classes: C.
        top: The k of each accuracy.
        ties: What an equal score counts.
    """

    hit_sums: Tensor
    right: Tensor
    total: Tensor

    def __init__(self, num_classes: int, top: Sequence[int] = (1, 5), ties: Ties = "realistic") -> None:
        super().__init__()
        self.num_classes, self.top, self.ties = num_classes, tuple(top), ties
        self._count("hit_sums", [len(self.top)])
        self._count("right", [num_classes])
        self._count("total", [num_classes])

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Adds examples: `logits` (N, C), `labels` (N,)."""
        place = ranks(logits, labels, ties=self.ties)
        right, total = class_hits(logits, labels, self.num_classes)
        self.hit_sums = self.hit_sums + (place[:, None] <= place.new_tensor(self.top)).sum(0)
        self.right, self.total = self.right + right, self.total + total

    def compute(self) -> dict[str, Tensor]:
        """`acc@k` and `mean_class_recall`, in [0, 1]."""
        seen = self.total > 0
        accuracy = {f"acc@{k}": value / self.total.sum().double() for k, value in zip(self.top, self.hit_sums, strict=True)}
        return accuracy | {"mean_class_recall": (self.right[seen].double() / self.total[seen]).mean()}
