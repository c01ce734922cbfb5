"""One small example or more of every public encoder, fusion, objective and task: a network or a learner around it, and a batch."""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from kemm import encoders as e
from kemm import fusion as f
from kemm import objectives as o
from kemm import tasks as t
from kemm.batch import IGNORE, Batch
from kemm.encoders import Encoder, EntityEncoder, RegionEncoder, TextEncoder
from kemm.fusion import FusionPoint
from kemm.kg import DistMult, Entity, Graph, Relation, TransE, write_graph
from kemm.learner import Learner
from kemm.model import FusionModel
from kemm.objectives import Objective, TokenMasking

B, T, R, E, C = 3, 7, 4, 2, 3
DIM, ENTITY, WORDS, ENTITIES, RELATIONS, CLASSES = 8, 6, 23, 10, 4, 5

Model = FusionModel | Learner


@dataclass(frozen=True)
class Example:
    """A way to use a class.

    Args:
        covers: The class.
        build: Makes a network, or a learner, that has one.
        batch: Makes its batch; rows differ in length.
        label: Tells it from other examples of the class.
    """

    covers: type[nn.Module]
    build: Callable[[], Model]
    batch: Callable[[], Batch]
    label: str = ""

    def __str__(self) -> str:
        return self.covers.__name__ + (f"-{self.label}" if self.label else "")


# ---- batches


def real(lengths: list[int], size: int) -> Tensor:
    return torch.arange(size) < torch.tensor(lengths)[:, None]


def draw(low: int, high: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def text(seed: int = 0) -> dict[str, Tensor]:
    mask = real([T, 3, 2], T)
    words = torch.tensor([-1, 0, 0, 1, 2, 2, -1]).expand(B, T).masked_fill(~mask, -1)
    return {"ids": draw(5, WORDS, B, T, seed=seed) * mask, "mask": mask, "types": draw(0, 2, B, T, seed=1) * mask, "words": words}


def labelled() -> dict[str, Tensor]:
    given = text()
    return {**given, "labels": given["ids"].masked_fill(~given["mask"] | (torch.arange(T) % 2 == 0), IGNORE)}


def region() -> dict[str, Tensor]:
    mask = real([R, 2, 3], R)
    labels = torch.ones(B, R, dtype=torch.long).masked_fill(~mask, IGNORE)
    targets = normal(B, R, CLASSES, seed=3).softmax(-1)
    return {
        "features": normal(B, R, CLASSES),
        "boxes": normal(B, R, 5, seed=1).sigmoid(),
        "mask": mask,
        "labels": labels,
        "targets": targets,
    }


def aligned() -> dict[str, Tensor]:
    return {**region(), "types": draw(0, 2, B, R), "alignment": torch.tensor([[0, 1], [2, -1], [-1, -1], [1, -1]]).expand(B, R, 2)}


def image(size: int = 16) -> dict[str, Tensor]:
    return {"pixels": normal(B, 3, size, size)}


def token_entities() -> dict[str, Tensor]:
    mask = real([T, 3, 2], T) & (torch.arange(T) % 3 != 2)
    return {"ids": (draw(1, ENTITIES, B, T) * mask), "mask": mask}


def candidate() -> dict[str, Tensor]:
    ids = draw(1, ENTITIES, B, E, C)
    ids[1, 1], ids[0, 0, 2] = 0, 0
    spans = torch.tensor([[[0, 1], [2, 4]], [[1, 2], [-1, -1]], [[0, 0], [1, 1]]])
    return {"ids": ids, "priors": normal(B, E, C).softmax(-1) * (ids > 0), "spans": spans, "gold": ids[..., 0]}


def changed_mentions() -> dict[str, Tensor]:
    spans = torch.tensor([[[1, 2], [4, 5]], [[1, 1], [-1, -1]], [[-1, -1], [-1, -1]]])
    return {"spans": spans, "replaced": torch.tensor([[True, False], [False, False], [False, False]])}


def cloze() -> list[dict[str, object]]:
    """Each text asks for a fact of its own, with two objects of two tokens."""
    objects = {"objects": ["this", "that"], "candidates": [[5, 6], [7, 5]], "places": [0, 1]}
    return [{"fact": i, "relation": "capital", "answer": "that", **objects} for i in range(B)]


def named() -> dict[str, Tensor]:
    """Entities with the tokens that name them: some of one token, some of several, one padding."""
    ids = draw(1, ENTITIES - 1, B, E)
    ids[1, 1] = 0
    positions = torch.tensor([[[0, 1, -1], [2, 3, 4]], [[1, 2, -1], [-1, -1, -1]], [[0, -1, -1], [1, -1, -1]]])
    return {"ids": ids, "positions": positions, "types": draw(0, 2, B, E), "labels": ids.masked_fill(ids % 2 == 0, IGNORE)}


def triple() -> dict[str, Tensor]:
    head, tail, relation = draw(1, ENTITIES, B), draw(1, ENTITIES, B, seed=1), draw(1, 3, B)
    return {"head": head, "tail": tail, "relation": relation, "inverse": relation + 2}


def annotation(question: int) -> dict[str, object]:
    answers = [{"answer": "yes", "answer_id": i, "answer_confidence": "yes"} for i in range(1, 11)]
    return {"question_id": question, "image_id": 1, "question_type": "is", "answer_type": "yes/no", "answers": answers}


def word_graph(labelled: bool = False) -> dict[str, Tensor]:
    """Three or two words, an entity of the text, one that is told, the relation between them, a padded node."""
    kinds = torch.tensor([0, 0, 0, 1, 1, 2, 0]).expand(B, 7)
    rows = [draw(5, WORDS, B, 7), draw(1, ENTITIES, B, 7), draw(1, RELATIONS, B, 7)]
    mask = torch.eye(7, dtype=torch.bool).repeat(B, 1, 1)
    mask[:, :4, :4] = True
    for one, other in ((3, 5), (4, 5)):
        mask[:, one, other] = mask[:, other, one] = True
    mask[1, :, 2] = False
    mask[:, :, 6] = False
    graph = {"ids": torch.stack(rows).gather(0, kinds[None])[0], "kinds": kinds, "mask": mask}
    graph["positions"] = torch.tensor([0, 1, 3, 2, 4, 3, 0]).expand(B, 7)
    if labelled:
        graph["entity_labels"] = torch.tensor([[IGNORE] * 3 + [label, 1] + [IGNORE] * 2 for label in (0, 2, IGNORE)])
        graph["relation_labels"] = graph["ids"].masked_fill(kinds != 2, IGNORE)
        graph["candidates"] = torch.tensor([4, 2, 7])
    return graph


def describing() -> FusionModel:
    ends = ("head", "tail", "negative_head", "negative_tail", "relation_head", "relation_tail", "relation_text")
    return FusionModel({"text": text_encoder(), "relation": EntityEncoder(RELATIONS + 1, DIM)}, share=dict.fromkeys(ends, "text"))


def descriptions(*further: str) -> Callable[[], Batch]:
    names = ("head", "tail", "negative_head", "negative_tail", *further)
    return batch("triple", **{name: lambda seed=seed: text(seed) for seed, name in enumerate(names)})  # type: ignore[misc]


ENTRIES: dict[str, Callable[[], object]] = {
    "text": text,
    "region": region,
    "image": image,
    "entity": token_entities,
    "candidate": candidate,
    "mention": lambda: {"spans": candidate()["spans"]},
    "named": named,
    "triple": triple,
    "answer": lambda: {"scores": normal(B, 6).sigmoid()},
    "annotation": lambda: [annotation(i) for i in range(B)],
    "first": lambda: torch.tensor([0, 2, 9]),
    "tags": lambda: draw(0, CLASSES, B, T).masked_fill(~text()["mask"], IGNORE),
    "answered": lambda: {**triple(), "tails": torch.tensor([[1, 4], [2, 0], [3, 5]]), "heads": torch.tensor([[6], [1], [7]])},
    "group": lambda: torch.tensor([0, 1, 1]),
    "passage": lambda: torch.tensor([1, -1, 3]),
    "places": lambda: torch.tensor([[0, 1], [1, 2], [0, 1]]),
    "label": lambda: torch.tensor([0, 3, 1]),
    "soft": lambda: normal(B, CLASSES).sigmoid(),
}


def batch(*names: str, **changed: Callable[[], object]) -> Callable[[], Batch]:
    """Makes a batch of the entries of these names, each made anew at each call."""
    return lambda: {"id": torch.tensor([7, 12, 13])} | {name: changed.get(name, ENTRIES.get(name, dict))() for name in (*names, *changed)}


# ---- files


@cache
def folder() -> tempfile.TemporaryDirectory[str]:
    """A small graph, answers, as long as the process lives."""
    kept = tempfile.TemporaryDirectory()
    kinds = ["country"] * 4 + ["city"] * 5
    entities = [Entity(f"Q{i}", f"name {i}", kind) for i, kind in enumerate(kinds)]
    relations = [Relation("capital", "capital", "capital_of"), Relation("twin", "twin", "twinned")]
    triples = torch.tensor([[0, 0, 4], [1, 0, 5], [2, 0, 6], [3, 0, 7], [0, 1, 1], [1, 1, 2], [4, 1, 8]])
    write_graph(Graph(entities, relations, triples), Path(kept.name) / "graph")
    answers = [{"answer": "yes", "entity": None}, {"answer": "no", "entity": None}]
    answers += [{"answer": "name 0", "entity": "Q0"}, {"answer": "name 5", "entity": "Q5"}]
    answers += [{"answer": "2", "entity": None}, {"answer": "3", "entity": None}]
    (Path(kept.name) / "answers.json").write_text(json.dumps(answers))
    return kept


def graph() -> Path:
    return Path(folder().name) / "graph"


def answers() -> Path:
    return Path(folder().name) / "answers.json"


def labelled_rows() -> Path:
    path = Path(folder().name) / "labels.json"
    path.write_text(json.dumps([{"label": name} for name in ("none", "borders", "capital", "currency")]))
    return path


def typed() -> Tensor:
    return torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])


# ---- networks


def text_encoder() -> TextEncoder:
    return TextEncoder(WORDS, DIM, 3, 2, 2 * DIM, 32, dropout=0.1)


def region_encoder() -> RegionEncoder:
    return RegionEncoder(CLASSES, DIM, 2, 2, 2 * DIM)


MAKERS: Mapping[str, Callable[[], Encoder]] = {
    "text": text_encoder,
    "region": region_encoder,
    "image": lambda: e.ConvEncoder((DIM, DIM)),
    "entity": lambda: EntityEncoder(ENTITIES, ENTITY),
    "relation": lambda: EntityEncoder(RELATIONS + 1, ENTITY),
    "candidate": lambda: EntityEncoder(ENTITIES, ENTITY),
    "named": lambda: e.MentionEncoder(ENTITIES, DIM, ENTITY, 32, 2),
}

At = dict[str, int | str]


def network(*names: str, fusions: Callable[[], list[tuple[At, f.Fusion]]] = list, **changed: Callable[[], Encoder]) -> FusionModel:
    made = {name: changed.get(name, MAKERS.get(name, text_encoder))() for name in (*names, *changed)}
    return FusionModel(made, [FusionPoint(at, fusion) for at, fusion in fusions()])  # type: ignore[arg-type]


def encoder(covers: type[nn.Module], name: str, make: Callable[[], Encoder], given: Callable[[], object], label: str = "") -> Example:
    return Example(covers, lambda: network(**{name: make}), batch(**{name: given}), label)


def fusion(
    covers: type[nn.Module],
    names: str,
    fusions: Callable[[], list[tuple[At, f.Fusion]]],
    *further: str,
    label: str = "",
    **changed: Callable[[], object],
) -> Example:
    inputs = names.split()
    given = batch(*(name for name in inputs if name not in ("relation",)), *further, **changed)
    return Example(covers, lambda: network(*inputs, fusions=fusions), given, label)


def objective(
    covers: type[nn.Module],
    names: str,
    make: Callable[[], Objective | dict[str, Objective]],
    *further: str,
    fusions: Callable[[], list[tuple[At, f.Fusion]]] = list,
    label: str = "",
    momentum: float | None = None,
    **changed: Callable[[], object],
) -> Example:
    inputs = names.split()

    def build() -> Learner:
        made = make()
        return Learner(network(*inputs, fusions=fusions), made if isinstance(made, dict) else {"it": made}, momentum=momentum)

    given = batch(*(name for name in inputs if name != "relation"), *further, **changed)
    return Example(covers, build, given, label)


def features() -> list[tuple[At, f.Fusion]]:
    return [
        ({"text": "top"}, f.Keep("text", "text_kept")),
        ({"text": "top"}, f.Feature("text", "text_feature", DIM, ENTITY, normalize=True)),
        ({"image": "top"}, f.Feature("image", "image_feature", DIM, ENTITY, normalize=True, pool=f.Mean())),
        ({"text": "top", "image": "top"}, f.CrossAttentionLayer("text", "image", DIM, DIM, 2, 2 * DIM)),
    ]


def linking(threshold: float | None = None) -> list[tuple[At, f.Fusion]]:
    kar = f.KnowledgeAttention(DIM, ENTITY, 2, 2 * DIM, hidden=5, threshold=threshold, entity="candidate")
    return [({"text": 2, "candidate": 0}, kar)]


def pooled() -> list[tuple[At, f.Fusion]]:
    return [({"text": "top"}, f.Feature("text", "pooled", DIM, activation=nn.Tanh()))]


def shown() -> list[tuple[At, f.Fusion]]:
    feature: tuple[At, f.Fusion] = ({"image": "top"}, f.Feature("image", "image_feature", DIM, pool=f.Mean()))
    return [feature, ({"image": "top"}, f.FeatureEntities("image_feature", "shown", DIM, ENTITY, graph(), "country"))]


def looked_up() -> list[tuple[At, f.Fusion]]:
    facts = f.FactAttention("found", ["shown"], "pooled", DIM, ENTITY, graph(), k=5)
    again = f.FactAttention("further", ["found", "shown"], "pooled", DIM, ENTITY, graph(), k=4)
    return [*pooled(), *shown(), ({"text": "top"}, facts), ({"text": "top"}, again)]


def passages(kind: type[o.LatentRetrieval] = o.LatentRetrieval) -> o.LatentRetrieval:
    mask = real([5, 4, 5, 3, 5], 5)
    tokens = {"ids": draw(5, WORDS, 5, 5, seed=4) * mask, "mask": mask}
    return kind(DIM, WORDS, tokens, ENTITY, k=2)  # type: ignore[arg-type]


def asks() -> list[tuple[At, f.Fusion]]:
    return [({"text": "top"}, f.Feature("text", "text_feature", DIM, ENTITY))]


def word_graphs() -> Encoder:
    return e.WordGraphEncoder(WORDS, ENTITIES, RELATIONS, DIM, 2, 2, 16, 9, padding_position=0)


def nodes(make: Callable[[], Objective]) -> Callable[[], Learner]:
    return lambda: Learner(network(text=word_graphs), {"it": make()})


def hiding(kind: int) -> o.NodeMasking:
    return o.NodeMasking(kind, 0, (WORDS, ENTITIES, RELATIONS)[kind], rate=0.6)


def queried() -> list[tuple[At, f.Fusion]]:
    return [({"text": "top"}, f.MentionQuery(DIM, ENTITY, "named", mention="candidate"))]


def aware() -> list[tuple[At, f.Fusion]]:
    return [({"text": 1}, f.EntityAwareLayer(DIM, 2, entity="named"))]


EPISODE: dict[str, Callable[[], object]] = {
    "places": lambda: torch.tensor([[0, 2], [1, 2], [0, 1]]),
    "episode": lambda: torch.tensor([0, 0, 0]),
    "way": lambda: torch.tensor([0, 0, 1]),
    "query": lambda: torch.tensor([False, True, True]),
}
"""One example of the one way, a query of it, and one of none."""

MASKING = TokenMasking(4, WORDS, (0, 1, 2, 3), rate=0.6)

ENCODERS = [
    encoder(e.TextEncoder, "text", text_encoder, text),
    encoder(e.TextEncoder, "text", lambda: TextEncoder(WORDS, DIM, 2, 2, 16, 20, 0, offset=2, padding_id=1), text, "roberta"),
    encoder(e.CausalTextEncoder, "text", lambda: e.CausalTextEncoder(WORDS, DIM, 2, 2, 16, 20), text, "gpt"),
    encoder(e.CausalTextEncoder, "text", lambda: e.CausalTextEncoder(WORDS, DIM, 2, 2, 16, 20, padding_mask=False), text, "clip"),
    encoder(e.CausalTextEncoder, "text", lambda: e.CausalTextEncoder(WORDS, DIM, 2, 2, 16, 20, summary=True), text, "coca"),
    encoder(e.WordGraphEncoder, "text", word_graphs, word_graph),
    encoder(e.MentionEncoder, "named", lambda: e.MentionEncoder(ENTITIES, DIM, ENTITY, 32, 2), named),
    encoder(e.MentionEncoder, "named", lambda: e.MentionEncoder(ENTITIES, DIM, DIM, 32, 2), named, "as wide as the text"),
    encoder(e.RotaryTextEncoder, "text", lambda: e.RotaryTextEncoder(WORDS, DIM, 4, 2, 6, 20, window=1), text),
    encoder(e.RegionEncoder, "region", region_encoder, region),
    encoder(e.RegionEncoder, "region", lambda: RegionEncoder(5, 8, 1, 2, 16, embed=e.AlignedRegionEmbedding(5, 8, 1)), aligned, "aligned"),
    encoder(e.ImageEncoder, "image", lambda: e.ImageEncoder("test_vit", {"img_size": 32, "patch_size": 16}), lambda: image(32), "vit"),
    encoder(e.ImageEncoder, "image", lambda: e.ImageEncoder("test_resnet"), lambda: image(32), "cnn"),
    encoder(e.ConvEncoder, "image", lambda: e.ConvEncoder((DIM, DIM)), image),
    encoder(e.EntityEncoder, "entity", lambda: EntityEncoder(ENTITIES, ENTITY), token_entities),
    encoder(e.EntityEncoder, "candidate", lambda: EntityEncoder(ENTITIES, ENTITY, frozen=True), candidate, "frozen"),
    encoder(e.GraphEncoder, "candidate", lambda: e.GraphEncoder(ENTITY, graph()), candidate),
    encoder(e.GraphEncoder, "entity", lambda: e.GraphEncoder(ENTITY, graph()), token_entities),
    encoder(e.TypedEntityEncoder, "candidate", lambda: e.TypedEntityEncoder(ENTITIES, 6, 4, 2, 3, None, [0, 1] * 5), candidate),
]

FUSIONS = [
    fusion(
        f.Adapter, "text", lambda: [({"text": 1}, f.Adapter("a", DIM, 4, 1, 2)), ({"text": 2}, f.Adapter("b", DIM, 4, 1, 2, previous="a"))]
    ),
    fusion(f.AlignedPositions, "text region", lambda: [({"text": 0, "region": 0}, f.AlignedPositions())], region=aligned),
    fusion(f.AttentionalPool, "text", lambda: [({"text": 2}, f.AttentionalPool("text", "pool", "rest", DIM, ENTITY, 2, 3))]),
    fusion(f.CoAttention, "text region", lambda: [({"text": 2, "region": 1}, f.CoAttention(["text", "region"], [DIM, DIM], 2))]),
    fusion(
        f.Concat,
        "text region",
        lambda: [
            ({"text": 0, "region": "top"}, f.Concat(["text", "region"], "text", nn.LayerNorm(DIM), 0.1)),
            ({"text": "top", "region": "top"}, f.Split("text", ["text", "region"])),
        ],
    ),
    Example(
        f.Concat,
        lambda: network(
            "text",
            image=lambda: e.ImageEncoder("test_vit", {"img_size": 32, "patch_size": 16, "embed_dim": DIM, "num_heads": 2}),
            fusions=lambda: [({"text": 0, "image": 0}, f.Concat(["text", "image"], "image"))],
        ),
        batch("text", image=lambda: image(32)),
        "vilt",
    ),
    fusion(
        f.CrossAttentionLayer, "text region", lambda: [({"text": 2, "region": 2}, f.CrossAttentionLayer("text", "region", DIM, DIM, 2))]
    ),
    fusion(f.DecoderLayer, "text region", lambda: [({"text": 2, "region": 2}, f.DecoderLayer("text", "region", DIM, 2))]),
    fusion(f.Detach, "text", lambda: [({"text": 1}, f.Detach("text"))]),
    fusion(f.DynamicLayer, "text region", lambda: [({"text": 2, "region": 1}, f.DynamicLayer("region", "text", DIM, DIM, 2))]),
    fusion(f.EntityAggregator, "text entity", lambda: [({"text": 2, "entity": 0}, f.EntityAggregator(DIM, ENTITY, 2, 2))]),
    fusion(f.EntityAwareLayer, "text named", aware),
    fusion(f.EntityMix, "text entity", lambda: [({"text": 2, "entity": 0}, f.EntityMix(DIM, ENTITY, 2))]),
    fusion(f.FactAttention, "text image entity relation", looked_up),
    fusion(f.Feature, "text", lambda: [({"text": 2}, f.Feature("text", "one", DIM, 4, f.Last(), nn.Tanh(), True, False))], label="last"),
    fusion(f.Feature, "text", lambda: [({"text": 2}, f.Feature("text", "one", DIM, pool=f.Mean()))], label="mean"),
    fusion(f.FeatureEntities, "image entity", shown),
    fusion(
        f.Intersection,
        "text candidate image entity",
        lambda: [
            *linking(),
            ({"text": "top"}, f.MentionEntities("meant", DIM)),
            *shown(),
            ({"text": "top"}, f.Intersection("meant", "shown", "both")),
        ],
    ),
    fusion(
        f.Join,
        "text",
        lambda: [({"text": 1}, f.Keep("text", "low")), ({"text": 3}, f.Join(["text", "low"], "joined", [DIM, DIM]))],
    ),
    fusion(f.Keep, "text", lambda: [({"text": 1}, f.Keep("text", "kept", (0, -1)))]),
    fusion(f.KnowledgeAttention, "text candidate", linking),
    fusion(f.KnowledgeAttention, "text candidate", lambda: linking(0.0), label="margin"),
    fusion(f.LocalContext, "text", lambda: [({"text": 1}, f.LocalContext(DIM, 1))]),
    fusion(f.MemoryAttention, "text entity", lambda: [({"text": 1}, f.MemoryAttention(DIM, ENTITIES, ENTITY, 4))], "mention"),
    fusion(f.MentionEntities, "text candidate", lambda: [*linking(), ({"text": "top"}, f.MentionEntities("meant", DIM))]),
    fusion(f.MentionQuery, "text", lambda: [({"text": "top"}, f.MentionQuery(DIM, ENTITY))], "mention"),
    fusion(f.Neighbours, "candidate", lambda: [({"candidate": 0}, f.Neighbours(ENTITY, graph(), "candidate"))]),
    fusion(
        f.Neighbours,
        "text candidate",
        lambda: [*linking(), ({"candidate": 0}, f.Neighbours(ENTITY, graph(), "candidate", "candidate_linking"))],
        label="linked",
    ),
    fusion(f.NormedFeature, "text", lambda: [({"text": 2}, f.NormedFeature("text", "one", DIM))]),
    fusion(f.Pairs, "text region", lambda: [({"text": 1, "region": 1}, f.Pairs(["text", "region"]))]),
    fusion(f.Pooled, "text", lambda: [({"text": 1}, f.Pooled("text", "first"))]),
    fusion(f.Pooled, "text", lambda: [({"text": 1}, f.Pooled("text", "mean", f.PaddedMean()))], label="padded"),
    fusion(f.SelfAttention, "text", lambda: [({"text": 2}, f.Keep("text", "kept")), ({"text": 2}, f.SelfAttention("kept", DIM, 2))]),
    fusion(
        f.Split,
        "text region",
        lambda: [
            ({"text": 1, "region": "top"}, f.Concat(["region", "text"], "text")),
            ({"text": "top", "region": "top"}, f.Split("text", ["region", "text"])),
        ],
    ),
    fusion(f.Sum, "text", lambda: [({"text": 1}, f.Keep("text", "low")), ({"text": 3}, f.Sum(["text", "low", "low"], "sum"))]),
]


def matching() -> dict[str, Objective]:
    return {"contrast": o.Contrastive(), "it": o.Matching(DIM, restart={"text": "text_kept", "image": "image"}, contrastive="contrast")}


OBJECTIVES = [
    objective(o.CausalLM, "text", lambda: o.CausalLM(DIM, WORDS, tied=False, norm=nn.LayerNorm(DIM))),
    objective(o.Classification, "text", lambda: o.Classification(DIM, CLASSES, labels="label"), "label", fusions=pooled),
    objective(o.Contrastive, "text image", o.Contrastive, "group", fusions=features),
    Example(o.DescribedLinks, lambda: Learner(describing(), {"it": o.DescribedLinks(TransE(2.0))}), descriptions()),
    Example(
        o.DescribedLinks,
        lambda: Learner(describing(), {"it": o.DescribedLinks(TransE(2.0), 1.0)}),
        descriptions("relation_head", "relation_tail", "relation_text"),
        "told",
    ),
    objective(o.EntityDenoising, "text entity", lambda: o.EntityDenoising(DIM, ENTITY, 0.2, 0.3)),
    objective(o.EntityLinking, "text candidate", lambda: o.EntityLinking("candidate"), fusions=linking),
    objective(o.GradedClassification, "text", lambda: o.GradedClassification(DIM, CLASSES, labels="soft"), "soft", fusions=pooled),
    objective(
        o.KvsAllLinks,
        "entity relation",
        lambda: o.KvsAllLinks(DistMult()),
        triple=ENTRIES["answered"],
    ),
    objective(o.LatentRetrieval, "text", passages, "passage", fusions=asks, text=labelled),
    objective(o.LinkPrediction, "entity relation", lambda: o.LinkPrediction(DistMult()), "triple"),
    objective(o.MarginEntityLinking, "text candidate", lambda: o.MarginEntityLinking("candidate"), fusions=lambda: linking(0.0)),
    Example(o.MaskedEntity, nodes(lambda: o.MaskedEntity(DIM, hiding(1), 4, [0.0] + [1.0] * 9)), batch(text=word_graph)),
    Example(o.MaskedEntity, nodes(lambda: o.MaskedEntity(DIM)), batch(text=lambda: word_graph(True)), "given"),
    objective(o.MaskedLM, "text", lambda: o.MaskedLM(DIM, WORDS, MASKING)),
    Example(o.MaskedLM, nodes(lambda: o.MaskedLM(DIM, WORDS, hiding(0))), batch(text=word_graph), "nodes"),
    objective(o.MaskedLM, "text", lambda: o.MaskedLM(DIM, WORDS, o.WholeWordMasking(4, WORDS, rate=0.6)), label="words"),
    objective(
        o.MaskedLM,
        "text candidate",
        lambda: o.MaskedLM(DIM, WORDS, o.EntitySpanMasking(4, WORDS, rate=0.6, entity="candidate")),
        label="spans",
    ),
    objective(o.MaskedLM, "text", lambda: o.MaskedLM(DIM, WORDS, MASKING, distill=0.4), label="taught", momentum=0.9),
    objective(o.MaskedMention, "text named", lambda: o.MaskedMention(DIM, ENTITY, ENTITIES, 9, 0.5, entity="named"), fusions=aware),
    objective(o.MaskedMention, "text named", lambda: o.MaskedMention(DIM, ENTITY, ENTITIES, entity="named"), fusions=aware, label="given"),
    objective(o.MentionDetection, "text", lambda: o.MentionDetection(DIM), "mention"),
    objective(o.MentionLinking, "text candidate", lambda: o.MentionLinking("named", "candidate", "candidate"), fusions=queried),
    objective(o.MaskedPatch, "image", lambda: o.MaskedPatch(DIM, 4)),
    objective(o.MaskedRegion, "region", lambda: o.MaskedRegion(DIM, CLASSES, 0.7)),
    objective(o.MaskedRegionContrast, "region", lambda: o.MaskedRegionContrast(DIM, CLASSES, 10, 0.7)),
    objective(o.MaskedRegionRegression, "region", lambda: o.MaskedRegionRegression(DIM, CLASSES, 0.7)),
    Example(o.MaskedRelation, nodes(lambda: o.MaskedRelation(DIM, RELATIONS, hiding(2))), batch(text=word_graph)),
    Example(o.MaskedRelation, nodes(lambda: o.MaskedRelation(DIM, RELATIONS)), batch(text=lambda: word_graph(True)), "given"),
    objective(o.Matching, "text image", matching, "group", fusions=features),
    objective(
        o.MomentumContrastive,
        "text image",
        lambda: o.MomentumContrastive(dim=ENTITY, queue_size=6),
        "group",
        fusions=features,
        momentum=0.9,
    ),
    objective(o.MultiLabelClassification, "text", lambda: o.MultiLabelClassification(DIM, 4, labels="types"), fusions=pooled, types=typed),
    objective(
        o.PageEntity,
        "text named",
        lambda: o.PageEntity(DIM, ENTITY, entity="named"),
        fusions=aware,
        page=lambda: torch.tensor([4, 1, 7]),
    ),
    objective(
        o.MultiLabelPlaceClassification,
        "text",
        lambda: o.MultiLabelPlaceClassification(DIM, 4, places=1, labels="types", features=["pooled"]),
        fusions=pooled,
        types=typed,
        places=lambda: torch.tensor([[0], [2], [1]]),
    ),
    objective(o.PlaceClassification, "text", lambda: o.PlaceClassification(DIM, CLASSES, hidden=4, labels="label"), "places", "label"),
    objective(o.PlaceSelection, "text", lambda: o.PlaceSelection(DIM), "first"),
    objective(o.PlaceSelection, "text", lambda: o.PlaceSelection(DIM, padded=True), "first", label="padded"),
    objective(
        o.Recognition,
        "image entity",
        lambda: o.Recognition("shown"),
        fusions=shown,
        image=lambda: {**image(), "entity": torch.tensor([1, 0, 3])},
    ),
    objective(o.Prototypes, "text", lambda: o.Prototypes(1, none=True), **EPISODE),
    objective(o.ReplacementDetection, "text", lambda: o.ReplacementDetection(DIM), mention=changed_mentions),
    objective(o.SigmoidContrastive, "text image", o.SigmoidContrastive, "group", fusions=features),
    objective(o.SoftClassification, "text", lambda: o.SoftClassification(DIM, CLASSES, labels="soft"), "soft", fusions=pooled),
    objective(o.TokenClassification, "text", lambda: o.TokenClassification(DIM, CLASSES, hidden=4), "tags"),
]

TASKS = [
    objective(
        t.EntityDisambiguation,
        "text named",
        lambda: t.EntityDisambiguation(DIM, ENTITY, ENTITIES, 9, entity="named"),
        "candidate",
        fusions=aware,
        named=lambda: {**named(), "ids": candidate()["gold"]},
    ),
    objective(t.Cloze, "text", lambda: t.Cloze(DIM, WORDS), text=labelled, cloze=cloze),
    objective(t.Detection, "text", lambda: t.Detection(DIM), "mention"),
    objective(t.ExpertLinking, "text candidate", lambda: t.ExpertLinking("named", "candidate", "candidate"), fusions=queried),
    objective(t.FewShot, "text", lambda: t.FewShot(1, none=True), **EPISODE),
    objective(t.Linking, "text candidate", lambda: t.Linking("candidate"), fusions=linking),
    objective(t.Links, "entity relation", lambda: t.Links(DistMult(), graph()), "triple"),
    objective(t.Reading, "text", lambda: passages(t.Reading), "passage", fusions=asks, text=labelled),
    objective(t.Relation, "text", lambda: t.Relation(DIM, labelled_rows(), null="none"), "places", "label"),
    objective(t.Replacement, "text", lambda: t.Replacement(DIM), mention=changed_mentions),
    objective(t.Retrieval, "text image", t.Retrieval, "group", fusions=features),
    objective(t.Typing, "text", lambda: t.Typing(DIM, labelled_rows()), types=typed, places=lambda: torch.tensor([[0], [2], [1]])),
    objective(
        t.VQA,
        "text image entity relation",
        lambda: t.VQA(DIM, answers(), ["pooled"], graph=graph(), points=["found"], checks=[("shown", "further")], hidden=6),
        "answer",
        "annotation",
        fusions=looked_up,
    ),
]

EXAMPLES = [*ENCODERS, *FUSIONS, *OBJECTIVES, *TASKS]
