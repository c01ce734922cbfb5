"""Encoders: each turns one modality into a stream."""

from kemm.encoders.base import Encoder
from kemm.encoders.entity import EntityEncoder
from kemm.encoders.image import ImageEncoder
from kemm.encoders.region import AlignedRegionEmbedding, RegionEmbedding, RegionEncoder
from kemm.encoders.text import CausalTextEncoder, TextEncoder

__all__ = [
    "AlignedRegionEmbedding",
    "CausalTextEncoder",
    "Encoder",
    "EntityEncoder",
    "ImageEncoder",
    "RegionEmbedding",
    "RegionEncoder",
    "TextEncoder",
]
