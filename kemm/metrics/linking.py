"""Entity linking: micro F1 over sets of (mention, entity), as KnowBERT reports it, and accuracy on given mentions.

A gold mention for which the candidate generator offers nothing cannot be linked. KnowBERT (Peters et al. 2019) leaves such mentions out of
the gold set, which raises its recall; GERBIL (Usbeck et al. 2015) keeps them. Both are here, and "keep" is the default.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Link = tuple[Hashable, Hashable]
"""(mention, entity); a mention is whatever tells it apart inside its text, such as (start, end)."""

Unproposed = Literal["keep", "drop"]


class LinkingCounts(NamedTuple):
    """Numbers of right links, predicted links and gold links."""

    correct: int
    predicted: int
    gold: int


def linking_counts(
    predicted: Sequence[Iterable[Link]],
    gold: Sequence[Iterable[Link]],
    proposed: Sequence[Iterable[Hashable]] = (),
    unproposed: Unproposed = "keep",
) -> LinkingCounts:
    """Counts over texts; within a text a repeated link counts once.

    Args:
        predicted: Links of each text.
        gold: Right links of each text.
        proposed: Mentions of each text that have a candidate; needed where unproposed is "drop".
        unproposed: "keep" counts a gold mention without candidates as missed, "drop" leaves it out.
    """
    if unproposed not in ("keep", "drop"):
        raise ValueError(f"unproposed is {unproposed!r}, expected 'keep' or 'drop'")
    golds = [set(links) for links in gold]
    if unproposed == "drop":
        golds = [{link for link in links if link[0] in mentions} for links, mentions in zip(golds, map(set, proposed), strict=True)]
    predictions = [set(links) for links in predicted]
    if len(predictions) != len(golds):
        raise ValueError(f"predicted holds {len(predictions)} texts and gold {len(golds)}, expected one entry per text in each")
    return LinkingCounts(
        correct=sum(len(p & g) for p, g in zip(predictions, golds, strict=True)),
        predicted=sum(map(len, predictions)),
        gold=sum(map(len, golds)),
    )


class MentionCounts(NamedTuple):
    """Numbers of gold mentions, of those linked right, and of those whose entity is among their candidates."""

    mentions: Tensor
    correct: Tensor
    reachable: Tensor


def mention_counts(predicted: Tensor, gold: Tensor, candidates: Tensor, null: int = 0) -> MentionCounts:
    """Counts over given mentions, of which each has one gold entity.

    Args:
        predicted: (..., E) chosen entity of each mention, `null` where none was chosen.
        gold: (..., E) right entity, `null` where there is no mention to score.
        candidates: (..., E, C) entities offered for each mention, `null` = padding.
        null: The entity id that stands for none.
    """
    scored = gold != null
    return MentionCounts(
        mentions=scored.sum(),
        correct=((predicted == gold) & scored).sum(),
        reachable=((candidates == gold[..., None]).any(-1) & scored).sum(),
    )


def mention_scores(counts: MentionCounts) -> dict[str, float]:
    """`accuracy` over all mentions, `candidate_recall` (its upper bound), and `reachable_accuracy` over the mentions whose entity was
    offered."""
    mentions, correct, reachable = torch.stack(counts).double().tolist()
    if not mentions:
        raise ValueError("there is no gold mention to score")
    return {
        "accuracy": correct / mentions,
        "candidate_recall": reachable / mentions,
        "reachable_accuracy": correct / reachable if reachable else 0.0,
    }
