"""A fusion of one's own: each word lets in as much of the picture as its gate allows."""

import torch
from torch import nn

from kemm.batch import Batch
from kemm.fusion import Fusion, Mean, Streams
from kemm.model import FusionModel


class GatedVision(Fusion):
    """`x + sigmoid(W [x; v]) * v` for each word x, where v is the picture's mean state in the text's width.

    Args:
        dim: Width of the text.
        image_dim: Width of the image.
    """

    def __init__(self, dim: int, image_dim: int) -> None:
        super().__init__()
        self.pool, self.project, self.gate = Mean(), nn.Linear(image_dim, dim), nn.Linear(2 * dim, dim)

    def forward(self, streams: Streams, batch: Batch, network: FusionModel) -> Streams:
        text = streams["text"]
        seen = self.project(self.pool(streams["image"]))[:, None].expand_as(text.x)  # (B, T, D)
        gate = torch.sigmoid(self.gate(torch.cat([text.x, seen], -1)))
        return {"text": text._replace(x=text.x + gate * seen)}
