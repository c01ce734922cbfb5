"""Prototypical networks (Snell et al., arXiv 1703.05175): which of a few classes is a query of, by the mean of each class's examples?"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kemm.batch import IGNORE, Batch
from kemm.fusion.base import Streams
from kemm.fusion.memory import at_places
from kemm.objectives.base import Losses, Objective, Teacher, cross_entropy

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Prototypes(Objective):
    """`softmax(-|f(x) - c_n|^2)` over an episode's classes, equation 2, with c_n the mean of f over the examples of n, equation 1.

    f joins the states at a text's marked places (thunlp/FewRel: fewshot_re_kit/sentence_encoder.py, BERT's encoder of entities).
    "None of the above" has a learned score, as far as a query may lie from all prototypes.

    Reads `places` (B, P), `episode`, `way` (B,) and `query` (B,) bool; see `kemm.data.Episodes`.

    Args:
        ways: Classes of an episode.
        stream: The stream that is read.
        none: Whether queries may be none of them.
        distance: The squared distance beyond which a query is none, to begin with.
        dropout: Rate on f.
        view: See `Objective`.
    """

    needs = ("places", "episode", "way", "query")

    def __init__(
        self, ways: int = 5, stream: str = "text", none: bool = False, distance: float = 1.0, dropout: float = 0.1, view: str = "main"
    ) -> None:
        super().__init__(view)
        self.ways, self.stream = ways, stream
        self.none = nn.Parameter(torch.tensor([-distance])) if none else None
        self.dropout = nn.Dropout(dropout)

    def logits(self, streams: Streams, batch: Batch) -> Tensor:
        """Scores (B, ways), or (B, ways + 1), of each text against its episode's prototypes."""
        x = self.dropout(at_places(streams[self.stream].x, batch["places"]).flatten(1))  # (B, P D)
        examples = (~batch["query"]).to(x.dtype)
        slot = batch["episode"] * self.ways + torch.where(batch["query"], 0, batch["way"])  # (B,), each below B
        counts = torch.zeros_like(x[:, 0]).index_add(0, slot, examples)
        sums = torch.zeros_like(x).index_add(0, slot, x * examples[:, None])
        prototypes = sums / counts.clamp(min=1)[:, None]
        own = prototypes[batch["episode"][:, None] * self.ways + torch.arange(self.ways, device=x.device)]  # (B, N, P D)
        scores = -(x[:, None] - own).square().sum(-1)
        return scores if self.none is None else torch.cat([scores, self.none.expand(len(scores), 1)], -1)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        return cross_entropy(self.logits(streams, batch), batch["way"].masked_fill(~batch["query"], IGNORE))
