"""Batches of one text: tokens, and at each place the token that follows. Imports torch.

Training: windows of `context` tokens from a new offset each epoch, in random order; or streams, whose
windows follow each other from batch to batch, so that a recurrent network may carry its state on.
Evaluation: the chunks as they are, each with what stands before it as far as the model sees.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fitwell.data.batches import Batch, Batches
from fitwell.data.preprocess import Preprocess
from fitwell.spec import NO_WORD, Spec

EVALUATED = 1 << 14  # tokens of a batch that is evaluated ...
OUTPUTS = 1 << 24  # ... and outputs of it: 64 MB of float32


def batches_for(spec: Spec, preprocess: Preprocess, *, carried: bool) -> Callable[..., Batches]:
    """The batches that the data wants, with what they need to know of it.

    Args:
        carried: a network of one text carries its state from chunk to chunk, so it is evaluated behind a
            whole chunk, too.
    """
    if preprocess.tokens is None:
        return Batches
    (context,) = spec.input_shape
    return partial(
        TokenBatches,
        context=context,
        before=context if carried else None,
        streams=carried,
        outputs=spec.vocabulary,
    )


class TokenBatches(Batches):
    """The rows of one part of a text as batches: x [batch, token] int32, y [batch, token] int64, the token
    that follows each; 0 before the beginning, and where nothing is asked.

    Stretches of rows that do not follow each other in the text (those around a fold) are parted: no
    window crosses from one to the next.

    Args:
        parts, settings: as of `Batches`.
        context: tokens of a window.
        before: tokens that a chunk is evaluated behind; None: as many as make `context` with its own.
        streams: whether each batch goes on where the one before it ended.
        outputs: numbers that a model gives at each token; they bound a batch that is evaluated.
    """

    def __init__(
        self,
        *parts: Any,
        context: int,
        before: int | None = None,
        streams: bool = False,
        outputs: int = 1,
        **settings: Any,
    ) -> None:
        self.context, self.before, self.streams = context, before, streams
        super().__init__(*parts, **settings)
        if not self.shuffle:
            seen = context + (before or 0)
            most = min(EVALUATED // seen, OUTPUTS // (seen * outputs))
            self.batch_size = max(1, min(self.batch_size, most))

    def _keep(self, inputs: np.ndarray, targets: np.ndarray, *, channels_last: bool) -> None:
        assert self.preprocess.tokens is not None
        self._characters = targets[self.rows, 0]
        self._lay_out([self.preprocess.tokens.ids(text) for text in inputs[self.rows].tolist()])

    def _lay_out(self, pieces: list[np.ndarray]) -> None:
        """All tokens one after another, a 0 before each stretch; where each row and stretch stands."""
        first = np.diff(self.rows, prepend=-2) != 1  # of its stretch
        nothing = np.array([NO_WORD], np.int32)
        laid = [
            part
            for new, ids in zip(first, pieces, strict=True)
            for part in ((nothing, ids) if new else (ids,))
        ]
        self.flat = torch.from_numpy(np.concatenate([*laid, nothing])).to(self.device)
        sizes = np.array([len(ids) for ids in pieces], np.int64)
        # The place before the first token of each row: what is read there says what comes.
        self._starts = np.cumsum(sizes) - sizes + np.cumsum(first) - 1
        self._stops = self._starts + sizes
        self._stretch = self._starts[first][np.cumsum(first) - 1]  # where that of each row begins
        ends = np.append(np.flatnonzero(first)[1:], len(sizes)) - 1
        self._bounds = np.stack([self._starts[first], self._stops[ends]], axis=1)
        self.sizes = sizes

    def recorded(self) -> np.ndarray:
        """[row, 2] float64: characters and tokens of each."""
        return np.stack([self._characters, self.sizes], axis=1).astype(np.float64)

    def __len__(self) -> int:
        if not self.shuffle:
            return -(-len(self.rows) // self.batch_size)
        if self.streams:
            return max(1, self._stream() // self.context)
        count = sum(self._windows(low, high) for low, high in self._bounds)
        full, rest = divmod(count, self.batch_size)
        return max(full + (rest > 1), 1)

    def _windows(self, low: int, high: int) -> int:
        """How many windows a stretch gives."""
        return max(1, int(high - low) // self.context)

    def _stream(self) -> int:
        """Tokens of each stream."""
        return max(1, (len(self.flat) - 2) // self.batch_size)

    def first(self, count: int) -> Batch:
        """The first rows of this part, each a window."""
        return self._chunks(np.arange(min(count, len(self.rows))))

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from batch `start` on (to go on after an interruption)."""
        if not self.shuffle:
            for step in range(start, len(self)):
                yield self._chunks(np.arange(len(self.rows))[self._span(step, len(self.rows))])
            return
        low, high = self._trained(number)
        for step in range(start, len(self)):
            if self.streams:
                own, length = slice(None), min(self.context, self._stream())
                batch = self._window(low + step * self.context, high, length)
            else:
                own = self._span(step, len(low))
                batch = self._window(low[own], high[own], self.context)
            x = batch.x if self.augment is None else self.augment(batch.x, number, step)
            yield batch._replace(x=x)

    def _span(self, step: int, count: int) -> slice:
        last = step == len(self) - 1
        return slice(step * self.batch_size, count if last else (step + 1) * self.batch_size)

    def _trained(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the windows of an epoch begin, and where their text ends: of streams the first ones."""
        random = np.random.default_rng([self.seed % 2**63, epoch])
        if self.streams:
            each = len(self) * min(self.context, self._stream())
            first = random.integers(len(self.flat) - 1 - self.batch_size * each)
            low = first + each * np.arange(self.batch_size)
            return low, np.full(self.batch_size, len(self.flat) - 1)
        starts, stops = [], []
        for low, high in self._bounds:
            offset = random.integers(self.context)
            begin = low + offset + self.context * np.arange(self._windows(low, high))
            starts.append(
                np.clip(begin, low, max(low, high - self.context))
            )  # whole, where it can be
            stops.append(np.full(len(begin), high))
        order = random.permutation(sum(map(len, starts)))
        return np.concatenate(starts)[order], np.concatenate(stops)[order]

    def _chunks(self, at: np.ndarray) -> Batch:
        """Rows as they are, behind what stands before them."""
        sizes = self._stops[at] - self._starts[at]
        before = self.context - sizes if self.before is None else np.full(len(at), self.before)
        low = np.maximum(self._starts[at] - np.maximum(before, 0), self._stretch[at])
        batch = self._window(low, self._stops[at], int((self._stops[at] - low).max()))
        asked = torch.from_numpy(self._starts[at] - low).to(self.device)
        places = torch.arange(batch.y.shape[1], device=self.device)
        y = torch.where(places >= asked[:, None], batch.y, NO_WORD)
        return Batch(batch.x, y, torch.from_numpy(self.rows[at]))

    def _window(self, low: np.ndarray, high: np.ndarray, length: int) -> Batch:
        """Tokens from `low` on, [batch, length], none from `high` on."""
        begin, stop = (torch.from_numpy(v).to(self.device)[:, None] for v in (low, high))
        places = begin + torch.arange(length, device=self.device)
        there = places < stop
        places = torch.where(there, places, len(self.flat) - 1)
        x: Tensor = torch.where(there, self.flat[places], NO_WORD)
        follows = self.flat[(places + 1).clamp(max=len(self.flat) - 1)]
        y = torch.where(there, follows, NO_WORD).long()
        at = np.searchsorted(self._starts, low, "right") - 1
        return Batch(x, y, torch.from_numpy(self.rows[np.maximum(at, 0)]))
