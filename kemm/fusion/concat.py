"""Single-stream fusion: streams joined into one (VisualBERT, arXiv 1908.03557; ViLT, arXiv 2102.03334) and taken apart again."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kemm.batch import Batch, Stream
from kemm.fusion.base import Fusion, Streams

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Concat(Fusion):
    """Joins streams of one width, in order, into the stream of that name; the others stay as they are.

    Args:
        streams: Names of the streams that are joined.
        into: Name of the stream that holds them all, and climbs on through its encoder.
        norm: A joint norm (VisualBERT).
        dropout: Rate after the norm.
    """

    def __init__(self, streams: Sequence[str], into: str, norm: nn.Module | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.streams, self.into = tuple(streams), into
        self.norm, self.dropout = norm or nn.Identity(), nn.Dropout(dropout)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        parts = [streams[name] for name in self.streams]
        x = self.dropout(self.norm(torch.cat([part.x for part in parts], 1)))  # (B, sum of L, D)
        mask = torch.cat([part.real() for part in parts], 1)
        return {self.into: Stream(x, mask, height=streams[self.into].height)}


class Split(Fusion):
    """Takes a joined stream apart, where `Concat` joined it.

    Args:
        joined: Name of the joined stream.
        streams: The names given to `Concat`; each gets its part.
    """

    def __init__(self, joined: str, streams: Sequence[str]) -> None:
        super().__init__()
        self.joined, self.streams = joined, tuple(streams)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        joined = streams[self.joined]
        lengths = [streams[name].real().shape[1] for name in self.streams if name != self.joined]
        at = self.streams.index(self.joined)
        lengths.insert(at, joined.x.shape[1] - sum(lengths))
        parts = zip(self.streams, joined.x.split(lengths, 1), joined.mask.split(lengths, 1), strict=True)
        return {name: Stream(x, mask, height=streams[name].height) for name, x, mask in parts}


class AlignedPositions(Fusion):
    """Adds to each region the mean position embedding of the words that it is aligned with (uclanlp/visualbert: modeling.py).

    Reads `batch[region]["alignment"]` (B, R, A), token places with -1 for none; without it, nothing changes.

    Args:
        text: The text stream, whose encoder holds the position table.
        region: The region stream.
    """

    def __init__(self, text: str = "text", region: str = "region") -> None:
        super().__init__()
        self.text, self.region = text, region

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        alignment: Tensor | None = batch[self.region].get("alignment") if isinstance(batch[self.region], dict) else None
        if alignment is None:
            return {}
        positions = network.encoder(self.text).embed.positions(alignment.clamp(min=0))  # (B, R, A, D)
        real = (alignment >= 0)[..., None].to(positions.dtype)
        mean = (positions * real).sum(2) / real.sum(2).clamp(min=1)
        region = streams[self.region]
        return {self.region: region._replace(x=region.x + mean)}
