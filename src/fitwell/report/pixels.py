"""Examples as pictures, and where the network looked laid over them; recordings to be listened to."""

import io
import wave
from collections.abc import Sequence
from typing import Any

import numpy as np

from fitwell.data.sound import Sound, picture_of
from fitwell.report.figures import data_uri

SMALLEST = 96  # pixels of the longer side: fewer are enlarged without blur, and kept exactly
LARGEST = 192
# Of boxes, a colour a class (Okabe and Ito 2008), told apart by the colour-blind too.
EDGES = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
)
QUALITY = 85  # of photographs as JPEG: a fifth of the bytes of a PNG
# Over grey: unlike a rainbow, one hue that grows stronger has no edges that are not in the map.
HEAT = np.array([224, 84, 16], dtype=np.float32)
STRONGEST = 0.85  # share of the heat where the map is largest: the picture stays visible below


def shown_images(data: Any, rows: Any) -> np.ndarray:
    """[example, channel, height, width] of rows of images, or of recordings as spectrograms with the high
    tones above."""
    inputs = data.inputs[rows]
    return picture_of(inputs, Sound.of(data.spec)) if data.spec.kind == "audio" else inputs


def picture(image: np.ndarray) -> str:
    """[channel, height, width] as the data URI of a PNG or JPEG."""
    from PIL import Image

    drawn = Image.fromarray(pixels(image))
    return _uri(drawn.convert("L") if image.shape[0] < 3 else drawn)


def wave_uri(samples: np.ndarray, rate: int) -> str:
    """[sample] int16 as the data URI of a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, rate, len(samples), "NONE", ""))
        out.writeframes(np.ascontiguousarray(samples, dtype="<i2").tobytes())
    return data_uri(file.getvalue(), "audio/wav")


def overlay(image: np.ndarray, shares: Sequence[Sequence[float]]) -> str:
    """The image in grey, and the map over it: the stronger the colour, the larger the share.

    Args:
        image: [channel, height, width].
        shares: [height][width] between 0 and 1, of a map that covers the image.
    """
    from PIL import Image

    grey = np.asarray(Image.fromarray(pixels(image)).convert("L"), dtype=np.float32)
    small = Image.fromarray(np.asarray(shares, dtype=np.float32))
    size = (grey.shape[1], grey.shape[0])
    heat = STRONGEST * np.asarray(small.resize(size, Image.Resampling.BILINEAR))[..., None]
    mixed = (1 - heat) * grey[..., None] + heat * HEAT
    return _uri(Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8)))


def pixels(image: np.ndarray) -> np.ndarray:
    """[height, width, colour] uint8 of [channel, height, width] in any unit."""
    values = np.asarray(image, dtype=np.float32)
    if image.dtype != np.uint8:
        finite = values[np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        values = np.nan_to_num((values.clip(low, high) - low) / ((high - low) or 1) * 255)
    shown = values[:3] if len(values) >= 3 else np.repeat(values[:1], 3, axis=0)
    return shown.transpose(1, 2, 0).astype(np.uint8)


def uri(drawn: Any, kind: str) -> str:
    """A PIL image as the data URI of a PNG or JPEG."""
    buffer = io.BytesIO()
    drawn.save(buffer, kind, **({"optimize": True} if kind == "PNG" else {"quality": QUALITY}))
    return data_uri(buffer.getvalue(), f"image/{kind.lower()}")


def _uri(drawn: Any) -> str:
    from PIL import Image

    side = max(drawn.size)
    if side >= SMALLEST:
        drawn.thumbnail((LARGEST, LARGEST))
        return uri(drawn, "JPEG")
    factor = -(-SMALLEST // side)
    size = (drawn.width * factor, drawn.height * factor)
    return uri(drawn.resize(size, Image.Resampling.NEAREST), "PNG")
