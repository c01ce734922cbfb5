"""Image encoder: any timm model by name. A ViT's blocks are layers; a CNN is all embedding (its one height is 0)."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models import VisionTransformer
from torch import Tensor, nn

from kemm.batch import ImageInput, Stream
from kemm.encoders.base import Encoder
from kemm.nn import FinalNorm, visible

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Channel means and deviations of CLIP's preprocessing (openai/CLIP: clip/clip.py)."""


class Normalize(nn.Module):
    """uint8 pixels to normalised floats; float pixels are taken as they are."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1) * 255, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels if pixels.is_floating_point() else (pixels.to(self.mean) - self.mean) / self.std


class PatchEmbedding(nn.Module):
    """What a timm ViT does before its blocks: patches, class, distillation and register tokens, positions (of another grid where the
    model takes pictures of any size)."""

    def __init__(self, vit: VisionTransformer) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.patch_embed, self.norm_pre, self.pos_drop = vit.patch_embed, vit.norm_pre, vit.pos_drop
        self.cls_token, self.dist_token, self.reg_token = (getattr(vit, f"{name}_token", None) for name in ("cls", "dist", "reg"))
        self.pos_embed, self.patches_only = vit.pos_embed, vit.no_embed_class

    def forward(self, image: ImageInput) -> Stream:
        x = self.patch_embed(self.normalize(image["pixels"]))  # (B, P, D), or (B, h, w, D) of any size
        tokens = [token.expand(len(x), -1, -1) for token in (self.cls_token, self.dist_token, self.reg_token) if token is not None]
        positions = self.pos_embed
        if x.dim() == 4:
            if positions is not None:
                first = 0 if self.patches_only else sum(token.shape[1] for token in tokens)
                positions = resample_abs_pos_embed(positions, list(x.shape[1:3]), self.patch_embed.grid_size, first)
            x = x.flatten(1, 2)
        if positions is not None and self.patches_only:
            x = x + positions
        x = torch.cat([*tokens, x], 1)  # (B, tokens + P, D)
        if positions is not None and not self.patches_only:
            x = x + positions
        x = self.norm_pre(self.pos_drop(x))
        return Stream(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))


class Block(nn.Module):
    """A timm block as a layer; a mask matters where text was joined to the image (ViLT)."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        if mask is None:
            return self.block(x)
        mask = visible(mask)
        return self.block(x, attn_mask=mask[:, None, None] if mask.dim() == 2 else mask[:, None])  # (B, 1, 1 or L, L)


class StageEmbedding(nn.Module):
    """A timm CNN (or what else is no plain ViT) up to its last feature map, whose places are the tokens."""

    def __init__(self, cnn: Any) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.cnn: Any = cnn
        self.last = str(getattr(cnn, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, image: ImageInput) -> Stream:
        x = self.cnn.forward_features(self.normalize(image["pixels"]))  # (B, D, h, w), or as the model says
        if x.dim() == 4:
            x = x.flatten(1, 2) if self.last else x.flatten(2).transpose(1, 2)  # (B, P, D)
        return Stream(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))


class ImageEncoder(Encoder):
    """A timm model (github.com/huggingface/pytorch-image-models) by its name.

    Args:
        name: Name in `timm.list_models()`.
        options: Further arguments of `timm.create_model` (`img_size`, `embed_dim`, ...).
        pretrained: Whether the weights come from the hub.
        weights: A local file of weights instead (safetensors, or a pickle of tensors).
    """

    def __init__(self, name: str, options: Mapping[str, Any] | None = None, pretrained: bool = False, weights: Path | None = None) -> None:
        if not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models(), 3)
            raise ValueError(f"timm has no model {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
        if weights is not None and not Path(weights).is_file():
            raise FileNotFoundError(f"{weights}: no such file of image weights")
        model: Any = timm.create_model(name, pretrained, num_classes=0, **(options or {}))
        if weights is not None:
            _load(model, Path(weights), name)
        if isinstance(model, VisionTransformer):
            norms = [] if isinstance(model.norm, nn.Identity) else [FinalNorm(model.norm)]
            super().__init__(PatchEmbedding(model), [*map(Block, model.blocks), *norms])
        else:
            super().__init__(StageEmbedding(model))
        self.dim = int(model.num_features)


def _load(model: nn.Module, path: Path, name: str) -> None:
    try:
        timm.models.load_checkpoint(model, str(path))
    except Exception as error:  # timm hands on what torch and safetensors raise
        detail = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{path}: expected the weights of timm's {name} without its classifier ({detail})") from None
