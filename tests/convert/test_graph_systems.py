"""Converters of KEPLER, K-BERT and CoLAKE: fairseq's layer against torch's own, pickles with arguments in them, and what is refused."""

import argparse
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kemm.checkpoint import learner_from_config, load_state
from kemm.convert.colake import colake
from kemm.convert.kbert import kbert
from kemm.convert.kepler import kepler
from kemm.convert.state import read_state
from kemm.learner import Learner

GOLDEN = Path(__file__).parents[1] / "golden" / "knowledge"
DIM, WORDS, DEPTH, RELATIONS = 8, 20, 2, 5
TORCH = {"linear1": "fc1", "linear2": "fc2", "norm1": "self_attn_layer_norm", "norm2": "final_layer_norm"}


def layers() -> nn.ModuleList:
    torch.manual_seed(0)
    made = nn.ModuleList(nn.TransformerEncoderLayer(DIM, 2, 12, activation="gelu", batch_first=True) for _ in range(DEPTH))
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made.double().eval()


def fairseq() -> dict[str, Tensor]:
    """A KEPLER in fairseq's keys; its layers are torch's, which hold query, key and value in one matrix too."""
    old = "decoder.sentence_encoder."
    state = {f"{old}embed_tokens.weight": torch.randn(WORDS, DIM), f"{old}embed_positions.weight": torch.randn(12, DIM)}
    for i, layer in enumerate(layers()):
        for name, tensor in layer.state_dict().items():
            head, _, rest = name.partition(".")
            state[f"{old}layers.{i}.{TORCH.get(head, head)}.{rest}"] = tensor
    for name in (f"{old}emb_layer_norm", "decoder.lm_head.layer_norm"):
        state |= {f"{name}.weight": torch.rand(DIM), f"{name}.bias": torch.randn(DIM)}
    head = {"dense.weight": torch.randn(DIM, DIM), "dense.bias": torch.randn(DIM), "bias": torch.randn(WORDS)}
    state |= {f"decoder.lm_head.{name}": tensor for name, tensor in head.items()}
    state["decoder.lm_head.weight"] = state[f"{old}embed_tokens.weight"]
    links = {"gamma": torch.tensor([4.0]), "emb_range": torch.tensor([0.1]), "relation_emb.weight": torch.randn(RELATIONS, DIM)}
    return {name: t.double() for name, t in state.items()} | {f"ke_heads.wikiData.{name}": t for name, t in links.items()}


def learner(state: dict[str, Tensor]) -> Learner:
    converted = kepler(state, heads=2)
    made = learner_from_config(converted.config).double().eval()
    load_state(made, converted.state, source="test")
    return made


def test_keplers_encoder_is_fairseqs() -> None:
    state = fairseq()
    ids = torch.tensor([[0, 7, 9, 4, 2], [0, 5, 2, 1, 1]])
    mask = ids != 1
    old = "decoder.sentence_encoder."
    x = state[f"{old}embed_tokens.weight"][ids] + state[f"{old}embed_positions.weight"][2:7]
    x = nn.functional.layer_norm(x, (DIM,), state[f"{old}emb_layer_norm.weight"], state[f"{old}emb_layer_norm.bias"])
    for layer in layers():
        x = layer(x, src_key_padding_mask=~mask)
    own = learner(state).network({"text": {"ids": ids, "mask": mask}})["text"].x
    assert torch.allclose(own[mask], x[mask], atol=1e-10)


def test_keplers_links_are_read() -> None:
    state = fairseq()
    made = learner(state)
    table = made.network.table("relation")
    assert torch.equal(table[1:].float(), state["ke_heads.wikiData.relation_emb.weight"])
    assert not table[0].any()
    assert made.objectives["links"].margin == 4.0
    assert made.network.inputs["negative_tail"] == "text"


def test_a_pickle_of_fairseq_is_read_without_running_anything(tmp_path: Path) -> None:
    state = fairseq()
    torch.save({"args": argparse.Namespace(arch="roberta_base"), "model": state, "extra_state": {"epoch": 3}}, tmp_path / "checkpoint.pt")
    read = read_state(tmp_path / "checkpoint.pt")
    assert read.keys() == state.keys()
    torch.save({"args": Path("x"), "model": state}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other.pt: cannot be read as a checkpoint"):
        read_state(tmp_path / "other.pt")


def weights(case: str) -> dict[str, Tensor]:
    tensors = load_file(GOLDEN / f"{case}.safetensors")
    return {key.removeprefix("weights/"): t for key, t in tensors.items() if key.startswith("weights/")}


def test_what_is_none_of_a_system_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the checkpoint has no 'decoder.sentence_encoder.embed_tokens.weight'"):
        kepler(weights("kbert_classifier"))
    with pytest.raises(ValueError, match="pooling is 'middle', expected one of"):
        kbert(weights("kbert_classifier"), 4, "middle")
    with pytest.raises(ValueError, match=r"unexpected \(1\): encoder.gate"):
        kbert(weights("kbert_classifier") | {"encoder.gate": torch.zeros(1)}, 4)
    state = weights("colake_pretrain")
    state["lm_head.decoder.weight"] = state["lm_head.decoder.weight"] + 1
    with pytest.raises(ValueError, match=r"'lm_head.decoder.weight' differs from 'roberta.embeddings.word_embeddings.weight'"):
        colake(state, 4)


def test_a_bert_of_uer_without_a_classifier() -> None:
    state = {key: tensor for key, tensor in weights("kbert_classifier").items() if not key.startswith("output_layer")}
    converted = kbert(state | {"target.mlm_linear_1.weight": torch.zeros(1)}, 4)
    assert converted.config["objectives"] == {} and converted.config["network"]["fusions"] == []
    assert converted.report.ignored == ["target.mlm_linear_1.weight"]


@pytest.mark.parametrize("pooling", ["first", "mean", "max", "last"])
def test_poolings_of_uer(pooling: str) -> None:
    converted = kbert(weights("kbert_classifier"), 4, pooling)
    made = learner_from_config(converted.config).eval()
    load_state(made, converted.state, source="test")
    ids = torch.tensor([[1, 5, 7, 0], [1, 2, 3, 4]])
    streams = made.network({"text": {"ids": ids, "mask": ids > 0, "types": (ids > 0).long()}})
    x = streams["text"].x
    pooled = {"first": x[:, 0], "mean": sum(x[:, i] for i in range(4)) / 4, "max": x.max(1).values, "last": x[:, 3]}[pooling]
    told = torch.tanh(pooled @ converted.state["network.fusions.0.project.weight"].T + converted.state["network.fusions.0.project.bias"])
    assert torch.allclose(streams["pooled"].x[:, 0], told, atol=1e-6)


def test_colakes_entities_come_from_a_file_of_their_own() -> None:
    state = weights("colake_pretrain")
    entities = state.pop("ent_embeddings.weight")
    given = colake(state, 4, entities)
    assert torch.equal(given.state["network.encoders.text.embed.entities.weight"], entities)
    bare = colake(state, 4)
    assert bare.config["network"]["encoders"]["text"]["init_args"]["num_entities"] == 1
    learner_from_config(bare.config).load_state_dict(bare.state, strict=False)
