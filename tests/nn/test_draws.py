"""Draws: a pure function of seed, step, name, sample and place."""

import zlib

import pytest
import torch
from torch import Tensor

from kemm.nn import Draws, TapedDraws

IDS = torch.tensor([3, 11, 2**40, 0])
WORD = 2**64


def mixed(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % WORD
    return x ^ (x >> 31)


def by_hand(sample: int, seed: int, step: int, name: str, *places: int) -> float:
    """SplitMix64's finaliser in Python's integers."""
    state = mixed((sample * 0x9E3779B97F4A7C15 + zlib.crc32(f"{seed}/{step}/{name}".encode())) % WORD)
    for place in places:
        state = mixed((state + (place + 1) * 0x9E3779B97F4A7C15) % WORD)
    return (state >> 40) * 2.0**-24


def test_is_the_hash() -> None:
    found = Draws(IDS, 5, 9).uniform("mask", 3, 2)
    assert found.shape == (4, 3, 2)
    for row, sample in enumerate(IDS.tolist()):
        for i in range(3):
            for j in range(2):
                assert float(found[row, i, j]) == by_hand(sample, 5, 9, "mask", i, j)
    assert Draws(IDS, 5, 9).uniform("mask").tolist() == [by_hand(sample, 5, 9, "mask") for sample in IDS.tolist()]


@pytest.mark.parametrize("other", [Draws(IDS, 1, 0), Draws(IDS, 0, 1), Draws(IDS + 1, 0, 0)], ids=["seed", "step", "sample"])
def test_depends_on_each_of_its_keys(other: Draws) -> None:
    assert not torch.isclose(Draws(IDS).uniform("mask", 50), other.uniform("mask", 50)).any(1).all()
    assert not torch.equal(Draws(IDS).uniform("mask", 50), other.uniform("mask", 50))
    assert not torch.equal(Draws(IDS).uniform("mask", 50), Draws(IDS).uniform("word", 50))


def test_neither_the_batch_nor_padding_nor_what_was_drawn_before_matters() -> None:
    draws = Draws(IDS, 2, 4)
    draws.uniform("something else", 7)
    whole = draws.uniform("mask", 12)
    assert torch.equal(Draws(IDS[2:3], 2, 4).uniform("mask", 12), whole[2:3])
    assert torch.equal(Draws(IDS.flip(0), 2, 4).uniform("mask", 12), whole.flip(0))
    assert torch.equal(draws.uniform("mask", 8), whole[:, :8])
    assert torch.equal(draws.uniform("mask", 8, 3)[:2, :4, :2], Draws(IDS[:2], 2, 4).uniform("mask", 4, 2))


def chi_square(counts: Tensor, expected: Tensor) -> float:
    return float(((counts - expected).square() / expected).sum())


def test_is_uniform_and_independent() -> None:
    draws = Draws(torch.arange(2000), 1)
    numbers = draws.uniform("mask", 50)
    assert bool((numbers >= 0).all()) and bool((numbers < 1).all())
    # 99.9 % of chi-square with 99 degrees of freedom is 149.
    assert chi_square(torch.histc(numbers, 100, 0, 1), torch.full((100,), 1000.0)) < 149
    for one, two in ((numbers[:-1], numbers[1:]), (numbers[:, :-1], numbers[:, 1:]), (numbers, draws.uniform("word", 50))):
        correlation = torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1]
        assert abs(float(correlation)) < 4 / one.numel() ** 0.5


def test_integers_reach_every_value_alike() -> None:
    numbers = Draws(torch.arange(1000), 3).integers("word", 7, 70)
    assert chi_square(torch.bincount(numbers.flatten(), minlength=7).double(), torch.full((7,), 10000.0).double()) < 22.5
    high = torch.tensor([[1], [3]])
    assert Draws(torch.arange(2)).integers("word", high, 99).amax(1).tolist() == [0, 2]


def test_chooses_in_proportion() -> None:
    weights = torch.tensor([0.0, 1.0, 0.0, 5.0, 2.0, 0.0])
    chosen = Draws(torch.arange(20000), 1).choose("negative", weights.expand(20000, 6))
    counts = torch.bincount(chosen, minlength=6).double()
    assert counts[weights == 0].tolist() == [0, 0, 0]
    expected = 20000 * weights[weights > 0].double() / 8
    assert chi_square(counts[weights > 0], expected) < 13.8  # 99.9 %, 2 degrees of freedom
    nothing = Draws(torch.arange(5000), 1).choose("negative", torch.zeros(5000, 5))
    assert chi_square(torch.bincount(nothing, minlength=5).double(), torch.full((5,), 1000.0).double()) < 18.5


def test_a_tape_replays() -> None:
    tape = TapedDraws([torch.tensor([0.5]), torch.tensor([2])])
    assert tape.uniform("mask", 1).tolist() == [0.5]
    assert tape.choose("negative", torch.ones(1, 3)).tolist() == [2]
    with pytest.raises(ValueError, match="the tape holds 2 draws, and 'word' of shape \\(4,\\) asks for one more"):
        tape.integers("word", 3, 4)
