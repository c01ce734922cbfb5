"""Published text encoders, saved as their users have them, against transformers: states, logits, losses; and what is refused."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers as hf
from torch import Tensor, nn

from kemm.batch import IGNORE, Batch
from kemm.checkpoint import Pretrained, learner_from_config, load_state
from kemm.convert import main
from kemm.convert.loading import load
from kemm.convert.published import read_tensors
from kemm.learner import Learner

WORDS, LENGTH = 57, 13
LENGTHS = (LENGTH, 5, 1)


class Family(NamedTuple):
    """A small model of transformers, and how kemm's losses are called."""

    config: Callable[[], Any]
    kinds: tuple[type[nn.Module], ...]
    losses: tuple[str, ...] = ("masked_lm",)


def bert() -> Any:
    return hf.BertConfig(
        vocab_size=WORDS,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=40,
        max_position_embeddings=20,
        initializer_range=0.2,
        hidden_act="gelu_new",
    )


def roberta() -> Any:
    return hf.RobertaConfig(
        vocab_size=WORDS,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=20,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        initializer_range=0.2,
    )


def distilbert() -> Any:
    return hf.DistilBertConfig(
        vocab_size=WORDS, dim=24, n_layers=3, n_heads=6, hidden_dim=40, max_position_embeddings=20, initializer_range=0.2, activation="relu"
    )


def gpt2() -> Any:
    return hf.GPT2Config(vocab_size=WORDS, n_embd=24, n_layer=3, n_head=4, n_positions=20, n_inner=40, initializer_range=0.2)


def modernbert() -> Any:
    return hf.ModernBertConfig(
        vocab_size=WORDS,
        hidden_size=24,
        num_hidden_layers=5,
        num_attention_heads=3,
        intermediate_size=20,
        max_position_embeddings=30,
        local_attention=6,
        pad_token_id=0,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
    )


FAMILIES = {
    "bert": Family(bert, (hf.BertForPreTraining, hf.BertForMaskedLM, hf.BertModel)),
    "roberta": Family(roberta, (hf.RobertaForMaskedLM, hf.RobertaModel)),
    "distilbert": Family(distilbert, (hf.DistilBertForMaskedLM, hf.DistilBertModel)),
    "gpt2": Family(gpt2, (hf.GPT2LMHeadModel, hf.GPT2Model), ("causal_lm",)),
    "modernbert": Family(modernbert, (hf.ModernBertForMaskedLM, hf.ModernBertModel)),
}
MODELS = [(name, kind) for name, family in FAMILIES.items() for kind in family.kinds]


def model_of(name: str, kind: type[nn.Module]) -> Any:
    """A model whose every parameter is random, biases and norms too; what is tied stays tied."""
    torch.manual_seed(1)
    model: Any = kind(FAMILIES[name].config()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def inputs(padding: int) -> tuple[Tensor, Tensor, Tensor]:
    """Padded ids, their mask, and labels of every third place."""
    mask = torch.arange(LENGTH) < torch.tensor(LENGTHS)[:, None]
    ids = torch.randint(3, WORDS, mask.shape, generator=torch.Generator().manual_seed(2)).masked_fill(~mask, padding)
    return ids, mask, ids.masked_fill((torch.arange(LENGTH) % 3 != 0) | ~mask, IGNORE)


def loaded(folder: Path | str) -> Learner:
    converted = load(folder)
    learner = learner_from_config(converted.config).eval()
    load_state(learner, converted.state)
    return learner


def close(own: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(own.detach(), expected.detach(), rtol=0, atol=1e-5)


def compare(learner: Learner, model: Any, family: Family) -> None:
    """States of all heights, logits and losses at real places."""
    config = model.config
    ids, mask, labels = inputs(config.pad_token_id or 0)
    text = {"ids": ids, "mask": mask, "labels": labels}
    further = {}
    if getattr(config, "type_vocab_size", 0) > 1:
        further["token_type_ids"] = text["types"] = (torch.arange(LENGTH) > 4).long().expand_as(ids)
    batch: Batch = {"id": torch.arange(3), "text": text}
    with learner.network.trace() as record, torch.no_grad():
        streams = learner.network(batch)
        expected = model(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True, **further)
    hidden = expected.hidden_states
    heights = [record[f"text.{i}"] for i in range(learner.network.top("text") + 1)]
    for own, theirs in zip(heights[: len(hidden) - 1], hidden[:-1], strict=True):
        close(own[mask], theirs[mask])
    close(streams["text"].x[mask], hidden[-1][mask])
    packed = learner.network(batch)["text"].x
    close(packed[mask], hidden[-1][mask])
    pooled = getattr(expected, "pooler_output", None)
    if pooled is not None:
        close(streams["pooled"].x[:, 0], pooled)
    logits = getattr(expected, "logits", getattr(expected, "prediction_logits", None))
    objectives: Any = learner.objectives
    if logits is None:
        assert list(objectives) in ([], ["causal_lm"])
        return
    (name,) = family.losses
    close(objectives[name].logits(streams["text"].x, learner.network)[mask], logits[mask])
    causal = ids.masked_fill(~mask, IGNORE)
    wanted = {"labels": causal if name == "causal_lm" else labels}
    if "next_sentence" in objectives:
        batch["next_sentence"] = wanted["next_sentence_label"] = torch.tensor([0, 1, 1])
    result = {part: objective(streams, batch, learner.network) for part, objective in objectives.items()}
    close(learner.total(result), model(input_ids=ids, attention_mask=mask.long(), **further, **wanted).loss)


@pytest.mark.parametrize(("name", "kind"), MODELS, ids=[kind.__name__ for _, kind in MODELS])
def test_is_what_transformers_computes(name: str, kind: type[nn.Module], tmp_path: Path) -> None:
    model = model_of(name, kind)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").exists()
    compare(loaded(tmp_path), model, FAMILIES[name])


@pytest.mark.parametrize("name", FAMILIES)
def test_heads_that_are_not_tied(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    torch.manual_seed(0)
    config = family.config()
    config.tie_word_embeddings = False
    model: Any = family.kinds[0](config).eval()
    assert model.get_output_embeddings().weight is not model.get_input_embeddings().weight
    model.save_pretrained(tmp_path)
    learner = loaded(tmp_path)
    assert f"objectives.{family.losses[0]}.decoder.weight" in learner.state_dict()
    compare(learner, model, family)


@pytest.mark.parametrize("name", FAMILIES)
def test_files_of_every_form_are_read(name: str, tmp_path: Path) -> None:
    model = model_of(name, FAMILIES[name].kinds[0])
    model.save_pretrained(tmp_path / "whole")
    whole = load(tmp_path / "whole").state
    model.save_pretrained(tmp_path / "shards", max_shard_size="10KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    # A pickle has the tied tensors twice.
    model.config.save_pretrained(tmp_path / "pickle")
    torch.save(model.state_dict(), tmp_path / "pickle" / "pytorch_model.bin")
    model.config.save_pretrained(tmp_path / "pickles")
    parts = dict(enumerate((dict(list(model.state_dict().items())[:5]), dict(list(model.state_dict().items())[5:]))))
    index = {key: f"pytorch_model-{i}.bin" for i, part in parts.items() for key in part}
    (tmp_path / "pickles" / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    for i, part in parts.items():
        torch.save(part, tmp_path / "pickles" / f"pytorch_model-{i}.bin")
    with tarfile.open(tmp_path / "archive.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "pickle", arcname="model")
    for form in ("shards", "pickle", "pickles", "archive.tar.gz"):
        state = load(tmp_path / form).state
        assert state.keys() == whole.keys()
        assert all(torch.equal(state[key], tensor) for key, tensor in whole.items())


def test_safetensors_come_before_pickles(tmp_path: Path) -> None:
    model = model_of("bert", hf.BertModel)
    model.save_pretrained(tmp_path)
    torch.save({"nonsense": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert "nonsense" not in read_tensors(tmp_path)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    model = model_of("bert", hf.BertModel)
    model.config.save_pretrained(tmp_path)
    torch.save(model, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="expected a pickle of tensors alone"):
        load(tmp_path)


def test_the_encoder_of_a_folder_into_a_learner(tmp_path: Path) -> None:
    model = model_of("roberta", hf.RobertaForMaskedLM)
    model.save_pretrained(tmp_path)
    fresh = learner_from_config({"network": load(tmp_path).config["network"]})
    Pretrained("network.encoders.text", tmp_path).load(fresh)
    assert torch.equal(fresh.state_dict()["network.encoders.text.embed.words.weight"], model.roberta.embeddings.word_embeddings.weight)
    with pytest.raises(ValueError, match=r"missing \(53\): network\.encoders\.text\.embed\.words\.weight, "):
        Pretrained("network.encoders.text", tmp_path, lambda state: load(tmp_path)._replace(state={})).load(fresh)


def test_the_command_reads_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model_of("modernbert", hf.ModernBertForMaskedLM).save_pretrained(tmp_path / "given")
    assert main([str(tmp_path / "given"), str(tmp_path / "out"), "--max_length", "25"]) == 0
    learner = learner_from_config(tmp_path / "out" / "config.yaml")
    assert learner.network.encoder("text").limits["length"] == 25
    Pretrained("", tmp_path / "out" / "weights.safetensors").load(learner)
    assert main([str(tmp_path / "given"), "--system", "bert"]) == 1
    assert "the checkpoint has no 'embeddings.word_embeddings.weight'" in capsys.readouterr().err


def changed(folder: Path, **settings: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("gpt2", "scale_attn_by_inverse_layer_idx", True),
        ("bert", "is_decoder", True),
        ("bert", "hidden_act", "mish"),
        ("bert", "position_embedding_type", "relative_key"),
        ("modernbert", "norm_bias", True),
        ("modernbert", "layer_types", ["full_attention", "full_attention", "sliding_attention", "full_attention", "full_attention"]),
        ("roberta", "model_type", "longformer"),
    ],
)
def test_what_kemm_does_not_compute_is_refused(name: str, setting: str, value: object, tmp_path: Path) -> None:
    model_of(name, FAMILIES[name].kinds[-1]).save_pretrained(tmp_path)
    load(tmp_path)
    with pytest.raises(ValueError, match=r"(is|are) .*, (expected|and kemm computes)"):
        load(changed(tmp_path, **{setting: value}))


def test_faults_of_folders_are_messages(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="`hub:` precedes the name"):
        load(tmp_path / "bert-base-uncased")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(FileNotFoundError, match=r"no weights; expected one of \['model\.safetensors'"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="no JSON"):
        load(tmp_path)
    (tmp_path / "x.tar.gz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read as an archive"):
        load(tmp_path / "x.tar.gz")
    model_of("bert", hf.BertModel).save_pretrained(tmp_path, max_shard_size="10KB")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": sorted(tmp_path.glob("model-*"))[0].name}}))
    with pytest.raises(ValueError, match=r"names 1 tensors that its files do not hold, such as \['a'\]"):
        load(tmp_path)


def test_a_name_of_the_hub_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    model_of("gpt2", hf.GPT2Model).save_pretrained(tmp_path, max_shard_size="10KB")
    asked: list[object] = []

    def snapshot(name: str, allow_patterns: list[str]) -> str:
        asked.extend([name, *allow_patterns])
        return str(tmp_path)

    monkeypatch.setattr(
        huggingface_hub, "list_repo_files", lambda name: [path.name for path in tmp_path.iterdir()] + ["flax_model.msgpack"]
    )
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    fresh = learner_from_config(load("hub:openai-community/gpt2").config)
    Pretrained("network", Path("hub:openai-community/gpt2")).load(fresh)
    assert asked[0] == "openai-community/gpt2"
    assert set(asked[1:]) >= {"config.json", "tokenizer.json", "model.safetensors.index.json", "model-*.safetensors"}
    assert not any("msgpack" in str(pattern) for pattern in asked)
