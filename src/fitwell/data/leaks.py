"""What a split at random tests on though it has seen it: groups, neighbours in time. No torch.

Both are shown by a permutation: how much of the target's variance the groups (or the neighbours in time)
explain, beside what they explain where the rows are shuffled.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from fitwell.data.columns import NUMBERED_SHARE, is_group_name
from fitwell.data.duplicates import test_part
from fitwell.data.near import pooled
from fitwell.data.shares import (
    explained,
    neighbours,
    targets_of,
    told_by_neighbours,
    whole_groups,
    within_classes,
)
from fitwell.data.types import Data, Options, Problem, many, some

LOOKED_AT = 20_000  # rows; of groups whole ones
IMAGES_LOOKED_AT = 5_000
LEAST_ROWS = 20

# Groups: of a telling name, a tenth of the variance and few groups are enough; whole numbers and codes of
# another name must say most of the target, and not as a measurement does, whose neighbours are alike.
NAMED = (3, 0.1)  # least groups, least share
OTHERS = (10, 0.5)
MOST_NUMBERED = (
    100  # columns of whole numbers under other names; more of them are pixels, or counts
)
SMOOTH = 0.5  # of a group's share may be told from the groups with the next numbers

# Time: neighbours this much alike, or this much of the variance between twentieths of the time.
ALIKE = 0.1
DRIFT = 0.02
BLOCKS = 20
LEAST_MOMENTS = 6
NO_TIME_OF_THE_ROW = re.compile(r"birth|born|dob", re.I)

FILE_NUMBER = re.compile(
    r"(.*?)(?:[-_. ]+(?:frame|image|img|slice|view|crop|page|shot|f)?[-_. ]*|(?<=\D))\d+"
)
MOSTLY = 0.8  # of the files have such a name, and are not alone with it
GROUPS_A_CLASS = 3
LOOKS_ALIKE = 0.1  # of the variance within a class


def group_across_split(data: Data, options: Options) -> Iterator[Problem]:
    """A column of groups (patients, speakers) whose rows the split puts on both sides."""
    if data.groups is not None or data.times is not None or len(data) < LEAST_ROWS:
        return
    own, test = False, None
    found = []
    for name, values in _candidates(data):
        known = np.isfinite(values)
        codes = np.full(len(values), -1)
        places, codes[known] = np.unique(values[known], return_inverse=True)
        least, wanted = NAMED if is_group_name(name) else OTHERS
        if len(places) < least or known.sum() < 2 * len(places):
            continue
        if test is None:
            own, test = test_part(data, options)
        inside = np.bincount(codes[known & test], minlength=len(places)) > 0
        outside = np.bincount(codes[known & ~test], minlength=len(places)) > 0
        both = int((inside & outside).sum())
        if not both:
            continue
        rows = whole_groups(codes, _most_rows(data))
        targets = targets_of(data, rows)
        share = explained(codes[rows], targets, least=wanted)
        if share.beyond_chance < wanted:
            continue
        numbers = values.dtype == np.float64 and not is_group_name(name)
        if numbers and told_by_neighbours(codes[rows], targets) > SMOOTH * share.share:
            continue
        text = (
            f"{name} has {len(places):,} values of {known.sum() / len(places):.1f} rows on average, and "
            f"{both:,} of them stand in the test part and outside it; they explain {share.share:.0%} of "
            f"the variance of {data.spec.target} (in shuffled rows {share.mean:.0%})"
        )
        found.append((len(places), name, text))
    if found:
        first = sorted(found)[0][1]
        mend = f"Set data.group={first}, which keeps each on one side; if no new ones will come, leave it."
        if own:
            mend = f"Give each to one part; or all rows as one part, with data.group={first}."
        yield Problem(
            "group_across_split",
            "warning",
            tuple(name for _, name, _ in found),
            f"{'; '.join(text for _, _, text in found[:3])}. The test score is flattered where the model "
            "is meant for new ones.",
            mend,
        )


def _candidates(data: Data) -> Iterator[tuple[str, np.ndarray]]:
    """(name, [row] float numbers or whole codes as float32, nan where missing) of what may be groups."""
    yield from data.aside.items()
    numbered = 0
    for i, column in enumerate(data.spec.columns if data.spec.kind == "table" else ()):
        if column.name in data.aside:
            continue
        values = data.inputs[:, i]
        if column.kind == "category":
            digits = sum(any(c.isdigit() for c in text) for text in column.categories)
            if is_group_name(column.name) or digits >= NUMBERED_SHARE * len(column.categories):
                yield column.name, values.astype("f4")
        elif column.kind == "numeric":
            few = values[:: max(1, len(values) // LOOKED_AT)]
            few = few[np.isfinite(few)]
            whole = len(few) and (few == np.round(few)).all() and few.min() >= 0
            numbered += bool(whole)
            if whole and (numbered <= MOST_NUMBERED or is_group_name(column.name)):
                yield column.name, values.astype("f8")


def time_across_split(data: Data, options: Options) -> Iterator[Problem]:
    """A column of dates that the target goes with, where a split at random tests on the past."""
    parted = data.groups is not None or data.times is not None
    if data.spec.kind != "table" or parted or len(data) < LEAST_ROWS:
        return
    found, ordered = [], []
    own, test = False, np.zeros(0, bool)
    for i, column in enumerate(data.spec.columns):
        times = data.inputs[:, i]
        known = np.flatnonzero(np.isfinite(times))
        if column.kind != "date" or len(known) < LEAST_ROWS:
            continue
        if NO_TIME_OF_THE_ROW.search(column.name):
            continue
        rng = np.random.default_rng(0)
        rows = np.sort(rng.permutation(known)[: _most_rows(data)])
        if len(np.unique(times[rows])) < LEAST_MOMENTS:
            continue
        if not len(test):
            own, test = test_part(data, options)
        before = int(
            (times[known][test[known]] < times[known][~test[known]].max(initial=-np.inf)).sum()
        )
        if not before:
            continue
        seen = f"{before:,} of {many(int(test.sum()), 'test row')} are earlier than the last of the others"
        # Rows of one moment in random order: how the file has them is no evidence.
        order = rows[np.lexsort((rng.random(len(rows)), times[rows]))]
        targets = targets_of(data, order)
        alike, drift = neighbours(targets), explained(_blocks(len(order)), targets)
        how = []
        if alike.beyond_chance >= ALIKE:
            how.append(
                f"rows next to each other share {alike.share:.0%} of the variance of {data.spec.target} "
                f"(in shuffled rows at most {max(alike.most, 0):.0%})"
            )
        if drift.beyond_chance >= DRIFT:
            how.append(
                f"its equal parts explain {drift.share:.0%} of the variance of {data.spec.target} (in "
                f"shuffled rows at most {drift.most:.0%})"
            )
        if how:
            found.append((column.name, f"{column.name}: {' and '.join(how)}; {seen}"))
        elif (np.diff(times[known]) >= 0).all() or (np.diff(times[known]) <= 0).all():
            ordered.append((column.name, f"{column.name}: the rows are in its order; {seen}"))
    for severity, each in (("warning", found), ("note", ordered)):
        if each:
            texts = ". ".join(text for _, text in each)
            mend = f"To predict later rows, set data.time={each[0][0]}: what is tested on is then later."
            if data.spec.task == "regression" and len(data.spec.columns) == 1:
                mend = f"To forecast {data.spec.target} from its own past, set data.kind=series."
            elif own:
                mend = "To predict later rows, make the latest ones the test part of the source."
            names = tuple(name for name, _ in each)
            flattered = (
                " The test score is flattered for later ones." if severity == "warning" else ""
            )
            yield Problem("time_across_split", severity, names, f"{texts}.{flattered}", mend)
            return


def files_across_split(data: Data, options: Options) -> Iterator[Problem]:
    """Files that are numbered by patient or video, as in `patient12_03.png`, on both sides of the split."""
    parted = data.groups is not None or data.times is not None
    if data.spec.kind == "table" or parted or len(data) < LEAST_ROWS:
        return
    if not PurePosixPath(str(data.keys[0])).suffix:
        return  # no files
    paths = [PurePosixPath(str(key)) for key in data.keys]
    matches = [FILE_NUMBER.fullmatch(path.stem) if path.suffix else None for path in paths]
    named = [f"{p.parent}/{m[1]}" if m else "" for p, m in zip(paths, matches, strict=True)]
    if not any(named):
        return
    place = {name: i for i, name in enumerate(dict.fromkeys(filter(None, named)))}
    codes = np.array([place.get(name, -1) for name in named])
    sizes = np.bincount(codes[codes >= 0], minlength=len(place))
    classes = data.targets if data.spec.task == "classification" else np.zeros(len(data), np.int64)
    if (sizes[codes][codes >= 0] > 1).sum() < MOSTLY * len(data):
        return
    together = (codes >= 0) & (sizes[codes] > 1)
    if (sizes > 1).sum() < GROUPS_A_CLASS * len(np.unique(classes)):
        return
    own, test = test_part(data, options)
    both = np.intersect1d(codes[together & test], codes[together & ~test])
    if not len(both):
        return
    example = [str(data.keys[i]) for i in np.flatnonzero(codes == both[0])]
    alike = ""
    if data.spec.kind == "images":
        rows = whole_groups(codes, IMAGES_LOOKED_AT)
        fields = pooled(data.inputs[rows])[0][:, ::2, ::2].reshape(len(rows), -1)
        share = explained(codes[rows], within_classes(fields, classes[rows]), classes[rows])
        if share.beyond_chance >= LOOKS_ALIKE:
            alike = (
                f" Such images look alike: {share.share:.0%} of the variance within a class is between "
                f"them (shuffled {share.mean:.0%}), so the test score is flattered."
            )
    mend = "If they show one patient or scene, list the files in a CSV with a column that says which, and "
    mend += "set data.group to it" + ("; or give each to one part." if own else ".")
    yield Problem(
        "files_across_split",
        "warning" if alike else "note",
        tuple(str(data.keys[i]) for i in np.flatnonzero(np.isin(codes, both))),
        f"File names repeat before their last number, such as {some(example)}: {len(both):,} of "
        f"{len(place):,} such names stand in the test part and outside it.{alike}",
        mend,
    )


def _blocks(count: int) -> np.ndarray:
    """[row] number of the equal part of the rows, as many parts as BLOCKS or a fifth of the rows."""
    return np.arange(count) * min(BLOCKS, count // 5) // count


def _most_rows(data: Data) -> int:
    """Rows that are looked at: fewer of several targets."""
    return LOOKED_AT // (data.targets.shape[1] if data.targets.ndim == 2 else 1)
