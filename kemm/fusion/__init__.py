"""Fusions: each mixes streams between the encoders' layers."""

from kemm.fusion.adapter import Adapter
from kemm.fusion.base import Fusion, FusionPoint, Streams
from kemm.fusion.coattention import CoAttention, Detach, DynamicLayer, Pairs
from kemm.fusion.combine import Join, Sum
from kemm.fusion.concat import AlignedPositions, Concat, Split
from kemm.fusion.cross_attention import CrossAttentionLayer, DecoderLayer
from kemm.fusion.ernie import EntityAggregator, EntityMix
from kemm.fusion.facts import FactAttention, FeatureEntities, Intersection, MentionEntities
from kemm.fusion.feature import (
    AttentionalPool,
    End,
    Feature,
    First,
    Flat,
    Keep,
    Last,
    Mean,
    NormedFeature,
    PaddedMax,
    PaddedMean,
    Pooled,
)
from kemm.fusion.kar import EntityLinker, KnowledgeAttention
from kemm.fusion.local import LocalContext
from kemm.fusion.luke import EntityAwareLayer
from kemm.fusion.memory import MemoryAttention, MemoryFusion, Remembers
from kemm.fusion.mention_query import MentionQuery
from kemm.fusion.neighbours import Neighbours
from kemm.fusion.self_attention import SelfAttention

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
    "End",
    "EntityAggregator",
    "EntityAwareLayer",
    "EntityLinker",
    "EntityMix",
    "FactAttention",
    "Feature",
    "FeatureEntities",
    "First",
    "Flat",
    "Fusion",
    "FusionPoint",
    "Intersection",
    "Join",
    "Keep",
    "KnowledgeAttention",
    "Last",
    "LocalContext",
    "Mean",
    "MemoryAttention",
    "MemoryFusion",
    "MentionEntities",
    "MentionQuery",
    "Neighbours",
    "NormedFeature",
    "PaddedMax",
    "PaddedMean",
    "Pairs",
    "Pooled",
    "Remembers",
    "SelfAttention",
    "Split",
    "Streams",
    "Sum",
]
