"""Whether what a loop evaluates looks like what it trains on, and its batches like one another."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fitwell.watching.sample import Sample, first_tensor

_PASSES = 64  # without gradients that are compared
_FEWEST = 32  # examples on either side
_FEWEST_BATCHES = 4


class Likeness:
    """Compares inputs of passes without gradients with those that were trained on.

    Args:
        scale: standard deviation of a feature over that in training, the median of the features, of the
            pass where it is furthest from 1; None: nothing could be compared.
        shift: difference of the means of a feature in such deviations, likewise.
    """

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._passes = 0
        self._trained: tuple[Tensor, Tensor] | None = None
        self.scale: float | None = None
        self.shift: float | None = None

    @torch.no_grad()
    def compare(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Look at one pass."""
        x = first_tensor((args, dict(kwargs)))
        if self._passes >= _PASSES or not _comparable(x):
            return
        assert x is not None
        mean, spread = self._of_training()
        self._passes += mean.numel() > 0  # those before any training use none up
        if mean.shape != x.shape[1:] or not (spread > 0).any():
            return
        known, x = spread > 0, x.float()
        scale = float((x.std(0)[known] / spread[known]).median())
        shift = float(((x.mean(0) - mean)[known] / spread[known]).abs().median())
        if math.isfinite(scale) and scale > 0 and math.isfinite(shift):
            self.scale = max(self.scale or 1.0, scale, key=lambda s: abs(math.log(s)))
            self.shift = max(self.shift or 0.0, shift)

    def _of_training(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each feature; empty where they are not known yet."""
        if self._trained is None:
            kept = [call.inputs for call in self._sample.calls]
            nothing = torch.empty(0), torch.empty(0)
            shapes = {None if x is None else x.shape[1:] for x in kept}
            if None in shapes or len(shapes) != 1:
                return nothing
            x = torch.cat([x.float() for x in kept if x is not None])
            if len(x) < _FEWEST:
                return nothing
            self._trained = x.mean(0), x.std(0)
        return self._trained


def _comparable(x: Tensor | None) -> bool:
    return x is not None and x.dim() > 1 and len(x) >= _FEWEST and x.is_floating_point()


def classes_a_batch(labels: Sequence[np.ndarray]) -> tuple[float, float] | None:
    """How many classes a batch holds, and how many it would if the examples were mixed; means.

    Args:
        labels: [batch][example] class of each, -1 where there is none.

    >>> classes_a_batch([np.full(8, c) for c in (0, 0, 1, 1, 2, 2)])
    (1.0, 2.88)
    >>> classes_a_batch([np.zeros(8, int)] * 6) is None
    True
    """
    known = [batch[batch >= 0] for batch in labels]
    known = [batch for batch in known if len(batch) > 1]
    if len(known) < _FEWEST_BATCHES:
        return None
    every = np.concatenate(known)
    count = np.unique(every, return_counts=True)[1]
    if len(count) < 2:
        return None
    own = float(np.mean([len(np.unique(batch)) for batch in known]))
    # A class of c examples among n is missing from b drawn ones with about (1 - c / n) ** b.
    share = count / len(every)
    mixed = float(np.mean([(1 - (1 - share) ** len(batch)).sum() for batch in known]))
    return own, round(mixed, 2)
