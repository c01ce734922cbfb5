"""Converters of the multimodal systems: old names, what is left out, and what is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from kemm.checkpoint import learner_from_config, load_state
from kemm.convert.albef import albef
from kemm.convert.coca import coca
from kemm.convert.table import Converted
from kemm.convert.vilbert import vilbert
from kemm.convert.visualbert import visualbert

GOLDEN = Path(__file__).parents[1] / "golden" / "multimodal"


def weights(case: str) -> dict[str, Tensor]:
    tensors = load_file(GOLDEN / f"{case}.safetensors")
    return {key.removeprefix("weights/"): t for key, t in tensors.items() if key.startswith("weights/")}


def beta(state: dict[str, Tensor]) -> Converted:
    return vilbert(state, 4, 6, 5)


def test_old_names() -> None:
    """Checkpoints of the time say gamma and beta, and `module.` where they were saved on several GPUs."""
    state = weights("vilbert_beta_pretraining")
    old = {
        f"module.{key.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta')}": t
        for key, t in state.items()
    }
    one, two = beta(state), beta(old)
    assert any("gamma" in key for key in old)
    assert one.config == two.config
    assert one.state.keys() == two.state.keys()
    assert all(torch.equal(one.state[name], two.state[name]) for name in one.state)


def test_what_nothing_reads_is_reported() -> None:
    state = weights("vilbert_beta_pretraining")
    ignored = set(beta(state).report.ignored)
    assert {key for key in state if "q_dense" in key} <= ignored
    assert ignored - {key for key in state if "q_dense" in key} == {"cls.predictions.decoder.weight"}


def test_co_attentions_are_placed_as_in_the_released_configs() -> None:
    fusions = beta(weights("vilbert_beta_pretraining")).config["network"]["fusions"]
    assert [point["at"] for point in fusions] == [{"text": 2, "region": 0}, {"text": 3, "region": 1}, {"text": "top"}, {"region": "top"}]


@pytest.mark.parametrize("case", ["vilbert_mt_pretraining", "openclip_coca", "albef_pretraining"])
def test_config_and_state_fit(case: str) -> None:
    """What the keys tell of the architecture is all that it needs, but for the heads."""
    converters = {
        "vilbert_mt_pretraining": lambda state: vilbert(state, 4, 6, 5),
        "openclip_coca": lambda state: coca(state, 2, 3, 4, 2),
        "albef_pretraining": lambda state: albef(state, 4, 3),
    }
    state = weights(case)
    converted = converters[case](state)
    load_state(learner_from_config(converted.config), converted.state)
    assert all(tensor.is_contiguous() for tensor in converted.state.values())  # safetensors takes no others
    assert len(converted.report.matched) + len(converted.report.ignored) == len(state)


def test_a_teacher_that_is_not_asked_has_no_head() -> None:
    converted = albef(weights("albef_pretraining"), 4, 3, distill=0.0)
    load_state(learner_from_config(converted.config), converted.state)
    assert "text_encoder_m.cls.predictions.transform.dense.weight" in converted.report.ignored


def test_heads_of_visualbert() -> None:
    state = weights("visualbert")
    bare = {key: t for key, t in state.items() if "|" not in key and not key.startswith(("cls.", "bert.additional_layer"))}
    for head, names in (("vqa", ["vqa"]), ("nlvr", ["nlvr"]), ("", [])):
        own = {key.partition("|")[2]: t for key, t in state.items() if head and key.startswith(f"{head}|")}
        assert list(visualbert(bare | own, 4).config["objectives"]) == names
    lower = visualbert(bare | {key: t for key, t in state.items() if key.startswith("bert.additional_layer")}, 4).config["network"]
    assert lower["encoders"]["text"]["init_args"]["depth"] == 3
    assert lower["fusions"][3]["at"] == {"text": 2, "region": 0}


def test_another_checkpoint_is_refused() -> None:
    state = weights("vilbert_beta_pretraining")
    with pytest.raises(ValueError, match=r"unexpected \(1\): bert\.surprise"):
        beta(state | {"bert.surprise": torch.zeros(1)})
    del state["bert.t_pooler.dense.bias"]
    with pytest.raises(ValueError, match=r"missing \(1\): bert\.t_pooler\.dense\.bias"):
        beta(state)
    with pytest.raises(ValueError, match=r"'bert\.embeddings\.word_embeddings\.weight'"):
        beta(weights("openclip_coca"))
    with pytest.raises(ValueError, match=r"has 2 co-attentions, and they are placed at text \[3\] and regions \[0, 1\]"):
        vilbert(state, text_at=[3])


def test_a_decoder_of_its_own_is_refused() -> None:
    state = weights("vilbert_beta_pretraining")
    state["cls.predictions.decoder.weight"] = state["cls.predictions.decoder.weight"] + 1
    with pytest.raises(ValueError, match=r"'cls\.predictions\.decoder\.weight' differs from"):
        beta(state)
