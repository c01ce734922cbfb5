"""KnowBERT's knowledge attention against loops."""

import math

import pytest
import torch
from torch import Tensor

from kemm.batch import Stream
from kemm.fusion import KnowledgeAttention
from tests.fusion import loops

SPANS = torch.tensor([[[0, 1], [2, 2], [-1, -1]], [[-1, -1], [-1, -1], [-1, -1]]])
IDS = torch.tensor([[[3, 4], [5, 0], [0, 0]], [[0, 0], [0, 0], [0, 0]]])

THRESHOLDS = (None, 0.0, 50.0)


def inputs() -> tuple[dict[str, Stream], dict[str, dict[str, Tensor]]]:
    torch.manual_seed(2)
    text = Stream(torch.randn(2, 4, 6).double(), torch.ones(2, 4, dtype=torch.bool))
    candidates = Stream(torch.randn(2, 3, 2, 4).double(), IDS > 0)
    priors = torch.rand(2, 3, 2) * (IDS > 0)
    return {"text": text, "wiki": candidates}, {"wiki": {"ids": IDS, "spans": SPANS, "priors": priors}}


def make(threshold: float | None) -> KnowledgeAttention:
    fusion = loops.noisy(KnowledgeAttention(6, 4, heads=2, inner=5, span_inner=3, hidden=7, threshold=threshold, entity="wiki"))
    assert isinstance(fusion, KnowledgeAttention)
    if threshold is not None:
        fusion.linker.null.copy_(torch.randn(4))
    return fusion


def pool(fusion: KnowledgeAttention, text: list[Tensor], span: list[int]) -> Tensor:
    if span[0] < 0:
        return torch.zeros(4).double()
    inside = text[span[0] : span[1] + 1]
    weights = loops.softmax([float(loops.linear(fusion.linker.pool.score, x)) for x in inside])
    return sum((weight * x for weight, x in zip(weights, inside, strict=True)), torch.zeros(4).double())


def reference(fusion: KnowledgeAttention, row: int) -> tuple[Tensor, Tensor]:
    streams, batch = inputs()
    linker = fusion.linker
    text = [loops.linear(linker.project, x) for x in streams["text"].x[row]]
    spans = SPANS[row].tolist()
    real = [span[0] >= 0 for span in spans]
    pooled = [loops.norm(linker.span_norm, pool(fusion, text, span)) for span in spans]
    assert linker.span_encoder is not None
    mentions = loops.layer(linker.span_encoder, pooled, real)
    knowing, all_scores = [], []
    for m, mention in enumerate(mentions):
        entities = [loops.norm(linker.entity_norm, e) for e in streams["wiki"].x[row, m]]
        scores = []
        for c, entity in enumerate(entities):
            pair = torch.stack([(mention @ entity) / math.sqrt(4), batch["wiki"]["priors"][row, m, c].double()])
            hidden = loops.linear(linker.score[0], pair).clamp(min=0)
            scores.append(float(loops.linear(linker.score[2], hidden)) if IDS[row, m, c] > 0 else -1e4)
        all_scores.append(scores)
        threshold = -math.inf if linker.threshold is None else linker.threshold
        attended = [c for c, score in enumerate(scores) if score >= threshold]
        if attended:
            weights = loops.softmax([scores[c] for c in attended])
            weighted = sum((w * entities[c] for w, c in zip(weights, attended, strict=True)), torch.zeros(4).double())
        else:
            weighted = linker.null
        knowing.append(loops.norm(fusion.weighted_norm, mention + weighted))
    read = loops.attention_block(fusion.attention, text, real, knowing)
    block = fusion.feedforward
    read = [loops.norm(block.norm, x + loops.feedforward(block.feedforward, x)) for x in read]
    after = [loops.norm(fusion.norm, x + loops.linear(fusion.output, new)) for x, new in zip(streams["text"].x[row], read, strict=True)]
    return torch.stack(after), torch.tensor(all_scores).double()


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_equals_loops(threshold: float | None) -> None:
    fusion = make(threshold)
    streams, batch = inputs()
    fused = fusion(streams, batch, None)
    for row in range(2):
        text, scores = reference(fusion, row)
        torch.testing.assert_close(fused["text"].x[row], text, rtol=0, atol=1e-11)
        torch.testing.assert_close(fused["wiki_linking"].x[row, ..., 0], scores, rtol=0, atol=1e-6)
    assert torch.equal(fused["wiki_linking"].mask, IDS > 0)


def test_the_thresholds_above_leave_all_some_and_no_candidates() -> None:
    streams, batch = inputs()
    scores = make(THRESHOLDS[1])(streams, batch, None)["wiki_linking"].x[..., 0][IDS > 0]
    assert scores.min() < THRESHOLDS[1] < scores.max() < THRESHOLDS[2]


def test_padding_mentions_and_candidates_change_nothing() -> None:
    fusion = make(None)
    streams, batch = inputs()
    wider = streams | {"wiki": streams["wiki"]._replace(x=streams["wiki"].x + 9 * ~(IDS > 0)[..., None])}
    row = fusion(streams, batch, None)["text"].x[0]
    torch.testing.assert_close(fusion(wider, batch, None)["text"].x[0], row, rtol=0, atol=1e-12)


def test_the_projection_back_begins_as_the_pseudo_inverse() -> None:
    fusion = KnowledgeAttention(6, 4, heads=2, inner=5)
    product = fusion.linker.project.weight @ fusion.output.weight
    torch.testing.assert_close(product, torch.eye(4), rtol=0, atol=1e-5)
