"""The command `convert`: what it writes and shows, and that no fault leaves half of anything."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kemm.checkpoint import Pretrained, learner_from_config
from kemm.convert import main, tool
from kemm.convert.colake import colake
from kemm.convert.summary import summary
from kemm.convert.systems import SYSTEMS, converter_of, signature_of
from kemm.convert.table import Converted, Target, translate

CASE = Path(__file__).parents[1] / "golden" / "knowledge" / "kadapter_fac_skip2.safetensors"
OPTIONS = ["--layers", "[0, 1, 3]", "--heads", "4", "--adapter_heads", "3", "--skip", "2"]
SHARED = {"__init__", "loading", "plan", "published", "signature", "state", "summary", "systems", "table", "tool", "vit"}


def checkpoint(folder: Path) -> Path:
    tensors = load_file(CASE)
    save_file({key.removeprefix("weights/"): x for key, x in tensors.items() if key.startswith("weights/")}, folder / "k.safetensors")
    return folder / "k.safetensors"


def test_what_is_written_builds_and_loads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(checkpoint(tmp_path)), str(tmp_path / "out"), *OPTIONS]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "kadapter: 169 matched, 0 reshaped, 0 ignored, 0 missing"
    assert shown[1] == "not told, so assumed: padding_id 0"
    assert any(line.split()[:3] == ["matched", "3", "adapter.adapter.*.up_project.bias"] for line in shown)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["config.yaml", "weights.safetensors"]
    learner = learner_from_config(tmp_path / "out" / "config.yaml")
    Pretrained("", tmp_path / "out" / "weights.safetensors").load(learner)
    assert torch.equal(learner.state_dict()["network.fusions.0.up.bias"], load_file(CASE)["weights/adapter.adapter.0.up_project.bias"])


def test_the_table_shows_what_is_reshaped_ignored_and_missing() -> None:
    state = {key.removeprefix("weights/"): x for key, x in load_file(CASE.with_stem("colake_pretrain")).items() if "weights/" in key}
    del state["ent_embeddings.weight"]
    report = summary(colake(state, heads=2)).splitlines()
    assert report[0] == f"the checkpoint: {len(state) - 6} matched, 0 reshaped, 6 ignored, 1 missing"
    assert [line.split() for line in report if line.startswith("missing")] == [
        ["missing", "1", "network.encoders.text.embed.entities.weight"]
    ]
    assert ["ignored", "1", "rel_lm_head.decoder.weight"] in [line.split() for line in report]
    state = {"h.0.attn.c_attn.weight": torch.zeros(2, 6), "h.1.attn.c_attn.weight": torch.zeros(2, 6)}
    table = {f"h.{i}.attn.c_attn.weight": Target((f"layers.{i}.q", f"layers.{i}.k"), lambda t: t.T.chunk(2)) for i in range(2)}
    result, became = translate(state, table)
    rows = summary(Converted(result, {}, became)).splitlines()
    assert rows[1:] == ["reshaped     2  h.*.attn.c_attn.weight  layers.*.q, layers.*.k"]


def test_without_a_folder_the_table_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoint(tmp_path)
    assert main([str(path), *OPTIONS]) == 0
    assert capsys.readouterr().out.startswith("kadapter: 169 matched")
    assert list(tmp_path.iterdir()) == [path]


def test_errors_are_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(checkpoint(tmp_path))
    assert main([path, str(tmp_path / "out"), "--layers", "[0, 1]"]) == 1
    assert main([path, str(tmp_path / "out"), "--pooling", "mean"]) == 1
    assert main([path, str(tmp_path / "out"), "--layers", "[0, 1"]) == 1
    assert main([str(tmp_path / "none.pt"), str(tmp_path / "out")]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert [line.startswith(f"error: {path}: ") for line in lines] == [True, True, True, False]
    assert "holds 3 adapters" in lines[0]
    assert "kadapter has no ['pooling'], expected arguments out of ['layers', 'heads', 'adapter_heads', 'skip', 'padding_id']" in lines[1]
    assert "--layers is '[0, 1', and no YAML" in lines[2]
    assert "no such checkpoint" in lines[3]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["--layer", "[0]"], ["--system", "elmo"], ["kadapter", "further"]])
def test_a_wrong_command_line_is_refused(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refused:
        main([str(checkpoint(tmp_path)), *words])
    assert refused.value.code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["k.safetensors"]


@pytest.mark.parametrize("fault", [OSError("no space left on device"), KeyboardInterrupt()])
def test_what_was_there_stays_where_writing_fails(fault: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [str(checkpoint(tmp_path)), str(tmp_path / "out"), *OPTIONS]
    assert main(arguments) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def half(state: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise fault

    monkeypatch.setattr(tool, "save_file", half)
    if isinstance(fault, OSError):
        assert main(arguments) == 1
    else:
        with pytest.raises(KeyboardInterrupt):
            main(arguments)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_has_its_converter_and_its_signature(system: str) -> None:
    assert callable(converter_of(system))
    assert signature_of(system).needs


def test_every_converter_is_a_system() -> None:
    files = {path.stem for path in (Path(__file__).parents[2] / "kemm" / "convert").glob("*.py")}
    assert files - SHARED == set(SYSTEMS)
