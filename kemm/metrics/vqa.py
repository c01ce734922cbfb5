"""The official accuracy of visual question answering (VQA v2), answer for answer.

The numbers are those of ``vqaEval.py`` of the VQA consortium (github.com/GT-Vision-Lab/VQA) under Python 3, oddities included: a comma
between two digits changes how every sign is treated, only the first 32 full stops are removed, and unanimous questions are compared
unnormalised. The soft targets for training are those of ``compute_softscore.py`` (github.com/hengyuan-hu/bottom-up-attention-vqa).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

SIGNS = ';/[]"{}()=+\\_-><@`,?!'
ARTICLES = frozenset({"a", "an", "the"})
COUNTED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: str(value) for value, word in enumerate(COUNTED)} | {"none": "0"}
DIGIT_COMMA_DIGIT = re.compile(r"\d,\d")
# The scorer means to spare the stops inside numbers, but its look-behind is misspelt and never matches: only a digit after the stop
# protects it.
STOP = re.compile(r"\.(?!\d)")
# The scorer passes re.UNICODE where re.sub expects the number of replacements.
MOST_STOPS = int(re.UNICODE)

# Each form is recognised with any one of its apostrophes left out. Answers are lower case by then, so forms with a capital I never apply.
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's how'd how'll
    how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't
    she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd
    something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've
    we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's
    won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
CONTRACTIONS = {form[:i] + form[i + 1 :]: form for form in _CONTRACTED.split() for i, letter in enumerate(form) if letter == "'"} | {
    "somebody'd": "somebodyd"
}


def tidy(answer: str) -> str:
    """Replaces line breaks and tabs by spaces and strips: the scorer's first step, applied to every answer."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


def strip_punctuation(answer: str) -> str:
    """Deletes a sign that touches a space (or any sign, once the answer has a comma between digits), turns other signs into spaces, drops
    full stops."""
    joined = DIGIT_COMMA_DIGIT.search(answer) is not None
    stripped = answer
    for sign in SIGNS:
        touches = f"{sign} " in answer or f" {sign}" in answer
        stripped = stripped.replace(sign, "" if touches or joined else " ")
    return STOP.sub("", stripped, count=MOST_STOPS)


def strip_articles(answer: str) -> str:
    """Lower-cases, writes number words as digits, drops articles and puts missing apostrophes back."""
    words = [NUMBERS.get(word, word) for word in answer.lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def normalise_answer(answer: str) -> str:
    """The scorer's normal form of an answer: `tidy`, `strip_punctuation`, `strip_articles`."""
    return strip_articles(strip_punctuation(tidy(answer)))


def answer_accuracy(prediction: str, answers: Sequence[str], keys: Sequence[Any] = ()) -> float:
    """Accuracy of one prediction: the mean over the annotators of min(1, matches among the others / 3).

    With ten annotators and n matches this is 0, .3, .6, .9 and 1 from four on. Normalisation applies only where the annotators disagree.

    Args:
        prediction: The predicted answer, raw.
        answers: The annotators' answers, raw; ten in the official data.
        keys: What tells the annotators apart, one per answer; annotators with an equal key and an equal answer are not counted as "others"
            of each other. By default each annotator is one of its own.

    Returns:
        A number in [0, 1].
    """
    if not answers:
        raise ValueError("an accuracy needs at least one annotator's answer, but answers is empty")
    prediction, answers = tidy(prediction), [tidy(answer) for answer in answers]
    if len(set(answers)) > 1:
        prediction, answers = (
            strip_articles(strip_punctuation(prediction)),
            [strip_articles(strip_punctuation(answer)) for answer in answers],
        )
    annotators = list(zip(answers, keys or range(len(answers)), strict=True))
    total = 0.0
    for annotator in annotators:
        matches = sum(other != annotator and other[0] == prediction for other in annotators)
        total += min(1, matches / 3)
    return total / len(annotators)


def annotation_accuracy(prediction: str, annotation: Mapping[str, Any]) -> float:
    """`answer_accuracy` for one entry of an official annotation file; its answers are told apart by all their fields (`answer_id`,
    confidence)."""
    answers = annotation["answers"]
    keys = [tuple(sorted((name, value) for name, value in answer.items() if name != "answer")) for answer in answers]
    return answer_accuracy(prediction, [answer["answer"] for answer in answers], keys)


class VQAReport(NamedTuple):
    """Accuracies in percent, rounded as the official scorer rounds."""

    overall: float
    question_type: dict[str, float]
    answer_type: dict[str, float]
    question: dict[int, float]


def vqa_report(annotations: Iterable[Mapping[str, Any]], predictions: Mapping[int, str], digits: int = 2) -> VQAReport:
    """The official evaluation of a whole result file.

    Args:
        annotations: Entries of the annotation file (`question_id`, `question_type`, `answer_type`, `answers`).
        predictions: Answer by question id; each annotated question needs one, as the official server demands.
        digits: Decimals of the percentages.
    """
    accuracies: dict[int, float] = {}
    by_question_type: defaultdict[str, list[float]] = defaultdict(list)
    by_answer_type: defaultdict[str, list[float]] = defaultdict(list)
    for annotation in annotations:
        question = annotation["question_id"]
        if question not in predictions:
            raise ValueError(f"question {question} has no prediction; there are {len(predictions)} predictions")
        accuracies[question] = annotation_accuracy(predictions[question], annotation)
        by_question_type[annotation["question_type"]].append(accuracies[question])
        by_answer_type[annotation["answer_type"]].append(accuracies[question])
    if not accuracies:
        raise ValueError("there is no annotation to evaluate")

    def percent(values: Collection[float]) -> float:
        return round(100 * sum(values) / len(values), digits)

    return VQAReport(
        overall=percent(accuracies.values()),
        question_type={name: percent(values) for name, values in by_question_type.items()},
        answer_type={name: percent(values) for name, values in by_answer_type.items()},
        question={question: round(100 * accuracy, digits) for question, accuracy in accuracies.items()},
    )


SOFT_SCORES = (0.0, 0.3, 0.6, 0.9, 1.0)
"""Score of an answer that 0, 1, 2, 3, or at least 4 of ten annotators gave: the expected official accuracy."""


def target_answer(answer: str) -> str:
    """The form in which answers enter the vocabulary: normalised without `tidy`, commas removed."""
    return strip_articles(strip_punctuation(answer)).replace(",", "")


def answer_vocabulary(annotations: Iterable[Mapping[str, Any]], min_occurrence: int = 9) -> list[str]:
    """Sorted answers that are the most frequent one of at least `min_occurrence` distinct questions (9 gives the 3,129 answers of VQA
    v2)."""
    questions: defaultdict[str, set[int]] = defaultdict(set)
    for annotation in annotations:
        questions[target_answer(annotation["multiple_choice_answer"])].add(annotation["question_id"])
    return sorted(answer for answer, ids in questions.items() if len(ids) >= min_occurrence)


def soft_targets(answers: Iterable[str], vocabulary: Collection[str], form: Callable[[str], str] = target_answer) -> dict[str, float]:
    """Soft target of one question: score of each vocabulary answer that an annotator gave.

    Args:
        answers: The annotators' answers, raw.
        vocabulary: The answers that a model can give, in the form of `target_answer`.
        form: Maps an annotator's answer to its vocabulary form. `compute_softscore.py` looks the raw answers up, so that "Two" never counts
            for "2"; pass `str` for its numbers.
    """
    counts = Counter(form(answer) for answer in answers)
    return {answer: SOFT_SCORES[min(count, len(SOFT_SCORES) - 1)] for answer, count in counts.items() if answer in vocabulary}


def vocabulary_coverage(annotations: Iterable[Mapping[str, Any]], vocabulary: Collection[str]) -> float:
    """The best official accuracy in [0, 1] that a model can reach which always picks an answer of `vocabulary`."""
    best = []
    for annotation in annotations:
        given = {target_answer(answer["answer"]) for answer in annotation["answers"]} & set(vocabulary)
        best.append(max((annotation_accuracy(answer, annotation) for answer in given), default=0.0))
    if not best:
        raise ValueError("there is no annotation to cover")
    return sum(best) / len(best)
