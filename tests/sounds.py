"""Recordings that the tests make."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 8000


def tone(seed: int, *, high: bool, seconds: float = 0.2, rate: int = RATE) -> np.ndarray:
    """[frame] float64 of a tone of about 400 or 1,600 Hz in a little noise."""
    rng = np.random.default_rng(seed)
    hertz = (1600 if high else 400) * rng.uniform(0.9, 1.1)
    at = np.arange(round(seconds * rate)) / rate
    return 0.3 * np.sin(2 * np.pi * hertz * at) + rng.normal(0, 0.01, len(at))


def write(path: Path, wave: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(str(path), wave, rate, subtype=subtype)
    return path


def tones(folder: Path, count: int = 12, *, start: int = 0) -> Path:
    """A folder with `count` recordings in each of the folders high and low."""
    for i in range(start, start + count):
        for name in ("high", "low"):
            write(folder / name / f"{i:02}.wav", tone(2 * i + (name == "low"), high=name == "high"))
    return folder


def named_tones(folder: Path, count: int = 6) -> Path:
    """A folder of recordings named high_ann_0.wav."""
    for i in range(count):
        for k, (name, who) in enumerate(
            (n, w) for n in ("high", "low") for w in ("ann", "bob", "eve")
        ):
            write(folder / f"{name}_{who}_{i}.wav", tone(6 * i + k, high=name == "high"))
    return folder
