"""Which examples train, select and are held out: stratified, grouped, reproducible. No torch.

The test part and the sample of `data.limit` depend on the data alone, never on the seed: were they
redrawn with the seed, a test example of one run would be a training example of the next, and the
ledger of test looks would count nothing. Folds depend on (seed, repeat), inner cuts on the fold
too.

The plain stratified cuts are written here, those by groups and times in `parting`.
"""

from dataclasses import dataclass

import numpy as np

from fitwell.data.options import filled
from fitwell.data.parting import NoSplit, group_folds, latest, most_parts, rng, time_folds, too_few
from fitwell.data.types import UNUSED, Data, Options
from fitwell.data.windows import purged
from fitwell.errors import SettingError


@dataclass(frozen=True, eq=False)
class Rows:
    """Sorted int64 indices into `Data`, disjoint.

    Args:
        train: what the weights are fitted to.
        validation: the inner cut, for early stopping and best weights; may be empty.
        held_out: scored once: the test part, or the held-out fold.
    """

    train: np.ndarray
    validation: np.ndarray
    held_out: np.ndarray


def fit_rows(data: Data, options: Options, seed: int) -> Rows:
    """Rows of a plain fit: training, inner cut, test part. The source's own parts are respected."""
    settings = filled(data.spec, options)
    pool, test = _pool(data, settings)
    own = data.part[pool] == "validation"
    if own.any():
        return _apart(data, pool[~own], pool[own], test)
    train, validation = _inner_cut(data, pool, settings["validation"], (seed, 1))
    return _apart(data, train, validation, test)


def fold_rows(data: Data, options: Options, *, fold: int, repeat: int, seed: int) -> Rows:
    """Rows of one fold of a cross-validation over everything but the test part.

    Args:
        fold: 0 to data.folds - 1.
        repeat: a new partition into folds for each.
        seed: must be the same for all folds of a repeat (and in both arms of a pair): it decides
            the partition. Pass the recipe's `train.seed`, not a seed derived from the fold.

    Raises:
        SettingError: more folds than examples or groups.
    """
    settings = filled(data.spec, options)
    pool, _ = _pool(data, settings)
    folds = settings["folds"]
    if not 0 <= fold < folds:
        raise SettingError(
            f"fold {fold} does not exist: data.folds = {folds} gives folds 0 to {folds - 1}.",
            setting="data.folds",
        )
    if data.spec.task == "language":
        which = _stretches(pool, folds, (seed, repeat))
        others = pool[which != fold]
    elif data.times is None:
        which = _folds(data, pool, folds, (seed, repeat))
        others = pool[which != fold]
    else:
        overlap = max(0, data.spec.horizon - 1)
        which = time_folds(data.times[pool], folds, (seed, repeat), lost=2 * overlap)
        others = pool[which < fold]
    others = purged(data, others, pool[which == fold])
    train, validation = _inner_cut(data, others, settings["validation"], (seed, repeat, fold))
    return _apart(data, train, validation, pool[which == fold])


def fewer(data: Data, rows: Rows, count: int) -> Rows:
    """At most `count` training rows, and as large a share of the validation rows; all held-out ones.

    Stratified, and nested: what a smaller count keeps, a larger one keeps too. 0 keeps all. Of one text
    its beginning is kept.
    """
    if not count or count >= len(rows.train):
        return rows
    share = count / len(rows.train)
    train = _thinned(data, rows.train, count)
    return Rows(
        train, _thinned(data, rows.validation, round(share * len(rows.validation))), rows.held_out
    )


def _thinned(data: Data, rows: np.ndarray, count: int) -> np.ndarray:
    """`count` of the rows: of every class the first in a random order, as many as is its share."""
    if not len(rows):
        return rows
    if data.spec.task == "language":
        return rows[:count]
    labels = _labels(data, rows)
    order = rng(0, 6).permutation(len(rows))
    order = order[np.argsort(labels[order], kind="stable")]
    sizes = np.bincount(labels)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = (np.arange(len(rows)) - starts + 0.5) / np.repeat(sizes, sizes)
    return np.sort(rows[order[np.argsort(place, kind="stable")[:count]]])


def final_rows(data: Data, options: Options, seed: int) -> Rows:
    """Rows of the final model: all but the test part trains, nothing is cut off."""
    pool, test = _pool(data, filled(data.spec, options))
    return _apart(data, pool, np.empty(0, np.int64), test)


def _apart(data: Data, train: np.ndarray, validation: np.ndarray, held_out: np.ndarray) -> Rows:
    """The parts, without windows that are asked for a step of a later part.

    Raises:
        SettingError: that leaves no window to train on.
    """
    validation = purged(data, validation, held_out)
    rows = purged(data, purged(data, train, held_out), validation)
    if data.spec.horizon and not len(rows):
        raise NoSplit(
            f"data.horizon = {data.spec.horizon}: no window to train on ends before what is held out "
            "begins.",
            "Set a smaller data.horizon, data.look_back or data.folds, or give a longer series.",
            "data.horizon",
        )
    return Rows(rows, validation, held_out)


def _pool(data: Data, settings: dict) -> tuple[np.ndarray, np.ndarray]:
    """(everything but the test part, at most data.limit of it; the test part), both sorted."""
    everything = np.arange(len(data), dtype=np.int64)
    everything = everything[data.part != UNUSED]
    own = data.part[everything] == "test"
    if own.any():
        pool, test = everything[~own], everything[own]
    else:
        free = data.part[everything] != "validation"
        rest, test = _inner_cut(
            data,
            everything[free],
            settings["test"],
            (0, 0),
            count=settings["test"] * len(everything),
        )
        pool = np.sort(np.concatenate([rest, everything[~free]]))
    pool = purged(data, pool, test)
    limit = settings["limit"]
    if not limit or limit >= len(pool):
        return pool, test
    if data.spec.task == "language":
        return pool[:limit], test
    smallest = 2 * max(1, len(data.spec.classes))
    if limit < smallest:
        raise NoSplit(
            f"data.limit = {limit} is fewer than 2 examples a class.",
            f"Give at least {smallest}.",
            "data.limit",
        )
    # Complementary cut: leave out len - limit, so that every class keeps an example.
    out = _stratified(_labels(data, pool), len(pool) - limit, rng(0, 2))
    return pool[~out], test


def _inner_cut(
    data: Data, rows: np.ndarray, share: float, seed: tuple[int, ...], count: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(the rest, about `share` of `rows` or `count` of them): the latest, or stratified, groups kept
    whole."""
    if share <= 0 or len(rows) < 2:
        return rows, np.empty(0, np.int64)
    wanted = share * len(rows) if count is None else count
    if data.spec.task == "language":
        last = min(max(1, round(wanted)), len(rows) - 1)
        return rows[:-last], rows[-last:]
    if data.times is not None:
        if count is None and len(np.unique(data.times[rows])) < 2:
            return rows, np.empty(0, np.int64)  # of one moment nothing is later
        out = latest(data.times[rows], wanted)
    elif data.groups is not None:
        number = len(np.unique(data.groups[rows]))
        if number < 2 and count is None:
            return rows, np.empty(0, np.int64)  # one group stays whole
        if number < 2:
            raise NoSplit(
                f"data.group: all {len(rows)} examples are of one group, so none can be held out.",
                "Name another column, or leave data.group out.",
                "data.group",
            )
        # Of few groups the cut is a whole one.
        parts = min(max(2, round(len(rows) / wanted)), number)
        out = group_folds(data.groups[rows], _labels(data, rows), parts, seed) == 0
    else:
        wanted = min(max(1, round(wanted)), len(rows) - 1)
        out = _stratified(_labels(data, rows), wanted, rng(*seed, 3))
    return rows[~out], rows[out]


def _stretches(rows: np.ndarray, folds: int, seed: tuple[int, ...]) -> np.ndarray:
    """[row] fold number, of one text: each fold is a stretch of it, the last one its end and its very
    beginning, which is drawn so that other repeats have other borders."""
    if len(rows) < 2 * folds:
        raise _too_few(folds, len(rows))
    first = rng(*seed, 4).integers(len(rows) // folds)
    return (np.arange(len(rows)) - first) % len(rows) * folds // len(rows)


def _folds(data: Data, rows: np.ndarray, folds: int, seed: tuple[int, ...]) -> np.ndarray:
    """[row] fold number. Class counts and sizes of the folds differ by at most one."""
    if data.groups is not None:
        number = len(np.unique(data.groups[rows]))
        if number < folds:
            raise too_few(folds, folds, number, number, "group", "groups")
        return group_folds(data.groups[rows], _labels(data, rows), folds, seed)
    if len(rows) < 2 * folds:
        raise _too_few(folds, len(rows))
    random = rng(*seed, 4)
    order = random.permutation(len(rows))
    labels = _labels(data, rows)
    # Rows in random order within their class, classes one after another, dealt like cards.
    order = order[np.argsort(labels[order], kind="stable")]
    which = np.empty(len(rows), np.int64)
    which[order] = random.permutation(folds)[np.arange(len(rows)) % folds]
    return which


def _too_few(folds: int, examples: int) -> NoSplit:
    return NoSplit(
        f"data.folds = {folds} needs at least {2 * folds} examples outside the test part; "
        f"there are {examples}.",
        f"Set data.folds to at most {max(2, examples // 2)}.",
        "data.folds",
    )


def reason(data: Data, options: Options) -> str:
    """Why the examples are parted as they are, in a sentence or two."""
    settings = filled(data.spec, options)
    if data.spec.task == "language":
        how = (
            "in the order of the text: validation is its end, behind what is trained on; a fold is a "
            "stretch of it"
        )
    elif data.spec.horizon:
        how = (
            "in the order of time: what is held out is later than what is trained on, and no window that "
            "is trained on is asked for a step that is held out"
        )
    elif data.times is not None:
        how = (
            f"by data.time = {settings['time']}: what is held out is later than what is trained on, "
            "the test part later than all else"
        )
    elif data.groups is not None:
        how = f"by {_said_groups(settings)}: no group is on both sides{_balance(data, settings)}"
    elif data.spec.task == "multilabel":
        how = "at random, stratified by each example's rarest label"
    elif data.spec.task == "detection":
        how = "at random, stratified by each image's rarest class"
    elif data.spec.task == "classification":
        how = "at random, stratified: every part has the class shares of the whole"
    else:
        how = "at random"
    own = " and ".join(p for p in ("validation", "test") if (data.part == p).any())
    if own:
        how = f"the source's own {own} part; the rest {how}"
    if data.spec.task == "language":
        return f"{how[:1].upper()}{how[1:]}."
    cut = settings["test"] > 0 and not (data.part == "test").any()
    fixed = ", the same test part whatever the seed" if cut else ""
    return f"{how[:1].upper()}{how[1:]}{fixed}."


def _stratified(labels: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """[row] bool, `count` of them true in proportion to the labels.

    Every label keeps at least one row that is false. Quotas are rounded by the largest remainder,
    ties in random order.
    """
    sizes = np.bincount(labels)
    quota = sizes * (count / len(labels))
    take = np.minimum(np.floor(quota).astype(np.int64), np.maximum(sizes - 1, 0))
    tie = random.random(len(sizes))
    while take.sum() < count:
        open_ = take < sizes - 1
        if not open_.any():
            break
        short = np.where(open_, quota - take, -np.inf)
        take[np.lexsort((tie, short))[-1]] += 1
    out = np.zeros(len(labels), bool)
    order = random.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for start, number in zip(starts, take, strict=True):
        out[order[start : start + number]] = True
    return out


def _labels(data: Data, rows: np.ndarray) -> np.ndarray:
    """What to stratify by: the class; of several labels or boxes the rarest; nothing for regression."""
    if data.spec.task == "classification":
        return data.targets[rows]
    if data.spec.task == "detection":
        rarest = np.argsort(np.argsort(data.spec.class_counts, kind="stable"), kind="stable")
        named = data.targets[rows, :, 0]
        places = np.where(np.isnan(named), len(rarest), rarest[np.nan_to_num(named).astype(int)])
        return places.min(1, initial=len(rarest))
    if data.spec.task == "multilabel":
        counts = np.where(data.targets[rows] == 1, data.spec.class_counts, len(data) + 1)
        return np.where(data.targets[rows].any(1), counts.argmin(1), counts.shape[1])
    return np.zeros(len(rows), np.int64)


def _balance(data: Data, settings: dict) -> str:
    """What groups leave of the stratification."""
    if data.spec.task == "regression":
        return ""
    parts = most_parts(settings)
    if max(data.spec.class_counts) < parts:
        return f"; classes are not balanced, each having fewer examples than the {parts} parts"
    return ", classes as even as that allows"


def _said_groups(settings: dict) -> str:
    """Where the groups come from."""
    named = settings["group"]
    return f"data.group = {named}" if named else "{group} in data.pattern"
