"""Recordings from Python: arrays of samples instead of files. No torch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fitwell.data.assemble import assemble
from fitwell.data.audio import changed, sound_for
from fitwell.data.audio_files import Clip, to_int16
from fitwell.data.labelled import Labelled
from fitwell.data.numbers import to_numpy
from fitwell.data.sound import Sound
from fitwell.data.types import BadData, Data, Options, Problem, refuse, some
from fitwell.spec import Spec

# What the loudest sample of a kind of whole numbers is, and where its middle lies.
_LOUDEST = {"int16": (2.0**15, 0.0), "int32": (2.0**31, 0.0), "uint8": (2.0**7, 2.0**7)}


def are_waves(options: Options, like: Spec | None) -> bool:
    """Whether arrays are to be read as recordings: never guessed."""
    return like.kind == "audio" if like else options["kind"] == "audio"


def as_waves(x: Any, where: str) -> list[np.ndarray]:
    """Each recording as [frame] floats from -1 to 1.

    Args:
        x: [example, frame], [example, 1, frame], or a list of [frame] of any lengths; floats from -1
            to 1, or int16, int32 or uint8 as files have them.

    Raises:
        BadData: another shape or type, floats beyond -1 and 1, NaN, or nothing in a recording.
    """
    rows = list(x) if isinstance(x, list | tuple) else list(to_numpy(x))
    if not rows:
        raise refuse("empty", f"{where} holds no recording.", "Give at least one.", where)
    waves, odd = [], dict[str, list[str]]()
    for i, row in enumerate(rows):
        wave, why = _floats(row)
        waves.append(wave)
        if why:
            odd.setdefault(why, []).append(f"row {i}")
    if odd:
        raise BadData(
            [
                Problem(
                    "not_a_wave",
                    "error",
                    tuple(keys),
                    f"{where}: {some(keys)} {why}.",
                    "Give each recording as [frame]: floats from -1 to 1, or int16, int32 or uint8 as "
                    "files have them.",
                )
                for why, keys in odd.items()
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
    clips = [Clip(len(wave), rate, 1) for wave in waves]
    sound = sound_for(clips, options, like)
    assert labelled.keys is not None
    found = [(str(key), each) for key, each in zip(labelled.keys, clips, strict=True)]
    problems = [*labelled.problems, *changed(found, sound, options, like)]
    return assemble(
        _stored(waves, sound),
        replace(labelled, problems=problems),
        options,
        kind="audio",
        shape=sound.shape,
        rate=sound.rate,
        samples=sound.samples,
        like=like,
    )


def wave_inputs(
    x: Any, spec: Spec, where: str, *, before: str = ""
) -> tuple[np.ndarray, list[str], tuple[Problem, ...]]:
    """(int16 [example, 1, samples], what each is called, problems) of waves at the model's own rate."""
    waves, sound = as_waves(x, where), Sound.of(spec)
    keys = [f"{before}row {i}" for i in range(len(waves))]
    clips = [(key, Clip(len(wave), spec.rate, 1)) for key, wave in zip(keys, waves, strict=True)]
    return _stored(waves, sound), keys, tuple(changed(clips, sound, {}, spec))


def _stored(waves: Sequence[np.ndarray], sound: Sound) -> np.ndarray:
    return np.stack([to_int16(wave, sound.samples) for wave in waves])


def _floats(row: Any) -> tuple[np.ndarray, str]:
    """([frame] from -1 to 1, what is wrong with it)."""
    wave = to_numpy(row)
    if wave.ndim == 2 and len(wave) == 1:
        wave = wave[0]
    if wave.ndim != 1:
        return wave, f"of shape {list(wave.shape)} are no [frame]"
    if not len(wave):
        return wave, "hold no sample"
    kind = wave.dtype.name
    if kind in _LOUDEST:
        loudest, middle = _LOUDEST[kind]
        return (wave.astype(np.float64) - middle) / loudest, ""
    if wave.dtype.kind != "f":
        return wave, f"are of {kind}"
    if not np.isfinite(wave).all():
        return wave, "hold NaN or infinite samples"
    if np.abs(wave).max() > 1:
        return wave, "have samples beyond -1 and 1"
    return wave.astype(np.float64), ""
