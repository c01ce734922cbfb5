"""Hidden nodes of a word-knowledge graph: which, by what, and what they are recovered from."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kemm.batch import IGNORE, Stream
from kemm.encoders import WordGraphEncoder
from kemm.model import FusionModel
from kemm.nn import Draws
from kemm.objectives import MaskedEntity, MaskedRelation, NodeMasking

WORDS, ENTITIES, RELATIONS, DIM = 50, 40, 9, 4
COUNTS = (20, 12, 6)


def graph(rows: int, padding: int = 0) -> dict[str, Tensor]:
    """Words, entities of which every second one sees the words, relations; padded words between."""
    sizes = (COUNTS[0] + padding, COUNTS[1], COUNTS[2])
    kinds = torch.cat([torch.full((size,), kind) for kind, size in enumerate(sizes)])
    length = len(kinds)
    real = (kinds != 0) | (torch.arange(length) < COUNTS[0])
    random = torch.Generator().manual_seed(2)
    blocks = [
        torch.randint(3, high, (rows, count), generator=random) for high, count in zip((WORDS, ENTITIES, RELATIONS), COUNTS, strict=True)
    ]
    ids = torch.cat([blocks[0], torch.zeros(rows, padding, dtype=torch.long), *blocks[1:]], 1)
    mask = torch.eye(length, dtype=torch.bool) & real
    known = (kinds == 1) & (torch.arange(length) % 2 == 0)
    mask = mask | (known[:, None] & (kinds == 0) & real)
    return {"ids": ids, "kinds": kinds.expand(rows, -1), "mask": mask.expand(rows, -1, -1)}


def hide(kind: int, given: dict[str, Tensor], **arguments: Any) -> dict[str, Tensor]:
    size = (WORDS, ENTITIES, RELATIONS)[kind]
    draws = Draws(torch.arange(len(given["ids"])), 3)
    return NodeMasking(kind, 1, size, (0, 2), **arguments)({"text": given}, draws)["text"]


@pytest.mark.parametrize("kind", [0, 2])
def test_a_share_of_each_sample_is_hidden(kind: int) -> None:
    given = graph(4000)
    hidden = hide(kind, given)
    labels = hidden[("labels", "entity_labels", "relation_labels")[kind]]
    chosen = labels != IGNORE
    assert chosen.sum(1).eq(max(1, round(0.15 * COUNTS[kind]))).all()
    assert (chosen <= (given["kinds"] == kind)).all()
    assert torch.equal(labels[chosen], given["ids"][chosen])
    assert torch.equal(hidden["ids"][~chosen], given["ids"][~chosen])
    masked = (hidden["ids"][chosen] == 1).float().mean().item()
    kept = (hidden["ids"][chosen] == given["ids"][chosen]).float().mean().item()
    size = (WORDS, ENTITIES, RELATIONS)[kind]
    assert masked == pytest.approx(0.8 + 0.1 / size, abs=0.03)
    assert kept == pytest.approx(0.1 + 0.1 / size, abs=0.03)


def test_entities_of_the_text_are_all_recovered() -> None:
    given = graph(3000)
    hidden = hide(1, given)
    chosen = hidden["entity_labels"] != IGNORE
    of_text = (given["kinds"] == 1) & (given["mask"] & (given["kinds"] == 0)[:, None]).any(2)
    assert chosen[of_text].all()
    told = (given["kinds"] == 1) & ~of_text
    assert chosen[told].float().mean().item() == pytest.approx(2 / 12, abs=0.02)  # round(0.15 * 12) of 12
    # Of those of the text, 2 / 12 are hidden as others are, of the rest 80 % stay and 10 % become [MASK].
    masked = (hidden["ids"] == 1)[of_text].float().mean().item()
    assert masked == pytest.approx(0.8 * 2 / 12 + 0.1 * 10 / 12, abs=0.03)


def test_at_most_so_many_and_at_least_one() -> None:
    few = {name: tensor[:, :3] if tensor.dim() == 2 else tensor[:, :3, :3] for name, tensor in graph(5).items()}
    assert (hide(0, few)["labels"] != IGNORE).sum(1).eq(1).all()
    assert (hide(0, graph(5), rate=0.9, most=7)["labels"] != IGNORE).sum(1).eq(7).all()


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_padding_changes_no_draw(kind: int) -> None:
    name = ("labels", "entity_labels", "relation_labels")[kind]
    short, long = hide(kind, graph(6)), hide(kind, graph(6, padding=4))
    kept = torch.cat([torch.arange(COUNTS[0]), torch.arange(COUNTS[0] + 4, sum(COUNTS) + 4)])
    assert torch.equal(short["ids"], long["ids"][:, kept])
    assert torch.equal(short[name], long[name][:, kept])


def test_special_nodes_are_not_hidden() -> None:
    given = graph(50)
    given["ids"] = torch.where(torch.arange(sum(COUNTS)) % 3 == 0, 2, given["ids"])
    assert (hide(0, given, rate=0.9)["ids"] == 2)[given["ids"] == 2].all()


def network() -> FusionModel:
    torch.manual_seed(0)
    return FusionModel({"text": WordGraphEncoder(WORDS, ENTITIES, RELATIONS, DIM, 1, 2)}).double()


def test_entities_are_told_among_those_of_the_batch_and_negatives() -> None:
    counts = [0.0] * ENTITIES
    counts[5], counts[7] = 1.0, 16.0
    objective = MaskedEntity(DIM, NodeMasking(1, 1, ENTITIES), 200, counts).double()
    given = {"text": graph(4)}
    hidden = objective.corrupt(given, {}, Draws(torch.arange(4)))["text"]
    chosen = hidden["entity_labels"] != IGNORE
    assert torch.equal(hidden["candidates"][hidden["entity_labels"][chosen]], given["text"]["ids"][chosen])
    assert set(hidden["candidates"].tolist()) == {5, 7, *given["text"]["ids"][chosen].tolist()}


def test_negatives_are_as_likely_as_their_counts_say() -> None:
    objective = MaskedEntity(DIM, NodeMasking(1, 1, 4), 1, [1.0, 0.0, 16.0, 0.0])
    assert objective.shares.tolist() == pytest.approx([1 / 9, 1 / 9, 1.0, 1.0])  # 1 and 16 ** 0.75 = 8


def test_scores_are_products_with_the_table() -> None:
    model = network()
    x = torch.randn(2, 3, DIM, dtype=torch.double)
    entity, relation = MaskedEntity(DIM).double(), MaskedRelation(DIM, RELATIONS).double()
    nn.init.normal_(relation.bias)
    candidates = torch.tensor([4, 0, 9])
    embed = model.encoder("text").embed
    for b in range(2):
        for place in range(3):
            told = entity.transform(x[b, place])
            expected = [
                sum(float(a.detach() * c.detach()) for a, c in zip(told, embed.entities.weight[row], strict=True)) for row in candidates
            ]
            assert entity.logits(x, candidates, model)[b, place].tolist() == pytest.approx(expected)
            told = relation.transform(x[b, place])
            for row in range(RELATIONS):
                one = sum(float(a.detach() * c.detach()) for a, c in zip(told, embed.relations.weight[row], strict=True)) + float(
                    relation.bias[row]
                )
                assert float(relation.logits(x, model)[b, place, row]) == pytest.approx(one)


def test_only_hidden_nodes_are_counted() -> None:
    model = network()
    relation = MaskedRelation(DIM, RELATIONS).double()
    x = torch.randn(2, 3, DIM, dtype=torch.double)
    labels = torch.tensor([[IGNORE, 4, IGNORE], [1, IGNORE, IGNORE]])
    stream = Stream(x, torch.ones(2, 3, dtype=torch.bool))
    loss, count = relation({"text": stream}, {"text": {"relation_labels": labels}}, model)["loss"]
    logits = relation.logits(x, model).log_softmax(-1)
    assert float(loss) == pytest.approx(-float(logits[0, 1, 4] + logits[1, 0, 1]))
    assert int(count) == 2


def test_counts_must_fit_the_table() -> None:
    with pytest.raises(ValueError, match="counts has 3 entries, and the masking draws from 40 entities"):
        MaskedEntity(DIM, NodeMasking(1, 1, ENTITIES), 5, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="kind is 3"):
        NodeMasking(3, 1, 4)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (lambda: MaskedRelation(DIM, 8), "num_relations is 8, expected 9, the relations of model.network.encoders.text"),
        (lambda: MaskedEntity(DIM, NodeMasking(1, 0, 41)), "masking.size is 41, expected at most 40, the entities of"),
        (lambda: MaskedEntity(DIM, text="graph"), "text is 'graph', expected an input with a table of entities"),
    ],
)
def test_sizes_must_fit_the_tables(objective: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        objective().check_learner("it", network(), {})
