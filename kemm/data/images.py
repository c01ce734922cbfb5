"""Where images come from: a folder of files, or drawings of flags. All give uint8 batches of one size."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from kemm.data.augment import Augment, resize
from kemm.data.flags import FlagDrawer
from kemm.rows import RowError, require_file

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
"""What is decoded; PIL hands some of its other formats to outside programs."""
MAX_PIXELS = 50_000_000
"""More is refused as a decompression bomb."""


class Images:
    """Images by id.

    Args:
        size: Side of the square pictures that the model gets.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def batch(self, ids: Sequence[int], epoch: int) -> Tensor:
        """Pictures (B, 3, size, size) uint8.

        Args:
            ids: Image ids.
            epoch: Keys augmentation; `EVALUATION` for none of it.
        """
        raise NotImplementedError

    def label(self, image_id: int) -> str:
        """What the picture shows, as an entity id, or "" where nothing is known."""
        return ""

    def check(self, image_id: int, decode: bool) -> None:
        """Refuses what `batch` would fail on, so that a source may skip it.

        Args:
            image_id: Image id.
            decode: Whether the picture is decoded too: all faults are found, which takes as long as reading all pictures once.

        Raises:
            RowError: There is no such picture, or it cannot be decoded.
        """


class DrawnFlags(Images):
    """Drawings of countries' flags, each with an augmentation of its own: image id = 1000 * (place of the country) + variant.

    In evaluation a picture is a function of its id; in training each epoch draws it anew.

    Args:
        specification: File of the flags.
        size: Side of the square pictures.
        height: Height of the drawings before augmentation, in pixels.
        strength: Of the augmentation; 0 for none.
        blank: Whether every picture is grey: the control without images.
    """

    def __init__(self, specification: Path, size: int = 32, height: int = 48, strength: float = 1.0, blank: bool = False) -> None:
        super().__init__(size)
        self.drawer = FlagDrawer(specification)
        self.height, self.blank = height, blank
        self.augment = Augment(size, strength) if strength > 0 else None
        self.drawings: Tensor | None = None

    def batch(self, ids: Sequence[int], epoch: int) -> Tensor:
        if self.blank:
            return torch.full((len(ids), 3, self.size, self.size), 128, dtype=torch.uint8)
        if self.drawings is None:
            self.drawings = torch.stack([self._draw(country) for country in self.drawer.countries])
        for image_id in ids:
            self.check(image_id, decode=False)
        drawn = self.drawings[torch.tensor(ids) // 1000]
        if self.augment is None:
            return resize(drawn, self.size)
        # Far apart for different epochs, and never an evaluation's seed.
        seeds = torch.tensor(ids) + (epoch + 1) * 10_000_019
        return self.augment(drawn, seeds)

    def _draw(self, country: str) -> Tensor:
        # One aspect for all, so that drawings stack; the augmentation varies it.
        picture = self.drawer.draw(country, self.height, 1.5)
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1)

    def check(self, image_id: int, decode: bool) -> None:
        last = len(self.drawer.flags) - 1
        if not 0 <= image_id // 1000 <= last:
            raise RowError("image", f"image id {image_id}: there are flags 0 to {last}, and an id is 1000 * flag + variant")

    def label(self, image_id: int) -> str:
        return self.drawer.countries[image_id // 1000]


class ImageFiles(Images):
    """Files of a folder, decoded by PIL (torchvision's PNG decoder can crash the process on a damaged file).

    Args:
        folder: The folder.
        size: Side of the square pictures.
        pattern: Name of an image's file, with `{id}` or a format of it (`COCO_val2014_{id:012d}.jpg`).
        names: Image id -> name instead, one name a line, counted from 0.
        background: Grey level behind transparent places.
    """

    def __init__(self, folder: Path, size: int = 224, pattern: str = "{id}.jpg", names: Path | None = None, background: int = 255) -> None:
        super().__init__(size)
        self.folder, self.pattern, self.background = Path(folder), pattern, background
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder of images")
        try:
            pattern.format(id=0)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ValueError(f"pattern is {pattern!r}, expected the name of a file with {{id}} ({error!r})") from None
        self.listed = names
        self.names = _lines(names, "names of images, one a line") if names else None
        self.checked: dict[tuple[int, bool], str] = {}

    def batch(self, ids: Sequence[int], epoch: int) -> Tensor:
        return torch.cat([resize(self.read(image_id)[None], self.size) for image_id in ids])

    def path(self, image_id: int) -> Path:
        """The file of an image."""
        if self.names is None:
            return self.folder / self.pattern.format(id=image_id)
        if not 0 <= image_id < len(self.names):
            raise ValueError(f"{self.listed}: there is no image {image_id}, the file names {len(self.names)}")
        return self.folder / self.names[image_id]

    def check(self, image_id: int, decode: bool) -> None:
        if (image_id, decode) not in self.checked:
            self.checked[image_id, decode] = self._fault(image_id, decode)
        if self.checked[image_id, decode]:
            raise RowError("image", self.checked[image_id, decode])

    def _fault(self, image_id: int, decode: bool) -> str:
        try:
            path = self.path(image_id)
            if decode:
                read_image(path, self.background)
            else:
                require_file(path, f"the image {image_id}")
        except (FileNotFoundError, ValueError) as error:
            return str(error)
        return ""

    def read(self, image_id: int) -> Tensor:
        """One image (3, h, w) uint8 as it is."""
        return read_image(self.path(image_id), self.background)


class FlagFiles(ImageFiles):
    """Files of flags instead of drawings, under the same image ids: 1000 * (place of the country) + variant.

    Args:
        folder: The folder, with a file for each country.
        codes: Lines `country id<TAB>code`, in the order of the drawings.
        size: Side of the square pictures.
        pattern: Name of a country's file, with `{id}` for its code.
        background: Grey level behind transparent places.
    """

    def __init__(self, folder: Path, codes: Path, size: int = 32, pattern: str = "{id}.png", background: int = 255) -> None:
        super().__init__(folder, size, pattern, background=background)
        self.listed, self.codes = codes, []
        for number, line in enumerate(_lines(codes, "lines 'country id<TAB>code'"), start=1):
            cells = line.split("\t")
            if len(cells) != 2 or not all(cells):
                raise ValueError(f"{codes}:{number}: expected 'country id<TAB>code', got {line[:80]!r}")
            self.codes.append((cells[0], cells[1]))

    def path(self, image_id: int) -> Path:
        if not 0 <= image_id // 1000 < len(self.codes):
            raise ValueError(
                f"{self.listed}: there is no image {image_id}, flags are 0 to {len(self.codes) - 1}, an id is 1000 * flag + variant"
            )
        return self.folder / self.pattern.format(id=self.codes[image_id // 1000][1])

    def label(self, image_id: int) -> str:
        return self.codes[image_id // 1000][0]


def read_image(path: Path, background: int = 255) -> Tensor:
    """Decodes a file of any mode to RGB (3, h, w) uint8, upright, transparency over a grey background.

    What PIL warns of is told in the error. Where it can decode all the same, it has passed over metadata, and nothing is said; but the tags
    of a TIFF file say how its pixels lie, so that is an error too.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no image, is cut off or damaged, or is too large to decode safely.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such image")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with Image.open(path, formats=FORMATS) as opened:
                size, kind, picture = opened.size, opened.format, None
                if opened.width * opened.height <= MAX_PIXELS:
                    picture = _upright(opened).convert("RGBA")
        except Exception as error:  # of a damaged file PIL raises nearly everything: OSError, SyntaxError, struct.error, KeyError, ...
            said = "; ".join([f"{type(error).__name__}: {error}", *_told(caught)])
            raise ValueError(f"{path}: cannot be decoded as an image ({said})") from None
    if kind == "TIFF" and _told(caught):
        raise ValueError(f"{path}: is a damaged TIFF file ({'; '.join(_told(caught))})")
    if picture is None:
        raise ValueError(f"{path}: {size[0]} x {size[1]} pixels, more than the {MAX_PIXELS} that are decoded")
    behind = Image.new("RGBA", picture.size, (background, background, background, 255))
    flat = Image.alpha_composite(behind, picture).convert("RGB")
    return torch.from_numpy(np.array(flat)).permute(2, 0, 1)


def _told(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """What PIL warned of, each once, on one line."""
    return list(dict.fromkeys(" ".join(str(one.message).split()) for one in caught if issubclass(one.category, UserWarning)))


def _upright(opened: Image.Image) -> Image.Image:
    """As the camera was held, in at most 8 bits a channel."""
    picture = ImageOps.exif_transpose(opened)
    return picture.point(lambda value: value / 256).convert("L") if picture.mode in ("I;16", "I") else picture


def _lines(path: Path, what: str) -> list[str]:
    try:
        return require_file(path, what).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected {what} as UTF-8 ({error})") from None
