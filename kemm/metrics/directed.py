"""Relations with a direction: the F1 of SemEval-2010 task 8 (Hendrickx et al. 2010, section 4; its official scorer,
`semeval2010_task8_scorer-v1.2.pl`), and what the systems' own scorers make of it."""

from collections import Counter
from collections.abc import Collection, Sequence

from kemm.metrics.f1 import f1_from_counts, ratio

SEMEVAL = (
    "Cause-Effect",
    "Component-Whole",
    "Content-Container",
    "Entity-Destination",
    "Entity-Origin",
    "Instrument-Agency",
    "Member-Collection",
    "Message-Topic",
    "Product-Producer",
)
"""The nine relations of SemEval-2010 task 8; "Other", the tenth label, has no direction and is not scored."""


def relation_of(label: str) -> str:
    """The relation of a label without its direction: `Cause-Effect(e2,e1)` is a `Cause-Effect`."""
    return label.partition("(")[0]


def directed_scores(
    predicted: Sequence[str], gold: Sequence[str], relations: Collection[str] = SEMEVAL, reversed_is_missed: bool = True
) -> dict[str, float]:
    """`macro_f1`, the mean over relations of each one's F1, and `micro_f1`, in [0, 1]; a label is right in the right direction only.

    Args:
        predicted: A label for each example, `relation(first,second)`, or without a direction.
        gold: The right label of each.
        relations: The relations that are averaged: those of the task. (LUKE averages over those that occur, K-Adapter over "Other" too.)
        reversed_is_missed: Whether the right relation in the wrong direction counts against the recall as well as against the precision;
            not so in K-Adapter's scorer.
    """
    pairs = list(zip(predicted, gold, strict=True))
    right = Counter(relation_of(p) for p, g in pairs if p == g)
    given = Counter(relation_of(p) for p, _ in pairs)
    wanted = Counter(relation_of(g) for p, g in pairs if reversed_is_missed or p == g or relation_of(p) != relation_of(g))
    each = [f1_from_counts(right[name], given[name], wanted[name]).f1 for name in relations]
    right_sum, given_sum, wanted_sum = (sum(count[name] for name in relations) for count in (right, given, wanted))
    return {"macro_f1": ratio(sum(each), len(each)), "micro_f1": f1_from_counts(right_sum, given_sum, wanted_sum).f1}
