"""Matching: which negatives are drawn, and what is scored."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kemm.batch import Batch, Stream
from kemm.encoders import TextEncoder
from kemm.fusion import Streams
from kemm.learner import Learner
from kemm.model import FusionModel
from kemm.nn import Draws, TapedDraws
from kemm.objectives import Contrastive, MaskedLM, Matching, MomentumContrastive, Objective, SigmoidContrastive, View

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


def view(batch: Batch, streams: Streams, contrastive: Objective | None = None, teacher: Streams | None = None) -> dict[str, View]:
    """The clean view, as a contrastive objective has scored it."""
    return {"main": View(batch, streams, teacher, {"contrastive": contrastive or Contrastive(scale=1.0)})}


class Asked(Draws):
    """Draws that tell the weights that were asked for."""

    weights: dict[str, Tensor]

    def choose(self, name: str, weights: Tensor) -> Tensor:
        self.weights = {**getattr(self, "weights", {}), name: weights}
        return super().choose(name, weights)


def batch_of(groups: list[int] | None = None) -> Batch:
    batch: Batch = {"id": torch.arange(ROWS) + 10, "text": {}, "image": {}}
    return batch if groups is None else batch | {"group": torch.tensor(groups)}


def rows_of(stream: Stream, source: Stream) -> list[int]:
    return [next(i for i in range(ROWS) if torch.equal(x, source.x[i])) for x in stream.x]


@pytest.mark.parametrize("groups", [None, [1, 1, 2, 3, 3, 3]], ids=["pairs", "groups"])
def test_negatives_are_never_true_matches(groups: list[int] | None) -> None:
    streams, objective = clean(), Matching(DIM)
    batch, drawn = batch_of(groups), set()
    for step in range(40):
        pairs = objective.corrupt(batch, view(batch, streams), Draws(batch["id"], 0, step))
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
    streams, objective = clean(1), Matching(DIM)
    batch = batch_of()
    image, text = (streams[name].x[:, 0] for name in ("image_feature", "text_feature"))
    counts, steps = torch.zeros(ROWS), 1500
    for step in range(steps):
        pairs = objective.corrupt(batch, view(batch, streams, Contrastive(scale=2.0)), Draws(batch["id"], 0, step))
        first = next(i for i in range(ROWS) if torch.equal(pairs["image"].x[0], streams["image"].x[i]))
        counts[first] += 1
    weights = [math.exp(2 * float(text[0] @ image[j])) if j else 0.0 for j in range(ROWS)]
    for j in range(ROWS):
        share = weights[j] / sum(weights)
        assert float(counts[j]) / steps == pytest.approx(share, abs=4 * math.sqrt(0.25 / steps))


@pytest.mark.parametrize("kind", ["contrastive", "sigmoid", "momentum"])
def test_similarities_are_those_of_the_contrastive_objective(kind: str) -> None:
    """With its temperature as it has been learned, and the teacher's features where it compares with those."""
    streams, taught = clean(1), clean(2)
    contrastive: Contrastive | SigmoidContrastive | MomentumContrastive
    if kind == "contrastive":
        contrastive, columns, scale = Contrastive(), streams, 3.0
        contrastive.log_scale.data.fill_(math.log(scale))
    elif kind == "sigmoid":
        contrastive, columns, scale = SigmoidContrastive(), streams, 3.0
        contrastive.log_scale.data.fill_(math.log(scale))
    else:
        contrastive, columns, scale = MomentumContrastive(dim=DIM, queue_size=ROWS), taught, 4.0
        contrastive.temperature.data.fill_(1 / scale)
    batch = batch_of([1, 1, 2, 3, 4, 5])
    draws = Asked(batch["id"])
    Matching(DIM).corrupt(batch, view(batch, streams, contrastive, taught), draws)
    for name, one, two in (("negative image", "text", "image"), ("negative text", "image", "text")):
        for i in range(ROWS):
            row = [math.exp(scale * float(streams[f"{one}_feature"].x[i, 0] @ columns[f"{two}_feature"].x[j, 0])) for j in range(ROWS)]
            expected = [0.0 if i == j or {i, j} == {0, 1} else weight / sum(row) for j, weight in enumerate(row)]
            assert draws.weights[name][i].tolist() == pytest.approx(expected, rel=1e-5)
    assert not any(weights.requires_grad for weights in draws.weights.values())


@pytest.mark.parametrize(
    "others",
    [
        {},
        {"contrastive": MaskedLM(DIM, 9)},
        {"contrastive": Contrastive(view="pairs")},
        {"contrastive": Contrastive(("image_pooled", "text_feature"))},
        {"other": Contrastive()},
    ],
)
def test_what_cannot_draw_is_refused(others: dict[str, Objective]) -> None:
    objectives = {"main": Contrastive(), "pairs": Contrastive(view="pairs"), **others, "matching": Matching(DIM)}
    text = FusionModel({"text": TextEncoder(9, DIM, 1, 1, 4, 4)})
    message = (
        r"model.objectives.matching: contrastive is 'contrastive', expected an objective that compares "
        r"\['image_feature', 'text_feature'\] in the view 'main'; there are \{'main': .*"
    )
    with pytest.raises(ValueError, match=message):
        Learner(text, objectives)
    assert Learner(text, {**objectives, "contrastive": Contrastive()})


def test_a_row_of_matches_only_still_draws() -> None:
    streams, objective = clean(), Matching(DIM)
    batch = batch_of([1] * ROWS)
    pairs = objective.corrupt(batch, view(batch, streams), Draws(batch["id"]))
    assert pairs["image"].x.shape == (2 * ROWS, 3, DIM)


def test_loss() -> None:
    """Cross-entropy over the pairs and both kinds of negatives, label 1 for a match."""
    streams, objective = clean(), Matching(DIM).double()
    batch = batch_of()
    chosen = [torch.tensor([1, 2, 3, 4, 5, 0]), torch.tensor([5, 0, 1, 2, 3, 4])]
    pairs = objective.corrupt(batch, view(batch, streams), TapedDraws(chosen))
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
    pairs = objective.corrupt(batch, view(batch, streams), Draws(batch["id"]))
    loss = objective({"text": pairs["text"]}, pairs, NETWORK)["loss"][0] + pairs["image"].x.sum()
    loss.backward()
    assert all(streams[name].x.grad is not None for name in ("text", "text_kept", "image"))
    assert all(streams[name].x.grad is None for name in ("image_feature", "text_feature"))
