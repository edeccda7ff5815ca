"""Batches by indexing whole tensors. With `feeds` and `spectrogram` the modules here that import torch.

No DataLoader: on tensors in memory it costs 3 to 124 times as much (pytorch #181501).
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from fitwell.data.feeds import feed_of
from fitwell.data.preprocess import Preprocess


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
class BoxAugmentation(Protocol):
    """What changes pictures and the boxes in them together."""

    def with_targets(
        self, x: Tensor, targets: Tensor, epoch: int, step: int, /
    ) -> tuple[Tensor, Tensor]:
        """Pictures, and [batch, box, 5] class and corners in their pixels, nan where there is no box."""
        ...


class Batch(NamedTuple):
    """One step's examples.

    Args:
        x: [batch, *spec.input_shape] float32, on the device; of texts int32 numbers of words, [batch,
            word] as far as the longest of them goes.
        y: [batch] int64 class index, or float32 standardised number, on the device; of language [batch,
            token] int64, the token that follows each; of boxes [batch, box, 5] float32, class and corners
            in pixels of x, rows of nan where there are fewer.
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
        self._keep(inputs, targets, channels_last=channels_last)

    def _keep(self, inputs: np.ndarray, targets: np.ndarray, *, channels_last: bool) -> None:
        """Lay the rows out as the steps take them."""
        self.feed = feed_of(
            inputs,
            self.rows,
            self.preprocess,
            device=self.device,
            channels_last=channels_last,
            augment=self.augment,
        )
        y = self.preprocess.targets(targets[self.rows])
        self._y = torch.from_numpy(np.ascontiguousarray(y)).to(self.device)
        self._rows = torch.from_numpy(self.rows)

    def recorded(self) -> np.ndarray:
        """[example, ...] targets as they are recorded: classes, or numbers in their own unit."""
        y = self._y.cpu().numpy()
        return self.preprocess.restore(y) if self._y.is_floating_point() else y

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

    def first(self, count: int) -> Batch:
        """The first examples of this part in its own order, not augmented."""
        at = torch.arange(min(count, len(self.rows)))
        rows = self._rows[at]
        x = self.feed(rows if self.feed.whole else at.to(self.device), 0, 0)
        return Batch(x, self._y[at.to(self.device)], rows)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from batch `start` on (to go on after an interruption)."""
        order = torch.from_numpy(self.order(number))
        rows = self._rows[order]
        order = order.to(self.device)
        # Small things are put in order once an epoch, so that a step only cuts them.
        y, at = self._y[order], rows if self.feed.whole else order
        for step in range(start, len(self)):
            last = step == len(self) - 1
            stop = len(self.rows) if last else (step + 1) * self.batch_size
            span = slice(step * self.batch_size, stop)
            x, asked, mixture = self.feed(at[span], number, step), y[span], None
            if isinstance(self.augment, BoxAugmentation):
                x, asked = self.augment.with_targets(x, asked, number, step)
            elif self.augment is not None:
                x, mixture = self.augment.mix(self.augment(x, number, step), number, step)
            yield Batch(x, asked, rows[span], mixture)
