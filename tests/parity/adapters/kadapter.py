"""Cases of K-Adapter (microsoft/K-Adapter)."""

import torch
from torch import Tensor

from kemm.convert.kadapter import kadapter
from kemm.fusion import Streams
from kemm.objectives import PlaceClassification
from tests.parity.cases import Answer, Case, build, gradients


def factual(case: Case) -> Answer:
    config, inputs = case.config, case.inputs
    converted = kadapter(
        case.weights, config["adapter_list"], config["num_attention_heads"], config["adapter_heads"], config["adapter_skip_layers"]
    )
    learner = build(case, converted)
    places = [inputs[f"{name}_special_start_id"].argmax(1) for name in ("subj", "obj")]
    batch = {
        "text": {"ids": inputs["input_ids"], "mask": inputs["attention_mask"].bool()},
        "places": torch.stack(places, 1),
        "relation": inputs["labels"],
    }
    with learner.network.trace() as record:
        loss, _ = learner(batch)
        streams = learner.network(batch)
    relation = learner.objectives["relation"]
    assert isinstance(relation, PlaceClassification)
    outputs = states(case, record, streams)
    outputs |= {"loss": loss, "logits": relation.logits(streams, batch["places"])}
    loss.backward()
    return Answer(outputs, gradients(case, learner, converted.report))


def states(case: Case, record: dict[str, Tensor], streams: Streams) -> dict[str, Tensor]:
    """RoBERTa's states, and what goes into and comes out of each adapter."""
    hidden = [record[f"text.{i}"] for i in range(case.config["num_hidden_layers"] + 1)]
    outputs = {f"roberta.hidden_states.{i}": x for i, x in enumerate(hidden)}
    outputs |= {"roberta.last_hidden": streams["text"].x, "roberta.pooled": streams["pooled"].x[:, 0]}
    before = 0
    for i, height in enumerate(case.config["adapter_list"]):
        outputs[f"adapter.{i}.input"] = hidden[height] + before
        outputs[f"adapter.{i}.output"] = streams[f"adapter_{i}"].x
        before = streams[f"adapter_{i}_skip" if f"adapter_{i}_skip" in streams else f"adapter_{i}"].x
    return outputs


ADAPTERS = {"microsoft/K-Adapter fac-adapter.py AdapterModel": factual}
