"""Latent retrieval against loops over texts and passages, and the retriever's gradient against finite differences."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from kemm.batch import IGNORE, Batch
from kemm.data import train_tokenizer
from kemm.encoders import TextEncoder
from kemm.fusion import Feature, FusionPoint
from kemm.kg import Passages, passage_key, write_passages
from kemm.learner import Learner
from kemm.model import FusionModel
from kemm.objectives import LatentRetrieval, TokenMasking

DIM, WORDS, FEATURE, PASSAGES = 8, 30, 5, 7
CLS = 2


def mask(lengths: list[int], size: int) -> Tensor:
    return torch.arange(size) < torch.tensor(lengths)[:, None]


def passages() -> dict[str, Tensor]:
    real = mask([5, 3, 4, 5, 2, 5, 4], 5)
    ids = torch.randint(5, WORDS, (PASSAGES, 5), generator=torch.Generator().manual_seed(3)) * real
    ids[:, 0] = CLS
    return {"ids": ids, "mask": real}


def texts() -> Batch:
    real = mask([6, 4, 3], 6)
    ids = torch.randint(5, WORDS, (3, 6), generator=torch.Generator().manual_seed(4)) * real
    ids[:, 0] = CLS
    labels = torch.full_like(ids, IGNORE)
    labels[0, 1], labels[0, 4], labels[1, 2] = 9, 11, 7
    return {"id": torch.arange(3), "text": {"ids": ids, "mask": real, "labels": labels}}


def learner(k: int = 3, types: int = 2, masking: TokenMasking | None = None, max_length: int = 16) -> Learner:
    torch.manual_seed(0)
    network = FusionModel(
        {"text": TextEncoder(WORDS, DIM, 2, 2, 16, max_length, types, dropout=0.1)},
        [FusionPoint({"text": "top"}, Feature("text", "text_feature", DIM, FEATURE))],
    )
    objective = LatentRetrieval(DIM, WORDS, passages(), FEATURE, k, masking)  # type: ignore[arg-type]
    made = Learner(network, {"it": objective}).double().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


def run(made: Learner, ids: list[int], types: list[int]) -> tuple[Tensor, Tensor]:
    """The states (T, D) and the feature (E,) of one text without padding."""
    text = {"ids": torch.tensor([ids]), "mask": torch.ones(1, len(ids), dtype=torch.bool), "types": torch.tensor([types])}
    streams = made.network({"text": text})
    return streams["text"].x[0], streams["text_feature"].x[0, 0]


def by_hand(made: Learner, batch: Batch, k: int, second: int = 1) -> tuple[float, float, int]:
    """-log p(y|x) summed over the texts with hidden words, the mass on the null document, and the words that are found."""
    objective: Any = made.objectives["it"]
    given, known = batch["text"], passages()
    loss, null, hits = 0.0, 0.0, 0
    for b in range(len(given["ids"])):
        x = given["ids"][b][given["mask"][b]].tolist()
        answers = {t: int(y) for t, y in enumerate(given["labels"][b].tolist()) if y != IGNORE}
        if not answers:
            continue
        clean, query = run(made, x, [0] * len(x))
        scores = {}
        for z in range(PASSAGES):
            ids = known["ids"][z][known["mask"][z]].tolist()
            scores[z] = float(query @ run(made, ids, [0] * len(ids))[1])
        own = int(batch["passage"][b]) if "passage" in batch else -1
        found = sorted((z for z in scores if z != own), key=lambda z: -scores[z])[:k]
        total = sum(math.exp(scores[z]) for z in found) + math.exp(float(objective.null))
        documents = [(math.exp(float(objective.null)) / total, clean)]
        for z in found:
            body = known["ids"][z][known["mask"][z]].tolist()[1:]
            states, _ = run(made, x + body, [0] * len(x) + [second] * len(body))
            documents.append((math.exp(scores[z]) / total, states))
        words = [[objective.logits(states[t], made.network).softmax(-1) for t in answers] for _, states in documents]
        likelihood = sum(
            p * math.prod(float(word[y]) for word, y in zip(each, answers.values(), strict=True))
            for (p, _), each in zip(documents, words, strict=True)
        )
        loss -= math.log(likelihood)
        null += documents[0][0]
        for i, y in enumerate(answers.values()):
            mixed = sum(p * each[i] for (p, _), each in zip(documents, words, strict=True))
            hits += int(torch.as_tensor(mixed).argmax()) == y
    return loss, null, hits


@pytest.mark.parametrize("own", [None, [1, -1, 2], [0, 3, 6]])
@pytest.mark.parametrize(("k", "types"), [(1, 2), (3, 2), (3, 1), (PASSAGES, 2), (20, 2)])
def test_is_the_marginal_likelihood(k: int, types: int, own: list[int] | None) -> None:
    made, batch = learner(k, types), texts()
    if own is not None:
        batch["passage"] = torch.tensor(own)
    with torch.no_grad():
        losses = made(batch)[1]["it"]
        loss, null, hits = by_hand(made, batch, k, types - 1)
    assert float(losses["loss"][0]) == pytest.approx(loss, rel=1e-9)
    assert float(losses["loss"][1]) == 2, "the third text hides nothing"
    assert float(losses["null"][0]) == pytest.approx(null, rel=1e-9) and float(losses["null"][1]) == 2
    assert (float(losses["accuracy"][0]), float(losses["accuracy"][1])) == (hits, 3)


def test_the_own_passage_is_never_read() -> None:
    made, batch = learner(2), texts()
    objective: Any = made.objectives["it"]
    query = made.network(batch)["text_feature"].x[:, 0]
    first, _ = objective.retrieve(query, batch, made.network)
    rows, counts = objective.retrieve(query, batch | {"passage": first[:, 0]}, made.network)
    assert counts.all() and not (rows == first[:, :1]).any()
    assert rows[:, 0].tolist() == first[:, 1].tolist()
    objective.k = PASSAGES
    rows, counts = objective.retrieve(query, batch | {"passage": first[:, 0]}, made.network)
    assert counts.sum(1).tolist() == [PASSAGES - 1] * 3 and not (rows == first[:, :1])[counts].any()


def test_the_gradient_is_the_finite_difference() -> None:
    made, batch = learner(3), texts() | {"passage": torch.tensor([1, -1, 2])}
    made(batch)[0].backward()
    objective: Any = made.objectives["it"]
    table: Any = made.network.encoder("text").embed.words.weight
    checked = [made.network.fusions[0].project.weight, objective.null, objective.transform.dense.weight, objective.bias, table]
    for parameter in checked:
        found = parameter.grad.flatten()
        for place in found.abs().topk(min(4, found.numel())).indices.tolist():
            with torch.no_grad():
                values = []
                for step in (1e-6, -2e-6):
                    parameter.view(-1)[place] += step
                    values.append(float(made(batch)[0]))
                parameter.view(-1)[place] += 1e-6
            assert float(found[place]) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4, abs=1e-8)
    assert made.network.fusions[0].project.weight.grad.abs().max() > 1e-6, "the retriever learns"


def test_the_snapshot_chooses_until_it_is_refreshed() -> None:
    made, batch = learner(2), texts()
    made(batch)
    objective: Any = made.objectives["it"]
    before = objective.snapshot.clone()
    with torch.no_grad():
        made.network.fusions[0].project.weight.neg_()
    query = made.network(batch)["text_feature"].x[:, 0].detach()
    stale, _ = objective.retrieve(query, batch, made.network)
    assert torch.equal(objective.snapshot, before)
    assert stale.tolist() == (query @ before.T).topk(2).indices.tolist()
    made.train()
    made.refresh_memories()
    assert not torch.equal(objective.snapshot, before)
    assert all(module.training for module in made.modules())
    made.eval()
    keys = torch.cat([objective.features(torch.tensor([row]), made.network) for row in range(PASSAGES)])
    torch.testing.assert_close(objective.snapshot, keys.detach())
    fresh, _ = objective.retrieve(query, batch, made.network)
    assert fresh.tolist() == (query @ keys.T).topk(2).indices.tolist() != stale.tolist()


def test_is_learned() -> None:
    """Each text is a passage with its last word hidden."""
    torch.manual_seed(0)
    ids = torch.stack([torch.tensor([CLS, 5 + i, 20 + torch.randint(8, (1,)).item()]) for i in range(12)])
    network = FusionModel(
        {"text": TextEncoder(WORDS, 32, 2, 4, 64, 8, dropout=0.0)},
        [FusionPoint({"text": "top"}, Feature("text", "text_feature", 32, 16))],
    )
    known: Any = {"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)}
    made = Learner(network, {"it": LatentRetrieval(32, WORDS, known, 16, 4)})
    text = ids.clone()
    text[:, 2] = 4
    labels = torch.where(text == 4, ids, IGNORE)
    batch = {"id": torch.arange(12), "text": {"ids": text, "mask": torch.ones_like(ids, dtype=torch.bool), "labels": labels}}
    optimizer = torch.optim.Adam(made.parameters(), 2e-3)
    course = []
    for step in range(60):
        if step % 10 == 0:
            made.refresh_memories()
        loss, _ = made(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        course.append(float(loss.detach()))
    assert course[0] > 3 and course[-1] < 1.2


def test_hides_by_itself() -> None:
    masked = learner(masking=TokenMasking(4, WORDS, (0, CLS), 0.5))
    losses = masked({"id": torch.arange(3), "text": {k: v for k, v in texts()["text"].items() if k != "labels"}})[1]["it"]
    assert float(losses["accuracy"][1]) > 0


def test_a_passage_is_cut_where_the_encoder_ends() -> None:
    """What is longer than the encoder reads loses the end of its passage, and nothing else."""
    long, short = learner(PASSAGES), learner(PASSAGES, max_length=8)
    rows = torch.arange(PASSAGES).expand(3, -1)
    objective: Any = long.objectives["it"]
    whole, cut = (objective.join(texts()["text"], rows, made.network) for made in (long, short))
    lengths = whole["mask"].sum(1)
    assert lengths.max() == 10 and cut["ids"].shape == (3 * PASSAGES, 8)
    assert torch.equal(cut["mask"].sum(1), lengths.clamp(max=8))
    for name in ("ids", "mask", "types"):
        assert torch.equal(cut[name], whole[name][:, :8])
    assert math.isfinite(float(short(texts())[0].detach()))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"ids": torch.zeros(2, 3)}, r"expected tensors 'ids' and 'mask', found \['ids'\]"),
        (
            {"ids": torch.zeros(2, 3), "mask": torch.zeros(2, 4)},
            r"'ids' is \(2, 3\) and 'mask' \(2, 4\), expected both \(passages, tokens\)",
        ),
        ({"ids": torch.zeros(0, 3), "mask": torch.zeros(0, 3)}, r"expected both \(passages, tokens\)"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, tensors: dict[str, Tensor], message: str) -> None:
    path = tmp_path / "passages.safetensors"
    save_file(tensors, path)
    with pytest.raises(ValueError, match=message) as raised:
        Passages(path)
    assert str(path) in str(raised.value)


NAMES = [f"p-{i}" for i in range(PASSAGES)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("words") / "tokenizer.json"
    train_tokenizer(["one river", "two rivers"], path, WORDS)
    return path.read_text()


def write(path: Path, **known: object) -> Path:
    metadata = {"passages": json.dumps(known)} if known else {}
    save_file({"ids": passages()["ids"].int(), "mask": passages()["mask"].to(torch.uint8)}, path, metadata)
    return path


def test_a_file_is_read(tmp_path: Path, tokenizer: str) -> None:
    path = tmp_path / "passages.safetensors"
    write_passages(path, passages()["ids"], passages()["mask"], NAMES, tokenizer)
    objective = LatentRetrieval(DIM, WORDS, path, FEATURE)
    assert torch.equal(objective.passage_ids, passages()["ids"]) and torch.equal(objective.passage_mask, passages()["mask"])
    assert objective.passage_keys.tolist() == [passage_key(name) for name in NAMES]
    assert Passages(path).words([CLS, 3]) == "[CLS] [SEP]"
    for words in (int(passages()["ids"].max()), 3):
        with pytest.raises(ValueError, match=rf"'ids' reach from 0 to \d+, and the vocabulary has {words} words"):
            LatentRetrieval(DIM, words, path, FEATURE)
    with pytest.raises(FileNotFoundError, match="no such file of passages"):
        LatentRetrieval(DIM, WORDS, tmp_path / "absent", FEATURE)
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="is no safetensors file"):
        Passages(path)


def test_names_and_tokenizer_must_be_there(tmp_path: Path, tokenizer: str) -> None:
    path = tmp_path / "passages.safetensors"
    for known, message in (
        ({}, "the metadata 'passages' is 'missing', expected a JSON object of 'names' and 'tokenizer'"),
        ({"names": NAMES}, "expected a JSON object of 'names' and 'tokenizer'"),
        ({"names": "a", "tokenizer": tokenizer}, "'names' is 'a', expected a list of 7 different texts"),
        ({"names": NAMES[1:], "tokenizer": tokenizer}, "expected a list of 7 different texts"),
        ({"names": [*NAMES[1:], "p-1"], "tokenizer": tokenizer}, "expected a list of 7 different texts"),
        ({"names": [*NAMES[1:], 7], "tokenizer": tokenizer}, "expected a list of 7 different texts"),
        ({"names": NAMES, "tokenizer": "{}"}, "'tokenizer' is no tokenizer"),
    ):
        with pytest.raises(ValueError, match=message) as raised:
            Passages(write(path, **known))
        assert str(path) in str(raised.value)


def test_keys_are_numbers_of_ids() -> None:
    keys = {passage_key(f"{part}-{i}") for part in ("africa", "asia") for i in range(5000)}
    assert len(keys) == 10_000 and min(keys) >= 0 and max(keys) < 2**63
    assert passage_key("africa-7") == passage_key("africa" + "-7")


def test_passages_are_known_by_their_ids(tmp_path: Path, tokenizer: str) -> None:
    """Texts of another file, whose rows have nothing to do with the memory's: what is barred is what has a text's id."""
    made = learner(PASSAGES)
    path = tmp_path / "passages.safetensors"
    write_passages(path, passages()["ids"], passages()["mask"], NAMES, tokenizer)
    objective = LatentRetrieval(DIM, WORDS, path, FEATURE, PASSAGES).double()
    batch = texts() | {"passage": torch.tensor([passage_key("p-5"), passage_key("q-0"), -1])}
    rows, counts = objective.retrieve(made.network(batch)["text_feature"].x[:, 0], batch, made.network)
    found = [set(row[count].tolist()) for row, count in zip(rows, counts, strict=True)]
    assert found == [set(range(PASSAGES)) - {5}, set(range(PASSAGES)), set(range(PASSAGES))]
