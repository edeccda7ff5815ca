"""Problems that several kinds of data have, each in its own words. No torch."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from fitwell.data.types import Data, Problem, some

FEW_A_CLASS = 10


def without_content(
    data: Data, empty: np.ndarray, name: str, what: str, mend: str
) -> Iterator[Problem]:
    """Examples that say nothing: a warning, and an error where all are so.

    Args:
        empty: [example] whether it is so.
        what: "images are of one single colour".
    """
    if empty.any():
        names = tuple(str(key) for key in data.keys[empty])
        yield Problem(
            "constant_inputs" if empty.all() else name,
            "error" if empty.all() else "warning",
            names,
            f"{len(names)} of {len(data)} {what} ({some(names)}).",
            mend,
        )


def names_alike(names: Sequence[str]) -> Iterator[Problem]:
    """Classes with letters in their names that differ in case, blanks or signs between words only."""
    written: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if any(map(str.isalpha, name)):
            written["".join(filter(str.isalnum, name.casefold()))].append(name)
    alike = [group for group in written.values() if len(group) > 1]
    if alike:
        yield Problem(
            "classes_alike",
            "warning",
            tuple(name for group in alike for name in group),
            f"Classes whose names differ in case or signs only: {some(' = '.join(g) for g in alike)}.",
            "If they are the same, give them one name everywhere.",
        )


def small_classes(counts: Mapping[str, int], least: int, what: str, mend: str) -> Iterator[Problem]:
    """Classes with at least so many examples, and fewer than FEW_A_CLASS.

    Args:
        counts: examples of each.
        what: "classes have fewer than 10 examples".
    """
    few = {name: f"{name} ({n})" for name, n in counts.items() if least <= n < FEW_A_CLASS}
    if few:
        text = f"{len(few)} of {len(counts)} {what}: {some(few.values())}."
        yield Problem("small_class", "warning", tuple(few), text, mend)


def fewer_than_folds(
    counts: Mapping[str, int], least: int, folds: int, what: str, mend: str
) -> Iterator[Problem]:
    """Classes with at least so many examples, and too few for every fold to hold one."""
    few = tuple(name for name, count in counts.items() if least <= count < folds)
    if few:
        text = (
            f"{len(few)} of them {what} than data.folds = {folds}: {some(few)}; some folds will lack "
            "them."
        )
        yield Problem("fewer_than_folds", "warning", few, text, mend)


def labels_differ(
    names: Sequence[str],
    learnt: Collection[int],
    there: Collection[int],
    part: str,
    *,
    lacking_is_wrong: bool,
    mend: str,
) -> Iterator[Problem]:
    """Classes that stand in the training part or in another one alone.

    Args:
        learnt, there: which of `names` stand in the training part, and in `part`.
        lacking_is_wrong: also where `part` only lacks some; what is not learnt cannot be told ever.
    """
    extra = [names[i] for i in sorted(set(there) - set(learnt))]
    lacking = [names[i] for i in sorted(set(learnt) - set(there))]
    if not extra and not lacking:
        return
    said = [f"only in {part}: {some(extra)}"] if extra else []
    said += [f"only in train: {some(lacking)}"] if lacking else []
    yield Problem(
        "labels_differ",
        "error" if extra or lacking_is_wrong else "warning",
        (*extra, *lacking),
        f"The classes of train and {part} differ; {'; '.join(said)}.",
        f"Give the classes the same names in both (case and spelling count), or {mend}.",
    )
