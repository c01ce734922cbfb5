"""Networks from configs, weights from files, and the messages where the two do not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from kemm.checkpoint import Pretrained, learner_from_config, network_from_config
from kemm.convert.bert import bert
from kemm.convert.ernie import ernie
from kemm.convert.kadapter import kadapter
from kemm.convert.knowbert import knowbert
from kemm.convert.state import read_state
from kemm.fusion import KnowledgeAttention
from kemm.learner import Learner

GOLDEN = Path(__file__).parent / "golden" / "knowledge"
CONFIG = """\
model:
  network:
    encoders:
      text: {class_path: kemm.encoders.TextEncoder, init_args: {vocab_size: 11, dim: &d 6, depth: 2, heads: 2}}
      entity: {class_path: kemm.encoders.EntityEncoder, init_args: {num_entities: 7, dim: 4}}
    fusions:
      - {at: {text: 1, entity: 0}, fusion: {class_path: kemm.fusion.EntityMix, init_args: {dim: *d, entity_dim: 4, heads: 2}}}
  objectives:
    masked_lm: {class_path: kemm.objectives.MaskedLM, init_args: {dim: *d, vocab_size: 11}}
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1e-3}}
"""


def weights(case: str) -> dict[str, torch.Tensor]:
    tensors = load_file(GOLDEN / f"{case}.safetensors")
    return {key.removeprefix("weights/"): tensor for key, tensor in tensors.items() if key.startswith("weights/")}


def learner() -> Learner:
    return learner_from_config(yaml.safe_load(CONFIG))


def test_network_and_learner_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    network = network_from_config(path)
    assert network.points == [{"text": 1, "entity": 0}]
    assert network.encoder("text").embed.words.weight.shape == (11, 6)
    assert learner_from_config(str(path)).state_dict().keys() == learner().state_dict().keys()
    assert list(learner().objectives) == ["masked_lm"]
    with pytest.raises(ValueError, match="needs 'network', this one has \\['objectives'\\]"):
        network_from_config({"objectives": {}})


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".inner.pt"])
def test_weights_come_back(tmp_path: Path, suffix: str) -> None:
    given, path = learner(), tmp_path / f"weights{suffix}"
    state = given.state_dict()
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if "inner" in suffix else state, path)
    torch.manual_seed(1)
    fresh = learner()
    assert not torch.equal(
        fresh.state_dict()["objectives.masked_lm.transform.dense.weight"], state["objectives.masked_lm.transform.dense.weight"]
    )
    Pretrained("", path).load(fresh)
    assert all(torch.equal(tensor, state[name]) for name, tensor in fresh.state_dict().items())


def test_a_part_is_filled_and_the_rest_left(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    state = {name: tensor + 1 for name, tensor in learner().state_dict().items()}
    save_file(state, path)
    fresh = learner()
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    Pretrained("network.encoders.text", path).load(fresh)
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, (state if name.startswith("network.encoders.text.") else before)[name])


def test_a_teacher_begins_as_the_student(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    state = {name: tensor + 1 for name, tensor in learner().state_dict().items()}
    torch.save({"state_dict": {f"learner.{name}": tensor for name, tensor in state.items()}}, path)
    for into in ("", "network", "network.encoders.text"):
        fresh = learner_from_config(yaml.safe_load(CONFIG)["model"] | {"momentum": 0.9})
        Pretrained(into, path).load(fresh)
        loaded = fresh.state_dict()
        inside = [name for name in loaded if name.startswith(f"teacher.{into}")]
        assert len(inside) > 10
        assert all(torch.equal(loaded[name], state[name.removeprefix("teacher.")]) for name in inside)


def test_another_architecture_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    state = learner().state_dict()
    del state["network.fusions.0.fuse.up.bias"]
    state["network.fusions.1.down.bias"] = torch.zeros(2)
    state["network.encoders.text.embed.words.weight"] = torch.zeros(5, 6)
    save_file(state, path)
    with pytest.raises(ValueError, match="another architecture") as error:
        Pretrained("", path).load(learner())
    message = str(error.value)
    assert str(path) in message
    assert "missing (1): network.fusions.0.fuse.up.bias" in message
    assert "unexpected (1): network.fusions.1.down.bias" in message
    assert "of another shape (1): network.encoders.text.embed.words.weight (5, 6) for (11, 6)" in message
    with pytest.raises(ValueError, match=r"nothing under 'network\.encoders\.image'"):
        Pretrained("network.encoders.image", path).load(learner())


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such checkpoint"):
        read_state(tmp_path / "nothing.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="expected a dict of named tensors, found a list"):
        read_state(tmp_path / "list.pt")


def test_published_weights_into_a_learner(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save(weights("ernie_pretraining"), path)
    converted = ernie(weights("ernie_pretraining"), heads=4)
    fresh = learner_from_config(converted.config)
    Pretrained("network", path, lambda state: ernie(state, heads=4)).load(fresh)
    assert torch.equal(fresh.state_dict()["network.fusions.0.fuse.up.weight"], converted.state["network.fusions.0.fuse.up.weight"])
    torch.save(weights("ernie_pretraining") | {"bert.extra": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"pytorch_model.bin: .*\n  unexpected \(1\): bert.extra"):
        Pretrained("network", path, ernie).load(fresh)


def test_what_keys_tell_of_ernie() -> None:
    network: dict[str, Any] = ernie(weights("ernie_bert_model"), heads=4).config["network"]
    assert [point["at"] for point in network["fusions"]] == [{"text": 2, "entity": 0}] * 3 + [{"text": "top"}]
    assert [point["fusion"]["class_path"].rpartition(".")[2] for point in network["fusions"]] == [
        "EntityMix",
        "EntityAggregator",
        "EntityAggregator",
        "Feature",
    ]
    assert network["encoders"]["text"]["init_args"]["depth"] == 2
    old = {key.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for key, tensor in weights("ernie_bert_model").items()}
    assert ernie(old, heads=4).state.keys() == ernie(weights("ernie_bert_model"), heads=4).state.keys()


def test_entity_vectors_of_ernie_begin_at_row_one() -> None:
    vectors = torch.randn(5, 8)
    table = ernie(weights("ernie_bert_model"), heads=4, vectors=vectors).state["network.encoders.entity.embed.table.weight"]
    assert not table[0].any()
    assert torch.equal(table[1:], vectors)


def test_the_bert_inside_knowbert() -> None:
    whole = weights("knowbert_two_kgs")
    inner = {key.removeprefix("pretrained_bert."): tensor for key, tensor in whole.items() if key.startswith("pretrained_bert.")}
    one, two = bert(inner, heads=4), knowbert(whole, {"wiki": 0, "wordnet": 2}, heads=4)
    shared = [name for name in one.state if name.startswith(("network.encoders.text.", "objectives."))]
    assert len(shared) > 50
    assert all(torch.equal(one.state[name], two.state[name]) for name in shared)
    assert [point["at"] for point in two.config["network"]["fusions"]] == [
        {"text": 1, "wiki": 0},
        {"text": 3, "wordnet": 0},
        {"text": "top"},
    ]


def test_each_graph_of_knowbert_has_its_own_heads() -> None:
    whole, soldered = weights("knowbert_two_kgs"), {"wiki": 0, "wordnet": 2}

    def heads(kg_heads: dict[str, int] | None) -> list[int]:
        learner = learner_from_config({"model": knowbert(whole, soldered, heads=4, kg_heads=kg_heads).config})
        kars = [fusion for fusion in learner.network.fusions if isinstance(fusion, KnowledgeAttention)]
        assert all(kar.linker.span_encoder is not None for kar in kars)
        return [kar.attention.attention.heads for kar in kars]

    assert heads(None) == [4, 4]
    assert heads({"wordnet": 2}) == [4, 2]
    assert heads({"wiki": 1, "wordnet": 2}) == [1, 2]
    for wrong, message in (
        ({"wikipedia": 4}, r"kg_heads names the graphs \['wikipedia'\], and the checkpoint holds \['wiki', 'wordnet'\]"),
        ({"wordnet": 7}, r"wordnet_soldered_kg\.entity_linker\.disambiguator\.\* has width \d+, and 7 heads do not divide it"),
    ):
        with pytest.raises(ValueError, match=message):
            knowbert(whole, soldered, kg_heads=wrong)
    with pytest.raises(ValueError, match=r"thresholds names the graphs \['yago'\]"):
        knowbert(whole, soldered, thresholds={"yago": 0.5})


def test_what_converters_are_told_must_fit_the_keys() -> None:
    with pytest.raises(ValueError, match=r"holds the graphs \['wiki', 'wordnet'\], and layers are given for \['wiki'\]"):
        knowbert(weights("knowbert_two_kgs"), {"wiki": 0})
    with pytest.raises(ValueError, match="holds 3 adapters, and layers are given for 2"):
        kadapter(weights("kadapter_fac_skip2"), [0, 1])
    with pytest.raises(ValueError, match="this is a BERT, and no ERNIE"):
        ernie({key: tensor for key, tensor in weights("ernie_bert_model").items() if "_ent" not in key})
    with pytest.raises(ValueError, match=r"no 'embeddings\.word_embeddings\.weight'"):
        bert({"unet.conv": torch.zeros(1)})
