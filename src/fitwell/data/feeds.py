"""How the rows of one part are kept, and what a model sees of some of them; with torch.

Small data is kept as the tensors that the model reads, larger data as it came, and each batch converted.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from fitwell.data.preprocess import Preprocess, central
from fitwell.data.spectrogram import Spectrogram
from fitwell.data.steps import ALMOST_ZERO
from fitwell.data.views import is_view
from fitwell.data.windows import steps_under
from fitwell.spec import NO_WORD

# Up to here the rows are kept as the float32 tensors that the model reads; above, as they came
# (uint8 images: a quarter) and each batch is converted, so that 60,000 images stay small in memory.
MOST_FLOAT_BYTES = 128 * 1024**2
# On an accelerator the rows live there up to this size; above, each batch is copied over.
MOST_DEVICE_BYTES = 4 * 1024**3


@runtime_checkable
class WaveAugmentation(Protocol):
    """What changes recordings before their spectrograms are computed, too."""

    on_waves: Mapping[str, Any]  # what changes them; empty: nothing does

    def waves(self, waves: Tensor, epoch: int, step: int, /) -> Tensor:
        """[example, 1, samples] float32 from -1 to 1, each example by itself."""
        ...


class Feed(Protocol):
    """The rows of one part.

    Args:
        x: what is kept.
        whole: `x` holds all rows of the data and not those of the part alone, so they are counted there.
        ready: they are kept as the model reads them.
    """

    x: Tensor
    whole: bool
    ready: bool

    def __call__(self, at: Tensor, epoch: int, step: int) -> Tensor:
        """What the model sees of the examples at these places."""
        ...


class Kept:
    """Rows as the model reads them.

    Args:
        channels_last: stored as [example, height, width, channel]: indexing the first dimension then gives
            channels_last batches, without a conversion a step.
    """

    whole, ready = False, True

    def __init__(self, x: Tensor, *, channels_last: bool) -> None:
        self.channels_last = channels_last
        self.x = x.permute(0, 2, 3, 1).contiguous() if channels_last else x

    def __call__(self, at: Tensor, epoch: int, step: int) -> Tensor:
        x = self.x.index_select(0, at)
        return x.permute(0, 3, 1, 2) if self.channels_last else x


class Sliding:
    """Windows of one long series, whose steps are kept once, as the model reads them."""

    whole, ready = True, True

    def __init__(self, inputs: np.ndarray, prepared: Preprocess, device: torch.device) -> None:
        steps = prepared.inputs(steps_under(inputs).T[None])[0].T  # as one series
        steps[steps == 0] = ALMOST_ZERO
        row, channel = steps.shape[1], 1
        there = torch.from_numpy(np.ascontiguousarray(steps)).to(device)
        self.x = there.as_strided(inputs.shape, (row, channel, row))

    def __call__(self, at: Tensor, epoch: int, step: int) -> Tensor:
        return self.x.index_select(0, at.to(self.x.device))


class Words:
    """Texts as the numbers of their words, one text after another; a batch goes as far as its longest."""

    whole, ready = False, True

    def __init__(self, flat: np.ndarray, ends: np.ndarray, device: torch.device) -> None:
        # The last one is what stands behind the end of every text.
        self.x = torch.from_numpy(np.append(flat, np.int32(NO_WORD))).to(device)
        self.ends = torch.from_numpy(ends).to(device)

    def __call__(self, at: Tensor, epoch: int, step: int) -> Tensor:
        start, stop = self.ends[at, None], self.ends[at + 1, None]
        longest = max(1, int((stop - start).max()))
        places = start + torch.arange(longest, device=self.x.device)
        return self.x[torch.where(places < stop, places, len(self.x) - 1)]


class Raw:
    """Rows as they came, of tables and series; each batch is converted by `Preprocess`."""

    ready = False

    def __init__(self, x: Tensor, prepared: Preprocess, device: torch.device, whole: bool) -> None:
        self.x, self.whole, self.prepared, self.device = x, whole, prepared, device

    def __call__(self, at: Tensor, epoch: int, step: int) -> Tensor:
        x = self.x.index_select(0, at)
        return torch.from_numpy(self.prepared.inputs(x.cpu().numpy())).to(self.device)


class Pictures(Raw):
    """Images as they came, cut and normalised on the device.

    Args:
        channels_last: layout of the batches.
    """

    def __init__(
        self,
        x: Tensor,
        prepared: Preprocess,
        device: torch.device,
        whole: bool,
        *,
        channels_last: bool,
    ) -> None:
        super().__init__(x, prepared, device, whole)
        self.factor, self.shift = (torch.from_numpy(v).to(device) for v in prepared.affine())
        self.channels_last = channels_last

    def __call__(self, at: Tensor, epoch: int, step: int) -> Tensor:
        x = central(self.x.index_select(0, at), self.prepared.seen).to(self.device)
        if not self.channels_last:
            factor, shift = self.factor.view(-1, 1, 1), self.shift.view(-1, 1, 1)
            return x.to(torch.float32).mul_(factor).add_(shift)
        # A channel at a time, then whole rows of pixels: a sum over a last dimension of three is slow.
        count, channels, height, width = x.shape
        out = x.new_empty((count, height, width, channels), dtype=torch.float32)
        for channel in range(channels):
            out[..., channel] = x[:, channel]
        rows = out.view(count, height, width * channels)
        rows.mul_(self.factor.repeat(width)).add_(self.shift.repeat(width))
        return out.permute(0, 3, 1, 2)


class Waves:
    """Recordings as they came; their spectrograms are computed a batch at a time, after their waves were
    changed, if they are."""

    ready = False

    def __init__(
        self,
        x: Tensor,
        spectrogram: Spectrogram,
        augment: WaveAugmentation | None,
        whole: bool,
        layout: torch.memory_format,
    ) -> None:
        self.x, self.whole = x, whole
        self.spectrogram, self.augment, self.layout = spectrogram, augment, layout

    def __call__(self, at: Tensor, epoch: int, step: int) -> Tensor:
        x = self.x.index_select(0, at)
        if self.augment is None:
            seen = self.spectrogram.of_raw(x)
        else:
            waves = self.augment.waves(self.spectrogram.waves(x), epoch, step)
            seen = self.spectrogram(waves)
        return seen.contiguous(memory_format=self.layout)


def feed_of(
    inputs: np.ndarray,
    rows: np.ndarray,
    prepared: Preprocess,
    *,
    device: torch.device,
    channels_last: bool,
    augment: object,
) -> Feed:
    """How rows of the data are kept.

    Args:
        inputs: `Data.inputs`, all rows, raw.
        prepared: fitted on the training rows.
        channels_last: layout of what has 4 dimensions as the model sees it.
        augment: what changes the examples afterwards, which then also cuts images.
    """
    if prepared.words is not None:
        return Words(*prepared.words.flat(inputs[rows]), device)
    if prepared.kind == "series" and is_view(inputs):
        return Sliding(inputs, prepared, device)
    if augment is not None:
        prepared = replace(prepared, seen=())
    seen = prepared.shape_of(inputs)
    channels_last = channels_last and len(seen) == 3
    layout = torch.channels_last if channels_last else torch.contiguous_format
    changed = augment if isinstance(augment, WaveAugmentation) and augment.on_waves else None
    sound = None if prepared.sound is None else Spectrogram(prepared, device)
    if changed is None and 4 * int(np.prod(seen)) * len(rows) <= MOST_FLOAT_BYTES:
        if sound is not None:
            return Kept(sound.of_raw(torch.from_numpy(inputs[rows])), channels_last=channels_last)
        x = torch.from_numpy(prepared.inputs(inputs[rows])).to(device)
        return Kept(x, channels_last=channels_last)
    there = device.type != "cpu" and len(seen) == 3
    whole = not there or len(rows) * inputs[:1].nbytes > MOST_DEVICE_BYTES
    x = torch.from_numpy(inputs) if whole else torch.from_numpy(inputs[rows]).to(device)
    if sound is not None:
        return Waves(x, sound, changed, whole, layout)
    if len(seen) == 3:
        return Pictures(x, prepared, device, whole, channels_last=channels_last)
    return Raw(x, prepared, device, whole)
