"""Link prediction: which tail, which head? Against all entities of the table (1-N scoring, Dettmers et al., arXiv 1707.01476, section 4;
the cross-entropy of Ruffinelli et al., "You CAN teach an old dog new tricks", ICLR 2020)."""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.kg import Scorer
from kemm.objectives.base import Losses, Objective, Teacher, count_of, cross_entropy

if TYPE_CHECKING:
    from kemm.model import FusionModel


class LinkPrediction(Objective):
    """Scores each triple's tail against all entities, and its head by the inverse relation.

    Reads `batch["triple"]` with `head`, `relation`, `inverse` (the relation that reads it backwards), `tail`, each (B,), rows of the
    tables (0 is none).

    Args:
        scorer: A scorer of `kemm.kg`, which has `score_tails(head, relation, entities)`.
        scale: Inverse temperature of the scores.
        triple: Name of the triples in the batch.
        entity: Encoder whose table holds the entities.
        relation: Encoder whose table holds the relations and their inverses.
        view: See `Objective`.
    """

    def __init__(
        self,
        scorer: Scorer,
        scale: float = 1.0,
        triple: str = "triple",
        entity: str = "entity",
        relation: str = "relation",
        view: str = "main",
    ) -> None:
        super().__init__(view)
        self.scorer, self.scale, self.triple, self.entity, self.relation = scorer, scale, triple, entity, relation
        self.needs = (f"{triple}.head",)

    def tables(self, network: "FusionModel") -> tuple[Tensor, Tensor]:
        """The vectors of all entities and of all relations."""
        return network.table(self.entity), network.table(self.relation)

    def limits(self, network: "FusionModel") -> dict[str, int]:
        entities, relations = self.tables(network)
        sizes = {"head": len(entities), "tail": len(entities), "relation": len(relations), "inverse": len(relations)}
        return {f"{self.triple}.{end}": size for end, size in sizes.items()}

    def queries(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Both directions of each triple as (subject, relation, answer), each (2 B,); rows of the tables."""
        triple = batch[self.triple]
        subject = torch.cat([triple["head"], triple["tail"]])
        return subject, torch.cat([triple["relation"], triple["inverse"]]), torch.cat([triple["tail"], triple["head"]])

    def scores(self, batch: Batch, network: "FusionModel") -> tuple[Tensor, Tensor]:
        """Scores (2 B, N) of all entities but row 0, and the place of the answer among them (2 B,)."""
        entities, relations = self.tables(network)
        subject, relation, answer = self.queries(batch)
        scores = self.scorer.score_tails(entities[subject], relations[relation], entities[1:])
        return self.scale * scores, answer - 1

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        return cross_entropy(*self.scores(batch, network))


class KvsAllLinks(LinkPrediction):
    """All right answers of a query at once: binary cross-entropy of each entity's score, with smoothed labels (1-N scoring, Dettmers et
    al., section 4.1; "KvsAll" of Ruffinelli et al.; TuckER; allenai/kb: kb/kg_embedding.py).

    Reads `batch["triple"]` with `head`, `relation`, each (B,), and `tails` (B, M), all right tails, 0 = padding; where they are there,
    also `tail`, `inverse`, each (B,), and `heads` (B, M'), all right heads.

    Args:
        scorer: See `LinkPrediction`.
        scale: See `LinkPrediction`.
        smoothing: e of the labels (1 - e) y + e mean(y).
        none: Whether row 0, "none", counts as an entity that is never right (KnowBERT).
        triple: See `LinkPrediction`.
        entity: See `LinkPrediction`.
        relation: See `LinkPrediction`.
        view: See `Objective`.
    """

    def __init__(
        self,
        scorer: Scorer,
        scale: float = 1.0,
        smoothing: float = 0.1,
        none: bool = False,
        triple: str = "triple",
        entity: str = "entity",
        relation: str = "relation",
        view: str = "main",
    ) -> None:
        super().__init__(scorer, scale, triple, entity, relation, view)
        self.smoothing, self.none = smoothing, none
        self.needs = (f"{triple}.tails",)

    def limits(self, network: "FusionModel") -> dict[str, int]:
        sizes = super().limits(network)
        entities = sizes[f"{self.triple}.head"]
        return sizes | {f"{self.triple}.{end}": entities for end in ("heads", "tails")}

    def all_scores(self, batch: Batch, network: "FusionModel") -> tuple[Tensor, Tensor]:
        """Scores (Q, N) of all rows of the table, "none" first, and whether each is a right answer."""
        triple = batch[self.triple]
        entities, relations = self.tables(network)
        asked = [("head", "relation", "tails")] + [("tail", "inverse", "heads")] * ("heads" in triple)
        subject, relation = (torch.cat([triple[names[i]] for names in asked]) for i in (0, 1))
        scores = self.scale * self.scorer.score_tails(entities[subject], relations[relation], entities)
        rows = [scores.new_zeros(len(triple[names[2]]), len(entities)).scatter(1, triple[names[2]], 1.0) for names in asked]
        right = torch.cat(rows)
        right[:, 0] = 0
        return scores, right

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        scores, right = self.all_scores(batch, network)
        if not self.none:
            scores, right = scores[:, 1:], right[:, 1:]
        smooth = (1 - self.smoothing) * right + self.smoothing * right.mean(-1, keepdim=True)
        loss = F.binary_cross_entropy_with_logits(scores, smooth, reduction="sum")
        hits = right.gather(1, scores.argmax(-1, keepdim=True)).sum()
        return {"loss": (loss, count_of(scores)), "accuracy": (hits, count_of(scores[:, 0]))}
