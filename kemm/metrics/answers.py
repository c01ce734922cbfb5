"""Exact match and token F1 of answers that are stretches of a text: SQuAD (Rajpurkar et al. 2016, section 6.1; version 2 with questions
that have no answer, 2018) and ReCoRD (Zhang et al. 2018), as their official scripts count them."""

import re
import string
from collections import Counter
from collections.abc import Sequence

ARTICLES = re.compile(r"\b(a|an|the)\b")
SIGNS = str.maketrans("", "", string.punctuation)


def bare_answer(answer: str) -> str:
    """The scripts' normal form: small letters, without ASCII punctuation, articles and outer or repeated spaces."""
    return " ".join(ARTICLES.sub(" ", answer.lower().translate(SIGNS)).split())


def token_f1(prediction: str, answer: str) -> float:
    """F1 of the words that two answers share, each as often as it is in both; 0 where they share none."""
    ours, theirs = bare_answer(prediction).split(), bare_answer(answer).split()
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs)) if shared else 0.0


def record_scores(prediction: str, answers: Sequence[str]) -> dict[str, float]:
    """`exact` and `f1` in [0, 1] of one question: against the answer that fits best.

    Args:
        prediction: The predicted answer.
        answers: The right answers, one at least.

    Raises:
        ValueError: There is no right answer.
    """
    if not answers:
        raise ValueError("a question of ReCoRD needs at least one right answer, but answers is empty")
    ours = bare_answer(prediction)
    exact = max(float(bare_answer(answer) == ours) for answer in answers)
    return {"exact": exact, "f1": max(token_f1(prediction, answer) for answer in answers)}


def squad_scores(prediction: str, answers: Sequence[str]) -> dict[str, float]:
    """`exact` and `f1` in [0, 1] of one question of SQuAD 2.

    Args:
        prediction: The predicted answer, "" for none.
        answers: The right answers, none where the question has no answer; those that normalise to nothing do not count, and where none is
            left only an empty prediction is right.
    """
    kept = [answer for answer in answers if bare_answer(answer)]
    if not kept:
        right = float(not bare_answer(prediction))
        return {"exact": right, "f1": right}
    return record_scores(prediction, kept)
