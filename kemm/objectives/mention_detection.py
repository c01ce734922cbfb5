"""Where are mentions? Entities as Experts' mention detection (arXiv 2004.07202, section 3.3)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kemm.batch import IGNORE, Batch
from kemm.fusion.base import Streams
from kemm.objectives.base import Losses, Teacher, cross_entropy
from kemm.objectives.tagging import TokenClassification

if TYPE_CHECKING:
    from kemm.model import FusionModel

OUT, BEGIN, IN = range(3)
"""The tags."""


class MentionDetection(TokenClassification):
    """A tag for each real token: B at the first of a mention, I at its others, O elsewhere. Reads the spans of `batch[mention]`.

    Args:
        dim: Width of the stream.
        stream: The states that are tagged; in the paper those below the memory, a `Keep` of them.
        text: The input whose tokens are tagged.
        mention: Entry of the batch with the `spans` (B, E, 2), inclusive ends, -1 at padding; they do not overlap.
        dropout: Rate before the classifier.
        view: See `Objective`.
    """

    def __init__(
        self, dim: int, stream: str = "text", text: str = "text", mention: str = "mention", dropout: float = 0.1, view: str = "main"
    ) -> None:
        super().__init__(dim, 3, stream, dropout=dropout, view=view)
        self.text, self.mention, self.needs = text, mention, (text, f"{mention}.spans")

    def tags(self, batch: Batch) -> Tensor:
        """The true tags (B, T), `IGNORE` at padding."""
        mask, spans = batch[self.text]["mask"], batch[self.mention]["spans"]
        places = torch.arange(mask.shape[1], device=mask.device)
        first = (places == spans[..., :1]).any(1)  # (B, T)
        inside = ((places > spans[..., :1]) & (places <= spans[..., 1:])).any(1)
        tags = torch.where(first, BEGIN, torch.where(inside, IN, OUT))
        return tags.masked_fill(~mask, IGNORE)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        tags = self.tags(batch)
        return cross_entropy(self.logits(streams)[:, : tags.shape[1]], tags)


def decode_tags(scores: Tensor, mask: Tensor) -> Tensor:
    """The best sequences of tags (B, T) in which no I follows an O or begins a text (Viterbi); O at padding.

    Args:
        scores: Log-probabilities (B, T, 3) of O, B and I.
        mask: Bool (B, T), True = a token; real tokens come first.
    """
    allowed = scores.new_zeros(3, 3)
    allowed[OUT, IN] = float("-inf")  # from O to I
    best = scores[:, 0] + allowed[OUT]  # (B, 3): as if after an O
    steps: list[Tensor] = []
    for place in range(1, scores.shape[1]):
        found, before = (best[:, :, None] + allowed).max(1)  # (B, 3)
        real = mask[:, place, None]
        steps.append(torch.where(real, before, torch.arange(3, device=before.device)))
        best = torch.where(real, found + scores[:, place], best)
    last = best.argmax(-1)
    path = [last]
    for before in reversed(steps):
        path.append(before.gather(1, path[-1][:, None])[:, 0])
    return torch.stack(path[::-1], 1).masked_fill(~mask, OUT)
