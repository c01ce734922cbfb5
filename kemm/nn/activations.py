"""Non-linearities that torch has no function of one argument for; configs name them as `kemm.nn.gelu_tanh`."""

import torch
import torch.nn.functional as F
from torch import Tensor


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU with its tanh approximation (GPT-2, SigLIP; arXiv 1606.08415, section 2)."""
    return F.gelu(x, approximate="tanh")


def quick_gelu(x: Tensor) -> Tensor:
    """GELU with its sigmoid approximation (OpenAI's CLIP; arXiv 1606.08415, section 2)."""
    return x * torch.sigmoid(1.702 * x)
