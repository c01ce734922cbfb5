"""Twenty steps of the Atlas on two processes, with DDP and with FSDP2, are twenty steps of one process on the whole batches."""

import json
import os
import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
import yaml
from torch import Tensor

from kemm.cli import main
from kemm.data import AtlasBuild

ROOT = Path(__file__).parents[1]
STEPS, RANKS = 20, 2
BATCHES = {"questions": 8, "passages": 4, "captions": 8, "triples": 16}
TOLERANCE = 1e-6
FSDP2 = {"data_parallel_size": RANKS, "tensor_parallel_size": 1, "process_group_backend": "gloo", "save_distributed_checkpoint": False}
STRATEGIES = {
    "ddp": ["--trainer.strategy", "ddp"],
    "fsdp2": [
        "--trainer.strategy=pytorch_lightning.strategies.ModelParallelStrategy",
        *(f"--trainer.strategy.init_args.{name}={json.dumps(value)}" for name, value in FSDP2.items()),
    ],
}
QUIET = ["--trainer.accelerator", "cpu", "--trainer.enable_model_summary", "false", "--trainer.enable_progress_bar", "false"]


def train(config: Path, folder: Path, *options: str) -> None:
    assert main(["fit", "--config", str(config), "--trainer.default_root_dir", str(folder), *QUIET, *options]) == 0


def work(rank: int, config: Path, folder: Path, port: int) -> None:
    """One of the processes, as torchrun would start it."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": RANKS, "LOCAL_WORLD_SIZE": RANKS, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in names.items()} | {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test"}
    os.chdir(ROOT)
    torch.set_num_threads(1)
    for name, strategy in STRATEGIES.items():
        train(config, folder / name, "--trainer.devices", str(RANKS), *strategy)


def weights(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(folder / "last.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    return state


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of one process, and one for each strategy."""
    folder = tmp_path_factory.mktemp("processes")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        AtlasBuild(Path("data/atlas"))()
        config = yaml.safe_load(Path("configs/atlas.yaml").read_text())
        config["trainer"] |= {"max_steps": STEPS, "limit_val_batches": 0}
        # In float32 the sums of two halves differ in their last digits, which Adam makes whole steps of where gradients are nearly 0.
        config["trainer"]["callbacks"].append({"class_path": "tests.trainer_parts.Double"})
        config["data"]["init_args"] |= {"batch_sizes": BATCHES, "batch_size": BATCHES["questions"], "steps_per_epoch": 2 * STEPS}
        path = folder / "atlas.yaml"
        path.write_text(yaml.safe_dump(config))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        together = mp.spawn(work, (path, folder, port), nprocs=RANKS, join=False)
        train(path, folder / "one")
        while not together.join():
            pass
    return folder


@pytest.mark.timeout(900)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_processes_are_one(strategy: str, runs: Path) -> None:
    one, two = weights(runs / "one"), weights(runs / strategy)
    assert one.keys() == two.keys()
    difference, name = max((float((one[name].double() - two[name].double()).abs().max()), name) for name in one if one[name].numel())
    assert difference <= TOLERANCE, f"{name} differs by {difference}"
