"""The gradient of every objective on two processes is one process's on the whole batch, in chunks too."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

import kemm.learner
import kemm.objectives as objectives
from kemm.batch import Batch, map_batch
from kemm.encoders import CausalTextEncoder, ConvEncoder, EntityEncoder, MentionEncoder, RegionEncoder, TextEncoder, WordGraphEncoder
from kemm.fusion import (
    CoAttention,
    CrossAttentionLayer,
    EntityAwareLayer,
    Feature,
    FusionPoint,
    Keep,
    KnowledgeAttention,
    MentionEntities,
    MentionQuery,
)
from kemm.kg import DistMult, TransE
from kemm.learner import Learner
from kemm.model import FusionModel
from kemm.objectives import Objective

DIM, WORDS, CLASSES, ENTITIES, ROWS, RANKS = 8, 19, 5, 9, 6, 2
CHUNKS = (1, 2)
TOLERANCE = 1e-10

Gradients = dict[str, Tensor]


def network(dropout: float = 0.0) -> FusionModel:
    """Text, regions and an image, with one fusion of each kind that objectives read from."""
    encoders = {
        "text": TextEncoder(WORDS, DIM, 3, 2, 2 * DIM, 16, dropout=dropout),
        "region": RegionEncoder(7, DIM, 1, 2, 2 * DIM, dropout=dropout),
        "image": ConvEncoder((DIM, DIM)),
        "entity": EntityEncoder(ENTITIES, DIM),
        "mention": MentionEncoder(ENTITIES, DIM, DIM, 16, dropout=dropout),
        "relation": EntityEncoder(CLASSES, DIM),
        "graph": WordGraphEncoder(CLASSES, CLASSES, CLASSES, DIM, 1, 2, 2 * DIM, 4, dropout=dropout),
        "caption": CausalTextEncoder(WORDS, DIM, 1, 2, 2 * DIM, 16, dropout=dropout),
    }
    fusions = [
        FusionPoint({"text": 1}, Keep("text", "text_kept")),
        FusionPoint({"text": 1}, Feature("text", "text_feature", DIM, normalize=True)),
        FusionPoint({"image": "top"}, Feature("image", "image_feature", DIM, normalize=True)),
        FusionPoint({"text": 1, "image": "top"}, CrossAttentionLayer("text", "image", DIM, DIM, 2, 2 * DIM, dropout)),
        FusionPoint({"text": 1, "region": 0}, CoAttention(("text", "region"), (DIM, DIM), 2, DIM, (DIM, DIM), dropout)),
        FusionPoint({"text": 2, "candidate": 0}, KnowledgeAttention(DIM, DIM, 2, DIM, DIM, dropout=dropout, entity="candidate")),
        FusionPoint({"text": 2, "candidate": 0}, MentionEntities("meant", DIM)),
        FusionPoint({"text": "top"}, EntityAwareLayer(DIM, 2, DIM, dropout)),
        FusionPoint({"text": "top"}, Feature("text", "pooled", DIM)),
        FusionPoint({"text": "top"}, MentionQuery(DIM, DIM, "asked", mention="candidate")),
    ]
    described = dict.fromkeys(("head", "tail", "negative_head", "negative_tail"), "text")
    return FusionModel(encoders, fusions, {"candidate": "entity"} | described)


def samples() -> Batch:
    """A batch with everything; the ranks' halves differ in real tokens, masked regions, mentions and groups."""
    random = torch.Generator().manual_seed(3)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.double)

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=random)

    real = torch.arange(7) < torch.tensor([7, 6, 7, 3, 2, 4])[:, None]
    labels = integers(1, WORDS, ROWS, 7).where((integers(0, 3, ROWS, 7) == 0) & real, -100)
    spans = torch.tensor([[[1, 1], [2, 3]]]).repeat(ROWS, 1, 1)
    spans[4:, 1] = -1
    candidates = integers(1, ENTITIES, ROWS, 2, 3) * (spans[..., :1] >= 0)
    ids = integers(4, WORDS, ROWS, 7) * real
    kinds = torch.tensor([0, 0, 0, 1, 1, 2]).expand(ROWS, 6)
    rows = integers(1, CLASSES, ROWS, 6)
    sees = torch.eye(6, dtype=torch.bool) | (torch.arange(6) < 4)[:, None] & (
        torch.arange(6) < torch.tensor([4, 4, 4, 3, 4, 4])[:, None, None]
    )
    described = {
        name: {"ids": ids.roll(i, 0), "mask": real.roll(i, 0)} for i, name in enumerate(("head", "tail", "negative_head", "negative_tail"))
    }
    return described | {
        "id": torch.arange(ROWS) + 40,
        "graph": {"ids": rows, "kinds": kinds, "positions": kinds, "mask": sees},
        "group": torch.tensor([0, 1, 2, 1, 3, 4]),
        "text": {"ids": ids, "mask": real, "labels": labels},
        "caption": {"ids": ids, "mask": real},
        "region": {
            "features": numbers(ROWS, 4, 7),
            "boxes": numbers(ROWS, 4, 5),
            "mask": torch.arange(4) < torch.tensor([4, 4, 3, 4, 2, 1])[:, None],
            "targets": numbers(ROWS, 3, CLASSES).softmax(-1),
        },
        "image": {"pixels": numbers(ROWS, 3, 8, 8)},
        "entity": {"ids": integers(0, ENTITIES, ROWS, 7) * real},
        "candidate": {
            "ids": candidates,
            "priors": numbers(ROWS, 2, 3).softmax(-1),
            "spans": spans,
            "gold": candidates[..., 1],
            "replaced": integers(0, 2, ROWS, 2).bool(),
            "entity": candidates[:, 0, 1] * torch.tensor([1, 1, 0, 1, 1, 1]),
        },
        "triple": {name: integers(1, CLASSES, ROWS) for name in ("head", "relation", "inverse", "tail")}
        | {name: integers(0, CLASSES, ROWS, 2) for name in ("heads", "tails")},
        "first": torch.tensor([0, 5, 3, 9, 1, 2]),
        "tags": integers(0, CLASSES, ROWS, 7).masked_fill(~real, -100),
        "label": torch.tensor([0, 1, -100, 1, 1, 0]),
        "scores": numbers(ROWS, CLASSES).abs(),
        "places": integers(0, 2, ROWS, 2),
        "mention": {"ids": candidates[..., 0], "positions": spans},
        "page": integers(1, ENTITIES, ROWS),
        "episode": torch.tensor([0, 0, 0, 1, 1, 1]),
        "way": torch.tensor([0, 0, 1, 0, 1, 0]),
        "query": torch.tensor([False, True, True, False, True, True]),
    }


def passages() -> dict[str, Tensor]:
    ids = torch.randint(4, WORDS, (5, 4), generator=torch.Generator().manual_seed(1))
    return {"ids": ids, "mask": torch.arange(4) < torch.tensor([4, 3, 4, 2, 4])[:, None]}


def masked_region(kind: type[Objective], **arguments: int) -> dict[str, Objective]:
    return {"it": kind(DIM, CLASSES, rate=0.5, fixed=1, **arguments)}


def momentum() -> dict[str, Objective]:
    """A teacher that the contrastive objective and the masked LM read, the latter with the image of the former's view."""
    masking = objectives.TokenMasking(3, WORDS, rate=0.4)
    return {
        "it": objectives.MomentumContrastive(dim=DIM, queue_size=12, view="clean"),
        "masked": objectives.MaskedLM(DIM, WORDS, masking, 0.4, view="masked", after="clean", reuse=["image"]),
    }


def hidden_nodes(kind: int) -> objectives.NodeMasking:
    return objectives.NodeMasking(kind, 0, CLASSES, rate=0.5, text="graph")


OBJECTIVES: dict[str, Callable[[], dict[str, Objective]]] = {
    "CausalLM": lambda: {"it": objectives.CausalLM(DIM, WORDS, "caption", "caption")},
    "Classification": lambda: {"it": objectives.Classification(DIM, labels="label", dropout=0.0)},
    "Contrastive": lambda: {"it": objectives.Contrastive()},
    "DescribedLinks": lambda: {"it": objectives.DescribedLinks(TransE(2.0))},
    "EntityDenoising": lambda: {"it": objectives.EntityDenoising(DIM, DIM, 0.2, 0.3)},
    "EntityLinking": lambda: {"it": objectives.EntityLinking("candidate")},
    "GradedClassification": lambda: {"it": objectives.GradedClassification(DIM, CLASSES, labels="scores", dropout=0.0)},
    "KvsAllLinks": lambda: {"it": objectives.KvsAllLinks(DistMult())},
    "LatentRetrieval": lambda: {"it": objectives.LatentRetrieval(DIM, WORDS, passages(), DIM, 2)},
    "LinkPrediction": lambda: {"it": objectives.LinkPrediction(DistMult())},
    "MarginEntityLinking": lambda: {"it": objectives.MarginEntityLinking("candidate")},
    "MaskedEntity": lambda: {"it": objectives.MaskedEntity(DIM, hidden_nodes(1), 3, text="graph")},
    "MaskedLM": lambda: {"it": objectives.MaskedLM(DIM, WORDS)},
    "MaskedMention": lambda: {"it": objectives.MaskedMention(DIM, DIM, ENTITIES, 5, 0.5)},
    "MentionDetection": lambda: {"it": objectives.MentionDetection(DIM, mention="candidate", dropout=0.0)},
    "MentionLinking": lambda: {"it": objectives.MentionLinking("asked", "candidate", "candidate")},
    "MaskedPatch": lambda: {"it": objectives.MaskedPatch(DIM, 4)},
    "MaskedRegion": lambda: masked_region(objectives.MaskedRegion),
    "MaskedRegionContrast": lambda: masked_region(objectives.MaskedRegionContrast, negatives=9),
    "MaskedRegionRegression": lambda: masked_region(objectives.MaskedRegionRegression),
    "MaskedRelation": lambda: {"it": objectives.MaskedRelation(DIM, CLASSES, hidden_nodes(2), "graph")},
    "Matching": lambda: {"other": objectives.Contrastive(), "it": objectives.Matching(DIM, contrastive="other")},
    "MomentumContrastive": momentum,
    "PageEntity": lambda: {"it": objectives.PageEntity(DIM, DIM)},
    "MultiLabelClassification": lambda: {"it": objectives.MultiLabelClassification(DIM, CLASSES, labels="scores", dropout=0.0)},
    "MultiLabelPlaceClassification": lambda: {"it": objectives.MultiLabelPlaceClassification(DIM, CLASSES, labels="scores", dropout=0.0)},
    "PlaceClassification": lambda: {"it": objectives.PlaceClassification(DIM, CLASSES, labels="label", dropout=0.0)},
    "PlaceSelection": lambda: {"it": objectives.PlaceSelection(DIM, dropout=0.0)},
    "Prototypes": lambda: {"it": objectives.Prototypes(1, none=True, dropout=0.0)},
    "Recognition": lambda: {"it": objectives.Recognition("meant", "candidate")},
    "ReplacementDetection": lambda: {"it": objectives.ReplacementDetection(DIM, mention="candidate", dropout=0.0)},
    "SigmoidContrastive": lambda: {"it": objectives.SigmoidContrastive()},
    "SoftClassification": lambda: {"it": objectives.SoftClassification(DIM, CLASSES, labels="scores", dropout=0.0)},
    "TokenClassification": lambda: {"it": objectives.TokenClassification(DIM, CLASSES, dropout=0.0)},
}


def learner(name: str, chunks: int) -> Learner:
    torch.manual_seed(0)
    made = OBJECTIVES[name]()
    built = Learner(network(), made, momentum=0.9 if name == "MomentumContrastive" else None, chunks=chunks).double()
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.dim() > 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return built


def gradients(name: str, chunks: int, batch: Batch) -> Gradients:
    """The gradient of a batch, or of its part on this rank, the loss, and the queues afterwards."""
    built = learner(name, chunks)
    total, _ = built(batch)
    total.backward()
    found = {key: torch.zeros_like(p) if p.grad is None else p.grad for key, p in built.named_parameters()}
    return found | {"loss": total.detach()} | {key: buffer for key, buffer in built.named_buffers() if "queue" in key}


def work(rank: int, folder: str) -> None:
    """One of the processes: the means over the ranks, as DDP makes them of gradients."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=RANKS)
    share = ROWS // RANKS
    batch = map_batch(samples(), lambda t: t[rank * share : (rank + 1) * share])
    means = {}
    for name in OBJECTIVES:
        for chunks in CHUNKS:
            means[name, chunks] = gradients(name, chunks, batch)
            for tensor in means[name, chunks].values():
                dist.all_reduce(tensor.div_(RANKS))
    if rank == 0:
        torch.save(means, f"{folder}/means.pt")
    dist.destroy_process_group()


@cache
def alone(name: str) -> Gradients:
    """One process on the whole batch."""
    return gradients(name, 1, samples())


@pytest.fixture(scope="module")
def means(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Gradients]:
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(work, (str(folder),), nprocs=RANKS)
    loaded: dict[tuple[str, int], Gradients] = torch.load(Path(folder) / "means.pt")
    return loaded


@pytest.mark.timeout(180)
@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_processes_are_one(name: str, chunks: int, means: dict[tuple[str, int], Gradients]) -> None:
    together = means[name, chunks]
    assert alone(name).keys() == together.keys()
    assert any(key.startswith("network.") and bool(grad.any()) for key, grad in together.items())
    for key, expected in alone(name).items():
        difference = float((together[key] - expected).abs().max())
        assert difference <= TOLERANCE * (1 + float(expected.abs().max())), f"{key} differs by {difference}"


def test_no_objective_is_missing() -> None:
    public = [getattr(objectives, name) for name in objectives.__all__]
    kinds = {kind.__name__ for kind in public if isinstance(kind, type) and issubclass(kind, Objective) and kind is not Objective}
    assert kinds == set(OBJECTIVES)


def test_dropout_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunks' second run drops what the first dropped: their gradient is that of chunks that run once and are kept."""
    torch.manual_seed(0)
    built = Learner(network(dropout=0.5), {"it": objectives.MaskedLM(DIM, WORDS), "other": objectives.Contrastive()}, chunks=2).double()

    def grads() -> list[Tensor]:
        built.zero_grad()
        torch.manual_seed(5)
        built(samples())[0].backward()
        return [p.grad.clone() for p in built.parameters() if p.grad is not None]

    replayed = grads()

    def once(part: nn.Module, batch: Batch, use_reentrant: bool) -> object:
        return part(batch)

    monkeypatch.setattr(kemm.learner, "checkpoint", once)
    kept = grads()
    assert len(kept) == len(replayed) > 10
    assert all(torch.allclose(one, two, rtol=0, atol=1e-12) for one, two in zip(replayed, kept, strict=True))
    assert any(not torch.allclose(one, two, atol=1e-6) for one, two in zip(kept, without_dropout(built), strict=True))


def without_dropout(built: Learner) -> list[Tensor]:
    built.eval().zero_grad()
    built(samples())[0].backward()
    return [p.grad for p in built.parameters() if p.grad is not None]
