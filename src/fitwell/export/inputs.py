"""What an exported network reads, and how that becomes what the model sees within it. Imports torch.

Each kind of data has what `Preprocess.inputs` does as a module, so that a file takes pixels, columns,
samples or values as they come, and made-up inputs on which the two are compared.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fitwell.data.dates import LENGTHS
from fitwell.data.preprocess import Preprocess, central
from fitwell.data.sound import FLOOR, FULL_SCALE
from fitwell.data.steps import ALMOST_ZERO
from fitwell.spec import CYCLES, RESERVED, Spec

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Entry:
    """The way into an exported network.

    Args:
        name: of the input.
        axes: names of its axes behind the batch.
        module: from the input to what the model sees.
        draw: (how many, random numbers) -> made-up inputs as the file takes them, and as the model sees
            them by `Preprocess`.
    """

    name: str
    axes: tuple[str, ...]
    module: nn.Module
    draw: Callable[[int, np.random.Generator], Pair]


def entry_of(spec: Spec, prepared: Preprocess) -> Entry:
    """The way in for a run's data."""
    if prepared.words is not None or prepared.tokens is not None:
        name = "words" if prepared.words is not None else "tokens"
        return Entry(name, (name[:-1],), nn.Identity(), lambda n, rng: _numbers(spec, n, rng))
    made: dict[str, tuple[str, tuple[str, ...], Callable[[Preprocess], nn.Module], Any]] = {
        "images": ("images", ("channel", "height", "width"), Pixels, _pixels),
        "table": ("rows", ("column",), Columns, _rows),
        "audio": ("waves", ("channel", "sample"), Waves, _waves),
        "series": ("series", ("channel", "step"), Series, _series),
    }
    name, axes, module, raw = made[prepared.kind]

    def draw(count: int, rng: np.random.Generator) -> Pair:
        drawn = raw(spec, prepared, count, rng)
        return as_fed(drawn), prepared.inputs(drawn)

    return Entry(name, axes, module(prepared), draw)


def as_fed(raw: np.ndarray) -> np.ndarray:
    """Raw inputs as a file takes them: numbers of float32, or of float64 where that is needed.

    >>> as_fed(np.array([[-32768]], np.int16)), as_fed(np.array([[255]], np.uint8))
    (array([[-1.]], dtype=float32), array([[255.]], dtype=float32))
    """
    if raw.dtype == np.int16:
        return raw.astype(np.float32) / np.float32(FULL_SCALE)
    return raw if raw.dtype == np.float64 else raw.astype(np.float32)


class Pixels(nn.Module):
    """[batch, channel, height, width] pixels: their centre, (pixel - mean) / scale a channel."""

    def __init__(self, prepared: Preprocess) -> None:
        super().__init__()
        self.seen = prepared.seen
        factor, shift = (torch.from_numpy(each)[:, None, None] for each in prepared.affine())
        self.factor: Tensor
        self.shift: Tensor
        self.register_buffer("factor", factor)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        return central(x, self.seen) * self.factor + self.shift


class Columns(nn.Module):
    """[batch, column] of a table: numbers, numbers of categories, days since 2000; nan where missing.

    All numbers are worked on together and all categories, then put in the order that the model knows.
    """

    def __init__(self, prepared: Preprocess) -> None:
        super().__init__()
        self.clip = prepared.clip
        numbers: list[int] = []  # columns that are numbers or dates
        dates: list[int] = []
        sources: list[int] = []  # the column of each category's feature
        codes: list[float] = []
        places: list[tuple[str, int]] = []  # of each feature: of which block, where in it
        for i, column in enumerate(prepared.columns):
            if column.kind == "category":
                unseen = prepared.unseen[i] if prepared.unseen else ()
                for code in range(len(column.categories)):
                    places.append(("category", len(codes)))
                    sources.append(i)
                    codes.append(np.nan if code in unseen else code)  # nan equals none
                continue
            places.append(("number", len(numbers)))
            numbers.append(i)
            if column.kind == "date":
                waves = range(2 * len(CYCLES) * len(dates), 2 * len(CYCLES) * (len(dates) + 1))
                places += [("date", wave) for wave in waves]
                dates.append(i)
        begins = {"number": 0, "category": len(numbers), "date": len(numbers) + len(codes)}
        order = [begins[block] + place for block, place in places]
        fitted = np.array([prepared.fill, prepared.mean, prepared.scale])[:, numbers]
        self._keep(numbers=numbers, dates=dates, sources=sources, order=order)
        self._keep(codes=codes, fill=fitted[0], mean=fitted[1], scale=fitted[2])
        self._keep(lengths=[LENGTHS[name] for name in CYCLES])

    def _keep(self, **values: Any) -> None:
        for name, value in values.items():
            dtype = torch.float64 if name in _FLOATS else torch.int64
            self.register_buffer(name, torch.tensor(np.array(value), dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        # float64 for the difference: a year or a timestamp has few float32 digits left.
        x = x.double()
        blocks = []
        if len(self.numbers):
            values = x[:, self.numbers]
            scaled = (torch.where(values.isnan(), self.fill, values) - self.mean) / self.scale
            if self.clip:
                scaled = scaled / (1 + (scaled / self.clip) ** 2).sqrt()
            blocks.append(scaled)
        if len(self.sources):
            blocks.append((x[:, self.sources] == self.codes).double())
        if len(self.dates):
            turns = x[:, self.dates, None] / self.lengths
            angles = 2 * torch.pi * (turns - turns.floor())
            waves = torch.stack([angles.sin(), angles.cos()], 3).flatten(1)
            blocks.append(torch.where(waves.isnan(), 0.0, waves))
        return torch.cat(blocks, 1)[:, self.order].float()

    numbers: Tensor
    dates: Tensor
    sources: Tensor
    order: Tensor
    codes: Tensor
    fill: Tensor
    mean: Tensor
    scale: Tensor
    lengths: Tensor


_FLOATS = ("codes", "fill", "mean", "scale", "lengths")


class Series(nn.Module):
    """[batch, channel, step] values, nan where missing and behind the end, as `fitwell.data.steps.prepared`
    makes them."""

    def __init__(self, prepared: Preprocess) -> None:
        super().__init__()
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.tensor(prepared.mean, dtype=torch.float64)[:, None])
        self.register_buffer("scale", torch.tensor(prepared.scale, dtype=torch.float64)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        known, count = ~x.isnan(), x.shape[2]
        places = torch.arange(count, device=x.device)
        ends = (known.any(1) * (places + 1)).amax(1)[:, None, None]
        before, after = _neighbours(known, places)
        low = torch.where(before < 0, after, before).clamp(max=count - 1)
        high = torch.where(after >= count, before, after).clamp(min=0)
        x = x.double()
        start, stop = x.gather(2, low), x.gather(2, high)
        filled = start + (stop - start) * (places - low) / (high - low).clamp(min=1)
        filled = torch.where(known.any(2, keepdim=True), filled, self.mean)
        out = ((filled - self.mean) / self.scale).float()
        out = torch.where(places < ends, out, 0.0)
        return torch.where((places == ends - 1) & (out == 0), float(ALMOST_ZERO), out)


def _neighbours(known: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest known place at or before each, -1 where there is none, and at or after it, the number of
    places where there is none. By doubling: ONNX has no running maximum."""
    count = places.shape[0]
    before, after = torch.where(known, places, -1), torch.where(known, places, count)
    reach = 1
    while reach < count:
        before = torch.maximum(before, F.pad(before, (reach, 0), value=-1)[:, :, :count])
        after = torch.minimum(after, F.pad(after, (0, reach), value=count)[:, :, reach:])
        reach *= 2
    return before, after


class Waves(nn.Module):
    """[batch, 1, sample] from -1 to 1 to [batch, 1, mel, frame]: the spectrogram of
    `fitwell.data.sound.Sound`, its Fourier transform as a convolution."""

    def __init__(self, prepared: Preprocess) -> None:
        super().__init__()
        assert prepared.sound is not None
        self.hop, self.size = prepared.sound.hop, prepared.sound.size
        self.frames = prepared.sound.shape[2]
        frequencies = np.arange(self.size // 2 + 1)[:, None]
        angles = 2 * np.pi * frequencies * np.arange(self.size) / self.size
        waves = np.concatenate([np.cos(angles), np.sin(angles)]) * prepared.sound.taper()
        self.waves: Tensor
        self.filters: Tensor
        self.register_buffer("waves", torch.from_numpy(waves.astype(np.float32))[:, None])
        self.register_buffer("filters", torch.from_numpy(prepared.sound.filters().copy()))
        (self.factor,), (self.shift,) = (each.tolist() for each in prepared.affine())

    def forward(self, x: Tensor) -> Tensor:
        around = self.size // 2
        spectrum = F.conv1d(F.pad(x, (around, around)), self.waves, stride=self.hop)
        real, imaginary = spectrum[:, :, : self.frames].chunk(2, dim=1)
        mel = self.filters @ (real.square() + imaginary.square())
        # ln(mel + floor), in floors: the exporter's optimizer takes a sum with 1e-8 for one with 0.
        heard = (mel / FLOOR + 1).log() + math.log(FLOOR)
        return (heard * self.factor + self.shift)[:, None]


def _pixels(spec: Spec, prepared: Preprocess, count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise, and of images that are classified a black one. A detector may be as sure of every place of it,
    so that nothing says which boxes stay."""
    shape = (count, spec.input_shape[0], *spec.kept_size)
    if prepared.unit:
        out = prepared.unit * rng.random(shape)
    else:
        mean, scale = (np.array(each)[:, None, None] for each in (prepared.mean, prepared.scale))
        out = mean + scale * rng.standard_normal(shape)
    if spec.kind == "images":
        out[-1] = 0
    return out.astype(np.float32)


def _rows(spec: Spec, prepared: Preprocess, count: int, rng: np.random.Generator) -> np.ndarray:
    """Every tenth cell is missing."""
    columns = prepared.columns
    fine = any(column.fine for column in columns)
    out = np.empty((count, len(columns)), np.float64 if fine else np.float32)
    for i, column in enumerate(columns):
        if column.kind == "category":
            out[:, i] = rng.integers(max(1, len(column.categories)), size=count)
        else:
            out[:, i] = prepared.mean[i] + prepared.scale[i] * rng.standard_normal(count)
    out[rng.random(out.shape) < 0.1] = np.nan
    return out


def _series(spec: Spec, prepared: Preprocess, count: int, rng: np.random.Generator) -> np.ndarray:
    """Of several lengths, with missing values; of a forecast as long as what is looked back at."""
    channels, steps = spec.input_shape
    mean, scale = (np.array(each)[:, None] for each in (prepared.mean, prepared.scale))
    values = mean + scale * rng.standard_normal((count, channels, steps))
    values[rng.random(values.shape) < 0.1] = np.nan
    if not spec.horizon:
        for i, end in enumerate(rng.integers(1, steps + 1, count).tolist()):
            values[i, :, end:] = np.nan
    return values.astype(np.float32)


def _waves(spec: Spec, prepared: Preprocess, count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise, and silence behind it."""
    noise = 0.1 * FULL_SCALE * rng.standard_normal((count, 1, spec.samples))
    noise[..., spec.samples // 2 :] = 0
    return noise.clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def _numbers(spec: Spec, count: int, rng: np.random.Generator) -> Pair:
    """Numbers of words or tokens, 0 behind the end of a shorter text."""
    (length,) = spec.input_shape
    ids = rng.integers(1, max(RESERVED, spec.vocabulary), (count, length))
    for row, end in zip(ids, rng.integers(1, length + 1, count), strict=True):
        row[end:] = 0
    return ids, ids
