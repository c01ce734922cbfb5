"""Recognition: which entity does this show? The likelihood of the true entity in a soft set (see `kemm.fusion.facts`)."""

from typing import TYPE_CHECKING

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.objectives.base import Losses, Objective, Teacher, count_of, wide

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Recognition(Objective):
    """Negative log-likelihood of the entity that an input shows.

    Reads `batch[input]["entity"]` (B,), rows of the entity table, 0 = unknown.

    Args:
        stream: The soft set.
        input: Entry of the batch that has the label.
        view: See `Objective`.
    """

    def __init__(self, stream: str = "image_entities", input: str = "image", view: str = "main") -> None:
        super().__init__(view)
        self.stream, self.input, self.needs = stream, input, (f"{input}.entity",)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        entities, gold = streams[self.stream], batch[self.input]["entity"]
        assert entities.positions is not None
        weights = wide(entities.x[..., 0])  # (B, K)
        right = entities.positions == gold[:, None]
        losses = -(weights * right).sum(-1).clamp(min=1e-8).log()[gold > 0]
        hits = right.gather(1, weights.argmax(-1, keepdim=True))[:, 0][gold > 0]
        return {"loss": (losses.sum(), count_of(losses)), "accuracy": (hits.sum().to(losses.dtype), count_of(losses))}
