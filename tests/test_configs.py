"""Every config is whole, its miniature runs from end to end, and an interrupted run goes on as if nothing had been."""

import csv
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from kemm.checkpoint import learner_from_config
from kemm.cli import main
from kemm.data import AtlasBuild

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
TINY = [name for name in CONFIGS if name.endswith("_tiny")]
FULL = [name for name in CONFIGS if not name.endswith("_tiny")]
QUIET = ("--trainer.accelerator", "cpu", "--trainer.enable_model_summary", "false", "--trainer.enable_progress_bar", "false")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configs name their files from the root of the project."""
    monkeypatch.chdir(ROOT)
    AtlasBuild(Path("data/atlas"))()


def run(command: str, config: Path | str, folder: Path, *options: str) -> None:
    arguments = [command, "--config", str(config), "--trainer.default_root_dir", str(folder), *QUIET, *options]
    assert main(arguments) == 0


def classes(name: str) -> set[str]:
    return set(re.findall(r"class_path: ([\w.]+)", (ROOT / "configs" / f"{name}.yaml").read_text()))


@pytest.mark.parametrize("name", FULL)
def test_a_config_has_a_miniature_of_the_same_parts(name: str) -> None:
    assert f"{name}_tiny" in TINY
    assert classes(f"{name}_tiny") == classes(name)


@pytest.mark.parametrize("name", FULL)
def test_a_config_says_how_it_is_run(name: str) -> None:
    text = (ROOT / "configs" / f"{name}.yaml").read_text()
    assert f"python train.py --config configs/{name}.yaml" in text


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_is_read_and_built(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = f"configs/{name}.yaml"
    with pytest.raises(SystemExit) as end:
        main(["fit", "--config", config, "--print_config"])
    assert not end.value.code
    assert set(yaml.safe_load(capsys.readouterr().out)["model"]["objectives"]) == set(learner_from_config(config).objectives)


@pytest.mark.parametrize("name", TINY)
def test_a_miniature_runs(name: str, tmp_path: Path) -> None:
    config = f"configs/{name}.yaml"
    run("fit", config, tmp_path)
    assert (tmp_path / "last.ckpt").exists()
    data = yaml.safe_load(Path(config).read_text())["data"]["init_args"]
    if "validation" in data:
        run("validate", config, tmp_path, "--ckpt_path", "last")
    if "test" in data:
        run("test", config, tmp_path, "--ckpt_path", "last")
        assert (tmp_path / "report.html").exists()
        assert (tmp_path / "metrics.json").exists()


def test_a_resolved_config_is_a_config(tmp_path: Path) -> None:
    run("fit", "configs/atlas_tiny.yaml", tmp_path / "one", "--trainer.max_steps", "1")
    run("fit", tmp_path / "one" / "config.yaml", tmp_path / "two")


def losses(folder: Path) -> dict[int, str]:
    """Step -> loss, as the last run in a folder wrote it: all digits."""
    logs = max(folder.glob("logs/version_*"), key=lambda path: int(path.name.rpartition("_")[2]))
    with (logs / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): row["train/loss"] for row in csv.DictReader(file) if row["train/loss"]}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_precision_trains(precision: str, tmp_path: Path) -> None:
    """Every loss is a number, and parameters and what the optimiser keeps of them stay float32, whatever layers are computed in."""
    even = "--data.init_args.weights={questions: 1, passages: 1, captions: 1, triples: 1}"
    run("fit", "configs/atlas_tiny.yaml", tmp_path, "--trainer.precision", precision, "--trainer.max_steps", "10", even)
    logged: dict[str, list[float]] = {}
    with next(tmp_path.glob("logs/*/metrics.csv")).open(newline="") as file:
        for row in csv.DictReader(file):
            for column, text in row.items():
                if text and column.startswith("train/") and column.endswith("loss"):
                    logged.setdefault(column, []).append(float(text))
    named = yaml.safe_load(Path("configs/atlas_tiny.yaml").read_text())["model"]["objectives"]
    assert logged.keys() == {"train/loss", *(f"train/{name}/loss" for name in named)} and len(logged["train/loss"]) == 10
    assert all(math.isfinite(loss) for found in logged.values() for loss in found)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    kept = [state for states in saved["optimizer_states"][0]["state"].values() for state in states.values()]
    floats = [tensor for tensor in (*saved["state_dict"].values(), *kept) if tensor.is_floating_point()]
    assert len(floats) > 100 and {tensor.dtype for tensor in floats} == {torch.float32}
    assert all(bool(tensor.isfinite().all()) for tensor in floats)


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path) -> None:
    config: dict[str, Any] = yaml.safe_load(Path("configs/atlas_tiny.yaml").read_text())
    config["trainer"] |= {"max_steps": 12, "limit_val_batches": 0}
    config["data"]["init_args"]["steps_per_epoch"] = 4
    # The memories are new at steps 0, 5 and 10, epochs end at 4 and 8, and what is left of the cut run ends at 6.
    refresh = {"class_path": "kemm.callbacks.MemoryRefresh", "init_args": {"every": 5}}
    saving = {"class_path": "pytorch_lightning.callbacks.ModelCheckpoint", "init_args": {"save_last": True, "every_n_train_steps": 3}}
    interruption = {"class_path": "tests.trainer_parts.Interruption", "init_args": {"after": 8}}
    for name, callbacks in {"whole": [refresh], "cut": [refresh, saving, interruption]}.items():
        config["trainer"]["callbacks"] = callbacks
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config))
    run("fit", tmp_path / "whole.yaml", tmp_path / "whole")
    with pytest.raises(RuntimeError, match="interrupted"):
        run("fit", tmp_path / "cut.yaml", tmp_path / "cut")
    run("fit", tmp_path / "whole.yaml", tmp_path / "cut", "--ckpt_path", "last")
    whole, resumed = losses(tmp_path / "whole"), losses(tmp_path / "cut")
    assert sorted(whole) == list(range(12))
    assert resumed == {step: loss for step, loss in whole.items() if step >= 6}
