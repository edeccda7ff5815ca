"""Parts that groups and times decide: no group on both sides, nothing held out earlier. No torch.

scikit-learn is imported for groups only: importing its model selection costs a worker about a second
and tens of megabytes.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from fitwell.errors import SettingError


class NoSplit(SettingError):
    """A setting that these examples cannot be parted by.

    Args:
        what, mend: the two halves of the message, as a `Problem` has them.
    """

    def __init__(self, what: str, mend: str, setting: str) -> None:
        super().__init__(f"{what} {mend}", setting=setting)
        self.what, self.mend = what, mend


def rng(*seed: int) -> np.random.Generator:
    """Random numbers that a few whole numbers decide."""
    return np.random.default_rng([s % 2**63 for s in seed])


def latest(times: np.ndarray, count: float) -> np.ndarray:
    """[row] bool, about `count` of them true: all that were at or after a moment.

    Raises:
        SettingError: all were at one moment.
    """
    moments, first = np.unique(np.sort(times), return_index=True)
    if len(moments) < 2:
        raise NoSplit(
            f"data.time: all {len(times)} examples of a part are of one moment, so none is later than "
            "another.",
            "Name another column, or leave data.time out.",
            "data.time",
        )
    later = len(times) - first[1:]  # how many are at or after each moment but the first
    return times >= moments[1 + int(np.abs(later - count).argmin())]


def time_folds(
    times: np.ndarray, folds: int, seed: tuple[int, ...], *, lost: int = 0
) -> np.ndarray:
    """[row] fold number, by time; -1 for the first rows, which every fold is trained on.

    Examples of one moment stay together. The folds after the start are equally long; a repeat begins
    them up to half a fold earlier, since another partition by time there is not.

    Args:
        lost: rows before a fold that may not be trained on: so many more stand before the first.

    Raises:
        SettingError: fewer moments than folds.
    """
    moments, place = np.unique(times, return_inverse=True)
    if len(moments) <= folds:
        raise too_few(folds, folds + 1, len(moments), len(moments) - 1, "time", "moments")
    earlier = 0.5 * rng(*seed, 7).random() if seed[-1] else 0.0
    share = min(lost / len(times), 1.0)
    start = share + (1 - share) * (1 - earlier) / (folds + 1)
    fold = np.arange(folds)
    wanted = np.rint(len(times) * (start + (1 - start) * fold / folds))  # rows before each fold
    before = np.searchsorted(np.sort(times), moments)
    first = np.searchsorted(before, wanted).clip(fold + 1, len(moments) - folds + fold)
    # Many rows of one moment may stand where two folds should begin: the next moment begins the second.
    first = np.maximum.accumulate(first - fold) + fold
    return (np.searchsorted(first, np.arange(len(moments)), side="right") - 1)[place]


def group_folds(
    groups: np.ndarray, labels: np.ndarray, folds: int, seed: tuple[int, ...]
) -> np.ndarray:
    """[row] fold number with no group in two folds, the labels as even as the groups allow; not balanced
    where each has fewer rows than there are folds."""
    from sklearn.model_selection import StratifiedGroupKFold

    if np.bincount(labels).max() < folds:  # which cannot be balanced, and the splitter refuses
        labels = np.zeros_like(labels)
    splitter: Any = StratifiedGroupKFold(
        folds, shuffle=True, random_state=int(rng(*seed, 5).integers(2**31))
    )
    which = np.empty(len(groups), np.int64)
    with warnings.catch_warnings():
        # "The least populated class has fewer members than n_splits": checks.py says it by name.
        warnings.simplefilter("ignore", UserWarning)
        parts = list(splitter.split(np.zeros(len(groups)), labels, groups))
    for i, (_, held_out) in enumerate(parts):
        which[held_out] = i
    return which


def most_parts(settings: Mapping[str, Any]) -> int:
    """Into how many parts groups are dealt at most for a test or validation part of the share asked for.

    >>> most_parts({"test": 0.2, "validation": 0.1}), most_parts({"test": 0.0, "validation": 0.0})
    (10, 0)
    """
    shares = [settings[name] for name in ("validation", "test") if settings[name]]
    return max((round(1 / share) for share in shares), default=0)


def too_few(folds: int, needed: int, number: int, most: int, by: str, noun: str) -> NoSplit:
    """The error for fewer groups or moments than the folds need."""
    fewer_folds = f"Set data.folds to at most {most}, name" if most >= 2 else "Name"
    return NoSplit(
        f"data.folds = {folds}: by {by} they need at least {needed} different {noun}, and outside the "
        f"test part data.{by} gives {number}.",
        f"{fewer_folds} another column, or leave data.{by} out.",
        "data.folds" if most >= 2 else f"data.{by}",
    )
