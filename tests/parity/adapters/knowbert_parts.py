"""Cases of parts of KnowBERT (allenai/kb): one graph's linker, and its whole KAR, on given states of a text."""

from typing import Any

import torch
from torch import Tensor, nn

from kemm.batch import Batch, Stream
from kemm.checkpoint import learner_from_config, load_state
from kemm.convert import knowbert
from kemm.convert.table import Report, Table, modules, translate
from kemm.fusion import EntityLinker, KnowledgeAttention
from kemm.learner import Learner, Result
from kemm.metrics import predict_types, typing_counts, typing_scores
from kemm.objectives import Classification, EntityLinking, PlaceClassification
from tests.parity.adapters.knowbert import candidates, decoded, metrics, threshold_of
from tests.parity.cases import Answer, Case, gradients


def graph_of(case: Case) -> tuple[str, dict[str, Any]]:
    """The name and the config of the case's one graph."""
    return next(iter(case.config["kgs"].items()))


def learner_of(case: Case, linker: str, fusions: list[dict[str, Any]]) -> Learner:
    """A learner of given text states, a graph's entities and its linking; `linker` precedes the linker's keys."""
    name, graph = graph_of(case)
    states = {"class_path": "kemm.encoders.Encoder", "init_args": {"embed": {"class_path": "torch.nn.Identity"}}}
    network = {"encoders": {"text": states, name: knowbert.entity_encoder(case.weights, linker)}, "fusions": fusions}
    objectives = {"linking": knowbert.linking(name, threshold_of(graph), graph["margin"])}
    return learner_from_config({"network": network, "objectives": objectives}).to(case.dtype).eval()


def load(case: Case, module: nn.Module, table: Table) -> Report:
    state, report = translate(case.weights, table, ignored=[r".*null_embedding"])
    load_state(module, state, source=case.name)
    return report


def linker(case: Case) -> Answer:
    name, graph = graph_of(case)
    threshold, old = threshold_of(graph), "disambiguator."
    heads = (graph["span_encoder_config"] or graph["span_attention_config"])["num_attention_heads"]
    learner = learner_of(case, old, [])
    part = EntityLinker(**knowbert.linker_arguments(case.weights, old, heads, threshold)).to(case.dtype).eval()
    both = nn.ModuleDict({"linker": part, "network": learner.network})
    table = knowbert.linker_table(case.weights, old, "linker.", threshold)
    report = load(case, both, table | knowbert.entity_table(case.weights, old, f"network.encoders.{name}.embed."))
    x, given = case.inputs["contextual_embeddings"].requires_grad_(), candidates(case.inputs)
    vectors = learner.network.embed(name, given)
    linked = part(x, given["spans"], vectors.x, vectors.mask, given["priors"])
    streams, batch = {f"{name}_linking": Stream(linked.scores[..., None], vectors.mask)}, {name: given}
    objective = learner.objectives["linking"]
    assert isinstance(objective, EntityLinking)
    loss = learner.total({"linking": objective(streams, batch, learner.network)})
    links = decoded(objective.decode(streams, batch), given["spans"], graph["null_id"])
    outputs = {
        "projected_bert_representations": linked.text,
        "projected_span_representations": linked.mentions,
        "linking_scores": linked.scores,
        "weighted_entity_embeddings": linked.weighted,
        "loss": loss,
        "scalar": loss + (linked.weighted * case.inputs["cotangent"]).sum(),
        "decoded": links,
        "metrics": metrics(links, given, graph["null_id"]),
    }
    outputs["scalar"].backward()
    return Answer(outputs, gradients(case, both, report, contextual_embeddings=x))


def kar(case: Case) -> Answer:
    name, graph = graph_of(case)
    threshold, old = threshold_of(graph), "entity_linker.disambiguator."
    arguments = knowbert.kar_arguments(case.weights, "", name, graph["span_encoder_config"]["num_attention_heads"], threshold)
    fusion = {"class_path": "kemm.fusion.KnowledgeAttention", "init_args": arguments}
    learner = learner_of(case, old, [{"at": {"text": 0, name: 0}, "fusion": fusion}])
    table = knowbert.kar_table(case.weights, "", "network.fusions.0.", threshold)
    report = load(case, learner, table | knowbert.entity_table(case.weights, old, f"network.encoders.{name}.embed."))
    x, given = case.inputs["contextual_embeddings"].requires_grad_(), candidates(case.inputs)
    batch = {"text": Stream(x, case.inputs["tokens_mask"]), name: given}
    parts = learner.network.fusions[0]
    assert isinstance(parts, KnowledgeAttention)
    seen: dict[str, Tensor] = {}
    for key, module in {"spans": parts.weighted_norm, "attention": parts.attention, "output": parts.feedforward}.items():
        module.register_forward_hook(lambda _module, _inputs, output, key=key: seen.update({key: output}))
    with learner.network.trace(attention=True) as record:
        streams = learner.network(batch)
    vectors = learner.network.embed(name, given)
    linked = parts.linker(x, given["spans"], vectors.x, vectors.mask, given["priors"])
    objective = learner.objectives["linking"]
    after = streams["text"].x
    scalar = (after * case.inputs["cotangent"]).sum()
    outputs = {
        "contextual_embeddings": after,
        "entity_attention_probs": record["fusions.0.attention.attention"],
        "linker.projected_bert_representations": linked.text,
        "linker.projected_span_representations": linked.mentions,
        "linker.weighted_entity_embeddings": linked.weighted,
        "linking_scores": linked.scores,
        "span_attention.attention_output": seen["attention"],
        "span_attention.output": seen["output"],
        "span_attention.spans_with_entities": seen["spans"],
    }
    if objective.wants(batch):
        outputs["loss"] = learner.total({"linking": objective(streams, batch, learner.network)})
        scalar = scalar + outputs["loss"]
    outputs["scalar"] = scalar
    scalar.backward()
    return Answer(outputs, gradients(case, learner, report, contextual_embeddings=x))


def classifier(case: Case) -> Answer:
    config, inputs = case.config, case.inputs
    marked = 2 if config["concat_word_a_b"] else int(config["concat_word_a"])
    many = config["use_bce_loss"]
    states = {"class_path": "kemm.encoders.Encoder", "init_args": {"embed": {"class_path": "torch.nn.Identity"}}}
    head = knowbert.classifier(case.weights, config["bert_dim"], marked, many)
    learner = learner_from_config({"network": {"encoders": {"text": states}}, "objectives": {"classification": head}})
    learner = learner.to(case.dtype).eval()
    report = load(case, learner, modules({"classifier": "objectives.classification.classifier"}))
    x, pooled = inputs["contextual_embeddings"].requires_grad_(), inputs["pooled_output"].requires_grad_()
    everything = torch.ones(x.shape[:2], dtype=torch.bool)
    streams = {"text": Stream(x, everything), "pooled": Stream(pooled[:, None], everything[:, :1])}
    batch: Batch = {"types" if many else "label": inputs["label_ids"]}
    if marked:
        batch["places"] = torch.stack([inputs["index_a"], inputs["index_b"]][:marked], 1)
    objective = learner.objectives["classification"]
    assert isinstance(objective, Classification | PlaceClassification)
    losses = objective(streams, batch, learner.network)
    loss = learner.total(Result(classification=losses))
    logits = objective.logits(streams, batch["places"]) if isinstance(objective, PlaceClassification) else objective.logits(streams)
    loss.backward()
    if many:
        scores = typing_scores(typing_counts(predict_types(logits), batch["types"].bool()))
        measured = [scores[f"micro_{name}"] for name in ("f1", "f1", "precision", "recall")]
    else:
        measured = [float(torch.div(*losses["accuracy"]))] * 2
    outputs = {"logits": logits, "loss": loss, "metrics": torch.tensor(measured, dtype=case.dtype)}
    return Answer(outputs, gradients(case, learner, report, contextual_embeddings=x, pooled_output=pooled))


ADAPTERS = {
    "allenai/kb kb/knowbert.py, kb/entity_linking.py EntityLinkingWithCandidateMentions": linker,
    "allenai/kb kb/wordnet.py, kb/knowbert.py EntityLinkingWithCandidateMentions + WordNetAllEmbedding": linker,
    "allenai/kb kb/knowbert.py, kb/span_attention_layer.py SolderedKG (KAR)": kar,
    "allenai/kb kb/evaluation/classification_model.py "
    "SimpleClassifier (the encoder is a stub returning the given contextual_embeddings / pooled_output)": classifier,
}
