"""Named entities as spans: LUKE's choice among all spans (arXiv 2010.01057, section 4.3; studio-ousia/luke: examples/legacy/ner/main.py),
tags, and the micro F1 of CoNLL-2003 (Tjong Kim Sang and De Meulder 2003) as seqeval counts it.

A span is (first, end, label) in words, the end exclusive.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from torch import Tensor

from kemm.metrics.f1 import F1, f1_from_counts
from kemm.metrics.linking import linking_counts

LabelledSpan = tuple[int, int, str]
"""First word, end (exclusive), label."""


def choose_spans(spans: Sequence[tuple[int, int]], logits: Tensor, labels: Sequence[str], null: int = 0) -> list[LabelledSpan]:
    """The spans that are entities, from left to right: the surest first, each as long as none of its words is taken.

    Args:
        spans: N candidates (first word, end exclusive).
        logits: (N, labels); how sure a span is, is its highest.
        labels: Names of the labels.
        null: The label of what is no entity.
    """
    sure, best = (values.tolist() for values in logits.max(-1)) if len(spans) else ([], [])
    chosen: list[LabelledSpan] = []
    taken: set[int] = set()
    for i in sorted((i for i in range(len(spans)) if best[i] != null), key=lambda i: -sure[i]):
        first, end = spans[i]
        if taken.isdisjoint(range(first, end)):
            taken.update(range(first, end))
            chosen.append((first, end, labels[best[i]]))
    return sorted(chosen)


def spans_of_tags(tags: Sequence[str]) -> list[LabelledSpan]:
    """The spans of one sentence's tags, in IOB1 or IOB2: one begins at `B-`, after `O` and where the type changes."""
    spans: list[LabelledSpan] = []
    for place, (before, tag) in enumerate(pairwise(["O", *tags])):
        label = tag[2:]
        if tag == "O":
            continue
        if tag.startswith("B-") or before == "O" or before[2:] != label:
            spans.append((place, place + 1, label))
        else:
            first, _, _ = spans[-1]
            spans[-1] = (first, place + 1, label)
    return spans


def tags_of_spans(spans: Iterable[LabelledSpan], length: int) -> list[str]:
    """The tags in IOB2 of spans that do not overlap: `B-` at the first word of each, `I-` at the others, `O` elsewhere.

    Args:
        spans: The spans.
        length: Number of words of the sentence.
    """
    tags = ["O"] * length
    for first, end, label in spans:
        tags[first:end] = [f"B-{label}", *[f"I-{label}"] * (end - first - 1)]
    return tags


def span_f1(predicted: Sequence[Iterable[LabelledSpan]], gold: Sequence[Iterable[LabelledSpan]]) -> F1:
    """Micro precision, recall and F1 over the spans of all sentences: right are those whose words and label are right.

    Args:
        predicted: Spans of each sentence.
        gold: Right spans of each sentence.
    """
    ours, theirs = ([[((first, end), label) for first, end, label in spans] for spans in listed] for listed in (predicted, gold))
    return f1_from_counts(*linking_counts(ours, theirs))
