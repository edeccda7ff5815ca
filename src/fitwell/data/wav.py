"""The head of a WAV file: what its samples are, and how many of them are there. No torch."""

import struct
from dataclasses import dataclass
from pathlib import Path

WHOLE, EXTENSIBLE = 1, 0xFFFE  # codes: samples are whole numbers; the code stands further on
ENDLESS = 0x7FFF0000  # sizes from here on stand for a length not yet known, as sox and ffmpeg pipe
_FORMAT = struct.Struct("<HHIIHH")


@dataclass(frozen=True)
class Wav:
    """How a WAV file's samples lie in it.

    Args:
        whole: they are whole numbers, of 1 to 4 bytes each; of others `width` and `frames` mean nothing.
        width: bytes of a sample.
        start: the byte at which they begin.
        frames: samples of each channel that are there.
        lacking: bytes of samples that the head says and that are not there.
    """

    whole: bool
    rate: int
    channels: int
    width: int
    start: int
    frames: int
    lacking: int

    @property
    def cut(self) -> bool:
        """Whether the end is missing. Some writers count the head among the samples: that is none."""
        return self.lacking > self.start


def wav_head(path: Path) -> Wav | None:
    """The head of a file; None where it is no RIFF file of waves, or one with a broken head.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    form = None
    with path.open("rb") as file:
        first = file.read(12)
        if first[:4] != b"RIFF" or first[8:] != b"WAVE":
            return None
        while len(head := file.read(8)) == 8:
            length, start = int.from_bytes(head[4:], "little"), file.tell()
            if head[:4] == b"fmt ":
                form = file.read(min(length, 40))
            if head[:4] == b"data":
                return _wav(form, start, size - start, length)
            file.seek(start + length + length % 2)
    return None


def _wav(form: bytes | None, start: int, there: int, length: int) -> Wav | None:
    """Of the format chunk, where samples begin, how many bytes of them are there, and are said to be."""
    if form is None or len(form) < _FORMAT.size:
        return None
    code, channels, rate, _, block, bits = _FORMAT.unpack_from(form)
    if code == EXTENSIBLE and len(form) >= 26:
        code = int.from_bytes(form[24:26], "little")
    width = -(-bits // 8)
    whole = code == WHOLE and 1 <= width <= 4 and block == width * channels
    if length >= ENDLESS:
        length = there
    frames = min(length, there) // max(1, width * channels)
    return Wav(whole, rate, channels, width, start, frames, max(0, length - there))
