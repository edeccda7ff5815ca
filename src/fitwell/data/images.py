"""Image files to uint8 arrays of one size, decoded in threads. No torch.

Every mode is brought to grey or RGB: palettes and CMYK converted, transparency laid over white,
16 bits scaled to 8, the EXIF rotation applied. Pillow decides by a file's content, not its name.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from textwrap import shorten
from typing import Any, TypeVar

import numpy as np

from fitwell.data.letterbox import PAD, letterbox
from fitwell.spec import Resize

SMALLEST, LARGEST = 8, 64  # sides that image_size = 0 chooses from: what a CPU trains in minutes
ORIENTATION = 0x0112  # EXIF tag; 5 to 8 lie on their side
DEEP_MODES = {"I", "F"}  # integers of 16 or 32 bits, floats
GREY_MODES = {"1", "L", *DEEP_MODES}
BRIGHTEST = 2  # the largest value of a file whose floats count from 0 to 1, with room for overshoot

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Header:
    """What is known without decoding: (height, width) upright, grey or colour, format; whether the file has
    several pictures, of which the first is read; PIL's mode."""

    size: tuple[int, int]
    grey: bool
    format: str
    several: bool = False
    mode: str = "RGB"


@dataclass(frozen=True)
class Unreadable:
    """Why a file could not be used; `passing`: by the machine's fault, so that it may be read later."""

    reason: str
    passing: bool = False


def header(path: Path) -> Header | Unreadable:
    """Size and mode of an image file; only its first bytes are read."""
    if not path.exists():
        return Unreadable(
            "a link to a file that is not there" if path.is_symlink() else "no such file"
        )
    if not path.stat().st_size:
        return Unreadable("zero bytes")
    return header_of(path)


def header_of(file: Path | BytesIO) -> Header | Unreadable:
    """`header` of a file that is there, or of its bytes."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            height, width = _upright(image)
            grey = image.mode.split(";")[0] in GREY_MODES and not image.has_transparency_data
            # Of a photograph (MPO) the others are previews of it.
            several = image.format != "MPO" and getattr(image, "is_animated", False)
            return Header((height, width), grey, image.format or "", several, image.mode)
    except Exception as error:  # decoders raise whatever a broken file makes them stumble over
        return Unreadable(_reason(error))


def decode(
    path: Path | BytesIO, size: tuple[int, int], grey: bool, resize: Resize = "crop"
) -> np.ndarray | Unreadable:
    """uint8 [channel, height, width] of an image file, or of its bytes."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            # A JPEG is decoded at 1/2, 1/4 or 1/8 where twice the wanted size is left.
            scale = 2 * max(size) / min(image.size)
            whole = _upright(image)
            image.draft(None, (int(image.width * scale) + 1, int(image.height * scale) + 1))
            return pixels(image, size, grey, resize, whole)
    except Exception as error:  # see header()
        # What Pillow raises of a broken file is an OSError too, but has no number.
        passing = isinstance(error, MemoryError) or getattr(error, "errno", None) is not None
        return Unreadable(_reason(error), passing)


def pixels(
    image: Any,
    size: tuple[int, int],
    grey: bool,
    resize: Resize = "crop",
    whole: tuple[int, int] | None = None,
) -> np.ndarray:
    """uint8 [channel, height, width] of a PIL image.

    Args:
        whole: its (height, width) upright, where it was decoded at a part of that: a letterbox is fitted
            to it, so that pixels lie where boxes of the whole picture say.
    """
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.split(";")[0] in DEEP_MODES:
        values = np.asarray(image).astype(np.float32)
        # 16 bits to 8 by one factor for every file, so that brightness stays comparable.
        values = values * 255 if image.mode == "F" and values.max() <= BRIGHTEST else values
        values = values if image.mode == "F" else values / 257
        image = Image.fromarray(np.clip(np.round(values), 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert("L" if grey else "RGB")
    if image.size != (size[1], size[0]):
        image = _resized(image, size, resize, whole)
    array = np.asarray(image)
    return array[None] if grey else array.transpose(2, 0, 1)


def choose_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """(height, width) for `image_size` = 0: as they are where all are equal and small, otherwise a
    square of the median short side.

    >>> choose_size([(28, 20), (28, 20)]), choose_size([(300, 200), (200, 180), (40, 50)])
    ((28, 20), (64, 64))
    """
    if len(set(sizes)) == 1 and SMALLEST <= min(sizes[0]) and max(sizes[0]) <= LARGEST:
        return sizes[0]
    side = int(np.clip(np.median([min(s) for s in sizes]), SMALLEST, LARGEST))
    return side, side


def in_threads(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """`work` on every item in threads, in order. Decoding releases the interpreter's lock."""
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as threads:
        return list(threads.map(work, items))


def resize_array(inputs: np.ndarray, size: tuple[int, int], resize: Resize = "crop") -> np.ndarray:
    """Images [example, channel, height, width] of another (height, width), type kept."""
    from PIL import Image

    out = np.empty((*inputs.shape[:2], *size), inputs.dtype)
    flat = inputs.reshape(-1, *inputs.shape[2:])
    for i, plane in enumerate(flat):
        image = Image.fromarray(np.ascontiguousarray(plane))
        image = _resized(image, size, resize)
        out.reshape(-1, *size)[i] = np.asarray(image)
    return out


def _upright(image: Any) -> tuple[int, int]:
    """(height, width) of a PIL image after the rotation that its EXIF tells."""
    width, height = image.size
    return (width, height) if image.getexif().get(ORIENTATION, 1) >= 5 else (height, width)


def _resized(
    image: Any, size: tuple[int, int], resize: Resize, whole: tuple[int, int] | None = None
) -> Any:
    """A PIL image of (height, width): short side to size and centre crop, squashed, or all of it with grey
    beside it."""
    from PIL import Image, ImageOps

    height, width = size
    if resize == "letterbox":
        fit = letterbox(whole or (image.height, image.width), size)
        inner = image.resize(fit.inner[::-1], Image.Resampling.BILINEAR)
        out = Image.new(image.mode, (width, height), PAD if image.mode != "RGB" else (PAD,) * 3)
        out.paste(inner, (fit.left, fit.top))
        return out
    if resize == "squash":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)


def _reason(error: Exception) -> str:
    text = str(error)
    if "cannot identify" in text:
        return "not an image"
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return "truncated"
    return shorten(text.split("\n")[0], 80, placeholder=" ...") or type(error).__name__
