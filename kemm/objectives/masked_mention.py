"""LUKE's pre-training on entities (arXiv 2010.01057, section 3.3; studio-ousia/luke: luke/pretraining/model.py)."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import IGNORE, Batch
from kemm.fusion.base import Streams
from kemm.nn import BertNorm, Draws, init_bert
from kemm.objectives.base import Losses, Objective, Teacher, View, count_of, cross_entropy
from kemm.objectives.masked_lm import Transform

if TYPE_CHECKING:
    from kemm.model import FusionModel


class MaskedMention(Objective):
    """Recovers hidden entities among all of them: `softmax(V norm(gelu(W h + b)) + b_o)`, with V the entity table.

    Of a text's entities each is hidden with the same chance, and one at least.

    Args:
        dim: Width of the entities' states.
        entity_dim: Width of the table.
        num_entities: Rows of the table.
        mask_id: The row that hidden entities get; None where the data brings `labels`.
        rate: Share of the entities that are hidden.
        specials: Rows that are never hidden ("no entity", and those of masked and unknown ones).
        entity: The input whose entities are hidden, the stream that is read, and the encoder whose table holds the vectors.
        norm: Makes the norm of a width.
        activation: The non-linearity.
        view: See `Objective`.
    """

    def __init__(
        self,
        dim: int,
        entity_dim: int,
        num_entities: int,
        mask_id: int | None = None,
        rate: float = 0.15,
        specials: Sequence[int] = (0,),
        entity: str = "mention",
        norm: Callable[[int], nn.Module] = BertNorm,
        activation: Callable[[Tensor], Tensor] = F.gelu,
        view: str = "main",
    ) -> None:
        super().__init__(view)
        if not 0 < rate <= 1:
            raise ValueError(f"the rate of masking is {rate}, and should lie in (0, 1]")
        self.mask_id, self.rate, self.specials, self.entity = mask_id, rate, tuple(specials), entity
        self.needs = (f"{entity}.ids",) if mask_id is not None else (f"{entity}.labels",)
        self.transform = Transform(dim, entity_dim, activation, norm)
        self.bias = nn.Parameter(torch.zeros(num_entities))

    def limits(self, network: "FusionModel") -> dict[str, int]:
        return {f"{self.entity}.ids": len(self.bias)}

    def corrupt(self, batch: Batch, before: dict[str, View], draws: Draws) -> Batch:
        if self.mask_id is None:
            return batch
        entity = batch[self.entity]
        ids: Tensor = entity["ids"]  # (B, E)
        mask = entity.get("mask", ids != 0)
        known = mask & ~(ids[..., None] == ids.new_tensor(self.specials)).any(-1)
        hidden = self.choose(known, draws)
        corrupted = {"ids": ids.masked_fill(hidden, self.mask_id), "mask": mask, "labels": ids.masked_fill(~hidden, IGNORE)}
        return {**batch, self.entity: {**entity, **corrupted}}

    def choose(self, known: Tensor, draws: Draws) -> Tensor:
        """Which of the known entities (B, E) are hidden."""
        chance = draws.uniform("entity", known.shape[1]).masked_fill(~known, 2.0)
        return known & ((chance < self.rate) | (chance == chance.amin(1, keepdim=True)))

    def logits(self, x: Tensor, network: "FusionModel") -> Tensor:
        """Scores (..., N) of all entities at states (..., D)."""
        return F.linear(self.transform(x), network.table(self.entity), self.bias)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        labels = batch[self.entity]["labels"]
        counted = labels != IGNORE
        return cross_entropy(self.logits(streams[self.entity].x[counted], network), labels[counted])


class PageEntity(Objective):
    """Recovers the entity that a text is about from its first state: squared error against the table's vector, mean over its width.

    Reads `batch[page]` (B,): rows of the table.

    Args:
        dim: Width of the text.
        entity_dim: Width of the table.
        text: The stream that is read.
        entity: The encoder whose table holds the vectors.
        page: Entry of the batch that says what the text is about.
        view: See `Objective`.
    """

    def __init__(
        self, dim: int, entity_dim: int, text: str = "text", entity: str = "mention", page: str = "page", view: str = "main"
    ) -> None:
        super().__init__(view)
        self.text, self.entity, self.page, self.needs = text, entity, page, (text, page)
        self.project = nn.Linear(dim, entity_dim)
        init_bert(self)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        target = network.table(self.entity)[batch[self.page]]  # (B, D')
        errors = (self.project(streams[self.text].x[:, 0]) - target).square()
        return {"loss": (errors.sum(), count_of(errors))}
