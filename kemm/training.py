"""Training with Lightning: optimiser, schedule, freezing, logging, sharding; and evaluation by the tasks' rows.    [Lightning]"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from pytorch_lightning import LightningModule
from pytorch_lightning.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from kemm.batch import Batch, map_batch
from kemm.borders import check_lists, check_reach
from kemm.checkpoint import Pretrained
from kemm.learner import Learner
from kemm.model import FusionModel
from kemm.nn import world_size
from kemm.objectives import Objective
from kemm.tasks import Row, Scores, Task


class WarmupCosine:
    """Linear warm-up, then half a cosine down to a floor (SGDR without restarts, arXiv 1608.03983, equation 5).

    Args:
        warmup: Share of the steps that warm up.
        floor: Last factor.
    """

    def __init__(self, warmup: float = 0.05, floor: float = 0.0) -> None:
        self.warmup, self.floor = warmup, floor

    def __call__(self, done: float) -> float:
        """The factor of the learning rate when this share of the steps is done."""
        if done < self.warmup:
            return done / self.warmup
        rest = min((done - self.warmup) / max(1e-9, 1 - self.warmup), 1.0)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * rest))


class WarmupLinear(WarmupCosine):
    """Linear warm-up, then a line down to a floor (BERT, arXiv 1810.04805, appendix A.2)."""

    def __call__(self, done: float) -> float:
        rest = (1 - done) / max(1e-9, 1 - self.warmup)
        return done / self.warmup if done < self.warmup else max(self.floor, min(rest, 1.0))


class TrainingModule(LightningModule):
    """Trains a network on objectives.

    Args:
        network: The network.
        objectives: Name -> objective.
        weights: Objective -> weight of its loss; 1 by default.
        optimizer: Makes the optimiser of parameter groups.
        schedule: Share of the steps done -> factor of the learning rate; `WarmupCosine` by default.
        rates: Beginning of parameter names (`network.encoders.image`) -> factor of their learning rate.
        no_decay: Parts of parameter names that are not decayed; biases, norms and scalars never are.
        freeze: Beginnings of parameter names that are not trained.
        pretrained: Checkpoints to begin with, in their order.
        momentum: Of the teacher; None for none.
        chunks: Pieces in which the network runs a batch; the same gradient in less memory.
        seed: Keys corruption and dropout, with the step.
    """

    def __init__(
        self,
        network: FusionModel,
        objectives: dict[str, Objective],
        weights: Mapping[str, float] | None = None,
        optimizer: Callable[[Iterable[Any]], Optimizer] = AdamW,
        schedule: Callable[[float], float] | None = None,
        rates: Mapping[str, float] | None = None,
        no_decay: Sequence[str] = (),
        freeze: Sequence[str] = (),
        pretrained: Sequence[Pretrained] = (),
        momentum: float | None = None,
        chunks: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.learner = Learner(network, objectives, weights, momentum, chunks, seed)
        self.optimizer, self.schedule = optimizer, schedule or WarmupCosine()
        self.rates, self.no_decay, self.seed = dict(rates or {}), tuple(no_decay), seed
        for checkpoint in pretrained:
            checkpoint.load(self.learner)
        for start in freeze:
            frozen = [p for name, p in self.learner.named_parameters() if name.startswith(start)]
            if not frozen:
                raise ValueError(f"freeze: no parameter's name begins with {start!r}")
            for parameter in frozen:
                parameter.requires_grad_(False)
        self.rows: dict[str, dict[str, list[Row]]] = {}
        self.scores: dict[str, dict[str, Scores]] = {}

    def setup(self, stage: str) -> None:
        """Compares what the sources hold with the tables, vocabularies and closed lists that are to read it.

        Raises:
            ValueError: A table is too small, or a list another; an error of shapes or indices, or a crash of the accelerator, would come
                of it, or answers that are counted as others.
        """
        datamodule = getattr(self.trainer, "datamodule", None)
        for part in ("sources", "validation", "test"):
            for name, source in getattr(datamodule, part, {}).items():
                check_reach(self.learner, f"data.{part}.{name}", source.reaches)
                check_lists(self.learner, f"data.{part}.{name}", source.lists)

    def configure_model(self) -> None:
        """Shards encoders' layers and fusions, and the learner as their root (FSDP2)."""
        strategy = self.trainer.strategy
        if not isinstance(strategy, ModelParallelStrategy) or isinstance(self.learner, torch.distributed.fsdp.FSDPModule):
            return
        mesh = strategy.device_mesh["data_parallel"]
        units = [layer for encoder in self.learner.network.encoders for layer in self.learner.network.encoder(encoder).layers]
        for unit in [*units, *self.learner.network.fusions]:
            fully_shard(unit, mesh=mesh)
        fully_shard(self.learner, mesh=mesh)

    def configure_optimizers(self) -> Any:
        """The optimiser over groups of decay and rate, with the schedule."""
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        used: set[str] = set()
        for name, parameter in self.learner.named_parameters():
            if not parameter.requires_grad:
                continue
            starts = [start for start in self.rates if name.startswith(start)]
            used.update(starts)
            decays = parameter.dim() > 1 and not any(part in name for part in self.no_decay)
            groups.setdefault((self.rates[max(starts, key=len)] if starts else 1.0, decays), []).append(parameter)
        unknown = self.rates.keys() - used
        if unknown:
            raise ValueError(f"rates: no trained parameter's name begins with {sorted(unknown)[0]!r}")
        optimizer = self.optimizer([{"params": parameters} for parameters in groups.values()])
        for group, (rate, decays) in zip(optimizer.param_groups, groups, strict=True):
            group["lr"] = group["lr"] * rate
            if not decays:
                group["weight_decay"] = 0.0
        total = max(1, int(self.trainer.estimated_stepping_batches))
        scheduler = LambdaLR(optimizer, lambda step: self.schedule(min(1.0, (step + 1) / total)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The learner's loss; dropout is drawn from (seed, step, rank), so that a resumed run draws as the interrupted one."""
        torch.manual_seed(hash((self.seed, self.global_step, self.global_rank)) & 0x7FFFFFFF)
        self.learner.step.fill_(self.global_step)
        loss, result = self.learner(batch)
        if not torch.isfinite(loss):
            parts = {name: float(losses["loss"][0]) for name, losses in result.items()}
            ids = batch["id"].tolist() if "id" in batch else []
            raise ValueError(f"step {self.global_step}: the loss is {float(loss)} (sums: {parts}) on the samples {ids[:8]}")
        logs = {}
        for name, losses in result.items():
            for part, (total, count) in losses.items():
                logs[f"train/{name}/{part}"] = total.detach().float() / count.clamp(min=1)
        self.log_dict(logs, on_step=True, on_epoch=False)
        self.log("train/loss", loss.detach(), prog_bar=True, on_step=True, on_epoch=False, sync_dist=True)
        return loss

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """The batch on a device, whatever else than tensors it holds."""
        moved: Batch = map_batch(batch, lambda t: t.to(device, non_blocking=True))
        return moved

    # ---- evaluation

    def _splits(self, stage: str) -> list[str]:
        datamodule = getattr(self.trainer, "datamodule", None)
        return list(getattr(datamodule, stage, {}))

    @torch.no_grad()
    def _evaluate(self, batch: Batch, split: str) -> None:
        network = self.learner.network
        tasks = {n: o for n, o in self.learner.objectives.items() if isinstance(o, Task) and o.wants(batch)}
        if not tasks:
            return
        streams = network(batch)
        for name, task in tasks.items():
            self.rows.setdefault(split, {}).setdefault(name, []).extend(task.predict(streams, batch, network))

    def _finish(self, stage: str) -> None:
        self.scores = {}
        for split in self._splits(stage):
            gathered = gather_rows(self.rows.get(split, {}))
            self.rows[split] = gathered
            for name, rows in gathered.items():
                task = self.learner.objectives[name]
                assert isinstance(task, Task)
                scores = task.evaluate(rows)
                self.scores.setdefault(split, {})[name] = scores
                for metric, value in scores.items():
                    self.log(f"{split}/{name}/{metric}", value if isinstance(value, float) else value.estimate, rank_zero_only=False)

    def on_validation_epoch_start(self) -> None:
        self.rows = {}

    def on_test_epoch_start(self) -> None:
        self.rows = {}

    def on_predict_epoch_start(self) -> None:
        self.rows = {}

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collects the tasks' rows."""
        self._evaluate(batch, self._splits("validation")[dataloader_idx])

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collects the tasks' rows."""
        self._evaluate(batch, self._splits("test")[dataloader_idx])

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collects the tasks' rows."""
        self._evaluate(batch, self._splits("test")[dataloader_idx])

    def on_validation_epoch_end(self) -> None:
        """Scores the rows of all ranks."""
        self._finish("validation")

    def on_test_epoch_end(self) -> None:
        """Scores the rows of all ranks."""
        self._finish("test")

    def on_predict_epoch_end(self) -> None:
        """Gathers the rows of all ranks."""
        self._finish("test")

    def refresh_memories(self) -> None:
        """A new snapshot of every memory's keys."""
        self.learner.refresh_memories()


def gather_rows(rows: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """The rows of all ranks, each id once, in the order of the ids."""
    parts: list[dict[str, list[Row]] | None] = [rows]
    if world_size() > 1:
        parts = [None] * world_size()
        dist.all_gather_object(parts, rows)
    merged: dict[str, dict[Any, Row]] = {}
    for part in parts:
        for name, listed in (part or {}).items():
            merged.setdefault(name, {}).update({row["id"]: row for row in listed})
    return {name: [by_id[key] for key in sorted(by_id, key=lambda k: (str(type(k)), k))] for name, by_id in merged.items()}
