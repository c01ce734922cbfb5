"""Building blocks that know nothing of modalities."""

from kemm.nn.attention import Attention, AttentionWeights, visible
from kemm.nn.distributed import gather, offset, reduce_sum, world_size
from kemm.nn.draws import Draws, TapedDraws
from kemm.nn.layers import AttentionBlock, BertNorm, FeedForward, FeedForwardBlock, FinalNorm, PostNormLayer, PreNormLayer, init_bert

__all__ = [
    "Attention",
    "AttentionBlock",
    "AttentionWeights",
    "BertNorm",
    "Draws",
    "FeedForward",
    "FeedForwardBlock",
    "FinalNorm",
    "PostNormLayer",
    "PreNormLayer",
    "TapedDraws",
    "gather",
    "init_bert",
    "offset",
    "reduce_sum",
    "visible",
    "world_size",
]
