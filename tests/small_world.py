"""A world of four flags, drawn, with questions that need the picture and a graph of eight facts: all that a report shows."""

import json
from pathlib import Path
from typing import Any

import torch

from kemm.data import DrawnFlags, Mixture, Questions, train_tokenizer
from kemm.encoders import ConvEncoder, EntityEncoder, TextEncoder
from kemm.fusion import FactAttention, Feature, FeatureEntities, FusionPoint, KnowledgeAttention, MentionEntities
from kemm.kg import Entity, Graph, Relation, write_graph
from kemm.model import FusionModel
from kemm.tasks import VQA
from kemm.training import TrainingModule

DIM, ENTITY = 16, 8
COUNTRIES = {"redland": "red", "blueland": "blue", "greenland": "green", "<b>evil</b>": "yellow"}
FLAGS = """\
palette: {red: "#cc0000", blue: "#0000cc", green: "#00aa00", yellow: "#ffdd00", white: "#ffffff"}
parts: {}
flags:
"""


def write(folder: Path) -> None:
    """Writes graph, flags, questions, answers and tokenizer."""
    countries = [Entity(f"country:{i}", name.title(), "country") for i, name in enumerate(COUNTRIES)]
    cities = [Entity(f"city:{i}", f"{name.title()} City", "city") for i, name in enumerate(COUNTRIES)]
    graph = Graph([*countries, *cities], [Relation("capital", "has the capital"), Relation("near", "near")], torch.empty(0, 3).long())
    triples = [(f"country:{i}", "capital", f"city:{i}") for i in range(4)] + [
        (f"country:{i}", "near", f"country:{(i + 1) % 4}") for i in range(4)
    ]
    write_graph(graph.with_triples(graph.indices(triples)), folder / "graph")
    lines = [f"  country:{i}:\n    shapes: [{{horizontal: [{colour}, white]}}]\n" for i, colour in enumerate(COUNTRIES.values())]
    (folder / "flags.yaml").write_text(FLAGS + "".join(lines))
    answers = [{"answer": e.name, "entity": e.id} for e in graph.entities] + [{"answer": a, "entity": None} for a in ("yes", "no")]
    (folder / "answers.json").write_text(json.dumps(answers))
    questions, annotations, mentions = [], [], []
    for number in range(20):
        country, kind = number % 4, ("capital", "country")[number % 2]
        name = graph.entities[country + 4 * (kind == "capital")].name
        text = f"What is the {kind} of this flag, not of Redland? <script>{number}</script>"
        questions.append({"question_id": number, "image_id": 1000 * country + number, "question": text})
        given = [{"answer": name, "answer_confidence": "yes", "answer_id": i} for i in range(10)]
        annotations.append(
            {"question_id": number, "image_id": 1000 * country + number, "answer_type": "other", "kind": kind, "answers": given}
        )
        start = text.index("Redland")
        span = {"start": start, "end": start + 7, "candidates": [["country:0", 0.9], ["city:0", 0.1]], "gold": "country:0"}
        mentions.append(json.dumps({"question_id": number, "mentions": [span]}))
    (folder / "questions.json").write_text(json.dumps({"questions": questions}))
    (folder / "annotations.json").write_text(json.dumps({"annotations": annotations}))
    (folder / "mentions.jsonl").write_text("\n".join(mentions) + "\n")
    train_tokenizer([question["question"] for question in questions], folder / "tokenizer.json", 100)


def module(folder: Path) -> TrainingModule:
    """A network that reads the flag, links the mention, looks one fact up, and answers."""
    torch.manual_seed(0)
    graph: dict[str, Any] = {"graph": folder / "graph"}
    network = FusionModel(
        {
            "text": TextEncoder(100, DIM, 1, 2, max_length=64),
            "image": ConvEncoder([8, DIM]),
            "candidate": EntityEncoder(9, ENTITY),
            "relation": EntityEncoder(5, ENTITY),
        },
        [
            FusionPoint(
                {"text": 1, "candidate": 0},
                KnowledgeAttention(DIM, ENTITY, heads=2, inner=16, hidden=8, entity="candidate"),
            ),
            FusionPoint({"image": 0}, Feature("image", "image_feature", DIM)),
            FusionPoint({"image": 0}, FeatureEntities("image_feature", "shown", DIM, ENTITY, kind="country", entity="candidate", **graph)),
            FusionPoint({"text": 1}, Feature("text", "pooled", DIM)),
            FusionPoint({"text": 1}, MentionEntities("mentioned", DIM)),
            FusionPoint(
                {"text": 1}, FactAttention("found", ["shown", "mentioned"], "pooled", DIM, ENTITY, k=6, entity="candidate", **graph)
            ),
        ],
    )
    return TrainingModule(network, {"vqa": VQA(DIM, folder / "answers.json", points=["shown", "found"], hidden=8, **graph)})


def mixture(folder: Path, batch_size: int = 5) -> Mixture:
    """The questions as training, validation and test."""
    questions = Questions(
        folder / "questions.json",
        folder / "annotations.json",
        folder / "answers.json",
        folder / "tokenizer.json",
        DrawnFlags(folder / "flags.yaml", size=16, height=16),
        folder / "mentions.jsonl",
        folder / "graph",
        max_length=64,
    )
    return Mixture({"train": questions}, {"tune": questions}, {"seen": questions}, batch_size=batch_size, steps_per_epoch=2)
