"""Cloze probing as a task: what does a masked LM know (LAMA, arXiv 1909.01066; several tokens: mLAMA, arXiv 2102.00894, section 3)?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.metrics import bootstrap_interval, cloze_scores, mean_over_relations
from kemm.nn import Draws
from kemm.objectives import MaskedLM, View
from kemm.objectives.base import wide
from kemm.tasks.base import Row, Scores, Task

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Cloze(MaskedLM, Task):
    """Trains as `MaskedLM`; ranks the objects of a relation by the mean log-probability of their tokens at as many masks.

    Batches of `kemm.data.ClozeFacts` bring their gaps, and no more is hidden in them; other batches have no rows. Scored are P@1, P@10 and
    the mean reciprocal rank, each the mean of the relations' means (relations are resampled), and P@1 of each relation (facts are).
    """

    def corrupt(self, batch: Batch, before: dict[str, View], draws: Draws) -> Batch:
        return batch if "cloze" in batch else super().corrupt(batch, before, draws)

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        if "cloze" not in batch:
            return []
        facts: dict[int, dict[str, Any]] = {}
        for x, text in zip(streams[self.stream].x, batch["cloze"], strict=True):
            log_probs = wide(self.logits(x[text["places"]], network)).log_softmax(-1)  # (m, V)
            candidates = torch.tensor(text["candidates"], device=x.device)  # (C, m)
            scores = log_probs.gather(1, candidates.T).mean(0).tolist()
            fact = facts.setdefault(text["fact"], {"relation": text["relation"], "answer": text["answer"], "scores": {}})
            fact["scores"] |= zip(text["objects"], scores, strict=True)
        return [{"id": name, **ranked(fact["scores"], fact["answer"]), "relation": fact["relation"]} for name, fact in facts.items()]

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        relations: dict[str, list[Row]] = {}
        for row in rows:
            relations.setdefault(row["relation"], []).append(row)
        if not relations:
            return {}
        scores: Scores = {}
        for key, name in (("hit", "P@1"), ("hit_at", "P@10"), ("reciprocal_rank", "mrr")):
            values = {relation: [float(row[key]) for row in found] for relation, found in sorted(relations.items())}
            scores[name] = bootstrap_interval([mean_over_relations({relation: found}) for relation, found in values.items()])
            if key == "hit":
                scores |= {f"P@1/{relation}": bootstrap_interval(found) for relation, found in values.items()}
        return {**scores, "facts": float(len(rows))}


def ranked(scores: dict[str, float], answer: str) -> Row:
    """The likeliest object, and how the right one ranks.

    Args:
        scores: Object -> its score.
        answer: The right object, one of them.
    """
    names = list(scores)
    found = cloze_scores(torch.tensor(list(scores.values()), dtype=torch.float64), names.index(answer))
    return {
        "object": names[found.best[0]],
        "answer": answer,
        "hit": found.hit,
        "hit_at": found.hit_at,
        "reciprocal_rank": found.reciprocal_rank,
        "score": found.log_likelihood,
    }
