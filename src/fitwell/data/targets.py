"""Targets: which task they are, and their class index or number. No torch."""

from dataclasses import dataclass

import numpy as np

from fitwell.data.digits import as_few, single
from fitwell.data.types import Problem, brief, refuse, some
from fitwell.errors import did_you_mean
from fitwell.spec import TaskName

# Whole numbers with more values than this are a quantity (an age, a count), not classes; the guess
# is printed and data.task overrides it.
MOST_NUMERIC_CLASSES = 20
CERTAINLY_A_QUANTITY = 1000  # more values than this need no note


@dataclass(frozen=True)
class Encoded:
    """targets as `Data` has them; classes by index, empty for numbers; names of several numbers."""

    task: TaskName
    targets: np.ndarray
    classes: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    names: tuple[str, ...] = ()


def encode(
    values: np.ndarray,
    keys: np.ndarray,
    *,
    target: str = "target",
    task: str = "auto",
    images: bool = False,
    classes: tuple[str, ...] = (),
) -> Encoded:
    """Class indices or numbers from raw target values.

    Args:
        values: [example] numbers, switches or text.
        keys: [example] names for messages.
        target: what the values are called in messages.
        task: "auto", "classification" or "regression".
        images: whole numbers beside images are class labels, however many there are.
        classes: known class names in index order (data for a model that exists); a value outside
            them is refused.

    Raises:
        BadData: missing or infinite targets, text where a number is needed, an unknown class.
    """
    values = np.asarray(values)
    if values.dtype == object:
        values = _unbox(values, keys, target)
    refuse_missing(values, keys, target)
    numeric = values.dtype.kind in "iuf"
    if task == "regression":
        return Encoded("regression", _numbers(values, keys, target), ())
    problems: list[Problem] = []
    if task == "auto" and numeric and not classes:
        problems, is_classes = _guess(values, target, images)
        if not is_classes:
            return Encoded("regression", _numbers(values, keys, target), (), tuple(problems))
    names, codes = _classes(values, target)
    if classes:
        codes = _known(names, codes, classes, keys, target)
        names = classes
    return Encoded("classification", codes, names, tuple(problems))


def _unbox(values: np.ndarray, keys: np.ndarray, target: str) -> np.ndarray:
    """Objects to the plain array they stand for; None and nan in them are missing."""
    missing = np.array([v is None or v != v for v in values.tolist()], dtype=bool)
    if missing.any():
        raise _missing_error(keys[missing], target, len(values))
    plain = np.asarray(values.tolist())
    return plain if plain.ndim == 1 and plain.dtype != object else values.astype(str)


def refuse_missing(values: np.ndarray, keys: np.ndarray, target: str) -> None:
    """Refuse examples without a target, or of several without all of them."""
    if values.dtype.kind == "f":
        bad = ~np.isfinite(values.reshape(len(values), -1)).all(1)
    elif values.dtype.kind in "US":
        bad = np.char.strip(values) == np.array("", values.dtype)
    else:
        return
    if bad.any():
        raise _missing_error(keys[bad], target, len(values))


def _missing_error(keys: np.ndarray, target: str, total: int) -> Exception:
    names = [str(k) for k in keys]
    return refuse(
        "missing_target",
        f"{target}: {len(names)} of {total} values to predict are missing, NaN or infinite "
        f"({some(names)}); an example without a target cannot be learnt from.",
        "Fill them in, or remove those rows.",
        names,
    )


def _numbers(values: np.ndarray, keys: np.ndarray, target: str) -> np.ndarray:
    try:
        numbers = values.astype(np.float64)
    except ValueError:
        raise refuse(
            "target_not_numeric",
            f"{target} holds text such as {brief(str(values[0]))}; data.task = regression needs numbers.",
            "Name a numeric column with data.target, or set data.task=classification.",
            target,
            setting="data.task",
        ) from None
    refuse_missing(single(numbers), keys, target)
    return as_few(numbers)


def _guess(values: np.ndarray, target: str, images: bool) -> tuple[list[Problem], bool]:
    """Whether numbers are classes, and the note that says so where it could be otherwise."""
    whole = values.dtype.kind in "iu" or bool(np.all(values == np.round(values)))
    if not whole:
        return [], False
    distinct = len(np.unique(values))
    if images and values.dtype.kind in "iu":
        return [], True
    is_classes = few_enough(distinct, len(values))
    if (distinct <= 2 and is_classes) or distinct > CERTAINLY_A_QUANTITY:
        return [], is_classes
    what, other = ("classes", "regression") if is_classes else ("a quantity", "classification")
    note = Problem(
        "task_guessed",
        "note",
        (target,),
        f"{target} holds {distinct} different whole numbers and is read as {what}.",
        f"If that is wrong, set data.task={other}.",
    )
    return [note], is_classes


def few_enough(distinct: int, examples: int) -> bool:
    """Whether so many different whole numbers are classes, and not a quantity."""
    return distinct <= MOST_NUMERIC_CLASSES and (distinct <= 2 or 2 * distinct <= examples)


def _classes(values: np.ndarray, target: str) -> tuple[tuple[str, ...], np.ndarray]:
    found, codes = np.unique(values, return_inverse=True)
    if values.dtype.kind == "f":
        names = [str(int(v)) if float(v).is_integer() else str(v) for v in found.tolist()]
    elif values.dtype.kind == "b":
        names = ["true" if v else "false" for v in found.tolist()]
    else:
        names = [v.decode() if isinstance(v, bytes) else str(v) for v in found.tolist()]
    if values.dtype.kind == "f" and len(names) > max(MOST_NUMERIC_CLASSES, len(values) // 2):
        raise refuse(
            "target_not_classes",
            f"{target} holds {len(names)} different numbers, which are not classes.",
            "Set data.task=regression, or name a column of classes with data.target.",
            target,
            setting="data.task",
        )
    return tuple(names), codes.astype(np.int64).reshape(-1)


def _known(
    names: tuple[str, ...],
    codes: np.ndarray,
    classes: tuple[str, ...],
    keys: np.ndarray,
    target: str,
) -> np.ndarray:
    unknown = [n for n in names if n not in classes]
    if unknown:
        bad = np.isin(codes, [names.index(n) for n in unknown])
        raise refuse(
            "unknown_class",
            f"{target}: {some(unknown)} is not a class of the model ({some(classes, 10)})."
            + did_you_mean(unknown[0], classes),
            "Rename the class, or leave those examples out.",
            [str(k) for k in keys[bad]],
        )
    return np.array([classes.index(n) for n in names], dtype=np.int64)[codes]
