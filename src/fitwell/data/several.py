"""Targets of which an example has several: labels it may all have, or numbers. No torch."""

from collections.abc import Sequence

import numpy as np

from fitwell.data.digits import as_few, single
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
    known: tuple[str, ...] | None = None,
) -> Encoded:
    """Targets as `Data` has them, from raw values.

    Args:
        values: [example] one target, or the text of several labels; [example, target] numbers, or 0
            and 1 for labels.
        targets: names of several targets.
        task, images, classes: see `fitwell.data.targets.encode`.
        known: `Spec.several` of a model that reads the data; None: there is none.

    Raises:
        BadData: what is missing, of another kind than the task needs, or not known.
    """
    values = np.asarray(values)
    if values.ndim == 2:
        if known is not None:
            values, targets = _as_known(values, tuple(targets), target, known), known
        names = tuple(targets) or tuple(f"{target} {i}" for i in range(values.shape[1]))
        return _columns(values, keys, names, target, task)
    if task == "multilabel":
        return _sets(values, keys, target, classes)
    return encode(values, keys, target=target, task=task, images=images, classes=classes)


def _as_known(
    values: np.ndarray, names: tuple[str, ...], target: str, known: tuple[str, ...]
) -> np.ndarray:
    """The columns in the order that a model knows: by their names, or as they are where they have none."""
    if not names and values.shape[1] == len(known):
        return values
    if sorted(names) != sorted(known) or not known:
        has = f" ({some(names)})" if names else ""
        predicts = f"{len(known)} ({some(known, 10)})" if known else "one"
        raise refuse(
            "other_targets",
            f"{target} has {values.shape[1]} targets{has}, and the model predicts {predicts}.",
            "Give those that it was trained to predict.",
            names or target,
        )
    return values[:, [names.index(name) for name in known]]


def _columns(
    values: np.ndarray, keys: np.ndarray, names: tuple[str, ...], target: str, task: str
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
    numbers = _numbers(values, names)
    refuse_missing(numbers, keys, target)
    switches = np.isin(numbers, (0, 1))
    if task == "regression" or (task == "auto" and not switches.all()):
        refuse_missing(single(numbers), keys, target)
        return Encoded("regression", as_few(numbers), (), names=names)
    if not switches.all():
        row, column = np.argwhere(~switches)[0]
        raise refuse(
            "not_labels",
            f"{names[column]} is {numbers[row, column]:g} in {keys[row]}; a label is there (1) or not (0).",
            "Correct it, or set data.task=regression to predict numbers.",
            (str(keys[row]), names[column]),
            setting="data.task",
        )
    notes = ()
    if task == "auto":
        said = f"{some(names)} hold 0 and 1 and are read as labels of which an example may have several."
        mend = "If that is wrong, set data.task=regression."
        notes = (Problem("task_guessed", "note", names, said, mend),)
    return Encoded("multilabel", numbers.astype(np.uint8), names, notes)


def _numbers(values: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """[example, target] float64; text in a column is refused by its name."""
    out = np.empty(values.shape)
    for i, name in enumerate(names):
        column = values[:, i]
        if column.dtype == object:
            column = np.where(column == None, np.nan, column)  # noqa: E711 (of each cell)
        try:
            out[:, i] = column
        except (TypeError, ValueError):
            raise refuse(
                "target_not_numeric",
                f"{name} holds text; of several targets each is a number, or 0 or 1.",
                "Name one column of text alone, or encode it as numbers.",
                name,
                setting="data.target",
            ) from None
    return out


def parted(values: Sequence[object]) -> tuple[str, list[list[str]]]:
    """What parts the labels of an example, and the labels of each.

    >>> parted(["cat; dog", None, "cat"])
    (';', [['cat', 'dog'], [], ['cat']])
    """
    texts = ["" if v is None or v != v else str(v).strip() for v in values]
    separator = next((mark for mark in SEPARATORS if any(mark in text for text in texts)), "")
    each = [text.split(separator) if separator else [text] for text in texts]
    return separator, [[one.strip() for one in labels if one.strip()] for labels in each]


def _sets(values: np.ndarray, keys: np.ndarray, target: str, labels: tuple[str, ...]) -> Encoded:
    """Text such as `cat;dog`: the labels of an example; an empty one has none."""
    separator, parts = parted(values.tolist())
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
    """[class] how many examples are of each class or have each label, or how many boxes.

    Empty where there are no classes.
    """
    if not classes:
        return np.empty(0, np.int64)
    if targets.ndim == 2:
        return targets.sum(0, dtype=np.int64)
    if targets.ndim == 3:  # boxes
        named = targets[..., 0]
        targets = named[~np.isnan(named)].astype(np.int64)
    return np.bincount(targets, minlength=classes)
