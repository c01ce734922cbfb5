"""Cases of LUKE (studio-ousia/luke)."""

import torch
from torch import Tensor

from kemm.batch import IGNORE, Batch
from kemm.convert.luke import luke
from kemm.convert.table import Converted
from kemm.fusion import Streams
from kemm.learner import Learner
from kemm.objectives import MaskedLM, MaskedMention
from tests.parity.cases import Answer, Case, build, gradients


def convert(case: Case) -> Converted:
    config = case.config
    return luke(case.weights, config["num_attention_heads"], config["layer_norm_eps"], padding_id=config["pad_token_id"])


def batch_of(case: Case) -> Batch:
    """The inputs, with the positions that RoBERTa gives to padding: all that of padding."""
    inputs, padding = case.inputs, case.config["pad_token_id"]
    text = {"ids": inputs["word_ids"], "mask": inputs["word_attention_mask"].bool(), "types": inputs["word_segment_ids"]}
    if padding:
        real = text["ids"] != padding
        text["positions"] = real.cumsum(1) * real + padding
    entity = {name: inputs[f"entity_{key}"] for name, key in (("ids", "ids"), ("positions", "position_ids"), ("types", "segment_ids"))}
    return {"text": text, "mention": entity | {"mask": inputs["entity_attention_mask"].bool()}}


def run(case: Case, learner: Learner, batch: Batch) -> tuple[dict[str, Tensor], Streams]:
    with learner.network.trace() as record:
        streams = learner.network(batch)
    return {"word_embedding_output": record["text.0"], "entity_embedding_output": record["mention.0"]}, streams


def entity_aware(case: Case) -> Answer:
    converted = convert(case)
    learner = build(case, converted)
    outputs, streams = run(case, learner, batch_of(case))
    return states(case, outputs, streams, learner, converted)


def model(case: Case) -> Answer:
    """As above, and the pooled state, whose sum is part of the scalar."""
    converted = convert(case)
    learner = build(case, converted)
    outputs, streams = run(case, learner, batch_of(case))
    outputs["pooled_output"] = streams["pooled"].x[:, 0]
    return states(case, outputs, streams, learner, converted, outputs["pooled_output"].sum())


def states(
    case: Case, outputs: dict[str, Tensor], streams: Streams, learner: Learner, converted: Converted, further: Tensor | float = 0.0
) -> Answer:
    outputs |= {"word_sequence_output": streams["text"].x, "entity_sequence_output": streams["mention"].x}
    parts = [(outputs[f"{name}_sequence_output"] * case.inputs[f"cotangent_{name}"]).sum() for name in ("word", "entity")]
    outputs["scalar"] = sum(parts) + further
    outputs["scalar"].backward()
    return Answer(outputs, gradients(case, learner, converted.report))


def pretraining(case: Case) -> Answer:
    converted = convert(case)
    learner = build(case, converted)
    batch = batch_of(case)
    labels = {name: case.inputs[f"masked_{name}_labels"] for name in ("lm", "entity")}
    labels = {name: given.masked_fill(given == -1, IGNORE) for name, given in labels.items()}
    outputs, streams = run(case, learner, batch)
    scored = {"text": batch["text"] | {"labels": labels["lm"]}, "mention": batch["mention"] | {"labels": labels["entity"]}}
    scored["page"] = case.inputs.get("page_id")
    results = {name: objective(streams, scored, learner.network) for name, objective in learner.objectives.items()}
    masked_lm, entity = learner.objectives["masked_lm"], learner.objectives["entity"]
    assert isinstance(masked_lm, MaskedLM)
    assert isinstance(entity, MaskedMention)
    outputs["masked_lm_scores"] = masked_lm.logits(streams["text"].x[labels["lm"] != IGNORE], learner.network)
    outputs["entity_scores"] = entity.logits(streams["mention"].x[labels["entity"] != IGNORE], learner.network)
    for name, own in (("masked_lm", "masked_lm"), ("masked_entity", "entity")):
        outputs[f"metric.{name}_loss"] = learner.total({own: results[own]})
        hits, count = results[own]["accuracy"]
        outputs[f"metric.{name}_accuracy"] = hits / count.clamp(min=1)
    page = {name: result for name, result in results.items() if name == "page"}
    outputs["metric.entity_prediction_loss"] = learner.total(page) if page else torch.zeros((), dtype=case.dtype)
    outputs["loss"] = learner.total(results)
    outputs["loss"].backward()
    return Answer(outputs, gradients(case, learner, converted.report))


FILE = "studio-ousia/luke luke/model.py"
ADAPTERS = {
    f"{FILE} LukeModel": model,
    f"{FILE} LukeEntityAwareAttentionModel": entity_aware,
    "studio-ousia/luke luke/pretraining/model.py LukePretrainingModel": pretraining,
}
