"""Recordings as a model sees them: log-mel spectrograms, in numpy. No torch.

`fitwell.data.spectrogram` computes the same on a device, from the same window and filters.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fitwell.spec import Spec

FULL_SCALE = 32768.0  # of int16: 1 in waves of floats
WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.010
LEAST_WINDOW = 16  # samples, however low the rate
FLOOR = 1e-8  # added to the power before the logarithm: 80 dB below a full-scale sine is nothing


@dataclass(frozen=True)
class Sound:
    """How recordings are heard. Plain: it goes to JSON and back unchanged.

    The log-mel spectrogram of a wave x in [-1, 1], with w a periodic Hann window of 25 ms:

        S[k, t] = |sum_n w[n] x[n + t hop] exp(-2 pi i k n / size)|^2 / (sum_n w[n])^2
        L[m, t] = ln(sum_k F[m, k] S[k, t] + 1e-8)

    Frame t is centred on sample t * hop (10 ms); outside of the recording there are zeros. F are triangles
    of height 1 whose corners lie at equal distances from 0 to half the rate on HTK's scale,
    mel(f) = 2595 log10(1 + f / 700) (Young et al. 2006, The HTK Book, section 5.4; Davis and Mermelstein
    1980, IEEE TASSP 28).

    Args:
        rate: samples a second.
        samples: of a recording, as it was cut or padded with zeros.
        mels: bands.

    >>> sound = Sound(8000, 8000, 64)
    >>> sound.window, sound.hop, sound.size, sound.shape
    (200, 80, 256, (1, 64, 101))
    """

    rate: int
    samples: int
    mels: int

    @classmethod
    def of(cls, spec: Spec) -> "Sound":
        """What a spec of recordings says."""
        return cls(spec.rate, spec.samples, spec.input_shape[1])

    @property
    def seconds(self) -> float:
        """Length of a recording."""
        return self.samples / self.rate

    @property
    def window(self) -> int:
        """Samples of a window."""
        return max(LEAST_WINDOW, round(WINDOW_SECONDS * self.rate))

    @property
    def hop(self) -> int:
        """Samples from a frame to the next."""
        return max(1, round(HOP_SECONDS * self.rate))

    @property
    def size(self) -> int:
        """Samples of a Fourier transform: the power of two that the window fits into."""
        return 1 << (self.window - 1).bit_length()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channel, mel, frame) of a spectrogram."""
        return 1, self.mels, 1 + self.samples // self.hop

    def taper(self) -> np.ndarray:
        """[size] float32: the window, zeros on both sides, its sum 1."""
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)
        left = (self.size - self.window) // 2
        out = np.zeros(self.size)
        out[left : left + self.window] = hann / hann.sum()
        return out.astype(np.float32)

    def filters(self) -> np.ndarray:
        """[mel, frequency] float32: the triangles."""
        return mel_filters(self.rate, self.size, self.mels)

    def log_mel(self, waves: np.ndarray) -> np.ndarray:
        """[example, 1, mel, frame] float32 of [example, 1, samples] int16."""
        frames = self.shape[2]
        out = np.empty((len(waves), *self.shape), np.float32)
        taper, filters = self.taper(), self.filters()
        around = ((0, 0), (self.size // 2, self.size // 2))
        step = max(1, (1 << 22) // (frames * self.size))  # bounds the memory
        for start in range(0, len(waves), step):
            block = waves[start : start + step, 0].astype(np.float32) / np.float32(FULL_SCALE)
            padded = np.pad(block, around)
            windows = np.lib.stride_tricks.sliding_window_view(padded, self.size, axis=1)
            spectrum = np.fft.rfft(windows[:, :: self.hop][:, :frames] * taper)
            power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
            mel = np.log(power @ filters.T + np.float32(FLOOR))
            out[start : start + step, 0] = mel.transpose(0, 2, 1)
        return out


def mel(hertz: np.ndarray | float) -> np.ndarray:
    """HTK's mel scale.

    >>> mel(1000.0).round(1).item()
    1000.0
    """
    return 2595 * np.log10(1 + np.asarray(hertz) / 700)


@lru_cache
def mel_filters(rate: int, size: int, mels: int) -> np.ndarray:
    """[mel, frequency] float32: triangles over the `size // 2 + 1` frequencies of a transform."""
    corners = 700 * (10 ** (np.linspace(0, mel(rate / 2), mels + 2) / 2595) - 1)
    low, peak, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    hertz = np.arange(size // 2 + 1) * rate / size
    out = np.minimum((hertz - low) / (peak - low), (high - hertz) / (high - peak))
    out = np.maximum(out, 0).astype(np.float32)
    out.flags.writeable = False  # it is shared
    return out


def most_mels(rate: int, wanted: int) -> int:
    """So many bands, up to `wanted`, that each holds a frequency at this rate.

    >>> most_mels(16_000, 64), most_mels(500, 64)
    (64, 12)
    """
    size = Sound(rate, 1, 1).size
    return next(
        (m for m in range(wanted, 1, -1) if mel_filters(rate, size, m).any(axis=1).all()), 1
    )


def picture_of(waves: np.ndarray, sound: Sound) -> np.ndarray:
    """[example, 1, mel, frame] float32 to look at, high tones above, of [example, 1, samples] int16."""
    return sound.log_mel(waves)[:, :, ::-1]
