"""Targets of which an example has several: labels it may all have, or numbers. No torch."""

from collections.abc import Sequence

import numpy as np

from fitwell.data.targets import Encoded, encode, refuse_missing
from fitwell.data.types import Problem, refuse, some
from fitwell.errors import did_you_mean

SEPARATORS = {";": "semicolons", "|": "bars", ",": "commas", " ": "blanks"}  # the first that occurs


def encode_targets(
    values: np.ndarray,
    keys: np.ndarray,
    *,
    target: str = "target",
    targets: Sequence[str] = (),
    task: str = "auto",
    images: bool = False,
    classes: tuple[str, ...] = (),
) -> Encoded:
    """Targets as `Data` has them, from raw values.

    Args:
        values: [example] one target, or the text of several labels; [example, target] numbers, or 0
            and 1 for labels.
        targets: names of several targets.
        task, images, classes: see `fitwell.data.targets.encode`.

    Raises:
        BadData: what is missing, of another kind than the task needs, or not known.
    """
    values = np.asarray(values)
    if values.ndim == 2:
        names = tuple(targets) or tuple(f"{target} {i}" for i in range(values.shape[1]))
        return _columns(values, keys, names, target, task, classes)
    if task == "multilabel":
        return _sets(values, keys, target, classes)
    return encode(values, keys, target=target, task=task, images=images, classes=classes)


def _columns(
    values: np.ndarray,
    keys: np.ndarray,
    names: tuple[str, ...],
    target: str,
    task: str,
    labels: tuple[str, ...],
) -> Encoded:
    """A column a target: several numbers, or 0 and 1 for labels."""
    if task == "classification":
        raise refuse(
            "several_targets",
            f"{target}: {len(names)} columns are to be predicted, and a class is one.",
            "Set data.task=multilabel for columns of 0 and 1, data.task=regression for numbers, or name "
            "one column.",
            names,
            setting="data.task",
        )
    try:
        values = values.astype(np.float64)
    except (TypeError, ValueError):
        raise refuse(
            "target_not_numeric",
            f"{target}: of several targets each is a number, or 0 or 1; there is text among them.",
            "Give one of text alone, or encode them as numbers.",
            names,
        ) from None
    refuse_missing(values, keys, target)
    switches = bool(np.isin(values, (0, 1)).all())
    if task == "regression" or (task == "auto" and not switches):
        with np.errstate(over="ignore"):
            numbers = values.astype(np.float32)
        refuse_missing(numbers, keys, target)
        return Encoded("regression", numbers, (), names=names)
    if not switches:
        row, column = np.argwhere(~np.isin(values, (0, 1)))[0]
        raise refuse(
            "not_labels",
            f"{names[column]} is {values[row, column]:g} in {keys[row]}; a label is there (1) or not (0).",
            "Correct it, or set data.task=regression to predict numbers.",
            (str(keys[row]), names[column]),
            setting="data.task",
        )
    if labels and len(labels) != len(names):
        raise refuse(
            "unknown_label",
            f"{target} has {len(names)} labels, and the model knows {len(labels)} ({some(labels, 10)}).",
            "Give a column for each of them, in this order.",
            names,
        )
    notes = ()
    if task == "auto":
        said = f"{some(names)} hold 0 and 1 and are read as labels of which an example may have several."
        mend = "If that is wrong, set data.task=regression."
        notes = (Problem("task_guessed", "note", names, said, mend),)
    return Encoded("multilabel", values.astype(np.uint8), labels or names, notes)


def _sets(values: np.ndarray, keys: np.ndarray, target: str, labels: tuple[str, ...]) -> Encoded:
    """Text such as `cat;dog`: the labels of an example; an empty one has none."""
    texts = ["" if v is None or v != v else str(v).strip() for v in values.tolist()]
    separator = next((mark for mark in SEPARATORS if any(mark in text for text in texts)), "")
    parts = [
        [one.strip() for one in (text.split(separator) if separator else [text]) if one.strip()]
        for text in texts
    ]
    found = sorted({one for each in parts for one in each})
    if not found:
        raise refuse(
            "no_labels",
            f"{target}: no example has a label.",
            "Write the labels of each, such as cat;dog.",
            target,
        )
    if labels and (unknown := [one for one in found if one not in labels]):
        where = [str(k) for k, each in zip(keys, parts, strict=True) if set(each) & set(unknown)]
        raise refuse(
            "unknown_label",
            f"{target}: {some(unknown)} is not a label of the model ({some(labels, 10)})."
            + did_you_mean(unknown[0], labels),
            "Rename the label, or leave those examples out.",
            where,
        )
    names = labels or tuple(found)
    place = {name: i for i, name in enumerate(names)}
    targets = np.zeros((len(parts), len(names)), np.uint8)
    for row, each in enumerate(parts):
        targets[row, [place[one] for one in each]] = 1
    return Encoded("multilabel", targets, names, _notes(target, separator, targets))


def _notes(target: str, separator: str, targets: np.ndarray) -> tuple[Problem, ...]:
    """How the text was read, where it could be read otherwise."""
    if (targets.sum(1) == 1).all():
        said = f"{target}: every example has exactly one label."
        mend = "With data.task=classification a model learns to choose between them."
        return (Problem("one_label_each", "note", (target,), said, mend),)
    if separator in (",", " "):
        said = f"{target}: the labels of an example are parted by {SEPARATORS[separator]}."
        mend = "If that is wrong, write semicolons between them."
        return (Problem("labels_parted", "note", (target,), said, mend),)
    return ()


def count_classes(targets: np.ndarray, classes: int) -> np.ndarray:
    """[class] how many examples are of each class, or have each label; empty where there are none."""
    if not classes:
        return np.empty(0, np.int64)
    if targets.ndim == 2:
        return targets.sum(0, dtype=np.int64)
    return np.bincount(targets, minlength=classes)
