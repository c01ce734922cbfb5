"""One loader for all published checkpoints: which system they are of, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from kemm.checkpoint import learner_from_config, load_state
from kemm.convert import load
from kemm.convert.systems import candidates, recognise, shown

GOLDEN = Path(__file__).parents[1] / "golden"
NAMES = {"knowbert_tucker": "tucker", "openclip": "coca"}
"""Beginning of a case's name -> its system, where that is not its first word."""


def weights(name: str) -> dict[str, Tensor]:
    (path,) = GOLDEN.glob(f"*/{name}.safetensors")
    return {key.removeprefix("weights/"): tensor for key, tensor in load_file(path).items() if key.startswith("weights/")}


def keys_of(path: Path) -> list[str]:
    with safe_open(path, "pt") as file:
        return [key.removeprefix("weights/") for key in file.keys() if key.startswith("weights/")]  # noqa: SIM118


CASES = {path.stem: keys for path in sorted(GOLDEN.glob("*/*.safetensors")) if (keys := keys_of(path))}
TOLD = {name: keys for name, keys in CASES.items() if any(not key.startswith("classifier.") for key in keys)}


def system_of(name: str) -> str:
    return next((system for begins, system in NAMES.items() if name.startswith(begins)), name.partition("_")[0])


def test_there_are_cases() -> None:
    assert {system_of(name) for name in TOLD} >= {"albef", "coca", "colake", "ernie", "kadapter", "kbert", "kepler", "knowbert", "luke"}


@pytest.mark.parametrize("name", TOLD)
def test_every_golden_case_is_recognised_as_its_own_system(name: str) -> None:
    assert recognise(TOLD[name]) == system_of(name)


@pytest.mark.parametrize("name", sorted(CASES.keys() - TOLD.keys()))
def test_a_classifier_alone_is_of_no_system(name: str) -> None:
    with pytest.raises(ValueError, match=r"no system is known by these keys \(2\): classifier\.bias, classifier\.weight"):
        recognise(CASES[name])


SMALL: dict[str, Any] = {"vocab_size": 31, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}
HEADED: dict[str, Callable[[], Any]] = {
    "bert": lambda: hf.BertForPreTraining(hf.BertConfig(**SMALL)),
    "roberta": lambda: hf.RobertaForMaskedLM(hf.RobertaConfig(**SMALL)),
    "distilbert": lambda: hf.DistilBertForMaskedLM(hf.DistilBertConfig(vocab_size=31, dim=12, n_layers=2, n_heads=2, hidden_dim=20)),
    "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=31, n_embd=12, n_layer=2, n_head=2)),
    "modernbert": lambda: hf.ModernBertForMaskedLM(hf.ModernBertConfig(**SMALL, pad_token_id=0)),
    "luke": lambda: hf.LukeForMaskedLM(hf.LukeConfig(**SMALL, entity_vocab_size=9, entity_emb_size=6)),
}
BARE = {
    "distilbert": lambda: hf.DistilBertModel(hf.DistilBertConfig(vocab_size=31, dim=12, n_layers=2, n_heads=2, hidden_dim=20)),
    "gpt2": lambda: hf.GPT2Model(hf.GPT2Config(vocab_size=31, n_embd=12, n_layer=2, n_head=2)),
    "modernbert": lambda: hf.ModernBertModel(hf.ModernBertConfig(**SMALL, pad_token_id=0)),
    "luke": lambda: hf.LukeModel(hf.LukeConfig(**SMALL, entity_vocab_size=9, entity_emb_size=6)),
}
MODELS = [pytest.param(name, make, id=f"{name}-{i}") for i, made in enumerate((HEADED, BARE)) for name, make in made.items()]


@pytest.mark.parametrize(("name", "make"), MODELS)
def test_a_file_of_transformers_is_recognised_and_loads(name: str, make: Callable[[], Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = make()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    options = {"heads": 2} | ({"padding_id": 0} if name == "modernbert" else {})
    converted = load(tmp_path / "pytorch_model.bin", **options)
    assert converted.report.system == name
    assert not converted.report.assumed.keys() & options.keys()
    # A copy for several devices has `module.` before its keys.
    torch.save({f"module.{key}": tensor for key, tensor in model.state_dict().items()}, tmp_path / "parallel.pt")
    assert load(tmp_path / "parallel.pt", **options).config == converted.config
    load_state(learner_from_config(converted.config), converted.state)


def bare(folder: Path) -> Path:
    """The keys of an encoder alone, which BERT's and RoBERTa's have in common."""
    model: Any = hf.BertModel(hf.BertConfig(**SMALL))
    save_file(model.state_dict(), folder / "encoder.safetensors")
    return folder / "encoder.safetensors"


def test_an_ambiguous_checkpoint_is_refused_with_its_candidates(tmp_path: Path) -> None:
    path = bare(tmp_path)
    with pytest.raises(ValueError, match=r"the keys are those of bert and of roberta; name one of them as the system \(--system bert\)"):
        load(path, heads=2)
    assert load(path, "bert", heads=2).config["network"]["encoders"]["text"]["init_args"]["padding_id"] == 0
    assert load(path, "roberta", heads=2).config["network"]["encoders"]["text"]["init_args"]["offset"] == 2


def test_settings_decide_between_candidates(tmp_path: Path) -> None:
    bare(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberta", "num_attention_heads": 3, "pad_token_id": 1}))
    assert load(tmp_path).report.system == "roberta"
    assert load(tmp_path).config["network"]["encoders"]["text"]["init_args"]["heads"] == 3
    assert load(tmp_path / "encoder.safetensors").report.system == "roberta"
    assert load(tmp_path, heads=6).config["network"]["encoders"]["text"]["init_args"]["heads"] == 6


def test_settings_that_contradict_the_keys_are_refused_and_overridden(tmp_path: Path) -> None:
    bare(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "num_attention_heads": 3}))
    with pytest.raises(ValueError, match="the settings are of gpt2, and the keys of bert or roberta"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "electra", "num_attention_heads": 3}))
    with pytest.raises(ValueError, match="the model_type is 'electra', expected one of"):
        load(tmp_path)
    converted = load(tmp_path, "bert")
    assert converted.report.system == "bert"
    assert converted.config["network"]["encoders"]["text"]["init_args"]["heads"] == 3


def test_an_override_that_does_not_fit_names_the_keys(tmp_path: Path) -> None:
    save_file(weights("colake_pretrain"), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"unexpected \(\d+\): .*(rel_embeddings|ent_lm_head)"):
        load(tmp_path / "model.safetensors", "roberta", heads=4)
    with pytest.raises(ValueError, match="the system is 'elmo', expected one of"):
        load(tmp_path / "model.safetensors", "elmo")


def test_what_no_system_has_is_refused_with_the_keys(tmp_path: Path) -> None:
    save_file({f"blocks.{i}.w": torch.zeros(1) for i in range(3)} | {"head": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"no system is known by these keys \(4\): .*blocks\.\*\.w \(3\)"):
        load(tmp_path / "x.safetensors")


def test_a_further_key_is_refused_with_its_name(tmp_path: Path) -> None:
    model: Any = hf.BertForSequenceClassification(hf.BertConfig(**SMALL))
    torch.save(model.state_dict(), tmp_path / "x.bin")
    with pytest.raises(ValueError, match=r"unexpected \(2\): classifier\.weight, classifier\.bias"):
        load(tmp_path / "x.bin", heads=2)


def test_the_keys_of_lxmert_are_not_bert_s() -> None:
    model: Any = hf.BertForPreTraining(hf.BertConfig(**SMALL))
    assert candidates([*model.state_dict(), "bert.encoder.r_layers.0.attention.self.query.weight"]) == []


def test_shown_keys_are_few() -> None:
    assert shown(["a.0.w", "a.11.w", "b"]) == "a.*.w (2), b"
    assert shown([f"k{i}" for i in range(40)]).endswith("k11, …")
