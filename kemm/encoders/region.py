"""Region encoders: detector features and boxes as tokens (ViLBERT, arXiv 1908.02265, section 3.1; VisualBERT, arXiv 1908.03557)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import RegionInput, Stream
from kemm.encoders.base import Encoder
from kemm.nn import BertNorm, PostNormLayer, init_bert


class RegionEmbedding(nn.Module):
    """`norm(Linear(features) + Linear(boxes))`: a region's place is its geometry, it has no index.

    Args:
        feature_dim: Width of the detector's features.
        dim: Width.
        box_dim: Numbers a box (ViLBERT 5: corners and area, as fractions of the image).
        dropout: Rate after the norm.
        norm: Makes the norm of a width.
    """

    def __init__(
        self, feature_dim: int, dim: int, box_dim: int = 5, dropout: float = 0.0, norm: Callable[[int], nn.Module] = BertNorm
    ) -> None:
        super().__init__()
        self.features = nn.Linear(feature_dim, dim)
        self.boxes = nn.Linear(box_dim, dim)
        self.norm = norm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, region: RegionInput) -> Stream:
        return Stream(self.dropout(self.norm(self.features(region["features"]) + self.boxes(region["boxes"]))), region["mask"])


class AlignedRegionEmbedding(nn.Module):
    """VisualBERT's: `Linear(features) + type + position`, not normalised (the joint norm is the fusion's).

    A region's position is row 0 of its own table; where regions are aligned with words, `fusion.AlignedPositions` adds theirs.

    Args:
        feature_dim: Width of the detector's features.
        dim: Width.
        max_length: Rows of the position tables.
        types: Rows of the segment table.
    """

    def __init__(self, feature_dim: int, dim: int, max_length: int = 512, types: int = 2) -> None:
        super().__init__()
        self.features = nn.Linear(feature_dim, dim)
        self.positions = nn.Embedding(max_length, dim)
        self.types = nn.Embedding(types, dim)

    def forward(self, region: RegionInput) -> Stream:
        x = self.features(region["features"])  # (B, R, D)
        places = torch.zeros(x.shape[:2], dtype=torch.long, device=x.device)
        return Stream(x + self.types(region.get("types", places)) + self.positions(places), region["mask"])


class RegionEncoder(Encoder):
    """Layers over regions.

    Args:
        feature_dim: Width of the detector's features.
        dim: Width.
        depth: Number of layers.
        heads: Number of heads.
        inner: Width of the feed-forward; 4 times `dim` by default.
        box_dim: Numbers a box.
        dropout: Rate everywhere.
        activation: The non-linearity.
        embed: Another embedding than `RegionEmbedding`.
    """

    def __init__(
        self,
        feature_dim: int,
        dim: int = 1024,
        depth: int = 6,
        heads: int = 8,
        inner: int | None = None,
        box_dim: int = 5,
        dropout: float = 0.1,
        activation: Callable[[Tensor], Tensor] = F.gelu,
        embed: nn.Module | None = None,
    ) -> None:
        embed = embed or RegionEmbedding(feature_dim, dim, box_dim, dropout)
        super().__init__(embed, [PostNormLayer(dim, heads, inner, dropout, activation=activation) for _ in range(depth)])
        self.dim = dim
        init_bert(self)
