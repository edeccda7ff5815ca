"""Recordings from Python: arrays of samples instead of files. No torch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fitwell.data.audio import TRAINED, audio_data, changed, cut, sound_for
from fitwell.data.audio_files import Clip, to_int16
from fitwell.data.labelled import Labelled
from fitwell.data.numbers import to_numpy
from fitwell.data.sound import Sound
from fitwell.data.types import BadData, Data, Options, Problem, many, refuse, some
from fitwell.spec import Spec

# What the loudest sample of a kind of whole numbers is, and where its middle lies.
_LOUDEST = {"int16": (2.0**15, 0.0), "int32": (2.0**31, 0.0), "uint8": (2.0**7, 2.0**7)}


def are_waves(options: Options, like: Spec | None) -> bool:
    """Whether arrays are to be read as recordings: never guessed."""
    return like.kind == "audio" if like else options["kind"] == "audio"


def as_waves(x: Any, where: str, keys: Sequence[str] | None = None) -> list[np.ndarray]:
    """Each recording as [frame], of the type that it has.

    Args:
        x: [example, frame], [example, 1, frame], or a list of [frame] of any lengths; floats from -1
            to 1, or int16, int32 or uint8 as files have them.
        keys: what each is called; by default "row 0", "row 1" ...

    Raises:
        BadData: another shape or type, floats beyond -1 and 1, NaN, or nothing in a recording.
    """
    mend = (
        "Give each recording as [frame]: floats from -1 to 1, or int16, int32 or uint8 as files "
        "have them."
    )
    rows = x if isinstance(x, list | tuple) else np.atleast_1d(to_numpy(x))
    if not len(rows):
        raise refuse("no_recordings", f"{where} holds no recording.", mend, where)
    waves, odd = [], dict[str, list[str]]()
    for i, row in enumerate(rows):
        wave, why = _wave(row)
        waves.append(wave)
        if why:
            odd.setdefault(why, []).append(keys[i] if keys is not None else f"row {i}")
    if odd:
        raise BadData(
            [
                Problem(
                    "not_a_wave",
                    "error",
                    tuple(named),
                    f"{where}: {many(len(named), 'recording')} {why}: {some(named)}.",
                    mend,
                )
                for why, named in odd.items()
            ]
        )
    return waves


def waves_data(
    waves: Sequence[np.ndarray],
    labelled: Labelled,
    options: Options,
    *,
    where: str,
    like: Spec | None = None,
) -> Data:
    """`Data` of recordings given as waves, all of `data.rate` samples a second.

    Raises:
        BadData: nothing says the rate.
    """
    rate = like.rate if like else options["rate"]
    if not rate:
        raise refuse(
            "no_rate",
            f"data.rate = 0: {where} does not say how many samples a second its recordings have.",
            "Set data.rate, such as data.rate=16000.",
            where,
            setting="data.rate",
        )
    assert labelled.keys is not None
    clips = _clips(waves, [str(key) for key in labelled.keys], rate)
    sound = sound_for([clip for _, clip in clips], options, like)
    problems = [*labelled.problems, *changed(clips, sound, options, like)]
    labelled = replace(labelled, problems=problems)
    return audio_data(_stored(waves, sound), labelled, options, sound, like)


def wave_inputs(
    x: Any, spec: Spec, where: str, *, before: str = ""
) -> tuple[np.ndarray, list[str], tuple[Problem, ...]]:
    """(int16 [example, 1, samples], what each is called, problems) of waves at the model's own rate."""
    waves, sound = as_waves(x, where), Sound.of(spec)
    keys = [f"{before}row {i}" for i in range(len(waves))]
    problems = cut(_clips(waves, keys, spec.rate), sound, TRAINED)
    return _stored(waves, sound), keys, tuple(problems)


def _clips(waves: Sequence[np.ndarray], keys: Sequence[str], rate: int) -> list[tuple[str, Clip]]:
    return [(key, Clip(len(wave), rate, 1)) for key, wave in zip(keys, waves, strict=True)]


def _stored(waves: Sequence[np.ndarray], sound: Sound) -> np.ndarray:
    """int16 [example, 1, samples] of what is heard of them."""
    return np.stack([to_int16(_floats(wave[: sound.samples]), sound.samples) for wave in waves])


def _floats(wave: np.ndarray) -> np.ndarray:
    """[frame] from -1 to 1."""
    loudest, middle = _LOUDEST.get(wave.dtype.name, (1.0, 0.0))
    return (wave.astype(np.float64) - middle) / loudest


def _wave(row: Any) -> tuple[np.ndarray, str]:
    """([frame], what is wrong with it)."""
    try:
        wave = to_numpy(row)
    except ValueError:  # of rows of unequal length
        return np.empty(0), "of no one length"
    if wave.ndim == 2 and len(wave) == 1:
        wave = wave[0]
    if wave.ndim != 1:
        return wave, f"of shape {list(wave.shape)}, not [frame]"
    if not len(wave):
        return wave, "without a sample"
    if wave.dtype.name in _LOUDEST:
        return wave, ""
    if wave.dtype.kind != "f":
        return wave, f"of {wave.dtype.name}"
    if not np.isfinite(wave).all():
        return wave, "with NaN or infinite samples"
    return wave, "with samples beyond -1 and 1" if np.abs(wave).max() > 1 else ""
