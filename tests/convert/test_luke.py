"""LUKE against transformers, from folders as published; its own archives; what its converter makes of keys."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file
from torch import Tensor

from kemm.batch import IGNORE, Batch
from kemm.checkpoint import learner_from_config, load_state
from kemm.convert.loading import load
from kemm.convert.luke import luke
from kemm.convert.table import Converted
from kemm.learner import Learner

GOLDEN = Path(__file__).parents[1] / "golden" / "knowledge"
WORDS, ENTITIES, LENGTH = 41, 17, 11


def config(aware: bool, entity_dim: int = 8) -> Any:
    return hf.LukeConfig(
        vocab_size=WORDS,
        entity_vocab_size=ENTITIES,
        hidden_size=24,
        entity_emb_size=entity_dim,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=40,
        max_position_embeddings=20,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        initializer_range=0.2,
        use_entity_aware_attention=aware,
        tie_word_embeddings=True,
    )


def model_of(kind: Any, aware: bool, entity_dim: int = 8) -> Any:
    torch.manual_seed(1)
    model = kind(config(aware, entity_dim)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def batch() -> Batch:
    """Three texts: with three mentions, with one, with none; lengths differ, and one mention is of several separate tokens."""
    mask = torch.arange(LENGTH) < torch.tensor([LENGTH, 6, 3])[:, None]
    ids = torch.randint(3, WORDS, mask.shape, generator=torch.Generator().manual_seed(2)).masked_fill(~mask, 1)
    entities = torch.tensor([[5, 2, 9], [2, 0, 0], [0, 0, 0]])
    positions = torch.full((3, 3, 4), -1)
    positions[0, 0, :2], positions[0, 1, :1], positions[0, 2, :3] = torch.tensor([1, 2]), torch.tensor([4]), torch.tensor([6, 7, 10])
    positions[1, 0, :4] = torch.tensor([1, 2, 3, 4])
    text = {"ids": ids, "mask": mask, "labels": ids.masked_fill((torch.arange(LENGTH) % 3 != 0) | ~mask, IGNORE)}
    labels = torch.tensor([[IGNORE, 7, 3], [11, IGNORE, IGNORE], [IGNORE] * 3])
    return {"id": torch.arange(3), "text": text, "mention": {"ids": entities, "positions": positions, "labels": labels}}


def asked(given: Batch) -> dict[str, Tensor]:
    """The batch as transformers is asked."""
    text, mention = given["text"], given["mention"]
    words = {"input_ids": text["ids"], "attention_mask": text["mask"].long()}
    entities = {"entity_ids": mention["ids"], "entity_position_ids": mention["positions"]}
    return words | entities | {"entity_attention_mask": (mention["ids"] > 0).long()}


def built(converted: Converted) -> Learner:
    learner = learner_from_config(converted.config).eval()
    load_state(learner, converted.state)
    return learner


def close(own: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(own.detach(), expected.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("aware", [True, False])
@pytest.mark.parametrize("entity_dim", [8, 24])
def test_is_transformers_luke_model(aware: bool, entity_dim: int, tmp_path: Path) -> None:
    model = model_of(hf.LukeModel, aware, entity_dim)
    model.save_pretrained(tmp_path)
    learner, given = built(load(tmp_path)), batch()
    mask, real = given["text"]["mask"], given["mention"]["ids"] > 0
    with torch.no_grad():
        expected = model(**asked(given), output_hidden_states=True)
        streams = learner.network(given)
        alone = learner.network({name: given[name] for name in ("id", "text")})["text"].x
    close(streams["text"].x[mask], expected.last_hidden_state[mask])
    close(streams["mention"].x[real], expected.entity_last_hidden_state[real])
    close(streams["pooled"].x[:, 0], expected.pooler_output)
    close(alone[mask], model(given["text"]["ids"], mask.long()).last_hidden_state[mask])
    if aware:
        with learner.network.trace() as record, torch.no_grad():
            learner.network(given)
        for i, (words, entities) in enumerate(zip(expected.hidden_states, expected.entity_hidden_states, strict=True)):
            close(record[f"fusions.{i - 1}.text" if i else "text.0"][mask], words[mask])
            close(record[f"fusions.{i - 1}.mention" if i else "mention.0"][real], entities[real])


@pytest.mark.parametrize(("aware", "tied"), [(True, True), (False, True), (True, False)])
def test_is_transformers_luke_for_masked_lm(aware: bool, tied: bool, tmp_path: Path) -> None:
    model = model_of(hf.LukeForMaskedLM, aware)
    if tied:
        model.lm_head.decoder.weight.data.copy_(model.luke.embeddings.word_embeddings.weight)
    model.save_pretrained(tmp_path)
    learner, given = built(load(tmp_path)), batch()
    mask, real = given["text"]["mask"], given["mention"]["ids"] > 0
    expected = model(**asked(given), labels=given["text"]["labels"], entity_labels=given["mention"]["labels"])
    streams = learner.network(given)
    objectives: Any = learner.objectives
    assert (objectives["masked_lm"].decoder is None) == tied
    close(objectives["masked_lm"].logits(streams["text"].x, learner.network)[mask], expected.logits[mask])
    close(objectives["entity"].logits(streams["mention"].x, learner.network)[real], expected.entity_logits[real])
    results = {name: objective(streams, given, learner.network) for name, objective in objectives.items()}
    close(learner.total({"masked_lm": results["masked_lm"]}), expected.mlm_loss)
    close(learner.total({"entity": results["entity"]}), expected.mep_loss)
    close(learner.total(results), expected.loss)


def test_an_archive_of_luke_itself(tmp_path: Path) -> None:
    tensors = load_file(GOLDEN / "luke_pretraining_roberta.safetensors")
    state = {key.removeprefix("weights/"): tensor for key, tensor in tensors.items() if key.startswith("weights/")}
    told = json.loads((GOLDEN / "luke_pretraining_roberta.json").read_text())["config"]
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "metadata.json").write_text(json.dumps({"model_config": told, "max_seq_length": 512}))
    (tmp_path / "entity_vocab.tsv").write_text("[PAD]\t0\n[UNK]\t0\n[MASK]\t0\n")
    with tarfile.open(tmp_path / "luke.tar.gz", "w:gz") as archive:
        for name in ("pytorch_model.bin", "metadata.json", "entity_vocab.tsv"):
            archive.add(tmp_path / name, arcname=name)
    converted = load(tmp_path / "luke.tar.gz")
    assert converted.config == luke(state, told["num_attention_heads"], told["layer_norm_eps"]).config
    assert list(converted.config["objectives"]) == ["masked_lm", "entity", "page"]
    built(converted)


def test_queries_that_pre_training_lacks_begin_as_the_query() -> None:
    torch.manual_seed(0)
    state = model_of(hf.LukeModel, aware=False).state_dict()
    plain, aware, given = built(luke(state, heads=4)), built(luke(state, heads=4, aware=True)), batch()
    assert [point["at"] for point in luke(state, heads=4, aware=True).config["network"]["fusions"]] == [{"text": 0}] * 3 + [{"text": "top"}]
    for name, mask in (("text", given["text"]["mask"]), ("mention", given["mention"]["ids"] > 0)):
        close(aware.network(given)[name].x[mask], plain.network(given)[name].x[mask])
