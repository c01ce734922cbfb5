"""Cases of ERNIE's data: files as model inputs, and the corruption of a batch's entities (thunlp/ERNIE)."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor

from kemm.batch import IGNORE
from kemm.data import MarkedRelatedMentions, MarkedTypedMentions
from kemm.data.pretraining_rows import pretraining_batch
from kemm.kg import Entity, Graph, Relation, write_graph
from kemm.nn import TapedDraws
from kemm.objectives import EntityDenoising
from tests.parity.cases import Case

KINDS = {"typing": MarkedTypedMentions, "tacred": MarkedRelatedMentions, "fewrel": MarkedRelatedMentions}


def features(case: Case) -> Iterator[tuple[str, Any, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tokenizer(case.info["vocab"], folder / "tokenizer.json")
        known: dict[str, int] = case.info["entity2id"]
        entities = [Entity(entity, entity, "thing") for entity in known]
        write_graph(Graph(entities, [Relation("is", "is", "is_of")], torch.tensor([[0, 0, 1]])), folder)
        number = torch.tensor([-1, *known.values()])
        for kind, cases in case.info["cases"].items():
            for i, given in enumerate(cases):
                line, longest = given["line"], given["max_seq_length"]
                (folder / "rows.json").write_text(json.dumps([line]))
                label = "labels" if kind == "typing" else "label"
                (folder / "train.json").write_text(json.dumps([{label: [x] if kind == "typing" else x} for x in given["label_list"]]))
                paths = (folder / "rows.json", folder / "train.json", folder / "tokenizer.json", folder)
                source = KINDS[kind](*paths, max_length=longest, confidence=given["threshold"])
                batch = source.batch([0], 0)
                text, entity = batch["text"], batch["entity"]
                own = {
                    "input_ids": padded(text["ids"], longest),
                    "input_mask": padded(text["mask"], longest),
                    "segment_ids": [0] * longest,
                    "input_ent": padded(number[entity["ids"]], longest, -1),
                    "ent_mask": padded(entity["mask"], longest),
                    "tokens": [source.reader.tokenizer.id_to_token(token) for token in text["ids"][0].tolist()],
                }
                if "skipped" in given["expected"]:  # the original leaves out a text whose mention was cut off
                    own["skipped"] = not batch["places"].any()
                if kind == "typing":  # the original keeps the given order of the labels
                    types = dict(zip(source.labels.names, batch["types"][0].tolist(), strict=True))
                    own["labels"] = [types[x] for x in given["label_list"]]
                else:
                    own["label_id"] = int(batch["label"])
                yield f"{kind}[{i}]", own, given["expected"]


def write_tokenizer(vocabulary: list[str], path: Path) -> None:
    ids = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [(token, ids[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    tokenizer.save(str(path))


def padded(row: Tensor, length: int, value: int = 0) -> list[int]:
    (values,) = row.long().tolist()
    return values + [value] * (length - len(values))


def collate(case: Case) -> Iterator[tuple[str, Any, Any]]:
    for i, given in enumerate(case.info["cases"]):
        batch = pretraining_batch(torch.tensor(given["rows"]))
        ids = batch["entity"]["ids"]
        hidden = EntityDenoising(1, 1).corrupt(batch, {}, TapedDraws(tape(given["draws"], ids)))["entity"]
        text = batch["text"]
        own = {
            "input_ids": text["ids"],
            "input_mask": text["mask"].long(),
            "segment_ids": text["types"],
            "masked_lm_labels": text["labels"].masked_fill(text["labels"] == IGNORE, -1),
            "input_ent_ids": hidden["ids"] - 1,
            "ent_mask": hidden["mask"].long(),
            "next_sentence_label": batch["next_sentence"][:, None],
            "candidate_ids": hidden["candidates"] - 1,
            "ent_labels": hidden["labels"].masked_fill(hidden["labels"] == IGNORE, -1),
        }
        yield f"cases[{i}]", {name: tensor.tolist() for name, tensor in own.items()}, given["expected"]


def tape(draws: list[list[Any]], ids: Tensor) -> list[Tensor]:
    """The recorded numbers, one for each aligned place in the order of the rows, as kemm draws them.

    The original draws an entity from place 1 of the candidates on, where place 0 is usually "none".
    """
    chance, other = torch.ones(ids.shape), torch.zeros_like(ids)
    places = iter((ids > 0).nonzero().tolist())
    row, column = 0, 0
    for kind, *numbers in draws:
        if kind == "uniform":
            row, column = next(places)
            chance[row, column] = numbers[0]
        else:
            other[row, column] = numbers[-1] - int((ids == 0).any())
    return [chance, other]


COMPARISONS = {"ernie_input_features": features, "ernie_pretrain_collate": collate}
