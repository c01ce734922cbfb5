"""Cases of VisualBERT (uclanlp/visualbert)."""

import torch
from torch import Tensor

from kemm.batch import IGNORE, Batch
from kemm.convert.table import Converted
from kemm.convert.visualbert import visualbert
from kemm.learner import Learner, Result
from kemm.objectives import Classification, MaskedLM, SoftClassification
from tests.parity.cases import Answer, Case, build, gradients


def convert(case: Case, head: str) -> Converted:
    """The case's weights with one of its heads; they hold a layer that only the bypass has."""
    state = {key.removeprefix(f"{head}|"): t for key, t in case.weights.items() if key.partition("|")[0] == head or "|" not in key}
    if head != "pretraining":
        state = {key: t for key, t in state.items() if not key.startswith("cls.")}
    if head != "bypass":
        state = {key: t for key, t in state.items() if not key.startswith("bert.additional_layer.")}
    return visualbert(state, case.config["num_attention_heads"])


def batch_of(case: Case, aligned: bool = False) -> Batch:
    inputs = case.inputs
    labels = inputs["masked_lm_labels"]
    region = {"features": inputs["visual_embeddings"], "mask": inputs["image_mask"].bool()}
    if aligned:
        region |= {"types": inputs["visual_embeddings_type"], "alignment": inputs["image_text_alignment"]}
    return {
        "text": {
            "ids": inputs["input_ids"],
            "mask": inputs["input_mask"].bool(),
            "types": inputs["token_type_ids"],
            "labels": labels.masked_fill(labels == -1, IGNORE),
        },
        "region": region,
        "next_sentence": inputs["is_random_next"],
        "label": inputs["nlvr_label"],
    }


def pretraining(case: Case) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The outputs of the encoder and of the pre-training heads, and the gradients of their loss."""
    converted = convert(case, "pretraining")
    learner = build(case, converted)
    batch = batch_of(case)
    with learner.network.trace() as record:
        streams = learner.network(batch)
    masked_lm, next_sentence = learner.objectives["masked_lm"], learner.objectives["next_sentence"]
    assert isinstance(masked_lm, MaskedLM)
    assert isinstance(next_sentence, Classification)
    outputs = {"embeddings": record["fusions.1.text"], "pooled": streams["pooled"].x[:, 0]}
    outputs |= {f"encoded.{i}": record[f"text.{i + 1}"] for i in range(learner.network.top("text"))}
    outputs["pretraining.logits"] = masked_lm.logits(streams["text"].x, learner.network)
    outputs["pretraining.seq_relationship"] = next_sentence.logits(streams)
    total, result = learner(batch)
    outputs["pretraining.loss"] = total
    outputs["pretraining.masked_lm_loss"] = learner.total(Result(masked_lm=result["masked_lm"]))
    outputs["pretraining.next_sentence_loss"] = learner.total(Result(next_sentence=result["next_sentence"]))
    outputs["pretraining_lm_only.loss"] = outputs["pretraining.masked_lm_loss"]
    total.backward()
    with learner.network.trace() as record:
        streams = learner.network(batch_of(case, aligned=True))
    outputs["embeddings_aligned"] = record["fusions.1.text"]
    outputs |= {"aligned.sequence": streams["text"].x, "aligned.pooled": streams["pooled"].x[:, 0]}
    return outputs, gradients(case, learner, converted.report)


def vqa(case: Case) -> dict[str, Tensor]:
    learner = build(case, convert(case, "vqa"))
    batch = batch_of(case)
    objective = learner.objectives["vqa"]
    assert isinstance(objective, SoftClassification)
    logits = objective.logits(learner.network(batch))
    scores = torch.zeros_like(logits)
    scores[tuple(case.inputs["vqa_target_index"].T)] = case.inputs["vqa_target_value"]
    # The first class is the unknown answer, and never predicted.
    best = logits[:, 1:].argmax(-1, keepdim=True) + 1
    loss, _ = learner(batch | {"scores": scores})
    return {"vqa.logits": logits[:, None], "vqa.loss": loss, "vqa.accuracy": scores.gather(1, best).mean()}


def nlvr(case: Case, head: str) -> tuple[Tensor, Tensor]:
    """Logits and loss, with or without the bypass."""
    learner: Learner = build(case, convert(case, head))
    objective, batch = learner.objectives["nlvr"], batch_of(case)
    assert isinstance(objective, Classification)
    return objective.logits(learner.network(batch)), learner(batch)[0]


def case(case: Case) -> Answer:
    outputs, grads = pretraining(case)
    outputs["nlvr.logits"], outputs["nlvr.loss"] = nlvr(case, "nlvr")
    outputs["bypass.nlvr_logits"], _ = nlvr(case, "bypass")
    return Answer(outputs | vqa(case), grads)


ADAPTERS = {"visualbert": case}
