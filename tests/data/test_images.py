"""Pictures of any mode, cut off, turned or made to harm: the right picture or a clear error, never a crash."""

import random
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torch import Tensor

from kemm.data.images import ImageFiles, read_image

RED, GREEN = (200, 30, 40), (20, 180, 60)


def picture(width: int = 6, height: int = 4) -> Image.Image:
    """The left half red, the right half green."""
    pixels = np.full((height, width, 3), RED, dtype=np.uint8)
    pixels[:, width // 2 :] = GREEN
    return Image.fromarray(pixels)


def left_right(found: Tensor) -> tuple[list[int], list[int]]:
    return found[:, 0, 0].tolist(), found[:, -1, -1].tolist()


def near(one: list[int], two: tuple[int, ...], tolerance: int = 3) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(one, two, strict=True))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, data: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "YCbCr", "LAB", "HSV"])
@pytest.mark.parametrize("extension", ["png", "tiff", "jpg", "bmp", "webp", "gif"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, extension: str) -> None:
    path = tmp_path / f"x.{extension}"
    if mode == "P":
        made = picture().quantize(4)
    elif mode != "LAB":
        made = picture().convert(mode)
    else:
        transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        made = ImageCms.applyTransform(picture(), transform)
    try:
        made.save(path, lossless=True) if extension == "webp" else made.save(path, quality=100) if extension == "jpg" else made.save(path)
    except (OSError, ValueError):
        return  # the format has no such mode
    found = read_image(path)
    assert found.shape == (3, 4, 6) and found.dtype == torch.uint8
    tolerance = 25 if extension == "jpg" else 12 if mode == "LAB" else 6
    left, right = left_right(found)
    assert near(left, RED, tolerance) and near(right, GREEN, tolerance)


def test_grey_of_one_eight_and_sixteen_bits(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    for made, expected in (
        (Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1"), [0, 255]),
        (Image.fromarray(np.array([[7, 250]], np.uint8)), [7, 250]),
        (Image.fromarray(np.array([[0, 65535]], np.uint16)), [0, 255]),
        (Image.fromarray(np.array([[128 * 256, 20 * 256]], np.uint16)), [128, 20]),
    ):
        made.save(path)
        assert read_image(path).tolist() == [[expected]] * 3
    Image.fromarray(np.array([[0, 40000, 65535]], np.int32)).save(tmp_path / "x.tiff")
    assert read_image(tmp_path / "x.tiff")[0].tolist() == [[0, 156, 255]]


@pytest.mark.parametrize(("background", "expected"), [(255, [228, 142, 148]), (0, [100, 15, 20])])
def test_transparency_shows_the_background(tmp_path: Path, background: int, expected: list[int]) -> None:
    path = tmp_path / "x.png"
    half = picture()
    half.putalpha(128)
    half.save(path)
    assert near(left_right(read_image(path, background))[0], tuple(expected), 2)
    Image.new("LA", (2, 2), (0, 0)).save(path)
    assert read_image(path, background).unique().tolist() == [background]
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([9, 9, 9, *RED])
    palette.save(path, transparency=0)
    assert read_image(path, background).unique().tolist() == [background]


def upright() -> Image.Image:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10
    return Image.fromarray(pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_camera_is_turned_back(tmp_path: Path, orientation: int) -> None:
    """EXIF 2.3: what has to be done to what is stored, and so its inverse to store."""
    path, undo = tmp_path / "x.png", Image.Transpose
    stored = {
        1: None,
        2: undo.FLIP_LEFT_RIGHT,
        3: undo.ROTATE_180,
        4: undo.FLIP_TOP_BOTTOM,
        5: undo.TRANSPOSE,
        6: undo.ROTATE_90,
        7: undo.TRANSVERSE,
        8: undo.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    (upright() if stored is None else upright().transpose(stored)).save(path, exif=exif)
    assert torch.equal(read_image(path), torch.from_numpy(np.array(upright())).permute(2, 0, 1))


def test_one_pixel(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    Image.new("RGB", (1, 1), RED).save(path, quality=100)
    assert near(read_image(path).flatten().tolist(), RED)
    assert ImageFiles(tmp_path, 8).batch([1], 0).shape == (1, 3, 8, 8)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("extension", ["png", "jpg", "gif", "webp", "bmp", "tiff"])
def test_what_is_cut_off_is_an_error(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"x.{extension}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    content = path.read_bytes()
    for size in (0, 1, 10, 30, len(content) // 2, len(content) * 9 // 10):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="cannot be decoded as an image") as raised:
            read_image(path)
        assert str(path) in str(raised.value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("extension", ["png", "jpg", "gif", "webp", "bmp", "tiff"])
def test_damage_never_crashes(tmp_path: Path, extension: str) -> None:
    path, draw = tmp_path / f"x.{extension}", random.Random(0)
    picture(20, 20).save(path)
    content = path.read_bytes()
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 8)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path.write_bytes(damaged)
        with suppress(ValueError):
            assert read_image(path).shape[0] == 3


@pytest.mark.filterwarnings("error")
def test_what_pil_warns_of_is_told_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.tiff"
    picture(20, 20).save(path)
    content, entry = path.read_bytes(), struct.pack("<HHI", 262, 3, 1)  # how pixels are meant: a tag, one number of 16 bits
    assert content.count(entry) == 1
    path.write_bytes(content.replace(entry, struct.pack("<HHI", 262, 3, 10**6)))
    with pytest.raises(ValueError, match=r"x\.tiff: .*\(.*Tag data larger than file\. Skipping tag 262.*\)$"):
        read_image(path)
    path.write_bytes(content.replace(entry, struct.pack("<HHI", 263, 3, 10**6)))
    with pytest.raises(ValueError, match=r"x\.tiff: .*\(.*Tag data larger than file\. Skipping tag 263.*\)$"):
        read_image(path)


@pytest.mark.filterwarnings("error")
def test_damaged_metadata_do_not_spoil_a_picture(tmp_path: Path) -> None:
    """Cameras' EXIF is often broken, and the pixels are good."""
    path = tmp_path / "x.jpg"
    exif = Image.Exif()
    exif[0x010E] = "a long description of what is seen"
    picture(20, 20).save(path, exif=exif.tobytes()[:-20], quality=100)
    with pytest.warns(UserWarning, match=r"Truncated File Read"), Image.open(path) as opened:
        opened.getexif()
    left, right = left_right(read_image(path))
    assert near(left, RED, 25) and near(right, GREEN, 25)


def test_data_shorter_than_the_picture_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    rows = b"".join(b"\x00" + bytes(RED) * 5 for _ in range(4))
    path.write_bytes(png(5, 4, rows))
    assert near(left_right(read_image(path))[0], RED, 0)
    for short in (rows[:20], b""):
        path.write_bytes(png(5, 4, short))
        with pytest.raises(ValueError, match="cannot be decoded as an image"):
            read_image(path)


def test_a_bomb_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(60000, 60000, b"\x00"))
    with pytest.raises(ValueError, match=r"more than the 50000000 that are decoded|decompression bomb"):
        read_image(path)
    path.write_bytes(png(10000, 6000, b"\x00"))
    with pytest.raises(ValueError, match="10000 x 6000 pixels, more than the 50000000 that are decoded"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"no image", b"<svg/>", b"%PDF-1.4", b"GIF89a"])
def test_what_is_no_image_is_an_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be decoded as an image"):
        read_image(path)
    with pytest.raises(FileNotFoundError, match="no such image"):
        read_image(tmp_path / "absent.png")
    with pytest.raises((ValueError, FileNotFoundError), match=str(tmp_path)):
        read_image(tmp_path)


def test_files_are_named_by_a_pattern_or_a_list(tmp_path: Path) -> None:
    picture().save(tmp_path / "COCO_000000000042.png")
    (tmp_path / "names.txt").write_text("absent.png\nCOCO_000000000042.png\n")
    by_pattern = ImageFiles(tmp_path, 8, "COCO_{id:012d}.png")
    by_name = ImageFiles(tmp_path, 8, names=tmp_path / "names.txt")
    assert torch.equal(by_pattern.batch([42], -1), by_name.batch([1], 5))
    assert by_pattern.batch([42, 42], 0).dtype == torch.uint8
    with pytest.raises(FileNotFoundError, match=r"COCO_000000000007.png: no such image"):
        by_pattern.batch([7], 0)
    with pytest.raises(ValueError, match=r"names.txt: .*image 5.*2"):
        by_name.batch([5], 0)
    with pytest.raises(FileNotFoundError, match="no such folder of images"):
        ImageFiles(tmp_path / "absent")
