"""Streams of one length made into one: summed, or joined along the width and projected."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from kemm.batch import Batch
from kemm.fusion.base import Fusion, Streams
from kemm.nn import init_bert

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Sum(Fusion):
    """The sum of streams, as a stream with the mask of the first (K-Adapter's `add`, and its skip connections).

    Args:
        streams: Names of the streams; a name may come twice.
        name: Name of the sum.
    """

    def __init__(self, streams: Sequence[str], name: str) -> None:
        super().__init__()
        self.streams, self.name = tuple(streams), name
        self.needs = self.streams

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        parts = [streams[name] for name in self.streams]
        return {self.name: parts[0]._replace(x=torch.stack([part.x for part in parts]).sum(0))}


class Join(Fusion):
    """`Linear([x_1; x_2; ...])` of the states of streams, place by place, as a stream with the mask of the first.

    Args:
        streams: Names of the streams.
        name: Name of the result.
        dims: Widths of the streams.
        out: Width of the result; the first stream's by default.
    """

    def __init__(self, streams: Sequence[str], name: str, dims: Sequence[int], out: int | None = None) -> None:
        super().__init__()
        if len(streams) != len(dims):
            raise ValueError(f"streams are {list(streams)}, and dims {list(dims)}: expected one width for each stream")
        self.streams, self.name = tuple(streams), name
        self.needs = self.streams
        self.project = nn.Linear(sum(dims), out or dims[0])
        init_bert(self)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        parts = [streams[name] for name in self.streams]
        return {self.name: parts[0]._replace(x=self.project(torch.cat([part.x for part in parts], -1)))}
