"""What is wrong with recordings: silent, clipped, almost the same. No torch."""

from collections.abc import Iterator

import numpy as np

from fitwell.data.common_checks import without_content
from fitwell.data.near import candidates
from fitwell.data.types import Data, Options, Problem, some

# Of the largest number of int16; 8 bits reach 32,512. A clipped wave stays there, a loud one touches it.
NEARLY_FULL, CLIPPED_SHARE, CLIPPED_SAMPLES = 32_500, 0.001, 10
QUIET = 0.01  # of the loudest sample: what is quieter at either end is silence
PARTS = 65  # of a recording, whose loudness is compared: 64 bits
ALIKE = 0.995  # least correlation of the samples


def is_silent(waves: np.ndarray) -> np.ndarray:
    """[example] whether all samples of a recording are equal, of [example, 1, samples] int16."""
    return waves.max((1, 2), initial=-32768) == waves.min((1, 2), initial=32767)


def silent_recordings(data: Data, options: Options) -> Iterator[Problem]:
    if data.spec.kind != "audio" or not len(data):
        return
    mend = "Listen to them and leave them out."
    silent = is_silent(data.inputs)
    yield from without_content(data, silent, "silent_recording", "recordings are silent", mend)


def clipped_recordings(data: Data, options: Options) -> Iterator[Problem]:
    """Waves that were too loud for the recorder: cut off flat."""
    if data.spec.kind != "audio":
        return
    found = []
    for key, row in zip(data.keys, data.inputs, strict=True):
        full = int((np.abs(row.astype(np.int32)) >= NEARLY_FULL).sum())
        if full >= max(CLIPPED_SAMPLES, CLIPPED_SHARE * np.count_nonzero(row)):
            found.append(str(key))
    if found:
        yield Problem(
            "clipped_recording",
            "warning",
            tuple(found),
            f"{len(found)} of {len(data)} recordings are clipped, with more than "
            f"{CLIPPED_SHARE:.1%} of their samples at full scale ({some(found)}).",
            "Record them less loud where that can be; else keep them if later ones will be as loud.",
        )


def near_waves(waves: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of recordings that are the same but for loudness and silence at both ends, first row first;
    exact copies are not among them.

    >>> tone = (8000 * np.sin(np.arange(900) ** 1.4 / 90)).astype(np.int16)
    >>> other = (8000 * np.cos(np.arange(900) ** 1.2 / 30)).astype(np.int16)
    >>> waves = np.zeros((3, 1, 1000), np.int16)
    >>> waves[0, 0, :900], waves[1, 0, :900], waves[2, 0, 70:970] = tone, other, tone // 2
    >>> near_waves(waves)
    [(0, 2)]
    """
    heard = [_heard(row[0]) for row in waves]
    rows = [row for row, wave in enumerate(heard) if len(wave) >= PARTS]
    if len(rows) < 2:
        return []
    loudness = np.stack([_loudness(heard[row]) for row in rows])
    bits = np.packbits(loudness[:, 1:] > loudness[:, :-1], axis=1)
    found = set()
    for first, second in candidates(bits.view(np.uint64).reshape(-1)):
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            one, other = rows[a], rows[b]
            if _alike(heard[one], heard[other]) and not np.array_equal(waves[one], waves[other]):
                found.add((one, other))
    return sorted(found)


def _heard(wave: np.ndarray) -> np.ndarray:
    """[sample] float32 without the silence at both ends."""
    values = wave.astype(np.float32)
    there = np.flatnonzero(np.abs(values) > QUIET * np.abs(values).max(initial=0))
    return values[there[0] : there[-1] + 1] if len(there) else values[:0]


def _loudness(wave: np.ndarray) -> np.ndarray:
    """[part] sum of the squares of equal parts of a wave."""
    edges = np.linspace(0, len(wave), PARTS + 1).astype(int)
    return np.add.reduceat(wave**2, edges[:-1])


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether the waves agree, laid over one another at their loudest samples."""
    if abs(len(one) - len(other)) > (1 - ALIKE) * max(len(one), len(other)) + 2:
        return False
    square = float(one @ one) * float(other @ other)
    shift = int(np.abs(one).argmax()) - int(np.abs(other).argmax())
    a, b = one[max(0, shift) :], other[max(0, -shift) :]
    common = min(len(a), len(b))
    return float(a[:common] @ b[:common]) >= ALIKE * float(np.sqrt(square))
