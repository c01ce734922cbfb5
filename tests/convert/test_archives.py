"""Checkpoints in the form in which their authors publish them: AllenNLP's and pytorch-pretrained-bert's archives, fairseq's pickles; and
what is damaged, or holds more than tensors."""

import argparse
import json
import sys
import tarfile
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from kemm.checkpoint import learner_from_config, load_state
from kemm.convert import load
from kemm.convert.ernie import ernie
from kemm.convert.knowbert import knowbert
from kemm.convert.table import Converted

GOLDEN = Path(__file__).parents[1] / "golden" / "knowledge"
HEADS = {"num_hidden_layers": 1, "num_attention_heads": 2}


def weights(name: str) -> dict[str, Tensor]:
    tensors = load_file(GOLDEN / f"{name}.safetensors")
    return {key.removeprefix("weights/"): tensor for key, tensor in tensors.items() if key.startswith("weights/")}


def config_of(name: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())["config"]
    return config


def archive(path: Path, files: dict[str, object], within: str = "") -> Path:
    """An archive of files: tensors by name as a pickle, anything else as JSON."""
    folder = path.parent / f"{path.name}.files"
    folder.mkdir()
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as made:
        for name, content in files.items():
            if name.endswith(".json"):
                (folder / name).write_text(json.dumps(content))
            else:
                torch.save(content, folder / name)
            made.add(folder / name, arcname=f"{within}{name}")
    return path


def same(one: Converted, other: Converted) -> None:
    assert one.config == other.config
    assert one.state.keys() == other.state.keys()
    assert all(torch.equal(tensor, other.state[name]) for name, tensor in one.state.items())


def allennlp(config: dict[str, Any]) -> dict[str, Any]:
    """The `model` of AllenNLP's config.json that a golden case's config stands for."""
    graphs = {}
    for name, graph in config["kgs"].items():
        linker = {key: graph[key] for key in ("loss_type", "margin", "decode_threshold", "span_encoder_config")}
        graphs[name] = {"entity_linker": linker, "span_attention_config": graph["span_attention_config"]}
    return {"type": "knowbert", "soldered_layers": config["soldered_layers"], "soldered_kgs": graphs}


def test_an_archive_of_allennlp_tells_all_but_the_text_s_heads(tmp_path: Path) -> None:
    config, state = config_of("knowbert_two_kgs"), weights("knowbert_two_kgs")
    path = archive(tmp_path / "model.tar.gz", {"config.json": {"model": allennlp(config)}, "weights.th": state})
    converted = load(path, heads=4)
    assert converted.report.system == "knowbert"
    same(converted, knowbert(state, {"wiki": 0, "wordnet": 2}, 4, {"wiki": 4, "wordnet": 4}, {"wiki": None, "wordnet": 0.1}))
    thresholds = [point["fusion"]["init_args"].get("threshold") for point in converted.config["network"]["fusions"]]
    assert thresholds == [None, 0.1, None]
    load_state(learner_from_config(converted.config), converted.state)


def test_the_settings_of_a_classifier_on_knowbert(tmp_path: Path) -> None:
    config, state = config_of("knowbert_two_kgs"), weights("knowbert_two_kgs")
    task = {"classifier.weight": torch.rand(5, 16), "classifier.bias": torch.rand(5)}
    state = {f"model.{key}": tensor for key, tensor in state.items()} | task
    model = {"type": "simple-classifier", "model": allennlp(config), "concat_word_a": True, "use_bce_loss": True}
    path = archive(tmp_path / "model.tar.gz", {"config.json": {"model": model}, "weights.th": state})
    head = load(path, heads=4).config["objectives"]["classification"]
    assert head["class_path"] == "kemm.objectives.MultiLabelPlaceClassification"
    assert head["init_args"]["places"] == 1


def test_what_neither_keys_nor_settings_tell_is_asked_for(tmp_path: Path) -> None:
    torch.save(weights("knowbert_one_kg"), tmp_path / "weights.th")
    with pytest.raises(ValueError, match=r"knowbert needs \['soldered'\], which neither the keys nor settings beside them tell"):
        load(tmp_path / "weights.th")
    (tmp_path / "config.json").write_text(json.dumps({"model": {"soldered_layers": {"wiki": 1}, "soldered_kgs": {"wiki": {}}}}))
    with pytest.raises(ValueError, match=r"the settings are not as knowbert publishes them \(KeyError: 'entity_linker'\)"):
        load(tmp_path)


@pytest.mark.parametrize("within", ["", "./", "ernie_base/"])
def test_archives_of_pytorch_pretrained_bert(within: str, tmp_path: Path) -> None:
    """The settings have no model_type, and the norms' parameters are `gamma` and `beta`."""
    state = weights("ernie_pretraining")
    old = {key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): x for key, x in state.items()}
    assert old.keys() != state.keys()
    files: dict[str, object] = {"ernie_config.json": HEADS, "pytorch_model.bin": old}
    converted = load(archive(tmp_path / "ernie.tar.gz", files, within))
    assert converted.report.system == "ernie"
    same(converted, ernie(state, heads=2))
    plain = {key: x for key, x in old.items() if "_ent" not in key}
    converted = load(archive(tmp_path / "bert.tar.gz", {"bert_config.json": HEADS, "pytorch_model.bin": plain}, within))
    assert converted.report.system == "bert"
    assert converted.config["network"]["encoders"]["text"]["init_args"]["heads"] == 2


def fairseq() -> dict[str, Tensor]:
    """A RoBERTa of fairseq with KEPLER's head; the case holds the head alone."""
    head = weights("kepler_ke_transe")
    dim, old = head["ke_heads.wikiData.relation_emb.weight"].shape[1], "decoder.sentence_encoder."
    layer = f"{old}layers.0."
    shapes = {f"{old}embed_tokens.weight": (19, dim), f"{old}embed_positions.weight": (9, dim)}
    shapes |= {f"{layer}self_attn.in_proj_weight": (3 * dim, dim), f"{layer}self_attn.in_proj_bias": (3 * dim,)}
    for name, out, into in (("self_attn.out_proj", dim, dim), ("fc1", 20, dim), ("fc2", dim, 20)):
        shapes |= {f"{layer}{name}.weight": (out, into), f"{layer}{name}.bias": (out,)}
    for name in (f"{old}emb_layer_norm", f"{layer}self_attn_layer_norm", f"{layer}final_layer_norm"):
        shapes |= {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}
    return head | {key: torch.rand(shape) for key, shape in shapes.items()}


def test_a_pickle_of_fairseq_tells_its_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the running means of its training, whose class is not there to be loaded."""
    meters: Any = types.ModuleType("fairseq.meters")
    meters.AverageMeter = type("AverageMeter", (), {"__module__": "fairseq.meters"})
    for name, module in (("fairseq", types.ModuleType("fairseq")), ("fairseq.meters", meters)):
        monkeypatch.setitem(sys.modules, name, module)
    mean = meters.AverageMeter()
    mean.sum, mean.count = 3.5, 2
    args = argparse.Namespace(arch="roberta_base", encoder_attention_heads=2)
    torch.save({"args": args, "model": fairseq(), "extra_state": {"train_meters": {"loss": mean}}}, tmp_path / "checkpoint_best.pt")
    for name in ("fairseq", "fairseq.meters"):
        monkeypatch.delitem(sys.modules, name)
    converted = load(tmp_path / "checkpoint_best.pt")
    assert converted.report.system == "kepler"
    assert not converted.report.assumed
    assert converted.config["network"]["encoders"]["text"]["init_args"]["heads"] == 2
    load_state(learner_from_config(converted.config), converted.state)
    assert load(tmp_path).report.system == "kepler"  # the one file of its folder


def test_a_class_that_is_not_safe_is_named(tmp_path: Path) -> None:
    torch.save({"model": fairseq(), "task": torch.nn.Linear(1, 1)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"it holds a torch\.nn\.modules\.linear\.Linear\), expected a pickle of tensors alone"):
        load(tmp_path / "x.pt")


def test_a_pickle_may_be_called_an_archive(tmp_path: Path) -> None:
    torch.save({"model_state_dict": weights("ernie_pretraining"), "global_step": 3}, tmp_path / "checkpoint.pth.tar")
    assert load(tmp_path / "checkpoint.pth.tar", heads=2).report.system == "ernie"


@pytest.mark.parametrize("form", ["model.tar.gz", "model.safetensors", "pytorch_model.bin", "model.tar"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_what_is_cut_is_damaged(form: str, share: float, tmp_path: Path) -> None:
    path = archive(tmp_path / "whole.tar.gz", {"ernie_config.json": HEADS, "pytorch_model.bin": weights("ernie_pretraining")})
    if form == "model.tar":
        with tarfile.open(tmp_path / "whole.tar", "w") as made:
            made.add(tmp_path / "whole.tar.gz.files", arcname="model")
    source = {"model.tar.gz": path, "model.safetensors": GOLDEN / "ernie_pretraining.safetensors", "model.tar": tmp_path / "whole.tar"}
    whole = source.get(form, tmp_path / "whole.tar.gz.files" / "pytorch_model.bin").read_bytes()
    (tmp_path / form).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"cannot be read as an? (archive|checkpoint)|there are no weights"):
        load(tmp_path / form)


def test_a_folder_of_several_files_is_refused_with_their_names(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        torch.save(weights("ernie_pretraining"), tmp_path / name)
    with pytest.raises(ValueError, match=r"it holds \['a\.pt', 'b\.pt'\], and one of them is wanted"):
        load(tmp_path)


@pytest.mark.parametrize(("text", "message"), [("[]", "holds a list, expected an object"), ("{}", "no 'weight_map'"), ("{", "no JSON")])
def test_a_damaged_index_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ValueError, match=rf"model\.safetensors\.index\.json.* {message}"):
        load(tmp_path)


def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path) -> None:
    torch.save(weights("ernie_pretraining"), tmp_path / "x.bin")
    with tarfile.open(tmp_path / "x.tar", "w") as made:
        made.add(tmp_path / "x.bin", arcname="../pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot be read as an archive"):
        load(tmp_path / "x.tar")
