"""Metrics that give the published scorers' numbers exactly: plain functions, and `torchmetrics` classes that add up their counts over
batches and ranks.

Importing torchmetrics takes seconds, so the classes are loaded when first used.
"""

from typing import TYPE_CHECKING, Any

from kemm.metrics.answers import bare_answer, record_scores, squad_scores, token_f1
from kemm.metrics.cloze import ClozeScores, cloze_scores, mean_over_relations
from kemm.metrics.correlation import matthews_correlation, pearson_correlation, spearman_correlation
from kemm.metrics.directed import directed_scores
from kemm.metrics.f1 import F1, f1_from_counts
from kemm.metrics.intervals import Interval, MeanDeviation, bootstrap_interval, mean_deviation, wilson_interval
from kemm.metrics.linking import LinkingCounts, MentionCounts, linking_counts, mention_counts, mention_scores
from kemm.metrics.rankings import best_positive_ranks, ranking_scores, ranks, recall_at, settle_ties
from kemm.metrics.relation import RelationCounts, relation_counts, relation_scores
from kemm.metrics.spans import LabelledSpan, choose_spans, span_f1, spans_of_tags, tags_of_spans
from kemm.metrics.typing import TypingCounts, predict_types, typing_counts, typing_scores
from kemm.metrics.vqa import (
    VQAReport,
    annotation_accuracy,
    answer_accuracy,
    answer_vocabulary,
    normalise_answer,
    soft_targets,
    target_answer,
    vocabulary_coverage,
    vqa_report,
)
from kemm.metrics.zero_shot import average_precisions, class_vectors, classification_scores

if TYPE_CHECKING:
    from kemm.metrics.meters import LinkingAccuracy, LinkingF1, RankingMetrics, Recall, RelationF1, TypingF1, VQAAccuracy, ZeroShotAccuracy

_METERS = ("LinkingAccuracy", "LinkingF1", "RankingMetrics", "Recall", "RelationF1", "TypingF1", "VQAAccuracy", "ZeroShotAccuracy")

__all__ = [
    "F1",
    "ClozeScores",
    "Interval",
    "LabelledSpan",
    "LinkingAccuracy",
    "LinkingCounts",
    "LinkingF1",
    "MeanDeviation",
    "MentionCounts",
    "RankingMetrics",
    "Recall",
    "RelationCounts",
    "RelationF1",
    "TypingCounts",
    "TypingF1",
    "VQAAccuracy",
    "VQAReport",
    "ZeroShotAccuracy",
    "annotation_accuracy",
    "answer_accuracy",
    "answer_vocabulary",
    "average_precisions",
    "bare_answer",
    "best_positive_ranks",
    "bootstrap_interval",
    "choose_spans",
    "class_vectors",
    "classification_scores",
    "cloze_scores",
    "directed_scores",
    "f1_from_counts",
    "linking_counts",
    "matthews_correlation",
    "mean_deviation",
    "mean_over_relations",
    "mention_counts",
    "mention_scores",
    "normalise_answer",
    "pearson_correlation",
    "predict_types",
    "ranking_scores",
    "ranks",
    "recall_at",
    "record_scores",
    "relation_counts",
    "relation_scores",
    "settle_ties",
    "soft_targets",
    "span_f1",
    "spans_of_tags",
    "spearman_correlation",
    "squad_scores",
    "tags_of_spans",
    "target_answer",
    "token_f1",
    "typing_counts",
    "typing_scores",
    "vocabulary_coverage",
    "vqa_report",
    "wilson_interval",
]


def __getattr__(name: str) -> Any:
    if name not in _METERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kemm.metrics import meters

    return getattr(meters, name)
