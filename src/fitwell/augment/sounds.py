"""Recordings changed at random while they are trained on: their waves, then their spectrograms."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.random import Generator
from torch import Tensor

from fitwell.augment.options import NO_NOISE
from fitwell.data.batches import Mixture

Waves = Float[Tensor, "example 1 sample"]
Spectrograms = Float[Tensor, "example 1 mel frame"]
_WAVES, _MASKS = 111, 112  # part these random numbers from those of the order, and from each other


def noise_snr(rng: Generator, x: Waves, *, noise_snr: Sequence[float]) -> Waves:
    """Adds white noise, at a ratio of its own for each recording.

    Formula: x' = x + s z, with z standard normal, s^2 = mean(x^2) / 10^(R / 10), R uniform in [least, most]
        dB; the mean is over the recording without the zeros at its ends, the noise is everywhere
    Use: recordings from places that may be louder than those of the training part
    Weakness: white noise is not the noise of a street or of other voices
    Source: Hannun et al. 2014, Deep Speech; Ko, Peddinti, Povey, Seltzer and Khudanpur 2017, ICASSP

    A silent recording stays silent.

    >>> x = torch.sin(torch.arange(8000.0)).view(1, 1, -1)
    >>> noise = noise_snr(np.random.default_rng(0), x, noise_snr=[20, 20]) - x
    >>> round(10 * (x.square().mean() / noise.square().mean()).log10().item())
    20
    """
    ratio = _drawn(rng, noise_snr[0], noise_snr[1], x)
    start, stop = _sounding(x)
    length = (stop - start).clamp_min(1)
    power = x.square().sum((1, 2)) / length
    amount = (power * 10 ** (-ratio / 10)).sqrt()
    # Drawn on the processor, so that they are the same on every device.
    source = torch.Generator().manual_seed(int(rng.integers(2**63)))
    normal = torch.randn(x.shape, generator=source).to(x.device)
    return x + amount[:, None, None] * normal


def time_shift(rng: Generator, x: Waves, *, time_shift: float) -> Waves:
    """Moves each recording in time; zeros come in, what goes over an end is lost.

    Formula: x'[n] = x[n - d], d whole and uniform in [-r, r] of the recording's length without the zeros at
        its ends
    Use: recordings that were cut by hand or by loudness, now a little earlier, now later
    Weakness: nothing to a network that averages over time; far shifts lose what is to be heard
    Source: Salamon and Bello 2017, IEEE Signal Processing Letters 24 (augmentation of sounds)

    >>> x = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    >>> time_shift(np.random.default_rng(2), x, time_shift=0.5).tolist()
    [[[2.0, 3.0, 4.0, 0.0]]]
    """
    start, stop = _sounding(x)
    share = _drawn(rng, -time_shift, time_shift, x)
    by = (share * (stop - start)).round().to(torch.int64)
    at = torch.arange(x.shape[-1], device=x.device) - by[:, None]
    there = (at >= 0) & (at < x.shape[-1])
    moved = x[:, 0].gather(1, at.clamp(0, x.shape[-1] - 1))
    return (moved * there)[:, None]


def time_mask(rng: Generator, x: Spectrograms, *, time_mask: float) -> Spectrograms:
    """Covers some frames in a row with the mean.

    Formula: w frames from a random one on become 0, the mean of normalised spectrograms; w whole and
        uniform from 0 to r of all frames
    Use: recordings that are overfitted; beside noise, as it changes something else
    Weakness: may cover all there is to hear; the padding of short recordings, and so nothing
    Source: Park et al. 2019, Interspeech (SpecAugment; there without the warping of time)

    >>> x = time_mask(np.random.default_rng(0), torch.ones(1, 1, 2, 8), time_mask=0.5)
    >>> x[0, 0].tolist()
    [[1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]]
    """
    return x.masked_fill(_stretch(rng, x, 3, time_mask)[:, None, None, :], 0.0)


def frequency_mask(rng: Generator, x: Spectrograms, *, frequency_mask: float) -> Spectrograms:
    """Covers some neighbouring mel bands with the mean.

    Formula: w bands from a random one on become 0, the mean of normalised spectrograms; w whole and uniform
        from 0 to r of all bands
    Use: recordings by few microphones or voices, so that no band alone is relied on
    Weakness: may cover what tells two sounds apart
    Source: Park et al. 2019, Interspeech (SpecAugment)

    >>> x = frequency_mask(np.random.default_rng(0), torch.ones(1, 1, 8, 1), frequency_mask=0.5)
    >>> x.flatten().tolist()
    [1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    """
    return x.masked_fill(_stretch(rng, x, 2, frequency_mask)[:, None, :, None], 0.0)


ON_WAVES = {"noise_snr": noise_snr, "time_shift": time_shift}
ON_SPECTROGRAMS = {"time_mask": time_mask, "frequency_mask": frequency_mask}
SOUNDS = {**ON_WAVES, **ON_SPECTROGRAMS}


class AugmentSounds:
    """Changes training recordings as the settings say: shift, then noise, then masks.

    Args:
        settings: of the section `augment`, complete.
        seed: with epoch and step, decides what happens to whom; nothing else does.
    """

    def __init__(self, settings: Mapping[str, Any], *, seed: int) -> None:
        used = {k: settings[k] for k in SOUNDS if settings[k] not in (0, NO_NOISE)}
        # Noise goes on where a recording was moved away.
        self.on_waves = {name: used[name] for name in reversed(ON_WAVES) if name in used}
        self.on_spectrograms = {name: used[name] for name in ON_SPECTROGRAMS if name in used}
        self.seed = seed

    def __bool__(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.on_waves or self.on_spectrograms)

    def waves(self, waves: Waves, epoch: int, step: int) -> Waves:
        rng = np.random.default_rng([self.seed % 2**63, _WAVES, epoch, step])
        for name, value in self.on_waves.items():
            waves = ON_WAVES[name](rng, waves, **{name: value})
        return waves

    def __call__(self, x: Spectrograms, epoch: int, step: int) -> Spectrograms:
        rng = np.random.default_rng([self.seed % 2**63, _MASKS, epoch, step])
        for name, value in self.on_spectrograms.items():
            x = ON_SPECTROGRAMS[name](rng, x, **{name: value})
        return x

    def mix(self, x: Spectrograms, epoch: int, step: int) -> tuple[Spectrograms, Mixture | None]:
        """Recordings are not mixed."""
        return x, None


def _drawn(rng: Generator, least: float, most: float, x: Waves) -> Tensor:
    """[example] float32, uniform, on the device."""
    return torch.from_numpy(rng.uniform(least, most, len(x)).astype(np.float32)).to(x.device)


def _sounding(x: Waves) -> tuple[Tensor, Tensor]:
    """([example] the first sample that is not 0, [example] the one behind the last): both 0 of silence."""
    there = x[:, 0] != 0
    at = torch.arange(x.shape[-1], device=x.device)
    stop = torch.where(there, at + 1, 0).amax(1)
    start = torch.where(there, at, x.shape[-1]).amin(1)
    return torch.minimum(start, stop), stop


def _stretch(rng: Generator, x: Spectrograms, axis: int, most: float) -> Tensor:
    """[example, place] along an axis: whether it is covered."""
    n, side = len(x), x.shape[axis]
    width = np.floor(rng.random(n) * (np.floor(most * side) + 1))
    start = np.floor(rng.random(n) * (side - width + 1))
    at = np.arange(side)
    covered = (at >= start[:, None]) & (at < (start + width)[:, None])
    return torch.from_numpy(covered).to(x.device)
