"""What a language model knows: the rank of the right word at a mask (LAMA, Petroni et al. 2019, section 4.5; facebookresearch/LAMA:
lama/evaluation_metrics.py)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from kemm.metrics.f1 import ratio


class ClozeScores(NamedTuple):
    """One question's scores.

    Attributes:
        best: The best words, the likeliest first, as ids of the vocabulary.
        reciprocal_rank: 1 / rank of the right word, 0 where it is not among the best.
        hit: Whether it is the very best (P@1).
        hit_at: Whether it is among the first `at`.
        log_likelihood: Its log-probability, None where it is not in the vocabulary.
    """

    best: list[int]
    reciprocal_rank: float
    hit: bool
    hit_at: bool
    log_likelihood: float | None


def cloze_scores(log_probs: Tensor, answer: int | None, words: Sequence[int] = (), top: int = 10_000, at: int = 10) -> ClozeScores:
    """Scores of one question; of a phrase of several masks, LAMA scores the first.

    Args:
        log_probs: (N,) log-probabilities at the mask, of the words.
        answer: Id of the right word; None if the vocabulary lacks it, which nothing can answer.
        words: The ids of the N words, where the vocabulary was restricted to what all compared models know; all of it by default.
        top: How many words are ranked.
        at: The k of the second precision.

    Raises:
        ValueError: The right word is not among the words.
    """
    ids = list(words) or list(range(len(log_probs)))
    if answer is not None and answer not in ids:
        raise ValueError(f"the right word {answer} is not among the {len(ids)} words that can be answered")
    best = [ids[place] for place in log_probs.topk(min(top, len(ids))).indices.tolist()]
    rank = best.index(answer) + 1 if answer in best else 0
    likelihood = None if answer is None else float(log_probs[ids.index(answer)])
    return ClozeScores(best, 1 / rank if rank else 0.0, rank == 1, 0 < rank <= at, likelihood)


def mean_over_relations(values: Mapping[str, Iterable[float]]) -> float:
    """The mean of the relations' means, whatever the number of their questions: how LAMA reports a corpus.

    Args:
        values: Relation -> one number for each question, such as `hit`.
    """
    means = [ratio(sum(listed), len(listed)) for listed in map(list, values.values())]
    return ratio(sum(means), len(means))
