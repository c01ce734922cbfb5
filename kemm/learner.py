"""The learner: a network and its objectives, as one plain module whose forward is one exact loss (the root of DDP, FSDP and compile)."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kemm.batch import Batch, batch_size, join_streams, split_batch
from kemm.fusion import Remembers
from kemm.fusion.base import Streams
from kemm.model import FusionModel
from kemm.nn import Draws, gathered, reduce_sum, world_size
from kemm.objectives import Losses, Objective, Teacher, View


class Result(dict[str, Losses]):
    """Objective -> its losses, as this rank's (sum, count)."""


class Learner(nn.Module):
    """Runs every view of a batch, lets the objectives score, and weighs their losses.

    Losses are sums over this rank divided by counts over all ranks, times the number of ranks, so that the mean of the ranks'
    gradients (what DDP and FSDP make) is one process's gradient on the whole batch. With `chunks` the network runs on pieces of the
    batch and again in the backward pass (gradient checkpointing with replayed dropout): the same gradient in less memory, in-batch
    negatives included.

    Args:
        network: The network.
        objectives: Name -> objective.
        weights: Objective -> weight of its loss; 1 by default.
        momentum: Of the teacher, a copy of network and objectives that follows the student; None for no teacher.
        chunks: Pieces in which the network runs.
        seed: Keys all random draws, with the step and the samples' ids.
    """

    step: Tensor

    def __init__(
        self,
        network: FusionModel,
        objectives: Mapping[str, Objective],
        weights: Mapping[str, float] | None = None,
        momentum: float | None = None,
        chunks: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name in weights or {}:
            if name not in objectives:
                raise ValueError(f"weights[{name!r}]: there is no such objective, the objectives are {sorted(objectives)}")
        self.network = network
        self.objectives = nn.ModuleDict(objectives)
        network.packing = network.packing and not any(objective.reads_padding for objective in objectives.values())
        self.weights = dict.fromkeys(objectives, 1.0) | dict(weights or {})
        self.momentum, self.chunks, self.seed = momentum, chunks, seed
        self.register_buffer("step", torch.zeros(1, dtype=torch.long))
        self.order = _order_views(objectives)
        for name, objective in objectives.items():
            objective.check_learner(f"model.objectives.{name}", network, objectives)
        taught = [o for o in objectives.values() if o.taught]
        self.taught = {o.view for o in taught} | {o.after for o in taught if o.reuse}
        self.teacher = self._copy() if momentum is not None else None

    def _copy(self) -> nn.ModuleDict:
        heads = nn.ModuleDict({name: deepcopy(objective) for name, objective in self.objectives.items() if objective.teaches})
        return nn.ModuleDict({"network": deepcopy(self.network), "objectives": heads}).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Training or evaluation; the teacher answers without dropout in both."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def forward(self, batch: Batch, draws: Draws | None = None) -> tuple[Tensor, Result]:
        """The loss to differentiate, and each objective's sums and counts.

        Args:
            batch: One source's batch; objectives that need what it lacks are passed over.
            draws: The random numbers; keyed by the seed, the step and `batch["id"]` by default.
        """
        if draws is None:
            draws = Draws(batch.get("id", torch.arange(batch_size(batch))), self.seed, int(self.step) if self.training else -1)
        if self.training and self.teacher is not None:
            self.update_teacher()
        before: dict[str, View] = {}
        result = Result()
        for view in self.order:
            wanting = self.wanting(view, batch)
            if not wanting or any(o.after and o.after not in before for o in wanting.values()):
                continue
            corrupted = batch
            for objective in wanting.values():
                corrupted = objective.corrupt(corrupted, before, draws)
            reused = {name: o.after for o in wanting.values() for name in o.reuse if name in before[o.after].streams}
            streams = self.run(corrupted | {name: before[after].streams[name] for name, after in reused.items()})
            taught = None
            if self.teacher is not None and view in self.taught:
                taught = self.teach(corrupted | {name: (before[after].teacher or {})[name] for name, after in reused.items()})
            before[view] = View(corrupted, streams, taught, wanting)
            for name, objective in wanting.items():
                teacher = self.answer(name, taught) if objective.taught and taught is not None else None
                result[name] = objective(streams, corrupted, self.network, teacher)
        if not result:
            raise ValueError(f"no objective of {sorted(self.objectives)} can use a batch of {sorted(batch)}")
        return self.total(result), result

    def wanting(self, view: str, batch: Batch) -> dict[str, Objective]:
        """The objectives of a view that can use a batch."""
        objectives = {name: o for name, o in self.objectives.items() if isinstance(o, Objective)}
        return {name: o for name, o in objectives.items() if o.view == view and o.wants(batch)}

    def run(self, batch: Batch) -> Streams:
        """The network's streams, made in chunks where that was asked for."""
        if self.chunks == 1 or not torch.is_grad_enabled():
            return self.network(batch)
        return join_streams([checkpoint(self.network, part, use_reentrant=False) for part in split_batch(batch, self.chunks)])

    def total(self, result: Result) -> Tensor:
        """The weighted sum of the losses, each over its count on all ranks."""
        names = list(result)
        counts = reduce_sum(torch.stack([result[name]["loss"][1].detach().double() for name in names]))
        total: Any = 0
        for name, count in zip(names, counts, strict=True):
            loss = result[name]["loss"][0]
            total = total + self.weights[name] * world_size() * loss / count.clamp(min=1).to(loss.dtype)
        return total

    @torch.no_grad()
    def teach(self, batch: Batch) -> Streams:
        """The teacher's streams of a batch."""
        assert self.teacher is not None
        return self.teacher["network"](batch)

    def answer(self, name: str, streams: Streams) -> Teacher:
        """What the objective of this name reads of the teacher."""
        assert self.teacher is not None
        network, heads = self.teacher["network"], self.teacher["objectives"]
        assert isinstance(network, FusionModel)
        assert isinstance(heads, nn.ModuleDict)
        objective = heads[name] if name in heads else self.objectives[name]
        assert isinstance(objective, Objective)
        return Teacher(streams, network, objective)

    def refresh_memories(self) -> None:
        """A new snapshot of every memory's keys, the teacher's memories by the teacher's network."""
        networks: list[tuple[nn.Module, Any]] = [(self.network, self.network), (self.objectives, self.network)]
        if self.teacher is not None:
            networks += [(part, self.teacher["network"]) for part in self.teacher.children()]
        with gathered(self):
            for part, network in networks:
                for module in part.modules():
                    if isinstance(module, Remembers):
                        module.refresh(network)

    @torch.no_grad()
    def update_teacher(self) -> None:
        """teacher = momentum * teacher + (1 - momentum) * student."""
        assert self.teacher is not None and self.momentum is not None
        students = dict(self.named_parameters())
        for name, teacher in self.teacher.named_parameters():
            teacher.lerp_(students[name], 1 - self.momentum)


def _order_views(objectives: Mapping[str, Objective]) -> list[str]:
    """The views in an order in which each comes after the one that it builds on."""
    after: dict[str, set[str]] = {}
    for objective in objectives.values():
        after.setdefault(objective.view, set()).update({objective.after} - {""})
    order: list[str] = []
    while len(order) < len(after):
        ready = [view for view, needed in after.items() if view not in order and needed <= set(order)]
        if not ready:
            waiting = {view: sorted(needed) for view, needed in after.items() if view not in order}
            raise ValueError(f"views wait for views that do not exist or for each other: {waiting}; the views are {sorted(after)}")
        order.append(ready[0])
    return order
