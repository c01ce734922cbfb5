"""LUKE's entity-aware layer against loops over single scores, and beside BERT's layer."""

import math

import torch
from torch import Tensor

from kemm.batch import Stream
from kemm.encoders import MentionEncoder, TextEncoder
from kemm.fusion import Concat, EntityAwareLayer, FusionPoint, Split
from kemm.model import FusionModel
from kemm.nn import PostNormLayer
from tests.fusion import loops

TEXT = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
ENTITY = torch.tensor([[1, 1, 0], [0, 0, 0]], dtype=torch.bool)


def streams() -> dict[str, Stream]:
    torch.manual_seed(1)
    return {"text": Stream(torch.randn(2, 4, 6).double(), TEXT), "mention": Stream(torch.randn(2, 3, 6).double(), ENTITY)}


def reference(layer: EntityAwareLayer, words: list[Tensor], entities: list[Tensor], real: list[bool]) -> list[Tensor]:
    """One sample: who asks whom chooses the query (section 3.2)."""
    attention, states = layer.attention, words + entities
    keys, values = [loops.linear(attention.key, x) for x in states], [loops.linear(attention.value, x) for x in states]
    width = len(keys[0]) // attention.heads
    rows = []
    for i, x in enumerate(states):
        about = [attention.query, attention.w2e_query] if i < len(words) else [attention.e2w_query, attention.e2e_query]
        queries = [loops.linear(query, x) for query in about]
        parts = []
        for h in range(attention.heads):
            own = slice(h * width, (h + 1) * width)
            seen = [j for j in range(len(states)) if real[j]]
            scores = [float(queries[int(j >= len(words))][own] @ keys[j][own]) / math.sqrt(width) for j in seen]
            parts.append(sum(weight * values[j][own] for weight, j in zip(loops.softmax(scores), seen, strict=True)))
        attended = loops.norm(layer.norm, x + loops.linear(attention.output, torch.cat(parts)))  # type: ignore[arg-type]
        rows.append(loops.norm(layer.feedforward.norm, attended + loops.feedforward(layer.feedforward.feedforward, attended)))
    return rows


def noisy() -> EntityAwareLayer:
    layer = loops.noisy(EntityAwareLayer(6, 2, 5, dropout=0.1))
    assert isinstance(layer, EntityAwareLayer)
    return layer


def test_equals_loops() -> None:
    layer, given = noisy(), streams()
    found = layer(given, {}, None)  # type: ignore[arg-type]
    for b in range(2):
        real = TEXT[b].tolist() + ENTITY[b].tolist()
        expected = torch.stack(reference(layer, list(given["text"].x[b]), list(given["mention"].x[b]), real))
        torch.testing.assert_close(found["text"].x[b], expected[:4], rtol=0, atol=1e-12)
        torch.testing.assert_close(found["mention"].x[b], expected[4:], rtol=0, atol=1e-12)


def test_without_entities_the_words_are_on_their_own() -> None:
    layer, given = noisy(), streams()
    alone = layer({"text": given["text"]}, {}, None)  # type: ignore[arg-type]
    assert alone.keys() == {"text"}
    none = given["mention"]._replace(mask=torch.zeros_like(ENTITY))
    beside = layer(given | {"mention": none}, {}, None)  # type: ignore[arg-type]
    torch.testing.assert_close(alone["text"].x, beside["text"].x, rtol=0, atol=1e-12)
    alone["text"].x.sum().backward()
    assert all(query.weight.grad is None for query in (layer.attention.w2e_query, layer.attention.e2w_query, layer.attention.e2e_query))


def test_equal_queries_are_the_texts_own_layers_over_both() -> None:
    layer, given = noisy(), streams()
    with torch.no_grad():
        for query in (layer.attention.w2e_query, layer.attention.e2w_query, layer.attention.e2e_query):
            query.load_state_dict(layer.attention.query.state_dict())
    plain = PostNormLayer(6, 2, 5).double().eval()
    names = {"attention.attention": layer.attention, "attention.norm": layer.norm, "feedforward": layer.feedforward}
    plain.load_state_dict(
        {f"{name}.{key}": x for name, part in names.items() for key, x in part.state_dict().items() if key[:3] not in ("w2e", "e2w", "e2e")}
    )
    text = TextEncoder(9, 6, 0, 2, 5, 8)
    text.layers.append(plain)
    join = FusionPoint({"text": 0, "mention": 0}, Concat(["text", "mention"], "text"))
    part = FusionPoint({"text": 1, "mention": 0}, Split("text", ["text", "mention"]))
    joined = FusionModel({"text": text, "mention": MentionEncoder(9, 6, 6, 8)}, [join, part])(dict(given))
    found = layer(given, {}, None)  # type: ignore[arg-type]
    for name, mask in (("text", TEXT), ("mention", ENTITY)):
        torch.testing.assert_close(joined[name].x[mask], found[name].x[mask], rtol=0, atol=1e-12)


def test_probabilities_are_traced() -> None:
    layer, given = noisy(), streams()
    model = FusionModel({"text": TextEncoder(9, 6, 0, 2, 5, 8), "mention": MentionEncoder(9, 6, 6, 8)}, [FusionPoint({"text": 0}, layer)])
    with model.trace(attention=True) as record:
        model(dict(given))
    weights = record["fusions.0.attention"]
    assert weights.shape == (2, 2, 7, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 7).double())
    assert not weights[1, :, :, 2:].any()
