"""By-products as streams: a pooled vector, a kept copy, an attentional pool."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import Batch, Stream
from kemm.fusion.base import Fusion, Streams
from kemm.nn import Attention

if TYPE_CHECKING:
    from kemm.model import FusionModel


class First(nn.Module):
    """The state of the first place ([CLS])."""

    def forward(self, stream: Stream) -> Tensor:
        return stream.x[:, 0]


class Last(nn.Module):
    """The state of the last real place (the end token of a text), or of one before it.

    Args:
        before: How many places before the last (VisualBERT answers from the token before [SEP]: 1).
    """

    def __init__(self, before: int = 0) -> None:
        super().__init__()
        self.before = before

    def forward(self, stream: Stream) -> Tensor:
        real = stream.real()
        last = (torch.arange(real.shape[1], device=real.device) * real).argmax(1)
        return stream.x[torch.arange(len(last), device=last.device), (last - self.before).clamp(min=0)]


class End(nn.Module):
    """The state of the very last place, which is no padding (the appended summary of CoCa's text)."""

    def forward(self, stream: Stream) -> Tensor:
        return stream.x[:, -1]


class PaddedMean(nn.Module):
    """The mean over all places, padded ones too (K-BERT; autoliuweijie/K-BERT: run_kbert_cls.py)."""

    def forward(self, stream: Stream) -> Tensor:
        return stream.x.mean(1)


class PaddedMax(nn.Module):
    """The largest value over all places, padded ones too (K-BERT)."""

    def forward(self, stream: Stream) -> Tensor:
        return stream.x.amax(1)


class Mean(nn.Module):
    """The mean over the real places."""

    def forward(self, stream: Stream) -> Tensor:
        real = stream.real()[..., None].to(stream.x.dtype)
        return (stream.x * real).sum(1) / real.sum(1).clamp(min=1)


class Flat(nn.Module):
    """All places side by side, (B, L * D): their number is fixed (the last map of a CNN), and where something is matters."""

    def forward(self, stream: Stream) -> Tensor:
        return stream.x.flatten(1)


class Pooled(Fusion):
    """A stream of one place: a stream pooled.

    Args:
        stream: The stream that is pooled.
        name: The stream that holds the pooled state (B, 1, D).
        pool: `First`, `Last`, `End` or `Mean`.
    """

    def __init__(self, stream: str, name: str, pool: nn.Module | None = None) -> None:
        super().__init__()
        self.stream, self.name, self.pool = stream, name, pool or First()
        self.reads_padding = isinstance(pool, PaddedMean | PaddedMax)

    def feature(self, x: Tensor) -> Tensor:
        """What becomes of the pooled state (B, D)."""
        return x

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        x = self.feature(self.pool(streams[self.stream]))
        return {self.name: Stream(x[:, None], torch.ones(len(x), 1, dtype=torch.bool, device=x.device))}


class Feature(Pooled):
    """A stream of one place: a stream pooled, projected, and normalised where it is to be compared.

    With the defaults and `Tanh` it is BERT's pooler, with `ReLU` ViLBERT's, with `normalize` and without bias CLIP's projection.

    Args:
        stream: The stream that is pooled.
        name: The stream that holds the feature (B, 1, out).
        dim: Width of the stream.
        out: Width of the feature; `dim` by default.
        pool: `First`, `Last`, `End` or `Mean`.
        activation: After the projection.
        normalize: Whether the feature has length 1.
        bias: Whether the projection has a bias.
    """

    def __init__(
        self,
        stream: str,
        name: str,
        dim: int,
        out: int | None = None,
        pool: nn.Module | None = None,
        activation: nn.Module | None = None,
        normalize: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__(stream, name, pool)
        self.normalize, self.activation = normalize, activation or nn.Identity()
        self.project = nn.Linear(dim, out or dim, bias=bias)
        nn.init.normal_(self.project.weight, std=dim**-0.5)

    def feature(self, x: Tensor) -> Tensor:
        x = self.activation(self.project(x))  # (B, out)
        return F.normalize(x, dim=-1) if self.normalize else x


class NormedFeature(Feature):
    """A pooled state behind `norm(dropout(gelu(Linear)))`: the head of CoLAKE's fine-tuning without its classifier (txsun1997/CoLAKE:
    finetune/model.py, ClsHead).

    Args:
        stream: The stream that is pooled.
        name: The stream that holds the feature (B, 1, dim).
        dim: Width of the stream and of the feature.
        dropout: Rate before the norm.
        pool: See `Feature`.
        norm: Makes the norm of a width.
    """

    def __init__(
        self,
        stream: str,
        name: str,
        dim: int,
        dropout: float = 0.3,
        pool: nn.Module | None = None,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        super().__init__(stream, name, dim, pool=pool, activation=nn.GELU())
        self.dropout, self.norm = nn.Dropout(dropout), norm(dim)

    def feature(self, x: Tensor) -> Tensor:
        return self.norm(self.dropout(super().feature(x)))


class Keep(Fusion):
    """A copy of a stream as it is at this height, under another name; part of it where `places` says so.

    Args:
        stream: The stream that is kept.
        name: The name of the copy.
        places: First and last (exclusive, negative from the end) place of the copy.
    """

    def __init__(self, stream: str, name: str, places: Sequence[int] = ()) -> None:
        super().__init__()
        self.stream, self.name, self.places = stream, name, slice(*places) if places else slice(None)
        self.reads_padding = any(place < 0 for place in places)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        kept, places = streams[self.stream], self.places
        mask = kept.mask[:, places, places] if kept.mask.dim() == 3 else kept.mask[:, places]
        positions = None if kept.positions is None else kept.positions[:, places]
        return {self.name: kept._replace(x=kept.x[:, places], mask=mask, positions=positions)}


class AttentionalPool(Fusion):
    """Learned queries that read a stream (arXiv 2205.01917, section 3.2): the first is a feature, the rest are tokens.

    Args:
        stream: The stream that is read.
        feature: Name of the stream of the first query.
        tokens: Name of the stream of the other queries.
        dim: Width of the stream that is read.
        out: Width of the queries.
        heads: Number of heads.
        queries: Number of queries.
        norm: Makes the norm of a width.
    """

    def __init__(
        self,
        stream: str,
        feature: str,
        tokens: str,
        dim: int,
        out: int,
        heads: int = 8,
        queries: int = 256,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        super().__init__()
        self.stream, self.feature, self.tokens = stream, feature, tokens
        self.queries = nn.Parameter(torch.randn(queries, out) * out**-0.5)
        self.query_norm, self.memory_norm, self.norm = norm(out), norm(dim), norm(out)
        self.attention = Attention(out, heads, dim)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        memory = streams[self.stream]
        queries = self.query_norm(self.queries).expand(len(memory.x), -1, -1)
        x = self.norm(self.attention(queries, memory.real(), self.memory_norm(memory.x)))  # (B, queries, out)
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        return {self.feature: Stream(x[:, :1], mask[:, :1]), self.tokens: Stream(x[:, 1:], mask[:, 1:])}
