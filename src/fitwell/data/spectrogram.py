"""Waves to log-mel spectrograms on a device, for `feeds`; with torch."""

import torch
from torch import Tensor

from fitwell.data.preprocess import Preprocess
from fitwell.data.sound import FLOOR, FULL_SCALE

CHUNK = 1 << 24  # values of the spectra computed at once: bounds the memory to some 200 MB


class Spectrogram:
    """What `Preprocess.inputs` makes of recordings, by torch: see `fitwell.data.sound.Sound`.

    Args:
        prepared: fitted to recordings.
    """

    def __init__(self, prepared: Preprocess, device: torch.device) -> None:
        assert prepared.sound is not None
        self.sound = prepared.sound
        self.device = device
        self._taper = torch.from_numpy(self.sound.taper()).to(device)
        self._filters = torch.from_numpy(self.sound.filters().copy()).to(device)
        factor, shift = prepared.affine()
        self._factor, self._shift = float(factor[0]), float(shift[0])

    def waves(self, raw: Tensor) -> Tensor:
        """[example, 1, samples] float32 from -1 to 1, on the device, of int16 anywhere."""
        return raw.to(self.device).to(torch.float32).div_(FULL_SCALE)

    def __call__(self, waves: Tensor) -> Tensor:
        """[example, 1, mel, frame] float32, normalised, of [example, 1, samples] float32."""
        sound = self.sound
        step = max(1, CHUNK // (sound.shape[2] * sound.size))
        found = []
        for block in waves[:, 0].split(step):
            spectrum = torch.stft(
                block,
                sound.size,
                sound.hop,
                window=self._taper,
                center=True,
                pad_mode="constant",
                return_complex=True,
            )
            power = spectrum.real.square() + spectrum.imag.square()
            found.append((self._filters @ power).add_(FLOOR).log_())
        return torch.cat(found)[:, None].mul_(self._factor).add_(self._shift)

    def of_raw(self, raw: Tensor) -> Tensor:
        """[example, 1, mel, frame] of [example, 1, samples] int16, in bounded memory beside the result."""
        step = max(1, CHUNK // self.sound.samples)
        return torch.cat([self(self.waves(block)) for block in raw.split(step)])
