"""Building blocks that know nothing of modalities."""

from kemm.nn.attention import Attention, AttentionWeights, causal, visible
from kemm.nn.distributed import gather, gathered, offset, reduce_sum, world_size
from kemm.nn.draws import Draws, TapedDraws
from kemm.nn.layers import AttentionBlock, BertNorm, FeedForward, FeedForwardBlock, FinalNorm, PostNormLayer, PreNormLayer, init_bert
from kemm.nn.packing import Packing

__all__ = [
    "Attention",
    "AttentionBlock",
    "AttentionWeights",
    "BertNorm",
    "Draws",
    "FeedForward",
    "FeedForwardBlock",
    "FinalNorm",
    "Packing",
    "PostNormLayer",
    "PreNormLayer",
    "TapedDraws",
    "causal",
    "gather",
    "gathered",
    "init_bert",
    "offset",
    "reduce_sum",
    "visible",
    "world_size",
]
