"""Knowledge embedding over descriptions (KEPLER, arXiv 1911.06136, section 3.2; THU-KEG/KEPLER: fairseq/criterions/MLMetKE.py)."""

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.kg import Scorer
from kemm.objectives.base import Losses, Objective, Teacher, count_of

if TYPE_CHECKING:
    from kemm.model import FusionModel

NEEDED = ("head", "tail", "negative_head", "negative_tail")


class TripleScores(NamedTuple):
    """Of each triple (B,), and of the same with a wrong head or tail (B, 2 N), the wrong heads first."""

    true: Tensor
    false: Tensor


class DescribedLinks(Objective):
    """Tells true triples from false ones; an entity is its description's first state (equation 1), a relation a row of a table.

    With f = margin + scorer (equation 3), the score of a triple is the mean of f(h_r, r, t) and f(h, r, t_r), those of false ones are
    f(h', r, t_r) and f(h_r, r, t'), and the loss is (-log sigmoid(true) - mean of log sigmoid(-false)) / 2: equation 2 with a half before
    it, and all negatives weighed alike, as the released code has them.

    Reads the streams `head` and `tail` of B descriptions, `negative_head` and `negative_tail` of B * N, those of a triple one after
    another, and `triple.relation` (B,). Optional streams are other variants of the paper: `relation_head` and `relation_tail`, h_r and t_r,
    the entity's description with the relation's behind it (KEPLER-Cond, equation 5; h and t by default); `relation_text`, the relation's
    description, whose first state is the relation (KEPLER-Rel, equation 4).

    Args:
        scorer: A scorer of `kemm.kg`; KEPLER's code has TransE with p = 2 (its paper 1).
        margin: Gamma.
        relation: Encoder whose table holds the relations.
        triple: Name of the triples in the batch.
        view: See `Objective`.
    """

    def __init__(self, scorer: Scorer, margin: float = 4.0, relation: str = "relation", triple: str = "triple", view: str = "main") -> None:
        super().__init__(view)
        self.scorer, self.margin, self.relation, self.triple = scorer, margin, relation, triple
        self.needs = (*NEEDED, f"{triple}.relation")

    def limits(self, network: "FusionModel") -> dict[str, int]:
        return {f"{self.triple}.relation": len(network.table(self.relation))} if self.relation in network.inputs else {}

    def scores(self, streams: Streams, batch: Batch, network: "FusionModel") -> TripleScores:
        """How plausible the triples are, and those with a wrong end."""
        head, tail, false_heads, false_tails = (streams[name].x[:, 0] for name in NEEDED)
        told_head = streams["relation_head"].x[:, 0] if "relation_head" in streams else head
        told_tail = streams["relation_tail"].x[:, 0] if "relation_tail" in streams else tail
        if "relation_text" in streams:
            relation = streams["relation_text"].x[:, 0]
        else:
            relation = network.table(self.relation)[batch[self.triple]["relation"]]
        false_heads, false_tails = (x.unflatten(0, (len(head), -1)) for x in (false_heads, false_tails))  # (B, N, D)
        true = (self.scorer(told_head, relation, tail) + self.scorer(head, relation, told_tail)) / 2
        wrong_head = self.scorer(false_heads, relation[:, None], told_tail[:, None])
        wrong_tail = self.scorer(told_head[:, None], relation[:, None], false_tails)
        return TripleScores(self.margin + true, self.margin + torch.cat([wrong_head, wrong_tail], 1))

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        true, false = self.scores(streams, batch, network)
        losses = -(F.logsigmoid(true) + F.logsigmoid(-false).mean(1)) / 2
        told = (true[:, None] > false).to(true.dtype).mean(1)
        return {"loss": (losses.sum(), count_of(losses)), "accuracy": (told.sum(), count_of(losses))}
