"""Recordings beside what augmentation makes of them, as spectrograms."""

import numpy as np
import torch

from fitwell.augment import AugmentSounds
from fitwell.data.preprocess import Preprocess
from fitwell.data.spectrogram import Spectrogram


def spectrograms_of(
    waves: np.ndarray, prepared: Preprocess, augment: AugmentSounds, epochs: int
) -> list[np.ndarray]:
    """[example, 1, mel, frame] of int16 waves as they are, then as training sees them in each of the first
    epochs; high tones above, in the range of the unchanged ones, so that noise does not dim them."""
    spectrogram = Spectrogram(prepared, torch.device("cpu"))
    plain = spectrogram.waves(torch.from_numpy(waves))
    seen = [spectrogram(plain)]
    for epoch in range(epochs):
        changed = augment.waves(plain.clone(), epoch, 0)
        seen.append(augment(spectrogram(changed), epoch, 0))
    low, high = seen[0].min(), seen[0].max()
    return [x.clamp(low, high).flip(2).numpy() for x in seen]
