"""Image encoder: any timm model by name. A ViT's blocks are layers; a CNN is all embedding (its one height is 0)."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import VisionTransformer
from torch import Tensor, nn

from kemm.batch import ImageInput, Stream
from kemm.encoders.base import Encoder
from kemm.nn import FinalNorm

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Channel means and deviations of CLIP's preprocessing (openai/CLIP: clip/clip.py)."""


class Normalize(nn.Module):
    """uint8 pixels to normalised floats; float pixels are taken as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1) * 255, persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return pixels if pixels.is_floating_point() else (pixels.to(self.mean) - self.mean) / self.std


class PatchEmbedding(nn.Module):
    """What a timm ViT does before its blocks: patches, class token, positions."""

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.patch_embed, self.norm_pre = vit.patch_embed, vit.norm_pre
        self.cls_token, self.pos_embed = vit.cls_token, vit.pos_embed

    def forward(self, image: ImageInput) -> Stream:
        x = self.patch_embed(self.normalize(image["pixels"]))  # (B, P, D)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        x = self.norm_pre(x + self.pos_embed)
        return Stream(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))


class Block(nn.Module):
    """A timm block as a layer: images have no padding, so there is no mask to read."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor, mask: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        return self.block(x)


class StageEmbedding(nn.Module):
    """A timm CNN up to its last feature map, whose places are the tokens."""

    def __init__(self, cnn: nn.Module) -> None:
        super().__init__()
        self.normalize = Normalize()
        self.cnn = cnn

    def forward(self, image: ImageInput) -> Stream:
        x = self.cnn.forward_features(self.normalize(image["pixels"]))  # (B, D, h, w)
        x = x.flatten(2).transpose(1, 2)  # (B, P, D)
        return Stream(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))


class ImageEncoder(Encoder):
    """A timm model (github.com/huggingface/pytorch-image-models) by its name.

    Args:
        name: Name in `timm.list_models()`.
        options: Further arguments of `timm.create_model` (`img_size`, `embed_dim`, ...).
        pretrained: Whether the weights come from the hub.
        weights: A local file of weights instead (safetensors, or a pickle of tensors).
    """

    def __init__(
        self, name: str, options: Mapping[str, Any] | None = None, pretrained: bool = False, weights: Path | None = None
    ) -> None:
        if not timm.is_model(name):
            near = difflib.get_close_matches(name, timm.list_models(), 3)
            raise ValueError(f"timm has no model {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
        if weights is not None and not Path(weights).exists():
            raise FileNotFoundError(f"{weights}: no such file of image weights")
        model = timm.create_model(name, pretrained, checkpoint_path=str(weights or ""), num_classes=0, **(options or {}))
        if isinstance(model, VisionTransformer):
            super().__init__(PatchEmbedding(model), [*(Block(block) for block in model.blocks), FinalNorm(model.norm)])
        else:
            super().__init__(StageEmbedding(model))
        self.dim: int = model.num_features
