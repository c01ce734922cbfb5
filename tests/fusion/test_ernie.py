"""ERNIE's aggregators against loops."""

import pytest
import torch
from torch import Tensor

from kemm.batch import Stream
from kemm.encoders import EntityEncoder, TextEncoder
from kemm.fusion import EntityAggregator, EntityMix, FusionPoint
from kemm.model import FusionModel
from tests.fusion import loops

TEXT = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]], dtype=torch.bool)
ENTITY = torch.tensor([[1, 0, 1, 0], [1, 1, 0, 0]], dtype=torch.bool)


def streams() -> dict[str, Stream]:
    torch.manual_seed(1)
    return {"text": Stream(torch.randn(2, 4, 6).double(), TEXT), "entity": Stream(torch.randn(2, 4, 4).double(), ENTITY)}


def reference(fusion: EntityMix, text: list[Tensor], entity: list[Tensor], row: int) -> tuple[list[Tensor], list[Tensor]]:
    text_mask, entity_mask = TEXT[row].tolist(), ENTITY[row].tolist()
    words = loops.attention_block(fusion.attention, text, text_mask)
    if isinstance(fusion, EntityAggregator):
        entity = loops.attention_block(fusion.entity_attention, entity, entity_mask)
    entity = [e if real else torch.zeros_like(e) for e, real in zip(entity, entity_mask, strict=True)]
    fuse = fusion.fuse
    new_words, new_entities = [], []
    for w, e in zip(words, entity, strict=True):
        h = loops.gelu(loops.linear(fuse.up, w) + loops.linear(fuse.entity_up, e))
        new_words.append(loops.norm(fuse.norm, w + loops.linear(fuse.down, h)))
        new_entities.append(loops.norm(fuse.entity_norm, e + loops.linear(fuse.entity_down, h)))
    return new_words, new_entities


@pytest.mark.parametrize("kind", [EntityMix, EntityAggregator])
def test_equals_loops(kind: type[EntityMix]) -> None:
    heads = {"entity_heads": 2} if kind is EntityAggregator else {}
    fusion = loops.noisy(kind(6, 4, heads=2, inner=5, **heads))
    assert isinstance(fusion, EntityMix)
    given = streams()
    fused = fusion(given, {}, None)
    for row in range(2):
        words, entities = reference(fusion, list(given["text"].x[row]), list(given["entity"].x[row]), row)
        torch.testing.assert_close(fused["text"].x[row], torch.stack(words), rtol=0, atol=1e-12)
        torch.testing.assert_close(fused["entity"].x[row], torch.stack(entities), rtol=0, atol=1e-12)


def test_vectors_of_unlinked_places_are_not_read() -> None:
    fusion = loops.noisy(EntityAggregator(6, 4, heads=2, entity_heads=2, inner=5))
    given = streams()
    other = given["entity"]._replace(x=given["entity"].x + 7 * ~ENTITY[..., None])
    fused, again = fusion(given, {}, None), fusion(given | {"entity": other}, {}, None)
    torch.testing.assert_close(fused["text"].x, again["text"].x, rtol=0, atol=0)


def test_a_text_without_entities_is_no_plain_layer() -> None:
    fusion = loops.noisy(EntityMix(6, 4, heads=2, inner=5))
    given = streams()
    with torch.no_grad():
        before = fusion({**given, "entity": given["entity"]._replace(mask=torch.zeros_like(ENTITY))}, {}, None)["text"].x
        fusion.fuse.entity_up.bias += 1
        after = fusion({**given, "entity": given["entity"]._replace(mask=torch.zeros_like(ENTITY))}, {}, None)["text"].x
    assert (before - after).abs().max() > 1e-3


def test_a_batch_without_entities_runs_the_text_layers_alone() -> None:
    encoders = {"text": TextEncoder(9, 6, depth=2, heads=2), "entity": EntityEncoder(5, 4)}
    network = FusionModel(encoders, [FusionPoint({"text": 1, "entity": 0}, EntityMix(6, 4, heads=2))]).eval()
    text = {"ids": torch.tensor([[1, 2, 3]]), "mask": torch.ones(1, 3, dtype=torch.bool)}
    alone = FusionModel({"text": encoders["text"]}).eval()
    torch.testing.assert_close(network({"text": text})["text"].x, alone({"text": text})["text"].x)
    entity = {"ids": torch.tensor([[0, 3, 0]])}
    both = network({"text": text, "entity": entity})
    assert both.keys() == {"text", "entity"}
    assert (both["text"].x - alone({"text": text})["text"].x).abs().max() > 1e-3
