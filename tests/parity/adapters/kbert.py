"""Cases of K-BERT (autoliuweijie/K-BERT)."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kemm.convert.kbert import kbert
from kemm.data.injection import Word, inject, padded, read_branches
from kemm.objectives import Classification
from tests.parity.cases import Answer, Case, build, gradients


def classifier(case: Case) -> Answer:
    config, inputs = case.config, case.inputs
    converted = kbert(case.weights, config["heads_num"], config["pooling"])
    learner = build(case, converted)
    mask = inputs["mask"] > 0 if config["no_vm"] else inputs["vm"].bool()
    batch = {
        "text": {"ids": inputs["src"], "mask": mask, "types": inputs["mask"], "positions": inputs["pos"]},
        "label": inputs["label"].flatten(),
    }
    with learner.network.trace() as record:
        loss, _ = learner(batch)
        streams = learner.network(batch)
    objective = learner.objectives["classification"]
    assert isinstance(objective, Classification)
    outputs = {"embedding_output": record["text.0"], "logits": objective.logits(streams), "loss": loss}
    outputs |= {f"layer_{i}": record[f"text.{i + 1}"] for i in range(config["layers_num"])}
    loss.backward()
    return Answer(outputs, gradients(case, learner, converted.report))


ADAPTERS = {"autoliuweijie/K-BERT run_kbert_cls.py (BertClassifier), uer/encoders/bert_encoder.py, uer/layers/* BertClassifier": classifier}


def injection(case: Case) -> Iterator[tuple[str, Any, Any]]:
    """Letters are tokens here, special ones apart, and ids are their code points."""
    ids = {token: -i for i, token in enumerate(("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", "[ENT]", "[SUB]", "[PRE]", "[OBJ]"))}

    def tokens(word: str) -> list[int]:
        return [ids[word]] if word in ids else [ord(letter) for letter in word]

    def names(row: list[int]) -> list[str]:
        known = {number: token for token, number in ids.items()}
        return [known[number] if number in known else chr(number) for number in row]

    for i, one in enumerate(case.info["cases"]):
        branches = {word: [tokens(branch) for branch in listed[: one["max_entities"]]] for word, listed in one["lookup"].items()}
        part = inject([Word(tokens(word), branches.get(word, ())) for word in one["split_sentence"]], one["max_length"])
        batch = padded([part], ids["[PAD]"], one["max_length"])
        own = {
            "tokens": names(batch["ids"][0].tolist()),
            "positions": batch["positions"][0].tolist(),
            "segments": part.injected.int().tolist() + [0] * (one["max_length"] - len(part.ids)),
            "visible_matrix": ["".join(str(int(seen)) for seen in row) for row in batch["mask"][0]],
        }
        yield f"cases[{i}]", own, {name: one[name] for name in own}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "triples.spo"
        path.write_text(case.info["spo_text"], encoding="utf-8")
        for flag, expected in case.info["lookup_by_predicate_flag"].items():
            yield f"lookup {flag}", read_branches(path, flag == "True", on_bad="skip"), expected


COMPARISONS = {"kbert_injection": injection}
