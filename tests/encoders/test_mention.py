"""LUKE's entity embedding against loops."""

from typing import Any

import pytest
import torch

from kemm.encoders import MentionEncoder
from kemm.model import FusionModel
from tests.fusion import loops

IDS = torch.tensor([[4, 2, 0], [7, 0, 0]])
POSITIONS = torch.tensor([[[0, 1, -1], [5, 2, 3], [-1, -1, -1]], [[-1, -1, -1], [-1, -1, -1], [-1, -1, -1]]])
TYPES = torch.tensor([[0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(("entity_dim", "types"), [(4, 2), (6, 2), (4, 0)])
def test_equals_loops(entity_dim: int, types: int) -> None:
    encoder = MentionEncoder(9, 6, entity_dim, 8, types, 0.1)
    loops.noisy(encoder)
    given = {"ids": IDS, "positions": POSITIONS, "types": TYPES}
    stream = FusionModel({"mention": encoder})({"mention": given})["mention"]
    assert torch.equal(stream.mask, IDS > 0)
    embed: Any = encoder.embed
    for b in range(2):
        for e in range(3):
            vector = embed.table.weight[IDS[b, e]].detach()
            x = vector if entity_dim == 6 else loops.linear(embed.project, vector)
            places = [embed.positions.weight[p].detach() for p in POSITIONS[b, e].tolist() if p >= 0]
            if places:
                x = x + sum(places) / len(places)
            if types:
                x = x + embed.types.weight[TYPES[b, e]].detach()
            torch.testing.assert_close(stream.x[b, e].detach(), loops.norm(embed.norm, x), rtol=0, atol=1e-12)


def test_no_entity_has_no_gradient_and_a_mask_may_be_given() -> None:
    encoder = MentionEncoder(9, 6, 4, 8)
    assert not encoder.table[0].any()
    mask = torch.tensor([[True, False, True], [True, True, False]])
    stream = FusionModel({"mention": encoder})({"mention": {"ids": IDS, "positions": POSITIONS, "mask": mask}})["mention"]
    assert torch.equal(stream.mask, mask)
    stream.x.square().sum().backward()
    embed: Any = encoder.embed
    assert not embed.table.weight.grad[0].any()
