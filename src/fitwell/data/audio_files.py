"""Files of recordings to int16 waves: one channel, one rate, one length. No torch.

soundfile reads WAV, FLAC, Ogg, AIFF and MP3; where it is not installed, numpy reads WAV files of whole
numbers, to the same samples.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil, gcd
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.images import Unreadable
from fitwell.data.mp3 import NEAR, counted
from fitwell.data.names import PLAIN_SUFFIXES
from fitwell.data.sound import FULL_SCALE
from fitwell.data.types import BadData, refuse
from fitwell.data.wav import Wav, wav_head

VERSION = 2  # of what `decode` makes of a file
TRUNCATED, NO_RECORDING = "truncated", "not a recording"
_REACH = 10  # of `resample_poly`'s filter, in samples of the lower rate to either side


@dataclass(frozen=True)
class Clip:
    """What is known of a recording without reading its samples.

    Args:
        frames: samples of each channel that can be read.
        beyond: samples of each channel that lie behind those in the file and cannot be read.
    """

    frames: int
    rate: int
    channels: int
    beyond: int = 0

    @property
    def seconds(self) -> float:
        return self.frames / self.rate


@dataclass(frozen=True)
class Hearing:
    """The way in which files are decoded, see `fitwell.data.decoded`.

    Args:
        rate: samples a second, to which others are brought.
        samples: length, to which recordings are cut or padded with zeros.
    """

    rate: int
    samples: int

    dtype = np.dtype(np.int16)
    file = "waves.i16"

    @property
    def shape(self) -> tuple[int, int]:
        return 1, self.samples

    @property
    def how(self) -> list[Any]:
        return ["audio", VERSION, self.rate, self.samples]

    def read(self, path: Path) -> np.ndarray | Unreadable:
        return decode(path, self.rate, self.samples)


def clip(path: Path) -> Clip | Unreadable:
    """Length, rate and channels of a file of a recording.

    Raises:
        BadData: soundfile is needed, and not installed.
    """
    why = _absent(path)
    if why:
        return why
    try:
        head = wav_head(path)
        if head is not None and head.cut:
            return Unreadable(TRUNCATED)
        if has_soundfile():
            import soundfile

            about = soundfile.info(str(path))
            frames, beyond = about.frames, 0
            held = counted(path) if path.suffix.lower() == ".mp3" else None
            if held is not None and abs(held - frames) > NEAR:  # guessed by the decoder
                frames, beyond = min(held, frames), max(0, held - frames)
            return _sane(frames, about.samplerate, about.channels, beyond)
        plain = _plain(path, head)
        return _sane(plain.frames, plain.rate, plain.channels)
    except BadData:
        raise
    except Exception as error:  # decoders raise whatever a broken file makes them stumble over
        return Unreadable(_reason(error))


def decode(path: Path, rate: int, samples: int) -> np.ndarray | Unreadable:
    """int16 [1, samples] of a file of a recording: the mean of its channels at `rate` samples a second.

    Of longer recordings the start is read, shorter ones are padded with zeros. Samples are scaled to the
    range of int16 by the range of their own kind, whatever the loudest of them is.

    Raises:
        BadData: soundfile is needed, and not installed.
    """
    about = clip(path)
    if isinstance(about, Unreadable):
        return about
    if not about.frames:
        return Unreadable("no samples")
    wanted = min(about.frames, _needed(about.rate, rate, samples))
    try:
        found = _frames(path, wanted)
    except BadData:
        raise
    except Exception as error:  # see clip()
        passing = isinstance(error, MemoryError) or getattr(error, "errno", None) is not None
        return Unreadable(_reason(error), passing)
    if len(found) < wanted:
        return Unreadable(TRUNCATED)
    if not np.isfinite(found).all():
        return Unreadable("holds NaN or infinite samples")
    return to_int16(resampled(found.mean(1), about.rate, rate), samples)


def to_int16(values: np.ndarray, samples: int) -> np.ndarray:
    """int16 [1, samples] of [frame] floats from -1 to 1."""
    out = np.zeros((1, samples), np.int16)
    scaled = np.rint(values[:samples] * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1)
    out[0, : len(scaled)] = scaled
    return out


def resampled(values: np.ndarray, before: int, after: int) -> np.ndarray:
    """[frame] at another rate, by a polyphase filter (scipy's `resample_poly`).

    >>> resampled(np.ones(8), 8000, 4000).shape
    (4,)
    """
    if before == after:
        return values
    from scipy.signal import resample_poly

    common = gcd(before, after)
    return resample_poly(values, after // common, before // common)


def has_soundfile() -> bool:
    return find_spec("soundfile") is not None


def _needed(before: int, after: int, samples: int) -> int:
    """Frames of the file that `samples` at the other rate are made of, those that the filter sees too."""
    return ceil((samples + 2) * before / after) + 2 * _REACH * max(1, ceil(before / after))


def _frames(path: Path, count: int) -> np.ndarray:
    """float64 [frame, channel], from -1 to 1."""
    if has_soundfile():
        import soundfile

        path.open("rb").close()  # whose errors tell the machine's fault from the file's
        return soundfile.read(str(path), count, dtype="float64", always_2d=True)[0]
    head = _plain(path, wav_head(path))
    width, channels = head.width, head.channels
    block = width * channels
    raw = np.fromfile(path, np.uint8, min(count, head.frames) * block, offset=head.start)
    raw = raw[: len(raw) // block * block].reshape(-1, channels, width)
    if width == 1:  # the only one without a sign
        return (raw[:, :, 0].astype(np.float64) - 128) / 128
    wide = np.zeros((*raw.shape[:2], 4), np.uint8)
    wide[:, :, 4 - width :] = raw  # the low bytes of 16 and 24 bits are 0
    return wide.view("<i4")[:, :, 0] / 2.0**31


def _plain(path: Path, head: Wav | None) -> Wav:
    """The head of a file that numpy can read.

    Raises:
        BadData: it is of a kind that this does not read.
        ValueError: it is no recording.
    """
    if head is not None and head.whole:
        return head
    if head is None and path.suffix.lower() in PLAIN_SUFFIXES:
        with path.open("rb") as file:
            if file.read(4) not in (b"RF64", b"RIFX"):  # other kinds of WAV
                raise ValueError(NO_RECORDING)
    raise refuse(
        "needs_soundfile",
        f"{path.name}: without the package soundfile only WAV files of whole numbers can be read.",
        "Install it: pip install fitwell[audio].",
        str(path),
    )


def _sane(frames: int, rate: int, channels: int, beyond: int = 0) -> Clip | Unreadable:
    if rate < 1 or channels < 1:
        return Unreadable(f"{channels} channels at {rate} Hz")
    return Clip(frames, rate, channels, beyond)


def _absent(path: Path) -> Unreadable | None:
    if not path.exists():
        why = "a link to a file that is not there" if path.is_symlink() else "no such file"
        return Unreadable(why)
    return None if path.stat().st_size else Unreadable("zero bytes")


def _reason(error: Exception) -> str:
    text = str(getattr(error, "error_string", error)).split("\n")[0].rstrip(".")
    if "not recogni" in text or "RIFF" in text or "chunk" in text:
        return NO_RECORDING
    return text[:80] or type(error).__name__
