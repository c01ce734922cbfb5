"""Callbacks: when memories are refreshed, what an evaluation writes, what is said on the way."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import CSVLogger

from kemm.callbacks import MemoryRefresh, PlainProgress, Report, clock, default_callbacks
from tests import small_world


def trainer(folder: Path, *callbacks: pl.Callback, **settings: Any) -> pl.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0, "log_every_n_steps": 1}
    return pl.Trainer(
        default_root_dir=folder,
        logger=CSVLogger(str(folder), name="logs"),
        callbacks=list(callbacks),
        use_distributed_sampler=False,
        accelerator="cpu",
        **{**quiet, **settings},
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    small_world.write(folder)
    return folder


@pytest.fixture(scope="module")
def run(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was fitted for four steps and tested."""
    folder = tmp_path_factory.mktemp("run")
    report = Report(examples=6, mistakes=3)
    report.describe(Path("configs/<small>.yaml"), "model: <network>\n")
    module, data = small_world.module(world), small_world.mixture(world)
    checkpoint = ModelCheckpoint(folder, filename="last")
    trainer(folder, report, checkpoint, max_steps=4).fit(module, datamodule=data)
    trainer(folder, report).test(module, datamodule=data, ckpt_path=folder / "last.ckpt", verbose=False, weights_only=True)
    return folder


class Refreshing(pl.LightningModule):
    """Remembers at which steps it was told to refresh."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.refreshed: list[int] = []

    def refresh_memories(self) -> None:
        self.refreshed.append(self.global_step)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(torch.arange(100), batch_size=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(("accumulated", "expected"), [(1, [0, 3, 6]), (2, [0, 3, 6])])
def test_memories_are_refreshed_every_so_many_steps(tmp_path: Path, accumulated: int, expected: list[int]) -> None:
    module = Refreshing()
    trainer(tmp_path, MemoryRefresh(3), max_steps=8, accumulate_grad_batches=accumulated, enable_checkpointing=False).fit(module)
    assert module.refreshed == expected


def test_a_resumed_run_refreshes_at_the_same_steps(tmp_path: Path) -> None:
    first, second = Refreshing(), Refreshing()
    saved = trainer(tmp_path, MemoryRefresh(3), max_steps=4, enable_checkpointing=False)
    saved.fit(first)
    saved.save_checkpoint(tmp_path / "x.ckpt")
    trainer(tmp_path, MemoryRefresh(3), max_steps=8, enable_checkpointing=False).fit(second, ckpt_path=tmp_path / "x.ckpt")
    assert first.refreshed + second.refreshed == [0, 3, 6]


def test_a_refresh_needs_a_number_of_steps() -> None:
    with pytest.raises(ValueError, match="every is 0, expected a number of steps of at least 1"):
        MemoryRefresh(0)


def test_metrics_say_all_about_the_run(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["command"] == "test"
    assert metrics["config"] == "configs/<small>.yaml"
    assert metrics["checkpoint"].endswith("last.ckpt")
    assert metrics["parameters"] == metrics["trained_parameters"] > 1000
    assert set(metrics["versions"]) == {"kemm", "torch", "pytorch_lightning", "python"}
    accuracy = metrics["splits"]["seen"]["vqa"]["accuracy"]
    assert 0 <= accuracy["low"] <= accuracy["estimate"] <= accuracy["high"] <= 100
    assert metrics["skipped"] == {}


def test_predictions_are_official(run: Path) -> None:
    predictions = json.loads((run / "predictions" / "seen_vqa.json").read_text())
    assert [row["question_id"] for row in predictions] == list(range(20))
    assert all(set(row) == {"question_id", "answer"} for row in predictions)


def test_training_is_told(run: Path) -> None:
    training = json.loads((run / "training.json").read_text())
    assert training["steps"] == 4
    assert training["seconds"] > 0
    assert "accuracy" in training["scores"]["tune"]["vqa"]


class Texts(HTMLParser):
    """What a person reads, and where pictures come from."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.pictures: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        if tag == "img":
            self.pictures.append(dict(attrs)["src"] or "")


def test_the_report_shows_what_was_looked_up(run: Path) -> None:
    read = Texts()
    read.feed((run / "report.html").read_text())
    texts = "\n".join(read.texts)
    for expected in ("Redland", "Redland City", "has the capital", " → ", "found", "shown", "candidate 1", "country", "% sure"):
        assert expected in texts, expected
    assert "What is the capital of this flag, not of Redland? <script>0</script>" in texts
    assert 6 <= len(read.pictures) <= 9
    assert all(source.startswith("data:image/png;base64,") for source in read.pictures)
    assert "vqa" in texts  # the curve of its loss, and its table


def test_evaluating_leaves_nothing_behind(world: Path, tmp_path: Path) -> None:
    module = small_world.module(world)
    report = Report()
    trainer(tmp_path, report).validate(module, datamodule=small_world.mixture(world), verbose=False)
    assert report.streams is None
    assert not module.learner.network._forward_hooks
    assert json.loads((tmp_path / "metrics.json").read_text())["command"] == "validate"
    assert list(json.loads((tmp_path / "metrics.json").read_text())["splits"]) == ["tune"]


def test_validation_within_training_writes_no_report(world: Path, tmp_path: Path) -> None:
    settings = {"max_steps": 2, "enable_checkpointing": False}
    trainer(tmp_path, Report(), **settings).fit(small_world.module(world), datamodule=small_world.mixture(world))
    assert {path.name for path in tmp_path.iterdir()} == {"logs", "training.json"}


def test_the_time_of_an_interrupted_run_counts() -> None:
    report = Report()
    report.load_state_dict({"seconds": 100.0})
    assert report.state_dict() == {"seconds": 100.0}


def test_progress_is_told_in_lines(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"max_steps": 2, "enable_checkpointing": False, "enable_progress_bar": True}
    trainer(tmp_path, PlainProgress(0.0), **settings).fit(small_world.module(world), datamodule=small_world.mixture(world))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert [line.split("  ")[0] for line in lines] == ["step 1/2", "step 2/2", "step 2"]
    assert "loss" in lines[0] and "steps/s" in lines[0] and "left" in lines[0]
    assert lines[2].split("  ")[1] == "tune: vqa accuracy"


def test_every_run_has_a_report_unless_the_config_has_its_own() -> None:
    added = default_callbacks([], Path("x.yaml"), "a: 1", progress=False)
    assert [type(callback) for callback in added] == [MemoryRefresh, Report]
    own = [MemoryRefresh(7), Report(examples=1)]
    kept = default_callbacks(list(own), Path("x.yaml"), "a: 1", progress=False)
    assert kept == own
    assert (own[1].path, own[1].config) == (Path("x.yaml"), "a: 1")


@pytest.mark.parametrize(("terminal", "given", "lines"), [(False, [], 1), (True, [], 0), (False, [TQDMProgressBar()], 0)])
def test_lines_replace_the_bar_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, given: list[pl.Callback], lines: int
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    callbacks = default_callbacks(given, Path(), "", progress=True)
    assert sum(isinstance(callback, PlainProgress) for callback in callbacks) == lines


def test_clock() -> None:
    assert [clock(0.4), clock(245), clock(3723)] == ["0:00", "4:05", "1:02:03"]
