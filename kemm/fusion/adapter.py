"""K-Adapter's adapters (arXiv 2002.01808, section 3; microsoft/K-Adapter: fac-adapter.py)."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from kemm.batch import Batch
from kemm.fusion.base import Fusion, Streams
from kemm.nn import PostNormLayer

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Adapter(Fusion):
    """`y = x + up(layers(down(x)))` with x = the text's state + the previous adapter's y, as a stream of its own.

    The text itself stays as it is. The layers attend to padding too: the original gives them a mask of ones.

    Args:
        name: Name of the stream that holds y.
        dim: Width of the text.
        inner: Width of the adapter's layers.
        depth: Number of its layers.
        heads: Number of heads.
        feedforward: Width of their feed-forward; 4 times `inner` by default.
        previous: The stream of the adapter below, "" for none.
        skips: Streams added to y after the adapter; this adapter's own name is possible: with `adapter_skip_layers` k the original
            adds, after adapter number c = k, 2k ..., the output number c / k, counted from 0.
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
        skips: Sequence[str] = (),
        dropout: float = 0.1,
        text: str = "text",
    ) -> None:
        super().__init__()
        self.name, self.previous, self.skips, self.text = name, previous, tuple(skips), text
        self.down, self.up = nn.Linear(dim, inner), nn.Linear(inner, dim)
        norm = partial(nn.LayerNorm, eps=1e-5)
        self.layers = nn.ModuleList(PostNormLayer(inner, heads, feedforward, dropout, norm) for _ in range(depth))
        for projection in (self.down, self.up):
            nn.init.normal_(projection.weight, std=2e-4)
            nn.init.zeros_(projection.bias)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        text = streams[self.text]
        x = text.x + streams[self.previous].x if self.previous else text.x
        inner, everything = self.down(x), torch.ones_like(text.real())
        for layer in self.layers:
            inner = layer(inner, everything)
        y = x + self.up(inner)
        known = {name: stream.x for name, stream in streams.items()} | {self.name: y}
        for skip in self.skips:
            y = y + known[skip]
        return {self.name: text._replace(x=y)}
