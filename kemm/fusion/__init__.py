"""Fusions: each mixes streams between the encoders' layers."""

from kemm.fusion.adapter import Adapter
from kemm.fusion.base import Fusion, FusionPoint, Streams
from kemm.fusion.coattention import CoAttention, Detach, DynamicLayer, Pairs
from kemm.fusion.concat import AlignedPositions, Concat, Split
from kemm.fusion.cross_attention import CrossAttentionLayer, DecoderLayer
from kemm.fusion.ernie import EntityAggregator, EntityMix
from kemm.fusion.feature import AttentionalPool, Feature, First, Keep, Last, Mean
from kemm.fusion.kar import KnowledgeAttention

__all__ = [
    "Adapter",
    "AlignedPositions",
    "AttentionalPool",
    "CoAttention",
    "Concat",
    "CrossAttentionLayer",
    "DecoderLayer",
    "Detach",
    "DynamicLayer",
    "EntityAggregator",
    "EntityMix",
    "Feature",
    "First",
    "Fusion",
    "FusionPoint",
    "Keep",
    "KnowledgeAttention",
    "Last",
    "Mean",
    "Pairs",
    "Split",
    "Streams",
]
