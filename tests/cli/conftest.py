"""What the tests of the command line share: a config that is right, and a way to call the command line in this process."""

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = """\
seed_everything: 3
model:
  network:
    encoders:
      text: {class_path: tests.cli.standins.TextEncoder, init_args: {dim: &d 8, depth: 3}}
      image: {class_path: tests.cli.standins.TextEncoder, init_args: {dim: *d}}
    fusions:
      - at: {text: 1}
        fusion: &co {class_path: tests.cli.standins.CoAttention, init_args: {streams: [text, image], dims: [*d, *d]}}
      - {at: {text: 2, image: 1}, fusion: *co}
  objectives:
    links: {class_path: tests.cli.standins.LinkPrediction, init_args: {dim: *d, scorer: {class_path: tests.cli.standins.TransE}}}
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1e-3}}
data: {class_path: tests.cli.standins.Rows}
trainer: {max_epochs: 2, accelerator: cpu, enable_progress_bar: false, enable_model_summary: false}
"""

Call = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A right config in a folder of its own."""
    path = tmp_path / "small.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls the command line in `tmp_path` with the stand-in module; returns the status and the lines of stderr."""
    from kemm.cli import main
    from tests.cli.standins import TrainingModule

    training = types.ModuleType("kemm.training")
    training.TrainingModule = TrainingModule  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kemm.training", training)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("KEMM_TRACEBACK", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, list[str]]:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = int(end.code or 0)
        return status, capsys.readouterr().err.splitlines()

    return run
