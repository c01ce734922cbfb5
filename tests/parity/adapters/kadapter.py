"""Cases of K-Adapter (microsoft/K-Adapter)."""

import torch
from torch import Tensor

from kemm.batch import IGNORE, Batch
from kemm.convert.kadapter import kadapter
from kemm.convert.table import Converted
from kemm.fusion import SelfAttention, Streams
from kemm.objectives import PlaceClassification, TokenClassification
from tests.parity.cases import Answer, Case, build, gradients


def convert(case: Case) -> Converted:
    config = case.config
    return kadapter(
        case.weights, config["adapter_list"], config["num_attention_heads"], config["adapter_heads"], config["adapter_skip_layers"]
    )


def batch_of(case: Case) -> Batch:
    return {"text": {"ids": case.inputs["input_ids"], "mask": case.inputs["attention_mask"].bool()}}


def marked(case: Case, *names: str) -> Tensor:
    """Where the one-hot inputs of these names have their one."""
    return torch.stack([case.inputs[name].argmax(1) for name in names], 1)


def factual(case: Case) -> Answer:
    places = marked(case, "subj_special_start_id", "obj_special_start_id")
    return run(case, batch_of(case) | {"places": places, "relation": case.inputs["labels"]}, ["adapter"])


def linguistic(case: Case) -> Answer:
    batch = batch_of(case)
    return run(case, batch | {"heads": case.inputs["labels"].masked_fill(~batch["text"]["mask"], IGNORE)}, ["adapter"])


def typing(case: Case) -> Answer:
    batch = batch_of(case) | {"places": marked(case, "start_id"), "types": case.inputs["labels"]}
    return run(case, batch, ["fac_adapter", "lin_adapter"])


def run(case: Case, batch: Batch, adapters: list[str]) -> Answer:
    converted = convert(case)
    learner = build(case, converted)
    with learner.network.trace(attention=True) as record:
        loss, _ = learner(batch)
        streams = learner.network(batch)
    (objective,) = learner.objectives.values()
    assert isinstance(objective, PlaceClassification | TokenClassification)
    outputs = states(case, record, streams, adapters)
    if isinstance(objective, PlaceClassification):
        outputs["logits"] = objective.logits(streams, batch["places"])
    else:
        outputs["logits"] = objective.logits(streams)
        (place,) = (i for i, fusion in enumerate(learner.network.fusions) if isinstance(fusion, SelfAttention))
        outputs["attention_probs"] = record[f"fusions.{place}.attention.attention"]
    loss.backward()
    return Answer(outputs | {"loss": loss}, gradients(case, learner, converted.report))


def states(case: Case, record: dict[str, Tensor], streams: Streams, adapters: list[str]) -> dict[str, Tensor]:
    """RoBERTa's states, and what goes into and comes out of each adapter."""
    hidden = [record[f"text.{i}"] for i in range(case.config["num_hidden_layers"] + 1)]
    outputs = {f"roberta.hidden_states.{i}": x for i, x in enumerate(hidden)}
    outputs |= {"roberta.last_hidden": streams["text"].x, "roberta.pooled": streams["pooled"].x[:, 0]}
    for name in adapters:
        old = "adapter" if len(adapters) == 1 else f"{name}.adapter"
        before: Tensor | int = 0
        for i, height in enumerate(case.config["adapter_list"]):
            outputs[f"{old}.{i}.input"] = hidden[height] + before
            outputs[f"{old}.{i}.output"] = streams[f"{name}_{i}"].x
            before = streams[f"{name}_{i}_skip" if f"{name}_{i}_skip" in streams else f"{name}_{i}"].x
    return outputs


ADAPTERS = {
    "microsoft/K-Adapter fac-adapter.py AdapterModel": factual,
    "microsoft/K-Adapter lin-adapter.py AdapterModel": linguistic,
    "microsoft/K-Adapter examples/run_finetune_openentity_adapter.py ETModel (fac_adapter + lin_adapter)": typing,
}
