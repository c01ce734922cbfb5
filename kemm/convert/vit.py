"""Vision transformers, as timm names them (a timm ViT is what `ImageEncoder` holds) and as open_clip does."""

import math
from typing import Any

from torch import Tensor

from kemm.convert.table import Table, modules, reshaped

BLOCK = {name: name for name in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")}
"""The modules of a timm block."""

OPEN_CLIP_BLOCK = {
    "ln_1": "norm1",
    "attn.out_proj": "attn.proj",
    "ln_2": "norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
"""The modules of an open_clip block and of a timm block; the fused input projection apart, which is no module there."""


def timm(depth: int, old: str, new: str) -> Table:
    """The table of a timm ViT with a class token, its final norm included."""
    table: Table = modules({"patch_embed.proj": "embed.patch_embed.proj", "norm": f"layers.{depth}.norm"}, old, new)
    table |= {f"{old}{name}": f"{new}embed.{name}" for name in ("cls_token", "pos_embed")}
    for i in range(depth):
        table |= modules(BLOCK, f"{old}blocks.{i}.", f"{new}layers.{i}.block.")
    return table


def open_clip(depth: int, places: int, dim: int, old: str, new: str) -> Table:
    """The table of an open_clip ViT up to its last block.

    Args:
        depth: Number of blocks.
        places: Patches, and the class token.
        dim: Width.
        old: What precedes its keys.
        new: What precedes the names of the image encoder.
    """
    table: Table = {
        f"{old}conv1.weight": f"{new}embed.patch_embed.proj.weight",
        f"{old}class_embedding": reshaped(f"{new}embed.cls_token", 1, 1, dim),
        f"{old}positional_embedding": reshaped(f"{new}embed.pos_embed", 1, places, dim),
    }
    table |= modules({"ln_pre": "norm_pre"}, old, f"{new}embed.")
    for i in range(depth):
        block, own = f"{old}transformer.resblocks.{i}.", f"{new}layers.{i}.block."
        table |= modules(OPEN_CLIP_BLOCK, block, own)
        table |= {f"{block}attn.in_proj_{part}": f"{own}attn.qkv.{part}" for part in ("weight", "bias")}
    return table


def options(patches: Tensor, places: int, inner: int, depth: int, heads: int) -> dict[str, Any]:
    """What timm builds a ViT of square images with.

    Args:
        patches: The weight (D, 3, h, w) of the patch embedding.
        places: Patches, and the class token.
        inner: Width of the feed-forward.
        depth: Number of blocks.
        heads: Number of heads.
    """
    dim, _, _, side = patches.shape
    return {
        "img_size": math.isqrt(places - 1) * side,
        "patch_size": side,
        "embed_dim": dim,
        "depth": depth,
        "num_heads": heads,
        "mlp_ratio": inner / dim,
    }
