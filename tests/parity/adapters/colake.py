"""Cases of CoLAKE (txsun1997/CoLAKE)."""

import random
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import torch
from torch import Tensor

from kemm.batch import IGNORE, Batch
from kemm.convert.colake import colake
from kemm.data.word_graph import WordGraph, blocks, build_graph, collate
from kemm.nn import TapedDraws
from kemm.objectives import Classification, MaskedEntity, MaskedLM, NodeMasking
from kemm.objectives.nodes import ENTITY, LABELS, WORD
from tests.parity.cases import Answer, Case, build, gradients

KINDS = {"masked_lm_labels": "labels", "ent_masked_lm_labels": "entity_labels", "rel_masked_lm_labels": "relation_labels"}


def parts(inputs: dict[str, Tensor]) -> list[slice]:
    """The places of words, entities and relations, alike in all rows."""
    words, entities = int(inputs["n_word_nodes"][0]), int(inputs["n_entity_nodes"][0])
    return [slice(0, words), slice(words, words + entities), slice(words + entities, inputs["input_ids"].shape[1])]


def graph_of(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    ids = inputs["input_ids"]
    kinds = torch.zeros_like(ids)
    for kind, places in enumerate(parts(inputs)):
        kinds[:, places] = kind
    mask = inputs["attention_mask"].bool()
    return {"ids": ids, "kinds": kinds, "types": inputs["token_type_ids"], "positions": inputs["position_ids"], "mask": mask}


def pretraining(case: Case) -> Answer:
    inputs = case.inputs
    converted = colake(case.weights, case.config["num_attention_heads"])
    learner = build(case, converted)
    graph, places = graph_of(inputs), parts(inputs)
    for part, (old, new) in zip(places, KINDS.items(), strict=True):
        graph[new] = torch.full_like(graph["ids"], IGNORE)
        graph[new][:, part] = inputs[old].masked_fill(inputs[old] == -1, IGNORE)
    batch: Batch = {"text": graph | {"candidates": inputs["ent_index"][0]}}
    with learner.network.trace() as record:
        loss, _ = learner(batch)
        x = learner.network(batch)["text"].x
    words, entities, relations = (learner.objectives[name] for name in ("masked_lm", "masked_entity", "masked_relation"))
    assert isinstance(words, MaskedLM) and isinstance(entities, MaskedEntity) and isinstance(relations, MaskedLM)
    logits = {
        "lm_head.logits": words.logits(x[:, places[0]], learner.network),
        "ent_lm_head.logits": entities.logits(x[:, places[1]], inputs["ent_index"][0], learner.network),
        "rel_lm_head.logits": relations.logits(x[:, places[2]], learner.network),
    }
    best = dict(zip(("word_pred", "entity_pred", "relation_pred"), (scores.argmax(-1) for scores in logits.values()), strict=True))
    outputs = {"embedding_output": record["text.0"], "sequence_output": x, "loss": loss} | logits | best
    loss.backward()
    return Answer(outputs, gradients(case, learner, converted.report))


def fine_tuning(case: Case) -> Answer:
    converted = colake(case.weights, case.config["num_attention_heads"])
    learner = build(case, converted)
    ((name, objective),) = learner.objectives.items()
    assert isinstance(objective, Classification)
    batch: Batch = {"text": graph_of(case.inputs), objective.labels: case.inputs["target"]}
    with learner.network.trace() as record:
        loss, _ = learner(batch)
        streams = learner.network(batch)
    logits = objective.logits(streams)
    predicted = logits if name == "typing" else logits.argmax(-1)
    outputs = {
        "embedding_output": record["text.0"],
        "sequence_output": streams["text"].x,
        "logits": logits,
        "loss": loss,
        "pred": predicted,
    }
    loss.backward()
    return Answer(outputs, gradients(case, learner, converted.report))


ADAPTERS = {
    "txsun1997/CoLAKE pretrain/model.py CoLAKE": pretraining,
    "txsun1997/CoLAKE finetune/model.py CoLAKEForRE": fine_tuning,
    "txsun1997/CoLAKE finetune/model.py CoLAKEForTyping": fine_tuning,
}


def graphs(case: Case) -> Iterator[tuple[str, Any, Any]]:
    for i, one in enumerate(case.info["graphs"]):
        yield f"graphs[{i}]", built(one), one["expected"]
    for i, one in enumerate(case.info["mlm"]):
        yield f"mlm[{i}]", hidden(one), {name: one[name] for name in ("output", "labels")}


def built(one: dict[str, Any]) -> list[dict[str, Any]]:
    """A document's graphs: its text in sentences, mentions between marks; chance and shuffling as the case says."""
    content, *mapped = one["doc"].split("[_end_]")
    titles, known, ids = one["entity_titles"], {}, one["token_ids"]
    for name, _, title in (entry.partition("[_map_]") for entry in mapped):
        if title in titles or title.lower() in titles:
            known[name] = titles[title] if title in titles else titles[title.lower()]
    draws = cycle(one["uniform_draws_cycled"])
    edges = {head: [tuple(edge) for edge in listed] for head, listed in one["head_cluster"].items()}

    def facts(entity: str) -> list[tuple[str, str]]:
        if entity not in edges or next(draws) <= 0.5:
            return []
        edges[entity].reverse()
        return edges[entity][: one["max_neighbors"]]

    found = []
    sentences = content.split("|")
    for block in blocks([len(sentence.split()) for sentence in sentences], 6):
        segments = [part.strip() for part in " ".join(sentences[i] for i in block).split("sepsepsep")]
        tokens = [([ids.get(word) for word in part.split()], known.get(part)) for part in segments if part]
        graph = build_graph(tokens, facts, [0], [2], longest=5)
        if graph.entities:
            found.append(shown(graph))
    return found


def shown(graph: WordGraph[Any]) -> dict[str, Any]:
    kinds = [0] * len(graph.words) + [1] * len(graph.entities) + [2] * len(graph.relations)
    return {
        "n_word_nodes": len(graph.words),
        "nodes": [*graph.words, *graph.entities, *graph.relations],
        "soft_position": graph.positions,
        "adj": graph.visible.int().tolist(),
        "token_type_ids": kinds,
    }


def hidden(one: dict[str, Any]) -> dict[str, Any]:
    """One kind's nodes with some hidden; the numbers are those that the original draws, in its order, from the generator that it seeds
    anew for each list."""
    tokens, anchors, size = one["tokens"], one["anchor_nodes"], one["vocab_size"]
    kind, special = (WORD, (0, 1, 2, 3)) if one["mask_index"] == 50264 else (ENTITY, (0, 1))
    draw = random.Random(2020)
    order = [i for i, token in enumerate(tokens) if token not in special]
    draw.shuffle(order)
    number = min(15, max(1, round(len(tokens) * 0.15)))
    length = len(tokens) + (kind == ENTITY)  # entities beside a word that those of the text see
    tape = [torch.zeros(1, length, dtype=torch.double) for _ in range(3)] + [torch.zeros(1, length, dtype=torch.long)]
    for rank, i in enumerate(order):
        tape[0][0, i] = rank / length
        if rank < number or tokens[i] in (anchors or ()):
            tape[1][0, i] = draw.random()
            if tape[1][0, i] >= 0.8:
                # The original's first half keeps a chosen node, and hides one that is known.
                place = draw.random()
                tape[2][0, i] = place
                if place >= 0.5:
                    tape[3][0, i] = draw.randint(0, size - 1)
    graph = {
        "ids": torch.tensor([tokens + [5] * (kind == ENTITY)]),
        "kinds": torch.tensor([[kind] * len(tokens) + [WORD] * (kind == ENTITY)]),
        "mask": torch.eye(length, dtype=torch.bool)[None].clone(),
    }
    if kind == ENTITY:
        graph["mask"][0, :-1, -1] = torch.tensor([token in (anchors or ()) for token in tokens])
    batch = NodeMasking(kind, one["mask_index"], size, special)({"text": graph}, TapedDraws(tape))["text"]
    labels = batch[LABELS[kind]][0, : len(tokens)]
    return {"output": batch["ids"][0, : len(tokens)].tolist(), "labels": labels.masked_fill(labels == IGNORE, -1).tolist()}


def collation(case: Case) -> Iterator[tuple[str, Any, Any]]:
    instances, expected = case.info["instances"], case.info["batch"]
    made = []
    for one in instances:
        words, entities = one["n_word_nodes"], one["n_word_nodes"] + one["n_entity_nodes"]
        ids = one["input_ids"]
        visible = torch.tensor(one["attention_mask"]).bool()
        made.append(WordGraph(ids[:words], ids[words:entities], ids[entities:], one["position_ids"], visible, []))
    batch, moved = collate(made, (1, 1, 1))
    sizes = [(batch["kinds"] == kind).sum(1).tolist() for kind in range(3)]
    kinds = torch.zeros_like(batch["kinds"])
    for row, where in enumerate(moved):
        kinds[row, where] = batch["kinds"][row, where]
    names = {"input_ids": batch["ids"], "position_ids": batch["positions"], "attention_mask": batch["mask"].int(), "token_type_ids": kinds}
    own = {name: tensor.tolist() for name, tensor in names.items()} | {"n_word_nodes": sizes[0], "n_entity_nodes": sizes[1]}
    yield "batch", own, {name: expected[name] for name in own}
    golds = [[label if label >= 0 else IGNORE for label in one["ent_masked_lm_labels"]] for one in instances]
    yield "entity_labels", *candidates(case, batch["ids"], moved, golds)


def candidates(case: Case, ids: Tensor, moved: list[list[int]], golds: list[list[int]]) -> tuple[list[list[int]], list[list[int]]]:
    """The true entity of each hidden one, by kemm's candidates, and by the original's."""
    labels = torch.full_like(ids, IGNORE)
    for row, (where, gold) in enumerate(zip(moved, golds, strict=True)):
        words = case.info["instances"][row]["n_word_nodes"]
        labels[row, where[words : words + len(gold)]] = torch.tensor(gold)

    class Given(NodeMasking):
        def __call__(self, batch: Batch, draws: Any) -> Batch:
            return {"text": {"ids": ids, "entity_labels": labels}}

    objective = MaskedEntity(4, Given(ENTITY, 2, case.config["num_ent"]), negatives=case.info["k_negative_samples"])
    graph = objective.corrupt({"text": {}}, {}, TapedDraws([torch.rand(len(ids), case.info["k_negative_samples"])]))["text"]
    own = [[graph["candidates"][i].item() for i in row[row != IGNORE]] for row in graph["entity_labels"]]
    index, places = case.info["batch"]["ent_index"][0], case.info["batch"]["ent_masked_lm_labels"]
    return own, [[index[place] for place in row if place >= 0] for row in places]


COMPARISONS = {"colake_graph": graphs, "colake_collate": collation}
