"""Raw inputs to what the model sees, fitted on training rows only and kept with the run. No torch.

Images: (value - mean) / scale a channel, of the training rows or as pretrained weights had them.
Tables: a missing number becomes the median, numbers are standardised or scaled robustly, categories
become one-hot (a missing or unseen one is all zeros), dates a number of days and their place in the
year, week and day.
Texts: each word the number that it has in the vocabulary of the training texts; one text whose language
is modelled likewise by its tokens (see `fitwell.data.token_batches`).
Recordings: log-mel spectrograms, (value - mean) / scale with one of each for all bands.
Series: standardised a channel, missing values on the line between their neighbours, 0 behind the end;
the last step is never 0 in every channel, so that a model can tell the end.
Regression targets are standardised for training and restored to their own unit afterwards.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np

from fitwell.data.dates import cycles
from fitwell.data.sound import Sound
from fitwell.data.steps import channel_moments, prepared
from fitwell.data.tokens import Tokens, fit_tokens
from fitwell.data.types import Data
from fitwell.data.windows import covered
from fitwell.data.words import Words, fit_words
from fitwell.spec import RESERVED, Column

Moments: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]  # mean, scale: one a channel

Pictures = TypeVar("Pictures", bound=Any)  # arrays or tensors, [..., height, width]
Scaling: TypeAlias = Literal["standard", "robust"]

FEW_DIGITS = 1000  # deviations from 0: so far off, float32 has few digits left for a target
CLIP = 3.0  # robustly scaled numbers approach this on either side
# A column of float32, and one of float64, that deviates by less of its largest value differs by rounding
# alone.
ROUNDING, FINE_ROUNDING = 1e-7, 1e-14
CHUNK_VALUES = 1 << 20  # values worked on at once: bounds the memory of the fit to a few megabytes


@dataclass(frozen=True)
class Preprocess:
    """What was fitted. Plain numbers: it goes to JSON and back unchanged.

    Args:
        kind: as the spec's.
        mean, scale: what is subtracted and divided by: of a channel of images or series, or a column of
            tables (0 and 1 for category columns), in the raw unit; of all values of spectrograms.
        fill: a column: the median that stands for a missing number.
        columns: the columns of a table.
        target_mean, target_scale: of a regression target, or one of each of several; 0 and 1 for classes.
        unit: full brightness of the images in the raw unit, see `unit_of`; None: not known.
        clip: numbers of a table are bent so that none exceeds it: z / sqrt(1 + (z / clip)^2); 0: not.
        words: the vocabulary of texts.
        tokens: that of one text whose language is modelled.
        sound: how recordings are heard.
        unseen: a column of a table: the categories, by number, that no training row has; they count as
            missing.
        seen: (height, width) of the centre of images that the model sees; empty: all of them.
    """

    kind: str
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    fill: tuple[float, ...] = ()
    columns: tuple[Column, ...] = ()
    target_mean: float | tuple[float, ...] = 0.0
    target_scale: float | tuple[float, ...] = 1.0
    unit: float | None = None
    clip: float = 0.0
    words: Words | None = None
    tokens: Tokens | None = None
    sound: Sound | None = None
    seen: tuple[int, ...] = ()
    unseen: tuple[tuple[int, ...], ...] = ()

    def inputs(self, array: np.ndarray) -> np.ndarray:
        """Inputs of the model, [example, *spec.input_shape], from raw ones: float32, of texts int32."""
        if self.words is not None:
            return self.words.ids(array)
        if self.tokens is not None:
            return self.tokens.shown(array.tolist())
        if self.kind in ("images", "audio"):
            factor, shift = self.affine()
            heard = None if self.sound is None else self.sound.log_mel(array)
            out = central(array, self.seen).astype(np.float32) if heard is None else heard
            out *= factor[:, None, None]
            out += shift[:, None, None]
            return out
        if self.kind == "series":
            return prepared(array, np.asarray(self.mean), np.asarray(self.scale))
        return self._of_columns(array)

    def _of_columns(self, array: np.ndarray) -> np.ndarray:
        """[example, feature] float32 of a table."""
        blocks = []
        for i, column in enumerate(self.columns):
            values = array[:, i]
            if column.kind == "category":
                codes = np.arange(len(column.categories), dtype=np.float32)
                codes[list(self.unseen[i]) if self.unseen else []] = np.nan  # which equals none
                blocks.append((values[:, None] == codes).astype(np.float32))
            else:
                # float64 for the difference: a year or a timestamp has few float32 digits left.
                known = np.where(np.isnan(values), self.fill[i], values.astype(np.float64))
                scaled = (known - self.mean[i]) / self.scale[i]
                if self.clip:
                    scaled /= np.sqrt(1 + (scaled / self.clip) ** 2)
                blocks.append(scaled[:, None].astype(np.float32))
                if column.kind == "date":
                    blocks.append(cycles(values.astype(np.float64)).astype(np.float32))
        return np.concatenate(blocks, axis=1)

    def shape_of(self, array: np.ndarray) -> tuple[int, ...]:
        """Shape of what the model sees of each of these raw inputs."""
        if self.words is not None:
            return (self.words.length,)
        if self.sound is not None:
            return self.sound.shape
        if self.kind == "images":
            return (array.shape[1], *(self.seen or array.shape[2:]))
        if self.kind == "series":
            return array.shape[1:]
        return (sum(len(column.features) for column in self.columns),)

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """(factor, shift) a channel, float32: `raw * factor + shift`."""
        scale = np.asarray(self.scale)
        return (
            (1.0 / scale).astype(np.float32),
            (-np.asarray(self.mean) / scale).astype(np.float32),
        )

    def targets(self, array: np.ndarray) -> np.ndarray:
        """Targets as the loss sees them: class indices unchanged, numbers standardised."""
        if array.dtype.kind != "f":
            return array
        mean, scale = self._of_target
        return ((array - mean) / scale).astype(np.float32)

    def restore(self, outputs: np.ndarray) -> np.ndarray:
        """Outputs, [example] or of several targets [example, target], back in the target's own unit."""
        mean, scale = self._of_target
        if np.max(np.abs(mean) / scale) > FEW_DIGITS:
            return outputs.astype(np.float64) * scale + mean
        return (outputs * scale + mean).astype(outputs.dtype)

    @property
    def _of_target(self) -> Any:
        """(mean, scale) of the target: numbers, or arrays [target]."""
        if isinstance(self.target_mean, tuple):
            return np.array(self.target_mean), np.array(self.target_scale)
        return self.target_mean, self.target_scale

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Preprocess":
        known = dict(data)
        known["columns"] = tuple(Column.from_json(c) for c in data.get("columns", ()))
        for name in ("mean", "scale", "fill"):
            known[name] = tuple(float(v) for v in data.get(name, ()))
        known["seen"] = tuple(data.get("seen", ()))
        known["unseen"] = tuple(tuple(codes) for codes in data.get("unseen", ()))
        if words := data.get("words"):
            known["words"] = Words(tuple(words["vocabulary"]), words["length"])
        if tokens := data.get("tokens"):
            known["tokens"] = Tokens(tokens["how"], tuple(tokens["vocabulary"]), tokens["pairs"])
        if sound := data.get("sound"):
            known["sound"] = Sound(**sound)
        for name in ("target_mean", "target_scale"):
            if isinstance(value := data.get(name), list):
                known[name] = tuple(float(v) for v in value)
        return cls(**known)


def fit(
    data: Data, rows: np.ndarray, moments: Moments | None = None, scaling: Scaling = "standard"
) -> Preprocess:
    """The preprocessing of `data`, from its training `rows` only.

    Args:
        moments: what images are normalised with instead, in the raw unit.
        scaling: of the numbers of a table. standard: by mean and standard deviation; robust: by median
            and distance of the quartiles, then bent into -3 to 3, so that no outlier rules a column
            (Holzmueller, Grinsztajn and Steinwart 2024, NeurIPS, section 3).
    """
    if data.spec.kind in ("images", "boxes"):
        fitted = _fit_images(data, rows, moments)
    elif data.spec.kind == "table":
        fitted = _fit_table(data, rows, scaling)
    else:
        fitted = _FITS[data.spec.kind](data, rows)
    target_mean, target_scale = _target_moments(data, rows)
    if data.spec.horizon:
        target_mean, target_scale = _of_channels(data, fitted)
    return replace(fitted, target_mean=target_mean, target_scale=target_scale)


def _fit_images(data: Data, rows: np.ndarray, moments: Moments | None) -> Preprocess:
    mean, scale = moments or _channel_moments(data.inputs, rows)
    seen = data.spec.input_shape[1:] if data.spec.stored else ()
    return Preprocess("images", mean, scale, unit=unit_of(data.inputs, rows), seen=seen)


def _fit_table(data: Data, rows: np.ndarray, scaling: Scaling) -> Preprocess:
    means, scales, fills, unseen = [], [], [], []
    for i, column in enumerate(data.spec.columns):
        unseen.append(_unseen(column, data.inputs[rows, i]))
        if column.kind == "category":
            means.append(0.0)
            scales.append(1.0)
            fills.append(0.0)
            continue
        values = data.inputs[rows, i].astype(np.float64)
        values = values[~np.isnan(values)]
        values = values if len(values) else np.zeros(1)
        rounding = FINE_ROUNDING if column.fine else ROUNDING
        moments = _robust if scaling == "robust" else _standard
        centre, scale = moments(values, rounding)
        means.append(centre)
        scales.append(scale)
        fills.append(float(np.median(values)))
    clip = CLIP if scaling == "robust" else 0.0
    columns = data.spec.columns
    fitted = (tuple(means), tuple(scales), tuple(fills))
    return Preprocess("table", *fitted, columns, clip=clip, unseen=tuple(unseen))


def _unseen(column: Column, codes: np.ndarray) -> tuple[int, ...]:
    """The categories of a column that none of these rows has."""
    if column.kind != "category":
        return ()
    return tuple(np.setdiff1d(np.arange(len(column.categories)), codes).tolist())


def _fit_texts(data: Data, rows: np.ndarray) -> Preprocess:
    most, length = data.spec.vocabulary - RESERVED, data.spec.input_shape[0]
    if data.spec.task == "language":
        how: Any = data.spec.tokens
        return Preprocess("text", tokens=fit_tokens(data.inputs[rows].tolist(), how=how, most=most))
    words = fit_words(data.inputs[rows].tolist(), most=most, length=length)
    return Preprocess("text", words=words)


def _fit_recordings(data: Data, rows: np.ndarray) -> Preprocess:
    sound = Sound.of(data.spec)
    mean, scale = _sound_moments(data.inputs, rows, sound)
    return Preprocess("audio", mean, scale, sound=sound)


def _fit_series(data: Data, rows: np.ndarray) -> Preprocess:
    if data.spec.horizon:
        each = [values.astype(np.float64) for values in covered(data, rows)]
        centres = np.array([values.mean() for values in each])
        deviations = np.array([values.std() for values in each])
    else:
        centres, deviations = channel_moments(data.inputs, rows)
    pairs = zip(deviations.tolist(), np.abs(centres).tolist(), strict=True)
    scales = tuple(_usable(deviation, centre) for deviation, centre in pairs)
    return Preprocess("series", tuple(centres.tolist()), scales)


_FITS: dict[str, Callable[[Data, np.ndarray], Preprocess]] = {
    "text": _fit_texts,
    "audio": _fit_recordings,
    "series": _fit_series,
}


def central(images: Pictures, size: tuple[int, ...]) -> Pictures:
    """The centre of images, [..., height, width], of that size; all of them where it is empty.

    >>> central(np.arange(4)[None], (1, 2)).tolist()
    [[1, 2]]
    """
    if not size:
        return images
    top, left = ((whole - part) // 2 for whole, part in zip(images.shape[-2:], size, strict=True))
    return images[..., top : top + size[0], left : left + size[1]]


def _standard(values: np.ndarray, rounding: float) -> tuple[float, float]:
    largest = float(np.abs(values).max())
    return float(values.mean()), _usable(float(values.std()), largest, rounding)


def _robust(values: np.ndarray, rounding: float) -> tuple[float, float]:
    """(median, distance of the quartiles); of a column that is mostly one value, half its range."""
    low, median, high = (float(v) for v in np.quantile(values, (0.25, 0.5, 0.75)))
    largest = float(np.abs(values).max())
    if high - low <= rounding * largest:
        return median, _usable(float(np.ptp(values)) / 2, largest, rounding)
    return median, high - low


def _target_moments(data: Data, rows: np.ndarray) -> tuple[Any, Any]:
    """(mean, standard deviation) of the target over `rows`, or those of each of several."""
    if data.spec.task != "regression":
        return 0.0, 1.0
    found = [values[rows].astype(np.float64) for _, values in data.each_target()]
    means = tuple(float(v.mean()) for v in found)
    scales = tuple(_usable(float(v.std())) for v in found)
    return (means[0], scales[0]) if data.targets.ndim == 1 else (means, scales)


def _of_channels(data: Data, fitted: Preprocess) -> tuple[Any, Any]:
    """(mean, standard deviation) of each step that is forecast: those of its channel."""
    spec, places = data.spec, [column.name for column in data.spec.columns]
    channels = [places.index(name) for name in spec.targets or (spec.target,)] * spec.horizon
    if len(channels) == 1:
        return fitted.mean[channels[0]], fitted.scale[channels[0]]
    return tuple(fitted.mean[i] for i in channels), tuple(fitted.scale[i] for i in channels)


def unit_of(images: np.ndarray, rows: np.ndarray) -> float:
    """What stands for full brightness: 255 in whole numbers, 1 in fractions, 0 in measurements of
    another range.

    >>> unit_of(np.array([[[[0.0, 0.5]]], [[[9.0, 2.0]]]]), np.array([0]))
    1.0
    """
    if images.dtype == np.uint8:
        return 255.0
    low, high = images.min((1, 2, 3))[rows], images.max((1, 2, 3))[rows]
    return 1.0 if low.min() >= 0 and high.max() <= 1 else 0.0


def _usable(deviation: float, largest: float = 0.0, rounding: float = ROUNDING) -> float:
    """The deviation, or 1 where it is zero but for rounding: a constant is only shifted to 0."""
    return deviation if deviation > rounding * largest and deviation > 0 else 1.0


def _sound_moments(waves: np.ndarray, rows: np.ndarray, sound: Sound) -> Moments:
    """Mean and standard deviation of all values of the spectrograms of `rows`, in bounded memory."""
    step = max(1, CHUNK_VALUES // int(np.prod(sound.shape)))
    total, sums, squares = 0, 0.0, 0.0
    for start in range(0, len(rows), step):
        block = sound.log_mel(waves[rows[start : start + step]]).astype(np.float64)
        total += block.size
        sums += float(block.sum())
        squares += float((block**2).sum())
    mean = sums / total
    deviation = float(np.sqrt(max(squares / total - mean**2, 0.0)))
    return (mean,), (_usable(deviation, abs(mean)),)


def _channel_moments(inputs: np.ndarray, rows: np.ndarray) -> Moments:
    """Mean and standard deviation a channel over `rows`, in bounded memory.

    uint8 is counted, which is exact; floats are summed around a first guess of the mean, which
    keeps the variance from cancelling.
    """
    channels = inputs.shape[1]
    step = max(1, CHUNK_VALUES // max(1, int(np.prod(inputs.shape[1:]))))
    chunks = [rows[i : i + step] for i in range(0, len(rows), step)]
    mean, variance = np.zeros(channels), np.zeros(channels)
    if inputs.dtype == np.uint8:
        levels = np.arange(256)
        counts = np.zeros((channels, 256))
        for chunk in chunks:
            block = inputs[chunk]
            for c in range(channels):
                counts[c] += np.bincount(block[:, c].reshape(-1), minlength=256)
        total = counts.sum(1)
        mean = counts @ levels / total
        variance = (counts * (levels - mean[:, None]) ** 2).sum(1) / total
    else:
        guess = inputs[chunks[0]].mean((0, 2, 3), dtype=np.float64)
        sums, squares = np.zeros(channels), np.zeros(channels)
        for chunk in chunks:
            block = inputs[chunk].astype(np.float64) - guess[:, None, None]
            sums += block.sum((0, 2, 3))
            squares += (block**2).sum((0, 2, 3))
        total = len(rows) * np.prod(inputs.shape[2:])
        mean = guess + sums / total
        variance = np.maximum(squares / total - (sums / total) ** 2, 0)
    scale = tuple(
        _usable(float(s), abs(float(m))) for s, m in zip(np.sqrt(variance), mean, strict=True)
    )
    return tuple(float(m) for m in mean), scale
