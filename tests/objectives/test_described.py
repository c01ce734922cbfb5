"""Knowledge embedding over descriptions against a loop, in all variants."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kemm.batch import Batch, Stream
from kemm.encoders import Encoder, EntityEncoder
from kemm.kg import TransE
from kemm.learner import Learner
from kemm.model import FusionModel
from kemm.objectives import DescribedLinks

B, N, D, RELATIONS = 3, 2, 4, 6
ENDS = ("head", "tail", "negative_head", "negative_tail", "relation_head", "relation_tail", "relation_text")


def learner() -> Learner:
    torch.manual_seed(0)
    network = FusionModel({"text": Encoder(nn.Identity()), "relation": EntityEncoder(RELATIONS, D)}, share=dict.fromkeys(ENDS, "text"))
    return Learner(network, {"links": DescribedLinks(TransE(2.0), 3.0)}).double()


def batch(*further: str) -> Batch:
    random = torch.Generator().manual_seed(1)
    given: Batch = {"id": torch.arange(B), "triple": {"relation": torch.tensor([1, 5, 2])}}
    for name in (*ENDS[:4], *further):
        rows = B * (N if "negative" in name else 1)
        x = torch.randn(rows, 3, D, generator=random, dtype=torch.double)
        given[name] = Stream(x, torch.ones(rows, 3, dtype=torch.bool))
    return given


def score(head: Tensor, relation: Tensor, tail: Tensor) -> float:
    return 3.0 - math.sqrt(sum(float(h + r - t) ** 2 for h, r, t in zip(head, relation, tail, strict=True)))


def log_sigmoid(x: float) -> float:
    return -math.log(1 + math.exp(-x))


@pytest.mark.parametrize("further", [(), ("relation_text",), ("relation_head", "relation_tail")], ids=["wiki", "rel", "cond"])
def test_the_loss_is_the_equation(further: tuple[str, ...]) -> None:
    model, given = learner(), batch(*further)

    def first(name: str, row: int) -> Tensor:
        return given[name].x[row, 0]

    total, better = 0.0, 0.0
    for b in range(B):
        relation = (
            first("relation_text", b)
            if "relation_text" in given
            else model.network.table("relation").detach()[given["triple"]["relation"][b]]
        )
        told_head = first("relation_head" if "relation_head" in given else "head", b)
        told_tail = first("relation_tail" if "relation_tail" in given else "tail", b)
        true = (score(told_head, relation, first("tail", b)) + score(first("head", b), relation, told_tail)) / 2
        false = [score(first("negative_head", N * b + n), relation, told_tail) for n in range(N)]
        false += [score(told_head, relation, first("negative_tail", N * b + n)) for n in range(N)]
        total += (-log_sigmoid(true) - sum(log_sigmoid(-one) for one in false) / len(false)) / 2
        better += sum(true > one for one in false) / len(false)
    loss, result = model(given)
    assert loss.item() == pytest.approx(total / B, abs=1e-12)
    assert float(result["links"]["accuracy"][0]) == pytest.approx(better)


def test_it_is_learnt() -> None:
    model = learner()
    given: Any = batch()
    free = {name: nn.Parameter(given[name].x.clone()) for name in ENDS[:4]}
    optimizer = torch.optim.Adam([*free.values(), *model.parameters()], 0.1)
    for _ in range(60):
        loss, result = model(given | {name: given[name]._replace(x=x) for name, x in free.items()})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(result["links"]["accuracy"][0]) == B
    assert loss.item() < 0.2
