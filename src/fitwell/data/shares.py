"""How much of what is to be predicted goes with a group, or with what is next to it. No torch.

Each share stands beside what it is where the rows are shuffled, which is not nothing: many small groups
explain much by chance.
"""

from dataclasses import dataclass

import numpy as np

from fitwell.data.types import Data

ROUNDS = 199  # shufflings, none of which may reach what was measured: p = 1/200
MOST_CLASSES = 32  # the rarer ones count as one


@dataclass(frozen=True)
class Share:
    """Of the target's variance that groups explain: as it is, and the mean and most of shuffled rows."""

    share: float
    mean: float
    most: float

    @property
    def beyond_chance(self) -> float:
        """0 for groups drawn at random, 1 where all of a group have one target."""
        if self.share <= self.most:
            return 0.0
        return (self.share - self.mean) / max(1 - self.mean, 1e-12)


def explained(
    codes: np.ndarray, y: np.ndarray, within: np.ndarray | None = None, *, least: float = 0.0
) -> Share:
    """Share of the variance of `y` between the groups, and of shuffled rows.

    Args:
        codes: [row] group.
        y: [row] class, or [row, column] centred numbers.
        within: [row] what is shuffled only within; None: everything.
        least: nothing is shuffled where the share is not this much beyond what is expected by chance.

    >>> explained(np.repeat(np.arange(20), 5), np.repeat(np.arange(4), 25)).share
    1.0
    """
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=codes[order[0]] - 1))
    sizes = np.diff([*starts, len(codes)])
    group = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(0)
    places = None if within is None else np.argsort(within, kind="stable")
    if y.ndim == 1:
        number = int(y.max()) + 1
        shares = np.bincount(y) / len(y)
        mean = float((shares**2).sum())
        total, mean = len(y) * (1 - mean) or 1.0, len(y) * mean
    else:
        total, mean = float((y**2).sum()) or 1.0, 0.0

    def between(rows: np.ndarray) -> float:
        if y.ndim == 1:
            at = group * number + y[rows]
            sums = np.bincount(at, minlength=len(sizes) * number).reshape(len(sizes), number)
        else:
            sums = np.add.reduceat(y[rows], starts)
        return (float(((sums**2).sum(1) / sizes).sum()) - mean) / total

    def shuffled() -> np.ndarray:
        if within is None or places is None:
            return rng.permutation(len(y))
        rows = np.empty(len(y), np.int64)
        rows[places] = np.lexsort((rng.random(len(y)), within))
        return rows[order]

    share, expected = between(order), (len(sizes) - 1) / max(1, len(codes) - 1)
    if share - expected < least * (1 - expected):
        return Share(share, expected, share)
    chance = [between(shuffled()) for _ in range(ROUNDS)]
    return Share(share, float(np.mean(chance)), max(chance))


def neighbours(y: np.ndarray) -> Share:
    """Share of the variance of `y`, in order of time, that rows next to each other have in common: 1 less
    the mean square of their difference by that of two rows at random (von Neumann 1941), of classes how
    often they differ; and of shuffled rows.

    >>> round(neighbours(np.repeat([0, 1], 50)).share, 2)
    0.98
    """
    rng = np.random.default_rng(0)
    if y.ndim == 1:
        total = 1 - float(((np.bincount(y) / len(y)) ** 2).sum())
    else:
        total = 2 * float((y**2).mean(0).sum())

    def common(rows: np.ndarray) -> float:
        if y.ndim == 1:
            return 1 - float((rows[1:] != rows[:-1]).mean()) / (total or 1.0)
        return 1 - float((np.diff(rows, axis=0) ** 2).mean(0).sum()) / (total or 1.0)

    chance = [common(y[rng.permutation(len(y))]) for _ in range(ROUNDS)]
    return Share(common(y), float(np.mean(chance)), max(chance))


def targets_of(data: Data, rows: np.ndarray) -> np.ndarray:
    """[row] class, the rare ones as one; or [row, column] centred: numbers of variance 1, or labels."""
    y = data.targets[rows]
    if data.spec.task == "classification":
        order = np.argsort(-np.bincount(y), kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return place[y].clip(max=MOST_CLASSES)
    y = y.reshape(len(rows), -1).astype(np.float64)
    y -= y.mean(0)
    return y if data.spec.task != "regression" else y / np.maximum(y.std(0), 1e-12)


def within_classes(fields: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """[row, column] less the mean of the row's class."""
    _, codes = np.unique(classes, return_inverse=True)
    means = np.zeros((codes.max() + 1, fields.shape[1]))
    np.add.at(means, codes, fields)
    return fields - (means / np.bincount(codes)[:, None])[codes]


def whole_groups(codes: np.ndarray, most: int) -> np.ndarray:
    """Rows of groups drawn at random, all of each, at most so many (a larger group is cut); those without
    a group are left out."""
    sizes = np.bincount(codes[codes >= 0])
    order = np.random.default_rng(0).permutation(len(sizes))
    taken = np.zeros(len(sizes) + 1, bool)
    taken[order[np.cumsum(sizes[order]) - sizes[order] < most]] = True
    rows = np.flatnonzero(taken[codes])  # -1 is the last place, which is never taken
    return np.sort(np.random.default_rng(0).permutation(rows)[:most]) if len(rows) > most else rows


def told_by_neighbours(codes: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance that is told by the mean of the groups with the next lower and higher number:
    much for a measurement, nothing for numbers that were given out.

    Args:
        codes, y: see `explained`.
    """
    if y.ndim == 1:
        y = (y[:, None] == np.arange(y.max() + 1)).astype(np.float64)
        y -= y.mean(0)
    _, codes = np.unique(codes, return_inverse=True)
    sizes = np.bincount(codes)
    means = np.stack([np.bincount(codes, column) for column in y.T], axis=1) / sizes[:, None]
    if len(means) < 3:
        return 0.0
    guess = np.empty_like(means)
    guess[1:-1] = (means[:-2] + means[2:]) / 2
    guess[0], guess[-1] = means[1], means[-2]
    missed = float(((y - guess[codes]) ** 2).sum())
    return 1 - missed / max(float((y**2).sum()), 1e-12)
