"""A mention as a vector of the entities' space: Entities as Experts' pseudo entity (arXiv 2004.07202, section 3.1;
google-research/language: mentionmemory/encoders/eae_encoder.py)."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from kemm.batch import Batch, Stream
from kemm.fusion.base import Fusion, Streams
from kemm.fusion.memory import at_places
from kemm.nn import init_bert

if TYPE_CHECKING:
    from kemm.model import FusionModel


class MentionQuery(Fusion):
    """`W [x_start; x_end] + b` of each mention's first and last state, as the stream `name` (B, E, D').

    Reads `batch[mention]["spans"]` (B, E, 2), inclusive ends, -1 at padding.

    Args:
        dim: Width of the text.
        entity_dim: Width of the entities.
        name: The stream that is added.
        text: Name of the text stream.
        mention: Entry of the batch that holds the spans.
    """

    def __init__(self, dim: int, entity_dim: int = 256, name: str = "mention_entity", text: str = "text", mention: str = "mention") -> None:
        super().__init__()
        self.name, self.text, self.mention, self.needs = name, text, mention, (f"{mention}.spans",)
        self.project = nn.Linear(2 * dim, entity_dim)
        init_bert(self)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        x, spans = streams[self.text].x, batch[self.mention]["spans"]
        ends = torch.cat([at_places(x, spans[..., side].clamp(min=0)) for side in (0, 1)], -1)  # (B, E, 2 D)
        return {self.name: Stream(self.project(ends), spans[..., 0] >= 0)}
