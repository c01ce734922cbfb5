"""Small classes with the signatures of kemm's own, so that the command line is tested without the package behind it."""

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, final

import pytorch_lightning as pl
import torch
from jsonargparse.typing import ClosedUnitInterval, PositiveInt
from torch import Tensor, nn
from torch.utils.data import DataLoader

OptimizerCallable = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


class Encoder(nn.Module):
    """Base of the encoders."""


class TextEncoder(Encoder):
    """An encoder with one table."""

    def __init__(self, dim: PositiveInt, depth: int = 2, pool: Literal["first", "mean"] = "first") -> None:
        super().__init__()
        if dim % 2:
            raise ValueError(f"dim is {dim}, expected an even number")
        self.table = nn.Linear(dim, depth)


class Fusion(nn.Module):
    """Base of the fusions."""


class CoAttention(Fusion):
    """A fusion of two streams."""

    def __init__(self, streams: Sequence[str], dims: Sequence[int], dropout: ClosedUnitInterval = 0.1) -> None:
        super().__init__()
        self.mix = nn.Linear(dims[0], dims[1])


@dataclass(frozen=True)
class FusionPoint:
    """Where a fusion stands."""

    at: dict[str, int]
    fusion: Fusion


class Scorer(nn.Module):
    """Base of the scorers."""


class TransE(Scorer):
    """A scorer."""

    def __init__(self, norm: int = 1) -> None:
        super().__init__()
        self.norm = norm


class Objective(nn.Module):
    """Base of the objectives."""


class LinkPrediction(Objective):
    """An objective with a part of its own."""

    def __init__(self, dim: int, scorer: Scorer) -> None:
        super().__init__()
        self.scorer = scorer


@final
class FusionModel(nn.Module):
    """The network: concrete, and so written without a class_path."""

    def __init__(
        self, encoders: dict[str, Encoder], fusions: Sequence[FusionPoint] = (), share: dict[str, str] | None = None, packing: bool = True
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusions = nn.ModuleList([point.fusion for point in fusions])


class TrainingModule(pl.LightningModule):
    """The trained module."""

    def __init__(
        self,
        network: FusionModel,
        objectives: dict[str, Objective],
        weights: dict[str, float] | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        freeze: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.objectives = nn.ModuleDict(objectives)
        self.optimizer = optimizer

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        loss = sum(parameter.square().sum() for parameter in self.network.parameters())
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Tensor, index: int) -> None:
        self.log("score", float(self.global_step))

    def test_step(self, batch: Tensor, index: int) -> None:
        self.log("steps", float(self.trainer.global_step))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer(self.parameters())


class Rows(pl.LightningDataModule):
    """A few rows; on request the process tells itself to end, as a cluster would."""

    def __init__(self, rows: PositiveInt = 4, end_at: int | None = None) -> None:
        super().__init__()
        self.rows = rows
        self.end_at = end_at

    def _loader(self) -> DataLoader[Tensor]:
        return DataLoader(list(torch.arange(self.rows)), batch_size=1)  # type: ignore[arg-type]

    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> Tensor:
        if self.trainer is not None and self.trainer.training and self.trainer.global_step == self.end_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch

    train_dataloader = val_dataloader = test_dataloader = _loader
