from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from kemm.data.augment import LUMA, Augment, Draws, neighbours, quantise, resize, uniform
from kemm.data.flags import FlagDrawer

PATH = Path(__file__).parents[2] / "data" / "atlas" / "flags.yaml"


@pytest.fixture(scope="module")
def flags() -> Tensor:
    drawer = FlagDrawer(PATH)
    return torch.stack([torch.from_numpy(np.array(drawer.draw(name, 48, 4 / 3))).permute(2, 0, 1) for name in drawer.countries[:32]])


def test_uniform_is_a_function_of_seed_and_position() -> None:
    seeds = torch.tensor([0, 1, 2, 2**40 + 1, -5, 2**62 + 3])
    numbers = uniform(seeds, 500)
    assert torch.equal(uniform(seeds.flip(0), 500).flip(0), numbers)
    assert torch.equal(uniform(seeds, 100, first=300), numbers[:, 300:400])
    assert numbers.min() >= 0 and numbers.max() < 1
    many = uniform(torch.arange(2000), 64).double()
    assert abs(many.mean().item() - 0.5) < 0.003 and abs(many.var().item() - 1 / 12) < 0.001
    across = torch.corrcoef(many.T) - torch.eye(64)
    along = (many[1:] - 0.5).mul(many[:-1] - 0.5).mean(0) * 12
    assert across.abs().max() < 0.12 and along.abs().max() < 0.1


def test_same_seed_same_picture_whatever_the_batch(flags: Tensor) -> None:
    augment, seeds = Augment(32), torch.arange(32) * 7919 + 3
    whole = augment(flags, seeds)
    assert whole.shape == (32, 3, 32, 32) and whole.dtype == torch.uint8
    assert torch.equal(augment(flags, seeds), whole)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(augment(flags[order], seeds[order]), whole[order])
    for i in range(32):
        assert torch.equal(augment(flags[i : i + 1], seeds[i : i + 1]), whole[i : i + 1])


def test_seeds_differ_and_inputs_are_left_alone(flags: Tensor) -> None:
    before = flags.clone()
    one = Augment(32)(flags[:1].expand(16, -1, -1, -1), torch.arange(16)).float()
    assert torch.equal(flags, before)
    distance = (one[:, None] - one[None]).abs().mean((2, 3, 4)) + 999 * torch.eye(16)
    assert distance.min() > 3


@pytest.mark.parametrize("strength", [0.5, 1.0, 1.5])
def test_nothing_is_mirrored_or_turned_over(strength: float) -> None:
    grid, _ = Augment(32, strength).grid(Draws(torch.arange(2000)))
    rightward, downward = grid[:, :, 1:] - grid[:, :, :-1], grid[:, 1:] - grid[:, :-1]
    area = rightward[:, 1:, :, 0] * downward[:, :, 1:, 1] - rightward[:, 1:, :, 1] * downward[:, :, 1:, 0]
    assert (area > 0).float().mean() == 1.0  # a reflection, or a fold of the cloth, has negative area
    middle = grid[:, 16, 26] - grid[:, 16, 6]
    assert (middle[:, 0] > 0).all()  # the hoist stays on the left
    assert ((grid[:, 26, 16] - grid[:, 6, 16])[:, 1] > 0).all()


def test_left_stays_left_in_pictures() -> None:
    half = torch.zeros(64, 3, 48, 64, dtype=torch.uint8)
    half[:, 0, :, :32], half[:, 2, :, 32:] = 255, 255
    out = Augment(32)(half, torch.arange(64)).float()
    left, right = out[..., 12:20, 6:14], out[..., 12:20, 18:26]
    redder = (left[:, 0] - left[:, 2]).mean((1, 2)) > (right[:, 0] - right[:, 2]).mean((1, 2))
    assert redder.float().mean() == 1.0


def test_strength_zero_is_the_plain_resize(flags: Tensor) -> None:
    assert torch.equal(Augment(32, strength=0.0)(flags, torch.arange(32)), resize(flags, 32))
    flat = torch.full((1, 3, 48, 64), 77, dtype=torch.uint8)
    assert (resize(flat, 40) == 77).all() and torch.equal(resize(flags, 40), resize(flags, 40))


def test_most_pictures_stay_like_their_flag(flags: Tensor) -> None:
    seeds = torch.arange(32)
    plain, out = resize(flags, 32).float(), Augment(32)(flags, seeds).float()
    distance = (out[:, None] - plain[None]).abs().mean((2, 3, 4))
    own, other = distance.diagonal(), distance.mean(1)
    assert (own < other).float().mean() > 0.9


def test_quantise_against_the_definition() -> None:
    x, step = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)), torch.tensor([0.1, 0.3]).view(2, 1, 1, 1)
    out = quantise(x, step)
    block = x[1, 2, 8:16, 0:8].double()
    expected = torch.zeros(8, 8, dtype=torch.float64)
    for u in range(8):
        for v in range(8):
            wave = torch.tensor(
                [[math.cos(math.pi / 8 * (i + 0.5) * u) * math.cos(math.pi / 8 * (j + 0.5) * v) for j in range(8)] for i in range(8)],
                dtype=torch.float64,
            )
            wave = wave / wave.norm()
            size = float(step[1].double()) * (0.15 + (u + v) / 14)
            expected += round(float((block * wave).sum()) / size) * size * wave
    assert torch.allclose(out[1, 2, 8:16, 0:8].double(), expected, atol=1e-6)
    assert torch.allclose(quantise(x, torch.full((2, 1, 1, 1), 1e-7)), x, atol=1e-6)


def test_neighbours_against_a_loop() -> None:
    x = torch.rand(1, 1, 3, 5)
    expected = torch.empty_like(x)
    for i in range(3):
        for j in range(5):
            expected[0, 0, i, j] = (x[0, 0, i, max(j - 1, 0)] + x[0, 0, i, min(j + 1, 4)]) / 2
    assert torch.allclose(neighbours(x, 3), expected)


def test_grey_stays_grey_under_hue_and_saturation() -> None:
    augment, grey = Augment(16), torch.full((50, 3, 16, 16), 0.5)
    draws = Draws(torch.arange(50))
    out = augment.light(grey, torch.zeros(50, 1, 16, 16), draws)
    spread = (out.amax(1) - out.amin(1)) / out.mean(1)
    assert spread.max() < 0.22  # only the colour cast, at most a tenth for each channel
    assert abs(sum(LUMA) - 1) < 1e-12


def test_speed(flags: Tensor) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        augment, batch, seeds = Augment(40), flags.repeat(4, 1, 1, 1), torch.arange(128)
        augment(batch, seeds)
        start = time.process_time()
        for _ in range(3):
            augment(batch, seeds)
        assert (time.process_time() - start) / 3 < 0.15  # about 0.03 on an idle core
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("size", "strength"), [(30, 1.0), (0, 1.0), (32, -0.1), (32, 2.0)])
def test_bad_settings(size: int, strength: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        Augment(size, strength)


def test_bad_inputs() -> None:
    augment, images = Augment(32), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"images are torch\.float32"):
        augment(images.float(), torch.arange(2))
    with pytest.raises(ValueError, match=r"expected int64 \(2,\)"):
        augment(images, torch.arange(3))
