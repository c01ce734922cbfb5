"""Encoders: each turns one modality into a stream."""

from kemm.encoders.base import Encoder
from kemm.encoders.convolution import ConvEncoder
from kemm.encoders.entity import EntityEncoder, TypedEntityEncoder
from kemm.encoders.graph import GraphEncoder
from kemm.encoders.image import ImageEncoder
from kemm.encoders.mention import MentionEncoder
from kemm.encoders.region import AlignedRegionEmbedding, RegionEmbedding, RegionEncoder
from kemm.encoders.text import CausalTextEncoder, RotaryTextEncoder, TextEncoder
from kemm.encoders.word_graph import WordGraphEncoder

__all__ = [
    "AlignedRegionEmbedding",
    "CausalTextEncoder",
    "ConvEncoder",
    "Encoder",
    "EntityEncoder",
    "GraphEncoder",
    "ImageEncoder",
    "MentionEncoder",
    "RegionEmbedding",
    "RegionEncoder",
    "RotaryTextEncoder",
    "TextEncoder",
    "TypedEntityEncoder",
    "WordGraphEncoder",
]
