"""Entities as Experts' losses against loops: which entity a mention means, and where mentions are."""

import math
from collections.abc import Iterator
from itertools import product

import pytest
import torch

from kemm.batch import IGNORE, Batch, Stream
from kemm.encoders import EntityEncoder, TextEncoder
from kemm.fusion import FusionPoint, MemoryAttention, MentionQuery
from kemm.model import FusionModel
from kemm.objectives import MentionDetection, MentionLinking
from kemm.objectives.mention_detection import BEGIN, IN, OUT, decode_tags
from kemm.tasks import Detection, ExpertLinking
from kemm.tasks.experts import spans_of

DIM, ENTITY, ROWS, WORDS = 8, 5, 9, 20
SPANS = torch.tensor([[[0, 1], [3, 3]], [[1, 2], [-1, -1]]])
GOLD = torch.tensor([[4, 0], [8, 0]])


@pytest.fixture(autouse=True)
def without_gradient() -> Iterator[None]:
    with torch.no_grad():
        yield


def network() -> FusionModel:
    torch.manual_seed(0)
    made = FusionModel(
        {"text": TextEncoder(WORDS, DIM, 2, 2, 16, 8), "expert": EntityEncoder(ROWS, ENTITY)},
        [
            FusionPoint({"text": 1}, MemoryAttention(DIM, ROWS, ENTITY, 3, entity="expert")),
            FusionPoint({"text": "top"}, MentionQuery(DIM, ENTITY, "meant")),
        ],
    )
    for parameter in made.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    return made.double().eval()


def batch() -> Batch:
    ids = torch.randint(1, WORDS, (2, 5), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    candidates = torch.tensor([[[4, 2], [1, 0]], [[3, 0], [0, 0]]])
    priors = (candidates > 0) / (candidates > 0).sum(-1, keepdim=True).clamp(min=1)
    mention = {"spans": SPANS, "gold": GOLD, "ids": candidates, "priors": priors}
    return {"id": torch.tensor([5, 6]), "text": {"ids": ids * mask, "mask": mask}, "mention": mention}


def test_the_query_is_the_projection_of_both_ends() -> None:
    made = network()
    streams = made(batch())
    projection = made.fusions[1].project  # type: ignore[union-attr]
    for b, m in ((0, 0), (0, 1), (1, 0)):
        start, end = SPANS[b, m].tolist()
        expected = projection.weight @ torch.cat([streams["text"].x[b, start], streams["text"].x[b, end]]) + projection.bias  # type: ignore
        torch.testing.assert_close(streams["meant"].x[b, m], expected, rtol=1e-10, atol=1e-10)
    assert streams["meant"].mask.tolist() == streams["mention_query"].mask.tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize("stream", ["mention_query", "meant"])
def test_linking_is_the_likelihood_among_all_entities(stream: str) -> None:
    made = network()
    streams = made(batch())
    table = made.table("expert")
    total = 0.0
    for b, m in ((0, 0), (1, 0)):
        scores = [float(streams[stream].x[b, m] @ table[row]) for row in range(1, ROWS)]
        total -= scores[int(GOLD[b, m]) - 1] - math.log(sum(map(math.exp, scores)))
    loss, count = MentionLinking(stream, "expert")(streams, batch(), made)["loss"]
    assert float(loss) == pytest.approx(total, abs=1e-10)
    assert int(count) == 2


def test_the_supervised_access_is_the_memorys_own() -> None:
    """The memory's scores of the rows that it finds are the objective's scores of these rows."""
    made = network()
    streams = made(batch())
    linking = streams["mention_linking"]
    assert linking.positions is not None
    scores = MentionLinking("mention_query", "expert").logits(streams["mention_query"].x, made)
    found = linking.positions > 0  # the memory may find row 0, which nothing is
    torch.testing.assert_close(scores.gather(-1, linking.positions)[found], linking.x[..., 0][found])
    assert (scores[..., 0] == -math.inf).all()


def test_experts_link_among_candidates_and_among_all() -> None:
    made = network()
    task, streams = ExpertLinking("meant", "expert"), made(batch())
    rows = task.predict(streams, batch(), made)
    assert [row["id"] for row in rows] == ["5/0", "6/0"]
    for row, (b, m) in zip(rows, ((0, 0), (1, 0)), strict=True):
        scores = {entity: float(streams["meant"].x[b, m] @ made.table("expert")[entity]) for entity in range(1, ROWS)}
        assert row["among_all"] == max(scores, key=lambda entity: scores[entity])
        candidates = [entity for entity in batch()["mention"]["ids"][b, m].tolist() if entity]
        assert row["entity"] == max(candidates, key=lambda entity: scores[entity])
    scored = task.evaluate([{**row, "among_all": row["gold"]} for row in rows])
    assert scored["accuracy/among_all"].estimate == 1.0  # type: ignore[union-attr]
    assert scored["mentions"] == 2


def test_tags_and_their_loss() -> None:
    torch.manual_seed(1)
    objective, x = MentionDetection(DIM).double().eval(), torch.randn(2, 5, DIM).double()
    tags = [[BEGIN, IN, OUT, BEGIN, OUT], [OUT, BEGIN, IN, IGNORE, IGNORE]]
    assert objective.tags(batch()).tolist() == tags
    total = 0.0
    for row, column in product(range(2), range(5)):
        if tags[row][column] != IGNORE:
            scores = (objective.classifier.weight @ x[row, column] + objective.classifier.bias).tolist()
            total -= scores[tags[row][column]] - math.log(sum(map(math.exp, scores)))
    loss, count = objective({"text": Stream(x, batch()["text"]["mask"])}, batch(), None)["loss"]
    assert float(loss) == pytest.approx(total, abs=1e-10)
    assert int(count) == 8


def test_decoding_is_the_best_of_all_sequences_that_are_spans() -> None:
    torch.manual_seed(2)
    scores = torch.randn(20, 5, 3).log_softmax(-1)
    scores[:10, :, IN] += 2  # most unconstrained choices would be wrong
    lengths = [5, 1, 3, 4] * 5
    found = decode_tags(scores, torch.arange(5) < torch.tensor(lengths)[:, None]).tolist()
    for row, length in enumerate(lengths):
        sequences = [
            tags
            for tags in product(range(3), repeat=length)
            if all(tag != IN or (place and tags[place - 1] != OUT) for place, tag in enumerate(tags))
        ]
        best = max(sequences, key=lambda tags: sum(float(scores[row, place, tag]) for place, tag in enumerate(tags)))
        assert found[row] == [*best, *[OUT] * (5 - length)]


def test_spans_of_tags() -> None:
    assert spans_of([OUT, BEGIN, IN, BEGIN, OUT, BEGIN]) == [[1, 2], [3, 3], [5, 5]]
    assert spans_of([OUT, OUT]) == []


def test_detection_is_scored_by_spans() -> None:
    torch.manual_seed(1)
    task, x = Detection(DIM).eval(), torch.randn(2, 5, DIM)
    rows = task.predict({"text": Stream(x, batch()["text"]["mask"])}, batch(), network())
    assert [row["gold"] for row in rows] == [[[0, 1], [3, 3]], [[1, 2]]]
    predicted = [[[0, 1], [2, 3]], [[1, 2]]]
    scores = task.evaluate([{**row, "mentions": spans} for row, spans in zip(rows, predicted, strict=True)])
    assert scores["precision"] == scores["recall"] == scores["f1"].estimate == pytest.approx(2 / 3)  # type: ignore[union-attr]
