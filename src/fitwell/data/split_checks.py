"""What the parts hold that a fit makes of the data: classes that only one has, or nothing. No torch."""

from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from fitwell.data.parting import most_parts
from fitwell.data.split import Rows, fit_rows
from fitwell.data.types import Data, Options, Problem, some
from fitwell.errors import SettingError


def made_parts(data: Data, options: Options) -> Iterator[Problem]:
    """Labels that are tested or selected on and never learnt, and a validation part that is empty."""
    apart = data.groups is not None or data.times is not None
    labelled = data.spec.task == "multilabel" or (apart and data.spec.task == "classification")
    if not len(data) or not (apart or labelled):
        return
    if data.groups is not None and not _may_lack(data, options):
        return
    with suppress(SettingError):  # which `check` and `fit` say in its own words
        rows = fit_rows(data, options, options["seed"])
        if apart:
            yield from _empty_validation(data, options, rows)
        if labelled:
            yield from _not_learnt(data, options, rows)


def _may_lack(data: Data, options: Options) -> bool:
    """Whether there are few groups, or a label is in fewer groups than there are parts.

    Others are spread over them, and to make the parts of many groups takes long.
    """
    assert data.groups is not None
    parts = max(2, most_parts(options))
    if len(np.unique(data.groups)) < 2 * parts:
        return True
    if data.spec.task == "classification":
        pairs = np.unique(np.stack([data.targets, data.groups]), axis=1)
        return bool((np.unique(pairs[0], return_counts=True)[1] < parts).any())
    several = data.targets.T if data.spec.task == "multilabel" else ()
    return any(len(np.unique(data.groups[has == 1])) < parts for has in several)


def _labels(data: Data, rows: np.ndarray) -> set[int]:
    """Labels that stand in these rows."""
    if data.spec.task == "classification":
        return set(data.targets[rows].tolist())
    return set(np.flatnonzero((data.targets[rows] == 1).any(0)).tolist())


def _by(data: Data, options: Options) -> tuple[str, str]:
    """(what parts the examples, what else can be done about it)."""
    if data.times is not None:
        by = f" by data.time = {options['time']}" if options["time"] else " by time"
        return by, "add earlier examples of them"
    if data.groups is not None:
        named = options["group"]
        by = f" by data.group = {named}" if named else " by the groups of data.pattern"
        return by, "add groups that hold them"
    return "", "add examples of them"


def _empty_validation(data: Data, options: Options, rows: Rows) -> Iterator[Problem]:
    if len(rows.validation) or not options["validation"]:
        return
    by, _ = _by(data, options)
    what = "moment" if data.times is not None else "group"
    yield Problem(
        "no_validation_part",
        "warning",
        ("data.validation",),
        f"The split{by} leaves no validation part, though data.validation = {options['validation']}: all "
        f"{len(rows.train)} examples outside the test part are of one {what}.",
        "Training then cannot stop early nor keep its best epoch: name a column with more of them.",
    )


def _not_learnt(data: Data, options: Options, rows: Rows) -> Iterator[Problem]:
    """Labels of the test or validation part that the training part has no example of."""
    by, add = _by(data, options)
    learnt, names = _labels(data, rows.train), data.spec.classes
    classes = data.spec.task == "classification"
    if classes and len(learnt) == 1 and sum(c > 0 for c in data.spec.class_counts) > 1:
        [only] = learnt
        yield Problem(
            "labels_differ",
            "error",
            (names[only],),
            f"The training part of the split{by} holds examples of one class only, {names[only]}: "
            "nothing to tell apart.",
            f"Of the other classes, {add}, or part the examples by another column.",
        )
        return
    for part, held in (("validation", rows.validation), ("test", rows.held_out)):
        if classes and (data.part == part).any():
            continue  # the source's own, of which another check says it
        there = _labels(data, held)
        extra = sorted(there - learnt)
        if not extra:
            continue
        none = part == "test" and not there & learnt
        said = [names[i] for i in extra]
        yield Problem(
            "labels_differ",
            "error" if none else "warning",
            tuple(said),
            f"{len(said)} of the {len(there)} {'classes' if classes else 'labels'} in the {part} part of "
            f"the split{by} {'are' if len(said) > 1 else 'is'} in no training example, so that none can "
            f"be right: {some(said)}.",
            f"Leave them out, {add}, or part the examples by another column.",
        )
