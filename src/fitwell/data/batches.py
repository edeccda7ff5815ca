"""Batches by indexing whole tensors. With `spectrogram`, the modules of the data layer that import torch.

No DataLoader: on tensors in memory it costs 3 to 124 times as much (pytorch #181501).
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from fitwell.data.preprocess import Preprocess, central
from fitwell.data.spectrogram import Spectrogram
from fitwell.spec import NO_WORD

# Up to here the rows are kept as the float32 tensors that the model reads; above, as they came
# (uint8 images: a quarter) and each batch is converted, so that 60,000 images stay small in memory.
MOST_FLOAT_BYTES = 128 * 1024**2
# On an accelerator the rows live there up to this size; above, each batch is copied over.
MOST_DEVICE_BYTES = 4 * 1024**3


class Mixture(NamedTuple):
    """Whom each example of a batch was mixed with.

    Args:
        partner: [batch] int64, the places of the partners in the batch, on the device.
        share: [batch] float32 in [0, 1]: so much of the example is its own, the rest its partner's.
    """

    partner: Tensor
    share: Tensor


class Augmentation(Protocol):
    """Changes what is trained on, by epoch and step."""

    def __call__(self, x: Tensor, epoch: int, step: int, /) -> Tensor:
        """Each example by itself."""
        ...

    def mix(self, x: Tensor, epoch: int, step: int, /) -> tuple[Tensor, Mixture | None]:
        """Examples with each other."""
        ...


@runtime_checkable
class WaveAugmentation(Protocol):
    """An `Augmentation` that changes recordings before their spectrograms are computed, too."""

    on_waves: Mapping[str, Any]  # what changes them; empty: nothing does

    def waves(self, waves: Tensor, epoch: int, step: int, /) -> Tensor:
        """[example, 1, samples] float32 from -1 to 1, each example by itself."""
        ...


class Batch(NamedTuple):
    """One step's examples.

    Args:
        x: [batch, *spec.input_shape] float32, on the device; of texts int32 numbers of words, [batch,
            word] as far as the longest of them goes.
        y: [batch] int64 class index, or float32 standardised number, on the device.
        index: [batch] int64, rows of `Data`, on the CPU.
        mixture: whom each x was mixed with; y is still its own.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    mixture: Mixture | None = None


class Batches:
    """The rows of one part as batches, epoch by epoch.

    Args:
        inputs: `Data.inputs`, all rows, raw.
        targets: `Data.targets`, all rows, raw.
        rows: the rows of this part.
        batch_size: examples a batch; the last batch of an epoch may be smaller and is kept.
        seed: with the epoch, decides the order; nothing else does.
        device: where x and y live.
        preprocess: fitted on the training rows.
        channels_last: memory layout of x where it has 4 dimensions.
        shuffle: off for evaluation: rows in their own order.
        augment: what changes x before it is trained on; None: unchanged.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        targets: np.ndarray,
        rows: np.ndarray,
        *,
        batch_size: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        preprocess: Preprocess,
        channels_last: bool = False,
        shuffle: bool = True,
        augment: Augmentation | None = None,
    ) -> None:
        self.rows = np.asarray(rows, np.int64)
        self.batch_size = batch_size
        self.seed = seed
        self.device = torch.device(device)
        self.preprocess = preprocess
        self.shuffle = shuffle
        self.augment = augment
        images, self._texts = inputs.ndim == 4, preprocess.words is not None
        sound = preprocess.sound
        self._spectrogram = None if sound is None else Spectrogram(preprocess, self.device)
        images = images or sound is not None  # as the model sees them
        self.layout = torch.channels_last if images and channels_last else torch.contiguous_format
        # What is augmented is cut afterwards, by the augmentation.
        self.seen = preprocess.seen if augment is None else ()
        self.whole = replace(preprocess, seen=self.seen)
        width = (
            int(np.prod(inputs.shape[1:] if sound is None else sound.shape))
            if inputs.ndim > 2
            else sum(len(column.features) for column in preprocess.columns)
        )
        # Texts are always kept as the numbers of their words, one text after another.
        self.ready = self._texts or 4 * width * len(self.rows) <= MOST_FLOAT_BYTES
        self._of_waves = augment if isinstance(augment, WaveAugmentation) else None
        if self._of_waves is not None and self._of_waves.on_waves:
            self.ready = False
        self._ends = torch.zeros(1, dtype=torch.int64)  # of texts: where each ends among all words
        self._x, self._shared = self._load(inputs, images)
        y = preprocess.targets(targets[self.rows])
        self._y = torch.from_numpy(np.ascontiguousarray(y)).to(self.device)
        self._rows = torch.from_numpy(self.rows)
        if images and sound is None and not self.ready:
            factor, shift = preprocess.affine()
            self._factor = torch.from_numpy(factor).view(-1, 1, 1).to(self.device)
            self._shift = torch.from_numpy(shift).view(-1, 1, 1).to(self.device)

    def _load(self, inputs: np.ndarray, images: bool) -> tuple[Tensor, bool]:
        """The tensor that batches index, and whether it is all of `inputs`, not copied."""
        if self.preprocess.words is not None:
            flat, ends = self.preprocess.words.flat(inputs[self.rows])
            self._ends = torch.from_numpy(ends).to(self.device)
            # The last one is what stands behind the end of every text.
            return torch.from_numpy(np.append(flat, np.int32(NO_WORD))).to(self.device), False
        if self.ready:
            if self._spectrogram is not None:
                x = self._spectrogram.of_raw(torch.from_numpy(inputs[self.rows]))
            else:
                x = torch.from_numpy(self.whole.inputs(inputs[self.rows])).to(self.device)
            if images and self.layout is torch.channels_last:
                # Stored as [example, height, width, channel]: indexing the first dimension then
                # gives channels_last batches, without a conversion a step.
                x = x.permute(0, 2, 3, 1).contiguous()
            return x, False
        if self.device.type != "cpu" and images:
            size = len(self.rows) * inputs[:1].nbytes
            if size <= MOST_DEVICE_BYTES:
                return torch.from_numpy(inputs[self.rows]).to(self.device), False
        return torch.from_numpy(inputs), True

    def __len__(self) -> int:
        """Batches an epoch."""
        full, rest = divmod(len(self.rows), self.batch_size)
        # A last example alone joins the batch before: batch normalisation has no variance of one.
        return max(full + (rest > 1), min(1, len(self.rows)))

    def order(self, epoch: int) -> np.ndarray:
        """[example] positions into `rows` in the order of this epoch."""
        if not self.shuffle:
            return np.arange(len(self.rows))
        return np.random.default_rng([self.seed % 2**63, epoch]).permutation(len(self.rows))

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from batch `start` on (to go on after an interruption)."""
        order = torch.from_numpy(self.order(number))
        rows = self._rows[order]
        order = order.to(self.device)
        # Small things are put in order once an epoch, so that a step only cuts them.
        y, at = self._y[order], rows if self._shared else order
        for step in range(start, len(self)):
            last = step == len(self) - 1
            stop = len(self.rows) if last else (step + 1) * self.batch_size
            span = slice(step * self.batch_size, stop)
            x, mixture = self._heard(self._inputs(at[span]), number, step), None
            if self.augment is not None:
                x, mixture = self.augment.mix(self.augment(x, number, step), number, step)
            yield Batch(x, y[span], rows[span], mixture)

    def _heard(self, x: Tensor, epoch: int, step: int) -> Tensor:
        """Spectrograms of recordings that are kept as they came; anything else as it is."""
        if self.ready or self._spectrogram is None:
            return x
        if self._of_waves is not None and self._of_waves.on_waves:
            waves = self._of_waves.waves(self._spectrogram.waves(x), epoch, step)
            seen = self._spectrogram(waves)
        else:
            seen = self._spectrogram.of_raw(x)
        return seen.contiguous(memory_format=self.layout)

    def _inputs(self, at: Tensor) -> Tensor:
        if self._texts:
            return self._words(at)
        x = self._x.index_select(0, at)
        if self.ready:
            return x.permute(0, 3, 1, 2) if self.layout is torch.channels_last else x
        if self._spectrogram is not None:
            return x
        if x.ndim != 4:
            return torch.from_numpy(self.preprocess.inputs(x.numpy())).to(self.device)
        x = central(x, self.seen)
        x = x.to(self.device).to(torch.float32, memory_format=self.layout)
        return x.mul_(self._factor).add_(self._shift)

    def _words(self, at: Tensor) -> Tensor:
        """[text, word] int32 of these texts, as far as the longest of them goes."""
        start, stop = self._ends[at, None], self._ends[at + 1, None]
        places = start + torch.arange(max(1, int((stop - start).max())), device=self.device)
        return self._x[torch.where(places < stop, places, len(self._x) - 1)]
