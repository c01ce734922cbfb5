"""Cases of KnowBERT (allenai/kb)."""

from typing import Any

import torch
from torch import Tensor

from kemm.batch import IGNORE, Batch
from kemm.convert.knowbert import knowbert
from kemm.fusion import Streams
from kemm.learner import Learner
from kemm.metrics.f1 import f1_from_counts
from kemm.metrics.linking import linking_counts
from kemm.metrics.rankings import ranks
from kemm.objectives import Classification, EntityLinking, MaskedLM
from tests.parity.cases import Answer, Case, build, gradients


def candidates(inputs: dict[str, Tensor], name: str = "") -> dict[str, Tensor]:
    """The candidates of a graph, as a batch holds them."""
    found = {"ids": "candidate_entities", "priors": "candidate_entity_priors", "spans": "candidate_spans"}
    given = {key: inputs[f"{name}{old}"] for key, old in found.items()}
    return given | ({"gold": inputs[f"{name}gold_entities"][..., 0]} if f"{name}gold_entities" in inputs else {})


def threshold_of(graph: dict[str, Any]) -> float | None:
    """The threshold of a graph's linker: the margin model's."""
    return graph["decode_threshold"] if graph["loss_type"] == "margin" else None


def whole(case: Case) -> Answer:
    config, inputs = case.config, case.inputs
    bert = config["bert_config"]
    graphs = config["kgs"]
    first = next(iter(graphs.values()))
    converted = knowbert(
        case.weights,
        config["soldered_layers"],
        bert["num_attention_heads"],
        {name: graph["span_encoder_config"]["num_attention_heads"] for name, graph in graphs.items()},
        {name: threshold_of(graph) for name, graph in graphs.items()},
        first["margin"],
    )
    learner = build(case, converted)
    ids, labels = inputs["tokens"], inputs["lm_labels"]
    text = {"ids": ids, "mask": ids > 0, "types": inputs["segment_ids"], "labels": labels.masked_fill(labels == 0, IGNORE)}
    next_sentence = inputs["next_sentence_label"]
    batch: Batch = {"text": text, "next_sentence": next_sentence.masked_fill(next_sentence == -1, IGNORE)}
    batch |= {name: candidates(inputs, f"{name}.") for name in graphs}
    with learner.network.trace(attention=True) as record:
        loss, results = learner(batch)
    streams = learner.network(batch)
    masked_lm, following = learner.objectives["masked_lm"], learner.objectives["next_sentence"]
    assert isinstance(masked_lm, MaskedLM)
    assert isinstance(following, Classification)
    predictions = masked_lm.logits(streams["text"].x, learner.network)
    outputs = {
        "loss": loss,
        "embedding_output": record["text.0"],
        "contextual_embeddings": streams["text"].x,
        "pooled_output": streams["pooled"].x[:, 0],
        "prediction_scores": predictions,
        "seq_relationship_score": following.logits(streams),
        "metric.lm_loss": learner.total({"masked_lm": results["masked_lm"]}),
        "metric.nsp_loss": learner.total({"next_sentence": results["next_sentence"]}),
        "metric.nsp_accuracy": torch.div(*results["next_sentence"]["accuracy"]),
    }
    if "metric.mrr" in case.outputs:
        outputs["metric.mrr"] = reciprocal_rank(predictions, labels, inputs.get("mask_indicator", torch.zeros_like(labels)))
    for i, name in enumerate(sorted(graphs, key=lambda name: (config["soldered_layers"][name], name))):
        outputs[f"{name}.contextual_embeddings_after"] = record[f"fusions.{i}.text"]
        outputs[f"{name}.entity_attention_probs"] = record[f"fusions.{i}.attention.attention"]
        outputs |= {f"{name}.{key}": value for key, value in linked(learner, streams, batch, name, graphs[name]).items()}
        outputs[f"{name}.loss"] = learner.total({f"{name}_linking": results[f"{name}_linking"]})
    loss.backward()
    return Answer(outputs, gradients(case, learner, converted.report))


def linked(learner: Learner, streams: Streams, batch: Batch, name: str, graph: dict[str, Any]) -> dict[str, Tensor]:
    """A graph's scores, and precision, recall and F1 of links and of mentions."""
    objective = learner.objectives[f"{name}_linking"]
    assert isinstance(objective, EntityLinking)
    links = decoded(objective.decode(streams, batch), batch[name]["spans"], graph["null_id"])
    return {"linking_scores": objective.scores(streams), "metrics": metrics(links, batch[name], graph["null_id"])}


def decoded(ids: Tensor, spans: Tensor, null: int) -> Tensor:
    """Rows (text, first token, last token, entity) of all links, those to the entity that stands for none apart."""
    rows = [
        [row, *spans[row, i].tolist(), entity]
        for row, entities in enumerate(ids.tolist())
        for i, entity in enumerate(entities)
        if entity not in (0, null)
    ]
    return torch.tensor(rows).reshape(-1, 4)


def metrics(links: Tensor, given: dict[str, Tensor], null: int) -> Tensor:
    """Precision, recall and F1 of links, and of their mentions alone."""
    gold = decoded(given["gold"] * (given["ids"] > 0).any(-1), given["spans"], null)
    scores = []
    for width in (4, 3):
        pairs = ([[(tuple(row[:width]), 0) for row in rows.tolist()]] for rows in (links, gold))
        scores += f1_from_counts(*linking_counts(*pairs))
    return torch.tensor(scores, dtype=torch.float64)


def reciprocal_rank(scores: Tensor, labels: Tensor, places: Tensor) -> Tensor:
    """The mean over marked places of 1 / rank, ties lost; the original adds up in float32."""
    marked = places > 0
    return (1 / ranks(scores[marked], labels[marked], ties="pessimistic").float()).sum().double() / marked.sum().clamp(min=1)


ADAPTERS = {"allenai/kb kb/knowbert.py KnowBert": whole}
