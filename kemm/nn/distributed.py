"""What objectives need of the other ranks: gathered tensors with exact gradients, and sums. Without a process group, nothing happens."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule


def world_size() -> int:
    """Number of ranks, 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's rank, 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


class _Gather(torch.autograd.Function):
    """All-gather along the first dimension; the gradient of each rank's rows is the sum over the ranks that used them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        grad = grads[0].contiguous()
        dist.all_reduce(grad)
        return grad.chunk(world_size())[rank()].clone()


def gather(x: Tensor) -> Tensor:
    """The rows of all ranks, in the order of the ranks, (W * B, ...), with gradient; every rank must have as many rows."""
    return _Gather.apply(x) if world_size() > 1 else x


def offset(rows: int) -> int:
    """Where this rank's rows begin in a gathered tensor."""
    return rank() * rows


def reduce_sum(x: Tensor) -> Tensor:
    """The sum over all ranks, without gradient."""
    if world_size() == 1:
        return x.detach()
    total = x.detach().clone()
    dist.all_reduce(total)
    return total


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """The parameters of a module whole on every rank, where they are sharded (FSDP2), for what is computed outside its forward."""
    units = [part for part in module.modules() if isinstance(part, FSDPModule)]
    for unit in units:
        unit.unshard()
    try:
        yield
    finally:
        for unit in units:
            unit.reshard()
