"""Facts as texts with gaps: candidates of several tokens, the filter, bad rows; and their ranks against loops."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kemm.batch import IGNORE
from kemm.data import ClozeFacts, train_tokenizer
from kemm.encoders import TextEncoder
from kemm.learner import Learner
from kemm.model import FusionModel
from kemm.objectives import TokenMasking
from kemm.tasks import Cloze
from kemm.tasks.cloze import ranked

FACTS = {
    "made_by": [("Apple Watch", "Apple"), ("Walkman", "Sony"), ("Corolla", "Toyota Motor"), ("Walkman", "Sony")],
    "lies_in": [("Rome", "Italy"), ("Lima", "Peru")],
}
TEMPLATES = {"made_by": "[X] is made by [Y] .", "lies_in": "It is [Y] where [X] lies ."}


def write(folder: Path, facts: dict[str, list[tuple[str, str]]] = FACTS) -> dict[str, Any]:
    (folder / "facts").mkdir(exist_ok=True)
    for relation, listed in facts.items():
        lines = [json.dumps({"sub_label": subject, "obj_label": object_, "uuid": "x"}) for subject, object_ in listed]
        (folder / "facts" / f"{relation}.jsonl").write_text("\n".join(lines))
    lines = [json.dumps({"relation": relation, "template": template}) for relation, template in {**TEMPLATES, "none": "[X] [Y]"}.items()]
    (folder / "relations.jsonl").write_text("\n".join(lines))
    words = [text for listed in FACTS.values() for pair in listed for text in pair]
    train_tokenizer([*words, *TEMPLATES.values()] * 3, folder / "tokenizer.json", 400)
    return {"folder": folder / "facts", "relations": folder / "relations.jsonl", "tokenizer": folder / "tokenizer.json"}


def test_a_fact_has_a_text_for_each_length_of_its_candidates(tmp_path: Path) -> None:
    source = ClozeFacts(**write(tmp_path))
    assert len(source) == 5, "one was given twice"
    batch = source.batch([2, 3], -1)
    texts = [source.reader.tokenizer.decode(ids.tolist(), skip_special_tokens=False) for ids in batch["text"]["ids"]]
    shown = [text.removeprefix("[CLS] ").split(" [SEP]")[0] for text in texts]
    assert shown == ["corolla is made by [MASK].", "corolla is made by [MASK] [MASK].", "it is [MASK] where rome lies."]
    assert [text["objects"] for text in batch["cloze"]] == [["Apple", "Sony"], ["Toyota Motor"], ["Italy", "Peru"]]
    for text, ids, labels in zip(batch["cloze"], batch["text"]["ids"], batch["text"]["labels"], strict=True):
        assert (ids == source.mask_id).nonzero()[:, 0].tolist() == text["places"]
        for name, tokens in zip(text["objects"], text["candidates"], strict=True):
            assert source.reader.tokenizer.decode(tokens) == name.lower()
        right = dict(zip(text["objects"], text["candidates"], strict=True)).get(text["answer"], [IGNORE] * len(text["places"]))
        assert labels[text["places"]].tolist() == right and int((labels != IGNORE).sum()) == sum(token != IGNORE for token in right)
    assert len(set(batch["id"].tolist())) == 3


def test_helpful_names_are_left_out_and_their_objects_stay_candidates(tmp_path: Path) -> None:
    source = ClozeFacts(**write(tmp_path), helped=False)
    assert [fact.subject for fact in source.facts] == ["Walkman", "Corolla", "Rome", "Lima"]
    assert "Apple" in source.objects["made_by"]


@torch.no_grad()
def test_ranks_are_those_of_the_mean_log_probability(tmp_path: Path) -> None:
    source = ClozeFacts(**write(tmp_path))
    torch.manual_seed(0)
    size = source.reader.vocab_size
    network = FusionModel({"text": TextEncoder(size, 8, 2, 2, 16, 32)}, [])
    task = Cloze(8, size, TokenMasking(source.mask_id, size))
    learner = Learner(network, {"cloze": task}).double().eval()
    for parameter in learner.parameters():
        parameter.add_(0.5 * torch.randn_like(parameter))
    batch = source.batch(range(5), -1)
    assert torch.isfinite(learner(batch)[0])
    rows = task.predict(network(batch), batch, network)
    assert [row["id"] for row in rows] == list(range(5))
    for row, fact in zip(rows, source.facts, strict=True):
        scores = {}
        for name, tokens in source.objects[fact.relation].items():
            text = TEMPLATES[fact.relation].replace("[X]", fact.subject).replace("[Y]", " ".join(["[MASK]"] * len(tokens)))
            read = source.reader([text])
            x = network({"text": {"ids": read.ids, "mask": read.mask}})["text"].x[0]
            places = [place for place, one in enumerate(read.ids[0].tolist()) if one == source.mask_id]
            likely = [float(task.logits(x[place], network).log_softmax(-1)[token]) for place, token in zip(places, tokens, strict=True)]
            scores[name] = sum(likely) / len(likely)
        order = sorted(scores, key=lambda name: -scores[name])
        assert row["object"] == order[0] and row["hit"] == (order[0] == fact.object)
        assert row["reciprocal_rank"] == 1 / (1 + order.index(fact.object))
        assert row["score"] == pytest.approx(scores[fact.object], abs=1e-9)
    assert task.predict(network(batch), {"text": batch["text"]}, network) == [] and task.evaluate([]) == {}


def test_relations_count_alike() -> None:
    rows = [{"id": i, **ranked({"a": -1.0, "b": -2.0, "c": -3.0}, answer)} for i, answer in enumerate("abca")]
    scores = Cloze(4, 9).evaluate([{**row, "relation": "many" if row["id"] < 3 else "one"} for row in rows])
    estimates = {name: value if isinstance(value, float) else value.estimate for name, value in scores.items()}
    expected = {"P@1": 2 / 3, "P@1/many": 1 / 3, "P@1/one": 1, "P@10": 1, "mrr": (1 + (1 + 1 / 2 + 1 / 3) / 3) / 2, "facts": 4}
    assert estimates == pytest.approx(expected)


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("relations.jsonl", {"relation": "x", "template": "[X] only"}, r"expected one \[X\] and one \[Y\]"),
        ("relations.jsonl", {"relation": "made_by", "template": "[X] [Y]"}, "has a template already"),
        ("facts/lies_in.jsonl", {"sub_label": "Oslo"}, "'obj_label' is missing"),
        ("facts/lies_in.jsonl", {"sub_label": "a [MASK]", "obj_label": "Peru"}, "has 2 masks in 128 tokens, expected 1"),
        ("facts/made_by.jsonl", {"sub_label": "Rome " * 200, "obj_label": "Sony"}, "has 0 masks in 128 tokens, expected 2"),
    ],
)
def test_bad_rows(tmp_path: Path, file: str, line: dict[str, str], message: str) -> None:
    given = write(tmp_path)
    path = tmp_path / file
    path.write_text(path.read_text() + "\n" + json.dumps(line))
    with pytest.raises(ValueError, match=message):
        ClozeFacts(**given)
    assert sum(ClozeFacts(**given, on_bad="skip").skipped.values()) == 1


def test_nothing_left(tmp_path: Path) -> None:
    given = write(tmp_path)
    with pytest.raises(ValueError, match=r"expected facts of .*and none is left"):
        ClozeFacts(tmp_path, given["relations"], given["tokenizer"])
