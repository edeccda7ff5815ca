"""How long an MP3 file is, by the heads of its frames. No torch.

A file of changing bit rate says its length in its first frame (a Xing, Info or VBRI head); where that is
missing, decoders guess the length from the size of the file and the first frame's bit rate.
"""

from pathlib import Path

NEAR = 2 * 1152  # samples: lengths that differ by no more than two frames are equal
# Bit rates of layer III in kbit/s, of MPEG 1 and of MPEG 2 and 2.5; and rates of MPEG 1 in Hz.
_BITS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
)
_RATES = (44100, 48000, 32000, 0)
_SLOWER = {3: 1, 2: 2, 0: 4}  # MPEG 1, 2 and 2.5 in a head -> by what the rates are divided
_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"\0\0\0\0")  # what may follow the last frame


def frame_of(head: bytes) -> tuple[int, int] | None:
    """(bytes, samples) of the frame of layer III with this head of 4 bytes; None where it is none.

    >>> frame_of(bytes([0xFF, 0xFB, 0x90, 0x00])), frame_of(b"RIFF")  # 128 kbit/s, 44,100 Hz
    ((417, 1152), None)
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if version not in _SLOWER or layer != 1:
        return None
    bits = _BITS[version != 3][head[2] >> 4]
    rate = _RATES[head[2] >> 2 & 3] // _SLOWER[version]
    if not bits or not rate:
        return None
    samples = 1152 if version == 3 else 576
    return samples // 8 * 1000 * bits // rate + (head[2] >> 1 & 1), samples


def counted(path: Path) -> int | None:
    """Samples of each channel of an MP3 file, by its frames; None where its first frame says the length,
    and where something other than frames of layer III stands in it.

    Raises:
        OSError: the file cannot be read.
    """
    raw = path.read_bytes()
    at = 0
    while raw[at : at + 3] == b"ID3" and len(raw) >= at + 10:
        size = raw[at + 6 : at + 10]
        at += 10 + sum((byte & 127) << 7 * (3 - i) for i, byte in enumerate(size))
    first = frame_of(raw[at : at + 4])
    if first is None or any(
        mark in raw[at : at + first[0]] for mark in (b"Xing", b"Info", b"VBRI")
    ):
        return None
    total = 0
    while at < len(raw):
        found = frame_of(raw[at : at + 4])
        if found is None:
            break
        at += found[0]
        total += found[1] if at <= len(raw) else 0
    rest = raw[at : at + 16]
    return total if len(rest) < 4 or rest.startswith(_TAGS) else None
