"""What is wrong with data that could be read: pure functions from `Data` to problems. No torch."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fitwell.data.audio_checks import clipped_recordings, silent_recordings
from fitwell.data.box_checks import BOX_CHECKS
from fitwell.data.common_checks import (
    FEW_A_CLASS,
    fewer_than_folds,
    labels_differ,
    names_alike,
    small_classes,
    without_content,
)
from fitwell.data.duplicates import duplicates, near_copies
from fitwell.data.far import places
from fitwell.data.future import future_in_inputs
from fitwell.data.leaks import files_across_split, group_across_split, time_across_split
from fitwell.data.series_checks import series_lengths, series_values
from fitwell.data.split_checks import made_parts
from fitwell.data.suspicions import (
    capped_target,
    repeated_columns,
    target_in_features,
    unusual_values,
)
from fitwell.data.text_checks import telling_words
from fitwell.data.types import Data, Options, Problem, many, some

FEW_EXAMPLES = 50  # below, one example more or less moves a test accuracy by 20 points
IMBALANCE = 5.0  # largest over smallest class; a note: the ratio alone is no finding
MOSTLY_MISSING = 0.5

Check = Callable[[Data, Options], Iterator[Problem]]


def problems_of(data: Data, options: Options, *, thorough: bool = False) -> tuple[Problem, ...]:
    """Everything wrong with `data`, errors first, on top of what the reader found.

    Args:
        thorough: also what takes too long to be looked for at every start.
    """
    checks = (*CHECKS, *(THOROUGH if thorough else ()))
    found = [*data.problems, *(p for check in checks for p in check(data, options))]
    rank = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(found, key=lambda p: rank[p.severity]))


def size(data: Data, options: Options) -> Iterator[Problem]:
    n = len(data)
    if data.spec.horizon:  # windows of one series, of which its reader refuses too few
        if n < FEW_EXAMPLES:
            yield Problem(
                "few_examples",
                "warning",
                (data.name,),
                f"There are only {n} windows; scores on parts of them say little.",
                "Give a longer series, or set a smaller data.look_back or data.horizon.",
            )
    elif n < 4:
        yield Problem(
            "too_few_examples",
            "error",
            tuple(map(str, data.keys)) or (data.name,),
            f"There {'is 1 example' if n == 1 else f'are {n} examples'}; training, validation and "
            "test each need at least one.",
            "Give at least 4 examples; several hundred for a model worth having.",
        )
    elif n < FEW_EXAMPLES:
        yield Problem(
            "few_examples",
            "warning",
            (data.name,),
            f"There are only {n} examples; scores on parts of them say little.",
            "Collect more, and read every score with its spread (`fitwell cv`).",
        )


def classes(data: Data, options: Options) -> Iterator[Problem]:
    if data.spec.task != "classification":
        return
    names, counts = data.spec.classes, data.spec.class_counts
    present = [n for n, c in zip(names, counts, strict=True) if c]
    if len(present) < 2:
        yield Problem(
            "one_class",
            "error",
            tuple(present) or (data.spec.target,),
            f"{many(len(data), 'example')}, all of one class, {some(present)}; nothing to tell apart.",
            "Add examples of at least one other class.",
        )
        return
    yield from names_alike(names)
    yield from _perhaps_several(names)
    lone = [n for n, c in zip(names, counts, strict=True) if c == 1]
    if lone:
        where = [*lone, *(str(data.keys[i]) for i in np.flatnonzero(_of(data, lone)))]
        yield Problem(
            "single_example_class",
            "error",
            tuple(where),
            f"{len(lone)} of {len(names)} classes have 1 example ({some(lone)}), which cannot "
            "be both learnt from and tested on.",
            "Add examples, merge the class with another, or leave it out.",
        )
    what = f"classes have fewer than {FEW_A_CLASS} examples"
    mend = "Add examples, or merge classes."
    yield from small_classes(dict(zip(names, counts, strict=True)), 2, what, mend)
    low, high = min(c for c in counts if c), max(counts)
    if high / low >= IMBALANCE:
        small, large = names[list(counts).index(low)], names[list(counts).index(high)]
        yield Problem(
            "class_imbalance",
            "note",
            (large, small),
            f"The largest class, {large}, has {high} examples, the smallest, {small}, {low}.",
            "Judge by balanced accuracy: score.name=balanced_accuracy.",
        )


def _perhaps_several(names: Sequence[str]) -> Iterator[Problem]:
    """Labels that seem to hold several, which are taken as one class each."""
    for separator in (";", "|"):
        joined = [name for name in names if separator in name]
        parts = Counter(part.strip() for name in joined for part in name.split(separator))
        shared = [part for part, count in parts.items() if part in names or count > 1]
        if joined and 2 * len(shared) >= len(parts):
            yield Problem(
                "several_labels",
                "warning",
                tuple(joined),
                f"{len(joined)} of {len(names)} classes, such as {joined[0]}, seem to be several labels; "
                "each is taken as one class.",
                "If an example may have several labels: data.task=multilabel.",
            )


def labels(data: Data, options: Options) -> Iterator[Problem]:
    """Labels that every example has, or none."""
    if data.spec.task != "multilabel" or not len(data):
        return
    counts = dict(zip(data.spec.classes, data.spec.class_counts, strict=True))
    flat = [name for name, count in counts.items() if count in (0, len(data))]
    if flat:
        every = len(flat) == len(counts)
        yield Problem(
            "one_class" if every else "constant_label",
            "error" if every else "warning",
            tuple(flat),
            f"{len(flat)} of {len(counts)} labels stand at every example or at none: {some(flat)}; "
            "nothing to tell apart.",
            "Add examples of the other kind." if every else "Add such examples, or leave them out.",
        )
    what = f"labels have fewer than {FEW_A_CLASS} examples"
    yield from small_classes(counts, 1, what, "Add examples, or leave the labels out.")


def parts(data: Data, options: Options) -> Iterator[Problem]:
    """The source's own split: what it overrides, and classes that one side lacks."""
    own = [p for p in ("train", "validation", "test") if (data.part == p).any()]
    if not own or data.spec.horizon:
        return  # of one series data.steps made them, which its reader says
    counts = ", ".join(f"{p} {int((data.part == p).sum())}" for p in own)
    if "test" in own or "validation" in own:
        used = " and ".join(f"data.{p}" for p in own if p != "train")
        yield Problem(
            "own_split",
            "note",
            (data.name,),
            f"The source brings its own split ({counts}), used instead of {used}.",
            "Nothing to do; to split afresh, put all examples into one part.",
        )
    fit = data.part != "test"
    if not fit.any() or not (data.part[fit] != "validation").any():
        yield Problem(
            "no_training_part",
            "error",
            (data.name,),
            f"The source has no training part ({counts}).",
            "Add a training part.",
        )
        return
    if data.spec.task != "classification":
        return
    learnt = set(data.targets[(data.part != "test") & (data.part != "validation")].tolist())
    for part in ("validation", "test"):
        there = set(data.targets[data.part == part].tolist())
        if there:
            yield from labels_differ(
                data.spec.classes,
                learnt,
                there,
                part,
                lacking_is_wrong=True,
                mend="leave out the odd ones",
            )


def target_range(data: Data, options: Options) -> Iterator[Problem]:
    if data.spec.task != "regression" or len(data) < 2:
        return
    for name, values in data.each_target():
        if np.ptp(values) == 0:
            yield Problem(
                "constant_target",
                "error",
                (name,),
                f"{name} is {values[0]:g} in every example; nothing to predict.",
                "Name another column with data.target.",
            )


def columns(data: Data, options: Options) -> Iterator[Problem]:
    """Constant columns, and missing values a column."""
    if data.spec.kind != "table" or not len(data):
        return
    missing = np.isnan(data.inputs)
    share = missing.mean(0)
    names = [c.name for c in data.spec.columns]
    filled = np.where(missing, -np.inf, data.inputs).max(0)
    constant = (filled == np.where(missing, np.inf, data.inputs).min(0)) | (share == 1)
    flat = [n for n, c in zip(names, constant, strict=True) if c]
    if len(data) > 1 and flat:
        every = len(flat) == len(names)
        yield Problem(
            "constant_inputs" if every else "constant_column",
            "error" if every else "warning",
            tuple(flat),
            f"{len(flat)} of {len(names)} columns never change: {some(flat)}.",
            "Give columns that differ between examples." if every else "Leave them out.",
        )
    gaps = [(n, s) for n, s in zip(names, share, strict=True) if s]
    mostly = [f"{n} ({s:.0%})" for n, s in gaps if s > MOSTLY_MISSING]
    if gaps:
        total = int(missing.any(1).sum())
        yield Problem(
            "missing_values",
            "warning" if mostly else "note",
            places([n for n, _ in gaps], np.flatnonzero(missing.any(1)), data.keys),
            f"{total} of {len(data)} rows have missing inputs, in {some(n for n, _ in gaps)}"
            + (f"; mostly missing: {some(mostly)}." if mostly else "."),
            "They are filled with the median of the training rows (categories: none of them)"
            + ("; leave out the columns that are mostly missing." if mostly else "."),
        )


def finite(data: Data, options: Options) -> Iterator[Problem]:
    if data.inputs.dtype.kind != "f" or data.spec.is_whole:
        return  # of one series its reader says where
    flat = data.inputs.reshape(len(data), -1)
    bad = (
        np.isinf(flat).any(1)
        if data.spec.kind in ("table", "series")
        else ~np.isfinite(flat).all(1)
    )
    if bad.any():
        names = tuple(str(k) for k in data.keys[bad])
        yield Problem(
            "nonfinite_inputs",
            "error",
            names,
            f"{len(names)} of {len(data)} examples hold infinite values ({some(names)}), or "
            "numbers too large for float32.",
            "Correct them, or leave them empty, which counts as missing.",
        )


def blank_images(data: Data, options: Options) -> Iterator[Problem]:
    if data.spec.kind != "images" or not len(data):
        return
    mend = "Look at them and leave them out."
    what = "images are of one single colour"
    yield from without_content(data, is_blank(data.inputs), "blank_image", what, mend)


def is_blank(images: np.ndarray) -> np.ndarray:
    """[example] whether each channel of an image has one value only."""
    flat = images.reshape(*images.shape[:2], -1)
    return (flat.max(2) == flat.min(2)).all(1)


def folds(data: Data, options: Options) -> Iterator[Problem]:
    """Classes too small for every fold to hold one."""
    if not data.spec.classes or data.spec.task == "detection":
        return
    counts = dict(zip(data.spec.classes, data.spec.class_counts, strict=True))
    mend = "Add examples, or set a smaller data.folds."
    yield from fewer_than_folds(counts, 2, options["folds"], "have fewer examples", mend)


def _of(data: Data, names: list[str]) -> np.ndarray:
    return np.isin(data.targets, [data.spec.classes.index(n) for n in names])


CHECKS: tuple[Check, ...] = (
    size,
    classes,
    labels,
    parts,
    made_parts,
    target_range,
    finite,
    columns,
    target_in_features,
    telling_words,
    series_lengths,
    series_values,
    capped_target,
    unusual_values,
    blank_images,
    silent_recordings,
    clipped_recordings,
    duplicates,
    group_across_split,
    time_across_split,
    files_across_split,
    future_in_inputs,
    folds,
    *BOX_CHECKS,
)
THOROUGH: tuple[Check, ...] = (repeated_columns, near_copies)
