"""Packing: every real place once, samples apart, and the same states and gradients as padded rows."""

import random
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from kemm.encoders import TextEncoder
from kemm.fusion import Adapter, FusionPoint
from kemm.learner import Learner
from kemm.model import FusionModel
from kemm.nn import Packing, visible
from kemm.nn.packing import fit
from kemm.objectives import MaskedLM

WORDS = 50


def mask(lengths: list[int], size: int) -> Tensor:
    return torch.arange(size) < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize("seed", range(20))
def test_bins_hold_every_sample_once_and_are_not_overfull(seed: int) -> None:
    draw = random.Random(seed)
    capacity = draw.randint(1, 30)
    lengths = [draw.randint(1, capacity) for _ in range(draw.randint(1, 40))]
    row, start, bins, used = fit(lengths, capacity)
    assert set(row) == set(range(bins))
    for number in range(bins):
        held = sorted((start[i], start[i] + lengths[i]) for i in range(len(lengths)) if row[i] == number)
        assert held[0][0] == 0 and held[-1][1] <= used <= capacity
        assert all(one[1] == two[0] for one, two in pairwise(held))
    filled = sorted(sum(lengths[i] for i in range(len(lengths)) if row[i] == number) for number in range(bins))
    assert bins == 1 or filled[0] + filled[1] > capacity, "two bins would go into one"


@pytest.mark.parametrize("seed", range(10))
def test_unpacking_is_the_inverse(seed: int) -> None:
    torch.manual_seed(seed)
    real = torch.rand(9, 12) < 0.3
    real[4] = False
    packing = Packing.of(real, 4, 2.0)
    assert packing is not None
    x = torch.randn(9, 12, 3)
    # A row without a real place keeps all.
    assert torch.equal(packing.unpack(packing.pack(x)), x * visible(real)[..., None])
    assert packing.bins * packing.capacity < 9 * 12


def test_a_place_sees_its_own_sample_only() -> None:
    packing = Packing.of(mask([4, 1, 2, 1], 6), 4, 2.0)
    assert packing is not None
    sample = packing.pack(torch.arange(1, 5)[:, None].expand(4, 6))
    for row, seen in zip(sample, packing.mask, strict=True):
        for i, one in enumerate(row):
            assert seen[i].tolist() == [bool(one == two) for two in row]


def test_what_is_nearly_full_is_left_alone() -> None:
    assert Packing.of(mask([6, 6, 5], 6), 100, 0.8) is None
    assert Packing.of(mask([6, 6, 6], 9), 100, 0.8) is not None, "padding behind all rows is cut"
    assert Packing.of(mask([4, 4, 4], 6), 100, 0.66) is None, "too little is left out"


def test_rows_are_longer_where_that_is_cheaper() -> None:
    real = mask([60, 60, 60, 100], 100)
    wide, narrow = Packing.of(real, 1000, 1.0), Packing.of(real, 1, 1.0)
    assert wide is not None and (wide.bins, wide.capacity) == (1, 280), "three times the longest"
    assert narrow is None, "attention is all of the cost"


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-10)])
def test_states_and_gradients_are_those_of_padded_rows(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    real = mask([19, 3, 4, 0, 7, 2], 24)
    ids = torch.randint(1, WORDS, real.shape)
    weights = torch.randn(*real.shape, 16, dtype=dtype)
    model = FusionModel({"text": TextEncoder(WORDS, 16, 3, 4, 32, 24, dropout=0.0)}).to(dtype)
    rows: list[int] = []
    model.encoder("text").layers[0].register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    states, gradients = [], []
    for packing in (True, False):
        model.packing = packing
        model.zero_grad()
        x = model({"text": {"ids": ids, "mask": real}})["text"].x
        states.append(x[real | ~real.any(1, keepdim=True)])
        (states[-1].flatten() @ weights[real | ~real.any(1, keepdim=True)].flatten()).backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert rows == [3, 6]
    torch.testing.assert_close(*states, rtol=10 * tolerance, atol=10 * tolerance)
    torch.testing.assert_close(*gradients, rtol=100 * tolerance, atol=10 * tolerance)


def test_the_loss_is_that_of_padded_rows() -> None:
    torch.manual_seed(0)
    real = mask([9, 3, 4, 2], 16)
    ids = torch.randint(1, WORDS, real.shape)
    batch = {"text": {"ids": ids, "mask": real, "labels": ids.masked_fill(~real, -100)}}
    losses = []
    for packing in (True, False):
        torch.manual_seed(1)
        network = FusionModel({"text": TextEncoder(WORDS, 16, 3, 4, 32, 24, dropout=0.0)}, packing=packing)
        losses.append(Learner(network, {"lm": MaskedLM(16, WORDS)}).double()(batch)[0])
    torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-12)


def test_what_reads_padding_is_not_packed() -> None:
    encoder = {"text": TextEncoder(WORDS, 16, 3, 4, 32, 24)}
    assert FusionModel(encoder).packing
    assert not FusionModel(encoder, packing=False).packing
    assert not FusionModel(encoder, [FusionPoint({"text": 1}, Adapter("a", 16, 8, 1, 2))]).packing
    objective = MaskedLM(16, WORDS)
    objective.reads_padding = True
    network = FusionModel(encoder)
    Learner(network, {"lm": objective})
    assert not network.packing
