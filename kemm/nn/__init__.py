"""Building blocks that know nothing of modalities."""

from kemm.nn.activations import gelu_tanh, quick_gelu
from kemm.nn.attention import Attention, AttentionWeights, causal, visible
from kemm.nn.distributed import gather, gathered, offset, reduce_sum, world_size
from kemm.nn.draws import Draws, TapedDraws
from kemm.nn.layers import (
    AttentionBlock,
    BertNorm,
    FeedForward,
    FeedForwardBlock,
    FinalNorm,
    PostNormLayer,
    PreNormLayer,
    UnbiasedNorm,
    init_bert,
)
from kemm.nn.packing import Packing
from kemm.nn.rotary import BiasFreeNorm, RotaryLayer

__all__ = [
    "Attention",
    "AttentionBlock",
    "AttentionWeights",
    "BertNorm",
    "BiasFreeNorm",
    "Draws",
    "FeedForward",
    "FeedForwardBlock",
    "FinalNorm",
    "Packing",
    "PostNormLayer",
    "PreNormLayer",
    "RotaryLayer",
    "TapedDraws",
    "UnbiasedNorm",
    "causal",
    "gather",
    "gathered",
    "gelu_tanh",
    "init_bert",
    "offset",
    "quick_gelu",
    "reduce_sum",
    "visible",
    "world_size",
]
