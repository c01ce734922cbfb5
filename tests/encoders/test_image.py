"""Image encoders: any timm model by name is timm's own forward; its blocks are layers."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kemm.batch import Stream
from kemm.encoders import ConvEncoder, ImageEncoder
from kemm.encoders.image import MEAN, STD
from kemm.model import FusionModel


def pixels(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def tokens(model: nn.Module, given: Tensor) -> Tensor:
    x = model.forward_features(given)  # type: ignore[operator]
    if x.dim() == 3:
        return x
    return x.flatten(1, 2) if getattr(model, "output_fmt", "") == "NHWC" else x.flatten(2).transpose(1, 2)


MODELS: list[tuple[str, dict[str, Any], int]] = [
    ("test_vit", {}, 160),
    ("test_vit", {}, 96),  # another grid than the model's
    ("test_vit3", {}, 160),
    ("vit_tiny_patch16_224", {"img_size": 32, "depth": 2}, 32),
    ("vit_small_patch14_reg4_dinov2", {"img_size": 28, "depth": 1, "embed_dim": 48, "num_heads": 2}, 28),
    ("deit_tiny_distilled_patch16_224", {"img_size": 32, "depth": 1}, 32),
    ("vit_base_patch16_clip_224", {"img_size": 32, "depth": 1, "embed_dim": 48, "num_heads": 2}, 32),
    ("vit_base_patch16_siglip_224", {"img_size": 32, "depth": 1, "embed_dim": 48, "num_heads": 2}, 32),
    ("test_resnet", {}, 32),
    ("test_convnext", {}, 32),
    ("test_efficientnet", {}, 32),
    ("test_vit_relpos", {}, 160),
    (
        "swin_tiny_patch4_window7_224",
        {"img_size": 32, "window_size": 2, "depths": (1, 1, 1, 1), "embed_dim": 24, "num_heads": (1, 1, 1, 1)},
        32,
    ),
]


@pytest.mark.parametrize(("name", "options", "size"), MODELS, ids=[f"{name}-{size}" for name, _, size in MODELS])
def test_is_timms_forward(tmp_path: Path, name: str, options: dict[str, Any], size: int) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0, **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    save_file(model.state_dict(), tmp_path / "x.safetensors")
    encoder = ImageEncoder(name, options, weights=tmp_path / "x.safetensors")
    stream = FusionModel({"image": encoder}).eval()({"image": {"pixels": pixels(size)}})["image"]
    expected = tokens(model, pixels(size))
    torch.testing.assert_close(stream.x, expected, rtol=1e-4, atol=1e-5)
    assert stream.mask.all() and stream.mask.shape == expected.shape[:2]
    assert encoder.dim == expected.shape[-1]


def test_a_vit_has_heights_and_a_cnn_has_one() -> None:
    vit, cnn = ImageEncoder("test_vit"), ImageEncoder("test_resnet")
    assert vit.top == len(timm.create_model("test_vit").blocks) + 1 and cnn.top == 0
    assert len(list(vit.parameters())) == len(list(timm.create_model("test_vit", num_classes=0).parameters()))


@pytest.mark.parametrize("pairs", [False, True])
def test_blocks_respect_a_mask(pairs: bool) -> None:
    """Text that was joined to the image may be padded."""
    torch.manual_seed(0)
    encoder = ImageEncoder("test_vit")
    model = FusionModel({"image": encoder}, packing=False).eval().double()
    x, mask = torch.randn(2, 6, encoder.dim).double(), torch.arange(6) < torch.tensor([[6], [4]])
    shown = mask[:, None] & mask[:, :, None] if pairs else mask
    found = model({"image": Stream(x, shown)})["image"].x
    alone = model({"image": Stream(x[1:, :4], mask[1:, :4])})["image"].x
    torch.testing.assert_close(found[1:, :4], alone)
    assert found.isfinite().all()


def test_bytes_are_normalised_as_clips() -> None:
    torch.manual_seed(0)
    model = FusionModel({"image": ImageEncoder("test_resnet")}).eval()
    raw = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    ready = torch.stack([(raw[:, i] / 255 - MEAN[i]) / STD[i] for i in range(3)], 1)
    torch.testing.assert_close(model({"image": {"pixels": raw}})["image"].x, model({"image": {"pixels": ready}})["image"].x)


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(ValueError, match=r"timm has no model 'vit_bas_patch16_224'; did you mean .*vit_base_patch16_224"):
        ImageEncoder("vit_bas_patch16_224")
    with pytest.raises(ValueError, match=r"timm has no model 'qqqq'$"):
        ImageEncoder("qqqq")


def test_absent_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file of image weights"):
        ImageEncoder("test_resnet", weights=tmp_path / "absent.safetensors")


def test_the_small_cnn_halves_the_picture_at_each_width() -> None:
    torch.manual_seed(0)
    encoder = ConvEncoder((8, 16, 24))
    model = FusionModel({"image": encoder})
    stream = model({"image": {"pixels": pixels(32)}})["image"]
    assert stream.x.shape == (2, 16, 24) and encoder.dim == 24 and encoder.top == 0 and stream.mask.all()
    raw = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(
        model({"image": {"pixels": raw}})["image"].x, model({"image": {"pixels": raw.float() / 127.5 - 1}})["image"].x
    )
    whole, alone = model({"image": {"pixels": pixels()}})["image"].x, model({"image": {"pixels": pixels()[:1]}})["image"].x
    torch.testing.assert_close(whole[:1], alone)
