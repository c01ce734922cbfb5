"""Cases of ERNIE (thunlp/ERNIE)."""

from collections.abc import Callable, Iterator

from torch import Tensor

from kemm.batch import IGNORE, Batch, Stream
from kemm.convert.ernie import ernie
from kemm.convert.table import Converted
from kemm.fusion import Streams
from kemm.learner import Learner, Result
from kemm.objectives import Classification, EntityDenoising, MaskedLM, Objective, PlaceSelection
from tests.parity.cases import Adapter, Answer, Case, build, gradients


def convert(case: Case, graded: bool = False) -> Converted:
    vectors = case.inputs["candidate"][1:] if "candidate" in case.inputs else None
    return ernie(case.weights, case.config["num_attention_heads"], case.config["ent_heads"], vectors, graded)


def batch_of(case: Case, entities: Tensor) -> Batch:
    inputs = case.inputs
    text = {"ids": inputs["input_ids"], "mask": inputs["attention_mask"].bool(), "types": inputs["token_type_ids"]}
    return {"text": text, "entity": Stream(entities, inputs["ent_mask"].bool())}


def states(case: Case, record: dict[str, Tensor], entities: Tensor) -> dict[str, Tensor]:
    """The text's and the entities' state after each of the original's layers: a layer of the encoder, or a fusion."""
    outputs = {"embedding_output": record["text.0"]}
    layers = 0
    kinds = case.config["layer_types"] + ["sim"] * (case.config["num_hidden_layers"] - len(case.config["layer_types"]))
    for i, kind in enumerate(kinds):
        if kind == "sim":
            layers += 1
            outputs[f"layer_{i}.hidden"] = record[f"text.{layers}"]
        else:
            outputs[f"layer_{i}.hidden"] = record[f"fusions.{i - layers}.text"]
            entities = record[f"fusions.{i - layers}.entity"]
        outputs[f"layer_{i}.hidden_ent"] = entities
    return outputs


def bert_model(case: Case) -> Answer:
    converted = convert(case)
    learner = build(case, converted)
    entities = case.inputs["input_ent"].requires_grad_()
    with learner.network.trace() as record:
        streams = learner.network(batch_of(case, entities))
    outputs = states(case, record, entities)
    outputs["pooled_output"] = streams["pooled"].x[:, 0]
    last = {"hidden": streams["text"].x, "pooled": outputs["pooled_output"], "ent": streams["entity"].x}
    outputs["scalar"] = sum((x * case.inputs[f"cotangent_{name}"]).sum() for name, x in last.items())
    outputs["scalar"].backward()
    return Answer(outputs, gradients(case, learner, converted.report, input_ent=entities))


def pretraining(case: Case) -> Answer:
    converted = convert(case)
    converted.state["network.encoders.entity.embed.table.weight"] = case.inputs["candidate"]
    learner = build(case, converted)
    inputs, entities = case.inputs, case.inputs["input_ent"].requires_grad_()
    batch = batch_of(case, entities)
    with learner.network.trace() as record:
        streams = learner.network(batch)
    outputs = states(case, record, entities)
    labels = {
        name: inputs[name].masked_fill(inputs[name] == -1, IGNORE) for name in ("masked_lm_labels", "next_sentence_label", "ent_labels")
    }
    scored = {
        "text": batch["text"] | {"labels": labels["masked_lm_labels"]},
        "next_sentence": labels["next_sentence_label"].flatten(),
        "entity": {"labels": labels["ent_labels"], "candidates": inputs["ent_labels"].new_tensor(range(len(inputs["candidate"])))},
    }
    results = {name: objective(streams, scored, learner.network) for name, objective in learner.objectives.items()}
    losses = {name: learner.total({name: result}) for name, result in results.items()}
    outputs |= scores(learner, streams["text"].x, inputs["candidate"])
    outputs["seq_relationship_score"] = learner.objectives["next_sentence"].logits(streams)
    outputs["original_loss"] = losses["masked_lm"] + losses["next_sentence"]
    outputs["ent_loss"] = losses["entity"]
    outputs["total_loss"] = learner.total(results)
    outputs["total_loss"].backward()
    return Answer(outputs, gradients(case, learner, converted.report, input_ent=entities))


def scores(learner: Learner, x: Tensor, candidates: Tensor) -> dict[str, Tensor]:
    """The logits at all places."""
    masked_lm, entity = learner.objectives["masked_lm"], learner.objectives["entity"]
    assert isinstance(masked_lm, MaskedLM)
    assert isinstance(entity, EntityDenoising)
    return {"prediction_scores": masked_lm.logits(x, learner.network), "prediction_scores_ent": entity.logits(x, candidates)}


def head(labels: Callable[[Case], Batch], logits: Callable[[Learner, Streams], dict[str, Tensor]], graded: bool = False) -> Adapter:
    """The adapter of a task's head.

    Args:
        labels: What the batch holds beside the text and its entities.
        logits: The outputs by their names.
        graded: See `ernie`.
    """

    def answer(case: Case) -> Answer:
        converted = convert(case, graded)
        learner = build(case, converted)
        entities = case.inputs["input_ent"].requires_grad_()
        batch = batch_of(case, entities)
        with learner.network.trace() as record:
            streams = learner.network(batch)
        given = labels(case)
        text = {**batch["text"], **given.pop("text", {})}
        results = {name: objective(streams, batch | given | {"text": text}, learner.network) for name, objective in _objectives(learner)}
        loss = learner.total(Result(results))
        loss.backward()
        outputs = states(case, record, entities) | logits(learner, streams) | {"loss": loss}
        return Answer(outputs, gradients(case, learner, converted.report, input_ent=entities))

    return answer


def _objectives(learner: Learner) -> Iterator[tuple[str, Objective]]:
    return ((name, objective) for name, objective in learner.objectives.items() if isinstance(objective, Objective))


def classified(learner: Learner, streams: Streams) -> Tensor:
    objective = next(iter(learner.objectives.values()))
    assert isinstance(objective, Classification)
    return objective.logits(streams)


def words(learner: Learner, streams: Streams) -> dict[str, Tensor]:
    masked_lm = learner.objectives["masked_lm"]
    assert isinstance(masked_lm, MaskedLM)
    return {"prediction_scores": masked_lm.logits(streams["text"].x, learner.network)}


def answers(learner: Learner, streams: Streams) -> dict[str, Tensor]:
    first, last = learner.objectives["first"], learner.objectives["last"]
    assert isinstance(first, PlaceSelection)
    assert isinstance(last, PlaceSelection)
    return {"start_logits": first.logits(streams), "end_logits": last.logits(streams)}


def hidden(case: Case) -> Batch:
    labels = case.inputs["masked_lm_labels"]
    return {"text": {"labels": labels.masked_fill(labels == -1, IGNORE)}}


FILE = "thunlp/ERNIE code/knowledge_bert/modeling.py"
ADAPTERS = {
    f"{FILE} BertModel": bert_model,
    f"{FILE} BertForPreTraining": pretraining,
    f"{FILE} BertForMaskedLM": head(hidden, words),
    f"{FILE} BertForEntityTyping": head(lambda case: {"types": case.inputs["labels"]}, lambda *given: {"logits": classified(*given)}),
    f"{FILE} BertForSequenceClassification": head(
        lambda case: {"label": case.inputs["labels"]}, lambda *given: {"logits": classified(*given)}
    ),
    f"{FILE} BertForSTSB": head(
        lambda case: {"label": case.inputs["labels"]}, lambda *given: {"probs": classified(*given).softmax(-1)}, graded=True
    ),
    f"{FILE} BertForQuestionAnswering": head(
        lambda case: {"first": case.inputs["start_positions"], "last": case.inputs["end_positions"]}, answers
    ),
}
