"""K-Adapter's adapters (arXiv 2002.01808, section 3; microsoft/K-Adapter: fac-adapter.py)."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from kemm.batch import Batch
from kemm.fusion.base import Fusion, Streams
from kemm.nn import PostNormLayer, init_bert

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Adapter(Fusion):
    """`y = x + up(layers(down(x)))` as a stream of its own, where x is the text's state plus the outputs of adapters below.

    The text itself stays as it is. The layers attend to padding too: the original gives them a mask of ones.

    Args:
        name: Name of the stream that holds y.
        dim: Width of the text.
        inner: Width of the adapter's layers.
        depth: Number of its layers.
        heads: Number of heads.
        feedforward: Width of their feed-forward; 4 times `inner` by default.
        previous: Name of the stream that is added to the text: the adapter below, or its sum with others; "" for none.
        dropout: Rate everywhere.
        text: Name of the text stream.
    """

    reads_padding = True

    def __init__(
        self,
        name: str,
        dim: int = 1024,
        inner: int = 768,
        depth: int = 2,
        heads: int = 12,
        feedforward: int | None = None,
        previous: str = "",
        dropout: float = 0.1,
        text: str = "text",
    ) -> None:
        super().__init__()
        self.name, self.previous, self.text = name, previous, text
        self.needs = (previous,) if previous else ()
        self.down, self.up = nn.Linear(dim, inner), nn.Linear(inner, dim)
        norm = nn.LayerNorm
        self.layers = nn.ModuleList(PostNormLayer(inner, heads, feedforward, dropout, norm) for _ in range(depth))
        init_bert(self.layers)
        for projection in (self.down, self.up):
            nn.init.normal_(projection.weight, std=2e-4)
            nn.init.zeros_(projection.bias)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        text = streams[self.text]
        x = text.x + streams[self.previous].x if self.previous else text.x
        inner, everything = self.down(x), torch.ones_like(text.real())
        for layer in self.layers:
            inner = layer(inner, everything)
        return {self.name: text._replace(x=x + self.up(inner))}
