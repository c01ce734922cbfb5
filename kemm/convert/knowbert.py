"""KnowBERT (arXiv 1909.04164; allenai/kb: kb/knowbert.py, kb/entity_linking.py), the `weights.th` of its archives."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kemm.convert import bert
from kemm.convert.plan import instance
from kemm.convert.signature import Options, Settings, Signature
from kemm.convert.table import Converted, Table, count, modules, strip, translate

LINKER = {
    "bert_to_kg_projector": "project",
    "kg_layer_norm": "entity_norm",
    "projected_span_layer_norm": "span_norm",
    "span_extractor._global_attention._module": "pool.score",
    "dot_attention_with_prior.out_layer_1": "score.0",
    "dot_attention_with_prior.out_layer_2": "score.2",
}
"""The modules of the original's disambiguator and of `EntityLinker`, its span encoder apart."""

KAR = {
    "weighted_entity_layer_norm": "weighted_norm",
    "span_attention_layer.attention.attention.query": "attention.attention.query",
    "span_attention_layer.attention.attention.key": "attention.attention.key",
    "span_attention_layer.attention.attention.value": "attention.attention.value",
    "span_attention_layer.attention.output.dense": "attention.attention.output",
    "span_attention_layer.attention.output.LayerNorm": "attention.norm",
    "span_attention_layer.intermediate.dense": "feedforward.feedforward.up",
    "span_attention_layer.output.dense": "feedforward.feedforward.down",
    "span_attention_layer.output.LayerNorm": "feedforward.norm",
    "kg_to_bert_projection": "output",
    "output_layer_norm": "norm",
}
"""The modules of the original's SolderedKG and of `KnowledgeAttention`, its linker apart."""

WORDNET = {"pos_embeddings.weight": "kinds.weight", "entity_id_to_pos_index": "kind_of", "null_embedding": "null"} | {
    f"proj_feed_forward.{part}": f"project.{part}" for part in ("weight", "bias")
}
"""What WordNet's embedder and `TypedEntityEmbedding` hold, the table apart."""


def told(settings: Settings) -> Options:
    """What the config.json of an AllenNLP archive tells: of a KnowBERT its graphs, of a classifier its marked words and its labels."""
    model: Settings = settings.get("model", {})
    if model.get("type") == "simple-classifier":
        marked = sum(bool(model.get(f"concat_word_{word}")) for word in "ab")
        return {"marked": marked, "multi_label": bool(model.get("use_bce_loss"))} | told(model)
    if "soldered_layers" not in model:
        return {}
    linkers = {name: graph["entity_linker"] for name, graph in model["soldered_kgs"].items()}
    margins = {name: linker for name, linker in linkers.items() if linker.get("loss_type", "margin") == "margin"}
    options: Options = {"soldered": model["soldered_layers"]}
    options["kg_heads"] = {name: graph["span_attention_config"]["num_attention_heads"] for name, graph in model["soldered_kgs"].items()}
    options["thresholds"] = {name: margins[name].get("decode_threshold", 0.0) if name in margins else None for name in linkers}
    if margins:
        options["margin"] = next(iter(margins.values())).get("margin", 0.2)
    return options


SIGNATURE = Signature(needs=(r"(.*\.)?disambiguator\.bert_to_kg_projector\.weight",), told=told)


def knowbert(
    state: Mapping[str, Tensor],
    soldered: Mapping[str, int],
    heads: int = 12,
    kg_heads: Mapping[str, int] | None = None,
    thresholds: Mapping[str, float | None] | None = None,
    margin: float = 0.2,
    marked: int = 0,
    multi_label: bool = False,
) -> Converted:
    """Converts a KnowBERT of any number of knowledge graphs, or one with a task's classifier.

    Args:
        state: The checkpoint.
        soldered: Graph -> the layer after which its KAR stands, counted from 0 as in the original's config (`{"wiki": 9}`).
        heads: Heads of the text, which no key tells.
        kg_heads: Graph -> heads of its KAR, which no key tells; 4 for graphs that are not named.
        thresholds: Graph -> threshold of its linker, None for a softmax model; graphs that are not named have 0 where the
            checkpoint holds their null vector, and None elsewhere.
        margin: The margin of linkers that have a threshold.
        marked: How many marked words the classifier reads, beside the pooled text where it is wide enough.
        multi_label: Whether the classifier's labels are any number of types.

    Raises:
        ValueError: The graphs that are named are not those of the checkpoint, or heads do not divide the width of a graph.
    """
    state = strip(state, "model.")
    found = sorted({match[1] for match in (re.match(r"(\w+)_soldered_kg\.", key) for key in state) if match})
    if found != sorted(soldered):
        raise ValueError(f"the checkpoint holds the graphs {found}, and layers are given for {sorted(soldered)}")
    for what, named in (("kg_heads", kg_heads or {}), ("thresholds", thresholds or {})):
        if not named.keys() <= set(found):
            raise ValueError(f"{what} names the graphs {sorted(named)}, and the checkpoint holds {found}")
    old = "pretrained_bert.bert."
    depth = count(state, r"pretrained_bert\.bert\.encoder\.layer\.(\d+)\.")
    text = bert.text_arguments(state, depth, heads, old)
    table = bert.embeddings(f"{old}embeddings.") | bert.layers(depth, f"{old}encoder.layer.")
    encoders: dict[str, Any] = {"text": {"class_path": "kemm.encoders.TextEncoder", "init_args": text}}
    objectives = bert.heads_config(text["dim"], text["vocab_size"])
    points: list[dict[str, Any]] = []
    for name in sorted(found, key=lambda name: (soldered[name], name)):
        prefix = f"{name}_soldered_kg."
        linker = f"{prefix}entity_linker.disambiguator."
        threshold = threshold_of(state, linker, name, thresholds or {})
        table |= kar_table(state, prefix, f"network.fusions.{len(points)}.", threshold)
        table |= entity_table(state, linker, f"network.encoders.{name}.embed.")
        arguments = kar_arguments(state, prefix, name, (kg_heads or {}).get(name, 4), threshold)
        fusion = {"class_path": "kemm.fusion.KnowledgeAttention", "init_args": arguments}
        points.append({"at": {"text": soldered[name] + 1, name: 0}, "fusion": fusion})
        encoders[name] = entity_encoder(state, linker)
        objectives[f"{name}_linking"] = linking(name, threshold, margin)
    pooled, point = bert.pooler(len(points), text["dim"], old)
    table |= pooled | bert.masked_lm("pretrained_bert.cls.predictions.") | bert.next_sentence("pretrained_bert.cls.seq_relationship")
    if "classifier.weight" in state:
        table |= modules({"classifier": "objectives.classification.classifier"})
        objectives["classification"] = classifier(state, text["dim"], marked, multi_label)
    network = {"encoders": encoders, "fusions": [*points, point]}
    result, report = translate(state, table, ignored=[_UNUSED_NULL], tied=_tied(state))
    return Converted(result, {"network": network, "objectives": objectives}, report)


def classifier(state: Mapping[str, Tensor], dim: int, marked: int, multi_label: bool) -> dict[str, Any]:
    """The config of a SimpleClassifier (allenai/kb: kb/evaluation/classification_model.py), which reads `[pooled ; word_a ; word_b]`, or
    part of that.

    Args:
        state: The checkpoint.
        dim: Width of the text.
        marked: How many marked words it reads, beside the pooled text where it is wide enough.
        multi_label: Whether its labels are any number of types.

    Raises:
        ValueError: It is too wide or too narrow for that.
    """
    classes, width = bert.of(state, "classifier.weight").shape
    if width not in (marked * dim, (marked + 1) * dim) or not width:
        raise ValueError(f"the classifier reads {width} numbers, expected {dim} for each of {marked} marked words, or as many more")
    kind = "MultiLabel" * multi_label
    arguments = {"dim": dim, "classes": classes, "labels": "types" if multi_label else "label"}
    if not marked:
        return instance(f"kemm.objectives.{kind}Classification", arguments)
    features = ["pooled"] if width > marked * dim else []
    return instance(f"kemm.objectives.{kind}PlaceClassification", arguments | {"places": marked, "features": features})


_UNUSED_NULL = r".*\.dot_attention_with_prior\.null_embedding"
"""A softmax model may hold a null vector that it does not read."""


def threshold_of(state: Mapping[str, Tensor], linker: str, name: str, thresholds: Mapping[str, float | None]) -> float | None:
    """The threshold of a graph's linker: the given one, or what the checkpoint's null vector tells."""
    return thresholds.get(name, 0.0 if f"{linker}dot_attention_with_prior.null_embedding" in state else None)


def linker_arguments(state: Mapping[str, Tensor], old: str, heads: int, threshold: float | None) -> dict[str, Any]:
    """What the linker of a graph is built with, whose keys begin with `old`."""
    entity_dim, dim = bert.of(state, f"{old}bert_to_kg_projector.weight").shape
    if entity_dim % heads:
        raise ValueError(f"{old}* has width {entity_dim}, and {heads} heads do not divide it")
    inner = state.get(f"{old}span_encoder.layer.0.intermediate.dense.weight")
    return {
        "dim": dim,
        "entity_dim": entity_dim,
        "heads": heads,
        "inner": None if inner is None else inner.shape[0],
        "hidden": bert.of(state, f"{old}dot_attention_with_prior.out_layer_1.weight").shape[0],
        "threshold": threshold,
    }


def linker_table(state: Mapping[str, Tensor], old: str, new: str, threshold: float | None) -> Table:
    """The table of a disambiguator, whose keys begin with `old`, and of an `EntityLinker`."""
    table = modules(LINKER, old, new)
    if f"{old}span_encoder.layer.0.intermediate.dense.weight" in state:
        table |= modules(bert.LAYER, f"{old}span_encoder.layer.0.", f"{new}span_encoder.")
    if threshold is not None:
        table[f"{old}dot_attention_with_prior.null_embedding"] = f"{new}null"
    return table


def kar_table(state: Mapping[str, Tensor], old: str, new: str, threshold: float | None) -> Table:
    """The table of a SolderedKG and of a `KnowledgeAttention`."""
    linker = linker_table(state, f"{old}entity_linker.disambiguator.", f"{new}linker.", threshold)
    return linker | modules(KAR, old, new)


def entity_table(state: Mapping[str, Tensor], old: str, new: str) -> Table:
    """The table of the vectors of a graph's entities: plain, or WordNet's with parts of speech."""
    if not _is_wordnet(state, old):
        return {f"{old}entity_embeddings.weight": f"{new}table.weight"}
    names = {"entity_embeddings.weight": "table.weight"} | WORDNET
    return {f"{old}entity_embeddings.{key}": f"{new}{goal}" for key, goal in names.items()}


def entity_encoder(state: Mapping[str, Tensor], old: str) -> dict[str, Any]:
    """The config of the encoder of a graph's entities."""
    if not _is_wordnet(state, old):
        rows, dim = bert.of(state, f"{old}entity_embeddings.weight").shape
        return {"class_path": "kemm.encoders.EntityEncoder", "init_args": {"num_entities": rows, "dim": dim, "frozen": True}}
    inner = f"{old}entity_embeddings."
    rows, raw = bert.of(state, f"{inner}entity_embeddings.weight").shape
    kinds, kind_dim = bert.of(state, f"{inner}pos_embeddings.weight").shape
    dim = bert.of(state, f"{inner}proj_feed_forward.weight").shape[0]
    arguments = {"num_entities": rows, "dim": dim, "raw_dim": raw, "kinds": kinds, "kind_dim": kind_dim}
    return {"class_path": "kemm.encoders.TypedEntityEncoder", "init_args": arguments}


def kar_arguments(state: Mapping[str, Tensor], old: str, name: str, heads: int, threshold: float | None) -> dict[str, Any]:
    """What the KAR of a graph is built with."""
    arguments = linker_arguments(state, f"{old}entity_linker.disambiguator.", heads, threshold)
    inner = bert.of(state, f"{old}span_attention_layer.intermediate.dense.weight").shape[0]
    return arguments | {"span_inner": arguments["inner"], "inner": inner, "entity": name}


def linking(name: str, threshold: float | None, margin: float) -> dict[str, Any]:
    """The config of a graph's linking objective: the softmax model's, or with a threshold the margin model's."""
    if threshold is None:
        return {"class_path": "kemm.objectives.EntityLinking", "init_args": {"entity": name, "strict": False}}
    return {"class_path": "kemm.objectives.MarginEntityLinking", "init_args": {"entity": name, "margin": margin, "threshold": threshold}}


def _is_wordnet(state: Mapping[str, Tensor], old: str) -> bool:
    return f"{old}entity_embeddings.entity_embeddings.weight" in state


def _tied(state: Mapping[str, Tensor]) -> dict[str, str]:
    """The keys that repeat others: the heads and the pooler stand twice, and the decoder is the word table."""
    words = "pretrained_bert.bert.embeddings.word_embeddings.weight"
    tied = {f"{heads}.predictions.decoder.weight": words for heads in ("pretrained_bert.cls", "pretraining_heads")}
    for key in state:
        if key.startswith("pooler."):
            tied[key] = f"pretrained_bert.bert.{key}"
        elif key.startswith("pretraining_heads."):
            tied.setdefault(key, key.replace("pretraining_heads.", "pretrained_bert.cls.", 1))
    return tied
