"""The embedding of a word-knowledge graph against a loop, and who sees whom in it."""

import torch

from kemm.encoders import WordGraphEncoder
from kemm.encoders.word_graph import WordGraphEmbedding
from kemm.model import FusionModel

KINDS = torch.tensor([[0, 0, 1, 1, 2], [0, 1, 1, 2, 2]])
IDS = torch.tensor([[3, 9, 6, 0, 2], [1, 5, 4, 3, 0]])
POSITIONS = torch.tensor([[0, 1, 2, 4, 3], [0, 1, 5, 2, 4]])


def batch(mask: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    mask = torch.ones(2, 5, 5, dtype=torch.bool) if mask is None else mask
    return {"ids": IDS, "kinds": KINDS, "positions": POSITIONS, "mask": mask}


def test_the_embedding_is_a_sum() -> None:
    torch.manual_seed(0)
    embed = WordGraphEmbedding(10, 7, 4, 6, 8).double()
    stream = embed(batch())  # type: ignore[arg-type]
    tables = (embed.words, embed.entities, embed.relations)
    for row in range(2):
        for place in range(5):
            kind = int(KINDS[row, place])
            x = tables[kind].weight[IDS[row, place]] + embed.positions.weight[POSITIONS[row, place]] + embed.types.weight[kind]
            assert torch.allclose(stream.x[row, place], embed.norm(x), atol=1e-12)


def test_segments_may_differ_from_kinds() -> None:
    torch.manual_seed(0)
    embed = WordGraphEmbedding(10, 7, 4, 6, 8).double()
    plain, other = embed(batch()), embed(batch() | {"types": torch.zeros_like(KINDS)})  # type: ignore[arg-type]
    assert torch.equal(plain.x[KINDS == 0], other.x[KINDS == 0])
    assert not torch.allclose(plain.x[KINDS == 1], other.x[KINDS == 1])


def test_a_node_that_is_not_seen_changes_nothing() -> None:
    torch.manual_seed(0)
    network = FusionModel({"text": WordGraphEncoder(10, 7, 4, 8, 2, 2, 16, 8)}).double().eval()
    mask = torch.eye(5, dtype=torch.bool).repeat(2, 1, 1)
    mask[:, :2, :2] = True
    given = batch(mask)
    changed = given | {"ids": torch.cat([IDS[:, :2], 3 - IDS[:, 2:].clamp(max=3)], 1)}
    one, two = (network({"text": part})["text"].x for part in (given, changed))
    assert torch.equal(one[:, :2], two[:, :2])
    assert not torch.allclose(one[0, 2], two[0, 2])


def test_entities_may_be_frozen() -> None:
    assert not WordGraphEncoder(10, 7, 4, 8, 1, 2, frozen=True).embed.entities.weight.requires_grad
