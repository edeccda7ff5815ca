"""Files of recordings with a target to `Data`; what cannot be used is left out and listed. No torch."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.assemble import assemble
from fitwell.data.audio_files import Clip, Hearing, clip, decode
from fitwell.data.decoded import decode_all
from fitwell.data.files import Found, Item
from fitwell.data.images import Unreadable, in_threads
from fitwell.data.labelled import Labelled
from fitwell.data.names import AUDIO_SUFFIXES, IMAGE_SUFFIXES, TEXT_SUFFIXES
from fitwell.data.options import target_and_task
from fitwell.data.sound import WINDOW_SECONDS, Sound, most_mels
from fitwell.data.types import BadData, Data, Options, Problem, both, listed, many, some
from fitwell.spec import Spec

LONGEST_SECONDS = 10.0  # of a recording that are read unless data.seconds says otherwise
TRAINED = "The model was trained on so much; cut them into pieces to have each predicted."
FAR_LONGER = 4.0  # times the median: a few such ones make all the others mostly padding


def read_audio_files(found: Found, options: Options, like: Spec | None = None) -> Data:
    """`Data` of files that hold a recording each; those that hold none are left out and listed.

    Args:
        options: `rate` 0 is the most frequent one, `seconds` 0 the longest recording, at most 10 s.
        like: rate, length and bands are taken from this spec.

    Raises:
        BadData: no recording can be read, or soundfile is needed and not installed.
    """
    there, other = [], []
    for item in found.items:
        suffix = item.path.suffix.lower()
        meant = options["kind"] == "audio" and suffix not in (*IMAGE_SUFFIXES, *TEXT_SUFFIXES)
        (there if suffix in AUDIO_SUFFIXES or meant else other).append(item)
    heads = in_threads(clip, [item.path for item in there])
    pairs = list(zip(there, heads, strict=True))
    bad = [(item.key, head.reason) for item, head in pairs if isinstance(head, Unreadable)]
    clips = [(item, head) for item, head in pairs if isinstance(head, Clip)]
    empty = [item.key for item, head in clips if not head.frames]
    clips = [(item, head) for item, head in clips if head.frames]
    if not clips:
        left_out = _left_out(bad, empty, other)
        raise _nothing(found.name, len(found.items), [*found.problems, *left_out])
    sound = sound_for([head for _, head in clips], options, like)
    read = decode_all([item.path for item, _ in clips], Hearing(sound.rate, sound.samples))
    bad += [(clips[i][0].key, why) for i, why in sorted(read.failed.items())]
    clips = [pair for i, pair in enumerate(clips) if i not in read.failed]
    kept = [item for item, _ in clips]
    problems = [*found.problems, *_left_out(bad, empty, other), *read.problems]
    if not kept:
        raise _nothing(found.name, len(found.items), problems)
    problems += found.lost(kept, "recording", target_and_task(options, like)[1])
    problems += changed([(item.key, head) for item, head in clips], sound, options, like)
    return audio_data(read.images, found.labelled(kept, problems), options, sound, like)


def audio_data(
    waves: np.ndarray, labelled: Labelled, options: Options, sound: Sound, like: Spec | None
) -> Data:
    """`Data` of recordings as they are kept, int16 [example, 1, samples]."""
    return assemble(
        waves,
        labelled,
        options,
        kind="audio",
        shape=sound.shape,
        rate=sound.rate,
        samples=sound.samples,
        like=like,
    )


def sound_for(clips: Sequence[Clip], options: Options, like: Spec | None) -> Sound:
    """How the recordings are to be heard: rate, length, bands."""
    if like is not None:
        return Sound.of(like)
    rates = Counter(each.rate for each in clips)
    rate = options["rate"] or max(rates, key=lambda rate: (rates[rate], rate))
    longest = max(-(-each.frames * rate // each.rate) for each in clips)
    wanted = options["seconds"] or min(longest / rate, LONGEST_SECONDS)
    return Sound(rate, max(1, round(wanted * rate)), most_mels(rate, options["mels"]))


def _left_out(
    bad: Sequence[tuple[str, str]], empty: Sequence[str], other: Sequence[Item]
) -> list[Problem]:
    return [
        *listed(
            "unreadable_files",
            "warning",
            both("recording", "that cannot be read left out"),
            "Replace them, or remove them.",
            dict(bad),
            shown=5,
        ),
        *listed(
            "empty_recording",
            "warning",
            both("recording", "without a sample left out"),
            "Record them again, or remove them.",
            empty,
        ),
        *listed(
            "not_recordings",
            "note",
            both("file", "left out, being no recording"),
            "Move them elsewhere, or ignore this.",
            [item.key for item in other],
        ),
    ]


def changed(
    clips: Sequence[tuple[str, Clip]], sound: Sound, options: Options, like: Spec | None
) -> list[Problem]:
    """What was done to recordings to make them alike, and lengths that are unlike the others'."""
    problems = []

    def say(name: str, severity: Any, where: Sequence[str], text: str, mend: str) -> None:
        if where:
            problems.append(Problem(name, severity, tuple(where), text, mend))

    rates = Counter(each.rate for _, each in clips if each.rate != sound.rate)
    where = [key for key, each in clips if each.rate != sound.rate]
    said = some([f"{count:,} at {rate:,} Hz" for rate, count in rates.most_common()])
    text = f"{many(len(where), 'recording')} brought to {sound.rate:,} Hz: {said}."
    say("resampled", "note", where, text, "For another rate set data.rate.")
    where = [key for key, each in clips if each.channels > 1]
    text = f"Of {many(len(where), 'recording')} the mean of the channels is heard: {some(where)}."
    mend = "Nothing to do, unless one of the channels is to be heard alone: save it by itself."
    say("channels_averaged", "note", where, text, mend)
    problems += cut(
        clips, sound, "To hear more of them, set data.seconds." if like is None else TRAINED
    )
    where = [key for key, each in clips if each.seconds < WINDOW_SECONDS]
    text = (
        f"{many(len(where), 'recording')} of less than {1000 * WINDOW_SECONDS:g} ms: {some(where)}."
    )
    say("short_recording", "warning", where, text, "Listen to them; leave out what is a slip.")
    if like is not None:
        return problems
    length = sound.seconds
    seconds = np.array([each.seconds for _, each in clips])
    median, most = float(np.median(seconds)), float(np.quantile(seconds, 0.95))
    where = [key for key, each in clips if each.seconds > FAR_LONGER * median]
    if not options["seconds"] and length > FAR_LONGER * median:
        text = (
            f"{many(len(where), 'recording')} last more than {FAR_LONGER:g} times as long as half of all "
            f"({median:.2g} s): {some(where)}; the others are padded with zeros to {length:.3g} s."
        )
        mend = f"data.seconds={most:.2g} hears 95 % of them whole, and trains faster."
        say("long_recording", "note", where, text, mend)
    if sound.mels < options["mels"] and clips:
        text = (
            f"data.mels = {options['mels']}: at {sound.rate:,} Hz only {sound.mels} bands hold a frequency "
            "each, and so many are used."
        )
        say("fewer_mels", "note", ("data.mels",), text, "Nothing to do.")
    return problems


def cut(clips: Sequence[tuple[str, Clip]], sound: Sound, mend: str) -> list[Problem]:
    """Recordings of which the end is not heard, or cannot be read."""
    problems = []
    far = [(key, each) for key, each in clips if each.beyond and each.seconds < sound.seconds]
    if far:
        where = tuple(key for key, _ in far)
        said = some(
            [f"{key} ({e.beyond / e.rate:.3g} s after {e.seconds:.3g} s)" for key, e in far]
        )
        text = (
            f"Of {many(len(far), 'MP3 file')} without a length in their head the end cannot be read: "
            f"{said}."
        )
        problems.append(
            Problem("unread_end", "warning", where, text, "Convert them to WAV or FLAC.")
        )
    where = tuple(
        key for key, each in clips if each.frames * sound.rate > sound.samples * each.rate
    )
    if where:
        text = (
            f"Of {many(len(where), 'recording')} only the first {sound.seconds:.3g} s are heard: "
            f"{some(where)}."
        )
        problems.append(Problem("recording_cut", "note", where, text, mend))
    return problems


def _nothing(name: str, count: int, problems: Sequence[Problem]) -> BadData:
    text = f"None of the {many(count, 'file')} of {name} is a recording that can be read."
    mend = f"Give recordings with samples in them ({', '.join(AUDIO_SUFFIXES[:6])} ...)."
    return BadData([Problem("no_recordings", "error", (name,), text, mend), *problems])


def read_recordings(
    files: Sequence[tuple[Path, str]], spec: Spec
) -> tuple[np.ndarray, list[str], list[Problem]]:
    """(int16 [example, 1, samples], what each is called, problems) of files to predict from, each with
    what to call it; those that cannot be read are listed.

    Raises:
        BadData: none can be read.
    """
    found = in_threads(lambda each: decode(each[0], spec.rate, spec.samples), files)
    pairs = list(zip(files, found, strict=True))
    bad = [(key, each.reason) for (_, key), each in pairs if isinstance(each, Unreadable)]
    read = [(key, each) for (_, key), each in pairs if isinstance(each, np.ndarray)]
    problems = _left_out(bad, (), ())
    if not read:
        raise _nothing(some([key for _, key in files]), len(files), problems)
    known = {key for key, _ in read}
    heads = [(key, clip(path)) for path, key in files if key in known]
    clips = [(key, head) for key, head in heads if isinstance(head, Clip)]
    problems += cut(clips, Sound.of(spec), TRAINED)
    return np.stack([each for _, each in read]), [key for key, _ in read], problems
