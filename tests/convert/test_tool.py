"""The command `convert`."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kemm.checkpoint import Pretrained, learner_from_config
from kemm.convert import main
from kemm.convert.tool import SYSTEMS

CASE = Path(__file__).parents[1] / "golden" / "knowledge" / "kadapter_fac_skip2.safetensors"
OPTIONS = ["--layers", "[0, 1, 3]", "--heads", "4", "--adapter_heads", "3", "--skip", "2"]


def checkpoint(folder: Path) -> Path:
    tensors = load_file(CASE)
    save_file({key.removeprefix("weights/"): x for key, x in tensors.items() if key.startswith("weights/")}, folder / "k.safetensors")
    return folder / "k.safetensors"


def test_what_is_written_builds_and_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kadapter", str(checkpoint(tmp_path)), str(tmp_path / "out"), *OPTIONS]) == 0
    assert "matched" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.yaml", "weights.safetensors"]
    learner = learner_from_config(tmp_path / "out" / "config.yaml")
    Pretrained("", tmp_path / "out" / "weights.safetensors").load(learner)
    assert torch.equal(learner.state_dict()["network.fusions.0.up.bias"], load_file(CASE)["weights/adapter.adapter.0.up_project.bias"])


def test_errors_are_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(checkpoint(tmp_path))
    assert main(["kadapter", path, str(tmp_path / "out"), "--layers", "[0, 1]"]) == 1
    assert main(["kadapter", path, str(tmp_path / "out"), "--layer", "[0, 1]"]) == 1
    assert main(["kadapter", str(tmp_path / "none.pt"), str(tmp_path / "out")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith(f"error: {path}: ") for line in lines] == [True, True, False]
    assert "holds 3 adapters" in lines[0]
    assert "['layers', 'heads', 'adapter_heads', 'skip', 'padding_id']" in lines[1]
    assert "no such checkpoint" in lines[2]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_has_its_converter(system: str) -> None:
    module = __import__(f"kemm.convert.{system}", fromlist=[system])
    assert callable(getattr(module, system))


def test_every_converter_is_a_system() -> None:
    files = {path.stem for path in (Path(__file__).parents[2] / "kemm" / "convert").glob("*.py")}
    assert files - {"__init__", "state", "table", "tool", "plan", "published", "vit"} == set(SYSTEMS)
