"""Matching: which negatives are drawn, and what is scored."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kemm.batch import Batch, Stream
from kemm.fusion import Streams
from kemm.model import FusionModel
from kemm.nn import Draws, TapedDraws
from kemm.objectives import Matching, View

ROWS, DIM = 6, 4
NETWORK = FusionModel({})


def clean(seed: int = 0) -> Streams:
    """Streams whose rows can be told apart, and masks too."""
    torch.manual_seed(seed)
    lengths = torch.arange(1, ROWS + 1)
    text = Stream(torch.randn(ROWS, ROWS, DIM).double(), torch.arange(ROWS) < lengths[:, None], height=2)
    image = Stream(torch.randn(ROWS, 3, DIM).double(), torch.ones(ROWS, 3, dtype=torch.bool), height=5)
    one = {name: Stream(F.normalize(torch.randn(ROWS, 1, DIM), dim=-1), image.mask[:, :1]) for name in ("image_feature", "text_feature")}
    return {"text": text._replace(x=text.x + 1), "text_kept": text, "image": image} | one


def batch_of(groups: list[int] | None = None) -> Batch:
    batch: Batch = {"id": torch.arange(ROWS) + 10, "text": {}, "image": {}}
    return batch if groups is None else batch | {"group": torch.tensor(groups)}


def rows_of(stream: Stream, source: Stream) -> list[int]:
    return [next(i for i in range(ROWS) if torch.equal(x, source.x[i])) for x in stream.x]


@pytest.mark.parametrize("groups", [None, [1, 1, 2, 3, 3, 3]], ids=["pairs", "groups"])
def test_negatives_are_never_true_matches(groups: list[int] | None) -> None:
    streams, objective = clean(), Matching(DIM, scale=1.0)
    batch, drawn = batch_of(groups), set()
    for step in range(40):
        pairs = objective.corrupt(batch, {"main": View(batch, streams)}, Draws(batch["id"], 0, step))
        texts, images = rows_of(pairs["text"], streams["text_kept"]), rows_of(pairs["image"], streams["image"])
        assert texts[:ROWS] == images[ROWS:] == list(range(ROWS))
        for text, image in zip(texts, images, strict=True):
            assert text != image
            assert groups is None or groups[text] != groups[image]
            drawn.add((text, image))
        assert torch.equal(pairs["text"].mask, streams["text_kept"].mask[texts])
        assert (pairs["text"].height, pairs["image"].height) == (2, 5)
    barred = sum(1 for i in range(ROWS) for j in range(ROWS) if i == j or (groups is not None and groups[i] == groups[j]))
    assert len(drawn) == ROWS * ROWS - barred


def test_negatives_are_drawn_by_similarity() -> None:
    """In proportion to the softmax of the scaled similarities, the true matches left out (equation 3 and section 3.2)."""
    streams, objective = clean(1), Matching(DIM, scale=2.0)
    batch = batch_of()
    image, text = (streams[name].x[:, 0] for name in ("image_feature", "text_feature"))
    counts, steps = torch.zeros(ROWS), 1500
    for step in range(steps):
        pairs = objective.corrupt(batch, {"main": View(batch, streams)}, Draws(batch["id"], 0, step))
        first = next(i for i in range(ROWS) if torch.equal(pairs["image"].x[0], streams["image"].x[i]))
        counts[first] += 1
    weights = [math.exp(2 * float(text[0] @ image[j])) if j else 0.0 for j in range(ROWS)]
    for j in range(ROWS):
        share = weights[j] / sum(weights)
        assert float(counts[j]) / steps == pytest.approx(share, abs=4 * math.sqrt(0.25 / steps))


def test_a_row_of_matches_only_still_draws() -> None:
    streams, objective = clean(), Matching(DIM)
    batch = batch_of([1] * ROWS)
    pairs = objective.corrupt(batch, {"main": View(batch, streams)}, Draws(batch["id"]))
    assert pairs["image"].x.shape == (2 * ROWS, 3, DIM)


def test_loss() -> None:
    """Cross-entropy over the pairs and both kinds of negatives, label 1 for a match."""
    streams, objective = clean(), Matching(DIM).double()
    batch = batch_of()
    chosen = [torch.tensor([1, 2, 3, 4, 5, 0]), torch.tensor([5, 0, 1, 2, 3, 4])]
    pairs = objective.corrupt(batch, {"main": View(batch, streams)}, TapedDraws(chosen))
    assert rows_of(pairs["image"], streams["image"])[:ROWS] == chosen[0].tolist()
    assert rows_of(pairs["text"], streams["text_kept"])[ROWS:] == chosen[1].tolist()
    fused = torch.randn(2 * ROWS, 7, DIM).double()
    losses = objective({"text": Stream(fused, torch.ones(2 * ROWS, 7, dtype=torch.bool))}, pairs, NETWORK)
    expected, hits = 0.0, 0

    def score(x: Tensor, label: int) -> None:
        nonlocal expected, hits
        scores = objective.classifier(x).tolist()
        expected -= scores[label] - math.log(sum(math.exp(s) for s in scores))
        hits += scores[label] == max(scores)

    for x in streams["text"].x[:, 0]:
        score(x, 1)
    for x in fused[:, 0]:
        score(x, 0)
    assert float(losses["loss"][0].detach()) == pytest.approx(expected, abs=1e-10)
    assert float(losses["loss"][1]) == 3 * ROWS
    assert float(losses["accuracy"][0]) == hits


def test_gradients_reach_the_clean_states() -> None:
    streams, objective = clean(), Matching(DIM).double()
    streams = {name: stream._replace(x=stream.x.requires_grad_()) for name, stream in streams.items()}
    batch = batch_of()
    pairs = objective.corrupt(batch, {"main": View(batch, streams)}, Draws(batch["id"]))
    loss = objective({"text": pairs["text"]}, pairs, NETWORK)["loss"][0] + pairs["image"].x.sum()
    loss.backward()
    assert all(streams[name].x.grad is not None for name in ("text", "text_kept", "image"))
    assert all(streams[name].x.grad is None for name in ("image_feature", "text_feature"))
