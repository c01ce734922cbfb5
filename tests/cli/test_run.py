"""Runs: the folder, the resolved config, resuming, `last` and `best`, classes beside the config, and SIGTERM."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from kemm.cli import main
from kemm.run_folder import find_checkpoint, write_text
from tests.cli.conftest import GOOD, Call

ROOT = Path(__file__).parents[2]


def test_fit_writes_the_run_folder_and_its_config_gives_the_same_run(config: Path, call: Call, tmp_path: Path) -> None:
    assert call("--config", config, "--model.network.encoders.text.init_args.depth", "5", "--trainer.max_epochs=1") == (0, [])
    folder = tmp_path / "runs" / "small"
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "last.ckpt", "epoch=0-step=4.ckpt", "logs"}
    settled = yaml.safe_load((folder / "config.yaml").read_text())
    assert settled["model"]["network"]["encoders"]["text"]["init_args"]["depth"] == 5
    assert settled["seed_everything"] == 3
    first = torch.load(folder / "last.ckpt", weights_only=True)
    os.utime(folder / "last.ckpt", ns=(0, 0))
    assert call("--config", folder / "config.yaml") == (0, [])
    again = torch.load(folder / "last.ckpt", weights_only=True)
    assert (folder / "last.ckpt").stat().st_mtime_ns > 0
    assert all(torch.equal(first["state_dict"][name], again["state_dict"][name]) for name in first["state_dict"])


def test_fit_goes_on_from_last_and_test_reads_best(config: Path, call: Call, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = "{class_path: pytorch_lightning.callbacks.ModelCheckpoint, init_args: {monitor: score, mode: min, filename: '{step}'}}"
    config.write_text(GOOD.replace("trainer: {", f"trainer: {{callbacks: [{writer}], "))
    assert call("fit", "--config", config) == (0, [])
    assert call("fit", "--config", config, "--ckpt_path", "last", "--trainer.max_epochs", "3") == (0, [])
    folder = tmp_path / "runs" / "small"
    assert [path.name for path in folder.glob("*.ckpt")] == ["step=4.ckpt"]  # the lowest score is that of the first epoch
    assert find_checkpoint(folder, "best").name == "step=4.ckpt"
    assert call("test", "--config", config, "--ckpt_path", "best") == (0, [])


def test_resuming_counts_on(config: Path, call: Call, tmp_path: Path) -> None:
    assert call("fit", "--config", config) == (0, [])
    assert call("fit", "--config", config, "--ckpt_path", "last", "--trainer.max_epochs", "3") == (0, [])
    assert torch.load(tmp_path / "runs" / "small" / "last.ckpt", weights_only=True)["global_step"] == 12


def test_checkpoints_that_are_not_there(config: Path, call: Call, tmp_path: Path) -> None:
    folder = Path("runs/small")
    for name in ("last", "best"):
        message = f"error: --ckpt_path {name}: {folder} holds no checkpoint, expected *.ckpt files from `fit`"
        assert call("test", "--config", config, "--ckpt_path", name) == (1, [message])
    message = "error: --ckpt_path none.ckpt: no such file, expected last, best or the path of a checkpoint"
    assert call("test", "--config", config, "--ckpt_path", "none.ckpt") == (1, [message])
    folder.mkdir(parents=True)
    (folder / "last.ckpt").write_bytes(b"PK\x03\x04 cut off")
    status, errors = call("test", "--config", config, "--ckpt_path", "last")
    assert status == 1
    assert errors[0].startswith("error: runs/small/last.ckpt: cannot be read as a checkpoint (")
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.6.0", "epoch": 0, "global_step": 0}, folder / "last.ckpt")
    status, errors = call("test", "--config", config, "--ckpt_path", "best")
    assert errors == [
        "error: --ckpt_path best: runs/small/last.ckpt records no best checkpoint, expected one from a ModelCheckpoint with a monitor"
    ]


def test_a_checkpoint_of_another_architecture(config: Path, call: Call) -> None:
    assert call("--config", config, "--trainer.max_epochs=1") == (0, [])
    status, errors = call("test", "--config", config, "--ckpt_path=last", "--model.network.encoders.text.init_args.depth=5")
    assert status == 1
    assert len(errors) == 1
    assert "last.ckpt: its weights do not fit the config's model: " in errors[0]
    assert "size mismatch for network.encoders.text.table.weight" in errors[0]


def test_a_pickle_is_not_run(config: Path, call: Call, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"state_dict": {}, "x": Payload()}, tmp_path / "evil.ckpt")
    status, errors = call("test", "--config", config, "--ckpt_path", "evil.ckpt")
    assert status == 1
    assert "cannot be read as a checkpoint" in errors[0]
    assert not (tmp_path / "ran").exists()


def test_a_class_beside_the_config(config: Path, call: Call) -> None:
    config.with_name("gated_beside.py").write_text("from tests.cli.standins import Fusion\n\n\nclass Gated(Fusion):\n    pass\n")
    config.write_text(GOOD.replace("{at: {text: 2, image: 1}, fusion: *co}", "{at: {text: 2}, fusion: {class_path: gated_beside.Gated}}"))
    assert call("--config", config, "--trainer.fast_dev_run=1") == (0, [])


def test_print_config_gives_a_config_that_prints_the_same(config: Path, call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for _ in range(2):
        with pytest.raises(SystemExit, match="0"):
            main(["--config", str(config), "--print_config"])
        printed.append(capsys.readouterr().out)
        config.write_text(printed[-1])
    assert printed[0] == printed[1]
    assert "depth: 3" in printed[0]


def test_write_text_keeps_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "x.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("devices", ["1", "2"])
def test_sigterm_saves_and_says_so(devices: str, config: Path, tmp_path: Path) -> None:
    """With two processes each of them is told to end in the same step, as a cluster does."""
    script = ROOT / "tests" / "cli" / "standin_train.py"
    options = ["--trainer.devices", devices, "--trainer.strategy", "ddp" if devices == "2" else "auto", "--trainer.max_epochs", "100000"]
    done = subprocess.run(
        [sys.executable, script, "--config", config, "--data.init_args.end_at", "2", *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 143, done.stderr
    assert "Traceback" not in done.stderr
    saved = torch.load(find_checkpoint(tmp_path / "runs" / "small", "last"), weights_only=True)
    assert saved["global_step"] == 3  # the step during which the signal came is finished
