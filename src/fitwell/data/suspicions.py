"""What looks too good, or bent, in a table: pure functions from `Data` to problems. No torch."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from fitwell.data.far import far_from_others, places, said_far
from fitwell.data.types import Data, Options, Problem, some

LOOKED_AT = 20_000  # rows, drawn at random, that one feature is tried on
FIRST_LOOK = 2_000  # rows, evenly spread, on which columns must agree before all rows are ranked
LEAST_ROWS = 100  # below, one feature in many predicts well by chance
ALMOST_ALL = 0.98  # of what is to be predicted
CAPPED = 0.01  # share of the rows that stand at the largest value
MANY_VALUES = 50  # of a target that is measured, not counted


def repeated_columns(data: Data, options: Options) -> Iterator[Problem]:
    """Columns that say the same, perhaps in another unit."""
    if data.spec.kind != "table" or len(data) < 2:
        return
    every = list(range(len(data.spec.columns)))
    few = data.inputs[:: max(1, len(data) // FIRST_LOOK)]
    # What says the same says it in a few rows too, and ranks of all rows take long.
    same: dict[bytes, list[int]] = defaultdict(list)
    for likely in _ranked_alike(few, every, data).values():
        if len(likely) > 1:
            for ranks, columns in _ranked_alike(data.inputs, likely, data).items():
                same[ranks] += columns
    groups = []
    for candidates in sorted(same.values()):
        first = data.inputs[:, candidates[0]]
        alike = [i for i in candidates[1:] if _linear(first, data.inputs[:, i])]
        if alike:
            groups.append([data.spec.columns[i].name for i in (candidates[0], *alike)])
    if groups:
        said = some(" = ".join(names) for names in groups)
        yield Problem(
            "repeated_column",
            "warning",
            tuple(name for names in groups for name in names),
            f"Columns that say the same, or the same in another unit: {said}.",
            "Leave all but one of each out.",
        )


def _ranked_alike(inputs: np.ndarray, columns: list[int], data: Data) -> dict[bytes, list[int]]:
    """Columns by the order of their rows, or its reverse; but constant ones, which is said elsewhere."""
    same: dict[bytes, list[int]] = defaultdict(list)
    for i in columns:
        ranks = _ranks(inputs[:, i])
        top = ranks.max(initial=0)
        if top == 0 and len(inputs) == len(data):
            continue
        keys = [ranks.tobytes()]
        if data.spec.columns[i].kind == "numeric":
            keys.append(np.where(ranks < 0, ranks, top - ranks).tobytes())  # with another sign
        same[min(keys)].append(i)
    return same


def _ranks(values: np.ndarray) -> np.ndarray:
    """[row] place of each value among the different ones; -1 where it is missing or infinite."""
    known = np.isfinite(values)
    ranks = np.full(len(values), -1, np.int32)
    ranks[known] = np.unique(values[known], return_inverse=True)[1]
    return ranks


def _linear(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether one column is the other times a number plus a number, as float32 has them."""
    known = np.isfinite(one)
    return abs(np.corrcoef(one[known], other[known])[0, 1]) > 1 - 1e-6


def target_in_features(data: Data, options: Options) -> Iterator[Problem]:
    """A column that predicts the target almost perfectly by itself: often it was known only afterwards."""
    if data.spec.kind != "table" or len(data) < LEAST_ROWS:
        return
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(data))[:LOOKED_AT]
    for target, values in data.each_target():
        targets = values[rows]
        if len(np.unique(targets)) < 2:
            continue
        found = []
        for i, column in enumerate(data.spec.columns):
            share = _predicted(data.inputs[rows, i], targets)
            if share >= ALMOST_ALL:
                found.append((column.name, share))
        if found:
            said = some(f"{name} ({share:.1%})" for name, share in found)
            yield Problem(
                "target_in_features",
                "warning",
                tuple(name for name, _ in found),
                f"A single column predicts {target} almost perfectly: {said}.",
                "See whether it is known when a prediction is needed; leave it out if it is not.",
            )


def unusual_values(data: Data, options: Options) -> Iterator[Problem]:
    """Numbers far beyond all others of their column, or of the target."""
    if data.spec.kind != "table":
        return
    columns = {c.name: (c.kind, data.inputs[:, i]) for i, c in enumerate(data.spec.columns)}
    if data.spec.task == "regression":
        columns |= {name: ("numeric", values) for name, values in data.each_target()}
    found = {}
    for name, (kind, values) in columns.items():
        if kind != "category" and (far := far_from_others(values, data.keys, dates=kind == "date")):
            found[name] = far
    yield from said_far(found, data.keys)


def capped_target(data: Data, options: Options) -> Iterator[Problem]:
    """A measured target that stands at its largest value more often than a measurement would."""
    if data.spec.task != "regression" or not len(data):
        return
    for name, numbers in data.each_target():
        values, counts = np.unique(numbers, return_counts=True)
        if len(values) < MANY_VALUES or counts[-1] < max(10, CAPPED * len(data)):
            continue
        # Rounded measurements pile up everywhere: only a pile far above its neighbours is a cap.
        if counts[-1] < 5 * np.max(counts[-1 - max(10, len(counts) // 10) : -1]):
            continue
        yield Problem(
            "capped_target",
            "warning",
            places((name,), np.flatnonzero(numbers == values[-1]), data.keys),
            f"{counts[-1]} of {len(data)} values of {name} are {values[-1]:g}, its largest: it seems to "
            "be cut off there.",
            "Errors of such rows mean little; leave them out, or predict whether the value is at the cap.",
        )


def _predicted(values: np.ndarray, targets: np.ndarray) -> float:
    """Share of what is to be predicted that one column predicts: each row of one half of the data by the
    rows of the other half with the nearest value, or where the value is missing, by those without one."""
    half = len(values) // 2
    known = np.isfinite(values)
    learn, test = np.arange(len(values)) < half, np.arange(len(values)) >= half
    if targets.dtype.kind == "f":
        y = targets.astype(np.float64) - targets[learn].mean(dtype=np.float64)
        guesses = np.zeros(len(y))
        for part in (known, ~known):
            if (part & learn).any():
                places, means = _means(values[part & learn], y[part & learn])
                guesses[part & test] = np.interp(np.nan_to_num(values[part & test]), places, means)
        missed = float(((y - guesses)[test] ** 2).sum())
        trivial = float(((y[test] - y[test].mean()) ** 2).sum())
    else:
        usual = int(np.bincount(targets[learn]).argmax())
        classes = np.full(len(targets), usual)
        for part in (known, ~known):
            if (part & learn).any():
                places, modes = _modes(values[part & learn], targets[part & learn])
                classes[part & test] = modes[_nearest(places, values[part & test])]
        missed = float((classes != targets)[test].sum())
        trivial = float((targets[test] != usual).sum())
    return 1 - missed / trivial if trivial else 0.0


def _means(values: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(different values, mean of y at each); what is missing counts as one value, 0."""
    places, at = np.unique(np.nan_to_num(values), return_inverse=True)
    return places, np.bincount(at, y) / np.bincount(at)


def _modes(values: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(different values, most frequent class at each); what is missing counts as one value, 0."""
    places, at = np.unique(np.nan_to_num(values), return_inverse=True)
    counts = np.zeros((len(places), int(classes.max()) + 1), np.int32)
    np.add.at(counts, (at, classes), 1)
    return places, counts.argmax(1)


def _nearest(places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[row] index of the nearest of sorted places."""
    values = np.nan_to_num(values).astype(np.float64)
    after = np.searchsorted(places, values).clip(1, max(1, len(places) - 1))
    after = np.minimum(after, len(places) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(values - places[before]) <= np.abs(places[after] - values)
    return np.where(nearer, before, after)
