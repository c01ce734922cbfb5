"""Entities as Experts' memory layer against loops, and a memory that survives copies, files and training."""

import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from kemm.batch import Batch
from kemm.encoders import EntityEncoder, TextEncoder
from kemm.fusion import FusionPoint, MemoryAttention
from kemm.learner import Learner
from kemm.model import FusionModel
from kemm.objectives import MaskedLM

DIM, ENTITY, ROWS, WORDS = 8, 5, 9, 20
SPANS = torch.tensor([[[0, 1], [3, 3]], [[2, 2], [-1, -1]]])


def batch() -> Batch:
    ids = torch.randint(1, WORDS, (2, 5), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(5) < torch.tensor([[5], [3]])
    return {"text": {"ids": ids, "mask": mask, "labels": ids.masked_fill(~mask, -100)}, "mention": {"spans": SPANS}}


def network(k: int = ROWS, factory: str = "Flat", seed: int = 0) -> FusionModel:
    torch.manual_seed(seed)
    made = FusionModel(
        {"text": TextEncoder(WORDS, DIM, 2, 2, 16, 8), "entity": EntityEncoder(ROWS, ENTITY)},
        [FusionPoint({"text": 1}, MemoryAttention(DIM, ROWS, ENTITY, k, factory=factory))],
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made.double().eval()


def memory(made: FusionModel) -> MemoryAttention:
    (fusion,) = made.fusions
    assert isinstance(fusion, MemoryAttention)
    return fusion


@torch.no_grad()
def by_hand(made: FusionModel, k: int) -> tuple[Tensor, dict[tuple[int, int], dict[int, float]]]:
    """The text above the memory, and each mention's scores by row."""
    fusion, given = memory(made), batch()
    text = made.climb("text", made.embed("text", given["text"]), 1).x.detach()
    table: Any = made.encoder("entity").table
    told, linked = text.clone(), {}
    for b in range(2):
        for m in range(2):
            start, end = SPANS[b, m].tolist()
            if start < 0:
                continue
            query = fusion.ask.weight @ torch.cat([text[b, start], text[b, end]]) + fusion.ask.bias
            scores = {row: float(query @ table[row]) for row in range(ROWS)}
            best = sorted(scores, key=lambda row: -scores[row])[:k]
            total = sum(math.exp(scores[row]) for row in best)
            answer = sum(math.exp(scores[row]) / total * table[row] for row in best)
            told[b, start] += (fusion.answer.weight @ answer + fusion.answer.bias).detach()
            linked[b, m] = {row: scores[row] for row in best}
    return fusion.norm(told), linked


@pytest.mark.parametrize("k", [1, 4, ROWS])
def test_is_the_equations(k: int) -> None:
    made = network(k)
    with made.trace() as record:
        streams = made(batch())
    text, linked = by_hand(made, k)
    torch.testing.assert_close(record["fusions.0.text"], text, rtol=1e-10, atol=1e-10)
    linking = streams["mention_linking"]
    assert linking.x.shape == (2, 2, k, 1) and linking.positions is not None
    for (b, m), scores in linked.items():
        assert linking.positions[b, m].tolist() == list(scores)
        assert linking.x[b, m, :, 0].tolist() == pytest.approx(list(scores.values()))
    assert linking.mask[..., 0].tolist() == [[True, True], [True, False]]


def test_with_all_rows_it_is_the_full_softmax() -> None:
    made = network(ROWS)
    fusion = memory(made)
    exact = made(batch())["text"].x
    fusion.refresh(made)
    fusion.snapshot.copy_(torch.randn(ROWS, ENTITY))  # whatever is searched: all are found
    fusion.forget()
    mask = batch()["text"]["mask"]
    torch.testing.assert_close(made(batch())["text"].x[mask], exact[mask], rtol=1e-10, atol=1e-10)


def test_two_mentions_at_one_place_both_tell() -> None:
    made, given = network(3), batch()
    given["mention"] = {"spans": torch.tensor([[[0, 1], [0, 3]], [[2, 2], [2, 2]]])}
    with made.trace() as record:
        made(given)
    text = made.climb("text", made.embed("text", given["text"]), 1).x
    assert torch.equal(record["fusions.0.text"][0, 1:], memory(made).norm(text[0, 1:]))
    assert not torch.allclose(record["fusions.0.text"][1, 2], memory(made).norm(text[1, 2]))


def test_the_snapshot_stays_until_it_is_refreshed() -> None:
    made = network(2)
    made(batch())
    fusion = memory(made)
    before = fusion.snapshot.clone()
    torch.testing.assert_close(before, made.encoder("entity").table.detach())  # type: ignore[arg-type]
    with torch.no_grad():
        made.encoder("entity").table.neg_()  # type: ignore[operator]
    stale = made(batch())["mention_linking"]
    assert torch.equal(fusion.snapshot, before)
    fusion.refresh(made)
    fresh = made(batch())["mention_linking"]
    assert not torch.equal(stale.positions, fresh.positions)  # type: ignore[arg-type]
    assert fresh.x[0, 0].max() > stale.x[0, 0].max()


def test_the_snapshot_is_part_of_the_state() -> None:
    made = network(2)
    made(batch())
    with torch.no_grad():
        made.encoder("entity").table.neg_()  # type: ignore[operator]
    expected = made(batch())["mention_linking"]
    other = network(2, seed=1)
    other(batch())  # has an index of its own by now
    other.load_state_dict(made.state_dict())
    for copy in (other, deepcopy(made)):
        found = copy(batch())["mention_linking"]
        assert torch.equal(found.positions, expected.positions) and torch.equal(found.x, expected.x)  # type: ignore[arg-type]


def test_rows_that_an_approximate_index_does_not_find_weigh_nothing() -> None:
    torch.manual_seed(0)
    made = network(ROWS, "IVF3,Flat")
    streams = made(batch())
    linking = streams["mention_linking"]
    assert (~linking.mask[0]).any(), "one of three lists was searched"
    assert not linking.x[..., 0].softmax(-1)[0][~linking.mask[0]].any()
    assert streams["text"].x[batch()["text"]["mask"]].isfinite().all()


def test_teacher_and_student_remember_their_own() -> None:
    learner = Learner(network(2), {"lm": MaskedLM(DIM, WORDS).double()}, momentum=0.5).double()
    assert learner.teacher is not None
    learner.refresh_memories()
    with torch.no_grad():
        learner.network.encoder("entity").table.neg_()  # type: ignore[operator]
    learner.refresh_memories()
    student, teacher = memory(learner.network), memory(learner.teacher["network"])  # type: ignore[arg-type]
    assert torch.equal(student.snapshot, -teacher.snapshot) and student.snapshot.any()


def test_is_skipped_without_mentions() -> None:
    made = network(2)
    assert set(made({"text": batch()["text"]})) == {"text"}
