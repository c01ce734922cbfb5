"""A small plain CNN for small pictures: on 32 x 32 drawings it learns in a minute of one core what a ViT does not begin to."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kemm.batch import ImageInput, Stream
from kemm.encoders.base import Encoder


class ConvEmbedding(nn.Module):
    """Convolutions of stride 2, each with a norm over groups of channels (of one sample: ranks need not agree) and ReLU.

    Args:
        widths: Channels after each convolution.
        groups: Groups of channels that are normalised together.
    """

    def __init__(self, widths: Sequence[int], groups: int = 8) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for before, width in zip((3, *widths), widths, strict=False):
            stages += [nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False), nn.GroupNorm(groups, width), nn.ReLU()]
        self.stages = nn.Sequential(*stages)

    def forward(self, image: ImageInput) -> Stream:
        pixels: Tensor = image["pixels"]
        if not pixels.is_floating_point():
            pixels = pixels.to(next(self.stages.parameters()).dtype) / 127.5 - 1
        x = self.stages(pixels).flatten(2).transpose(1, 2)  # (B, P, D)
        return Stream(x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))


class ConvEncoder(Encoder):
    """The CNN as an encoder: all embedding, its one height is 0; the places of the last map are the tokens.

    Args:
        widths: Channels after each convolution of stride 2; the last is the width of the stream.
        groups: Groups of channels that are normalised together.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 128, 192), groups: int = 8) -> None:
        super().__init__(ConvEmbedding(widths, groups))
        self.dim = widths[-1]
