"""A long series to be forecast: cut into windows, each an example with its time. No torch."""

from typing import Any

import numpy as np

from fitwell.data.assemble import slug
from fitwell.data.frames import Table
from fitwell.data.long_checks import when
from fitwell.data.long_series import LongSeries, long_series
from fitwell.data.seasons import season_in, season_of
from fitwell.data.target_columns import target_columns
from fitwell.data.types import UNUSED, Data, Problem, fingerprint, many, refuse, some
from fitwell.data.windows import carried_on, windows
from fitwell.errors import SettingError, did_you_mean
from fitwell.spec import Column, Spec

PARTS = ("train", "validation", "test")
SEASONS_READ = 14  # by default
_LEAST_WINDOWS = 4  # training, validation and test each need one
# Settings that say nothing about one series, and what to do instead.
_MEANINGLESS = {
    "group": "Give each series a file of its own.",
    "text": "Leave it out.",
    "task": "Leave it out, or set data.kind=table to predict a column from the others of its row.",
}


def read_long(table: Table, column: str, options: dict[str, Any], like: Spec | None = None) -> Data:
    """`Data` of the windows of one series; its channels are `spec.columns`.

    `data.target` names the columns that are to be forecast; all by default.

    Args:
        column: of the times.
        like: the spec of a model that reads it: its columns, look-back and horizon hold.

    Raises:
        BadData: no such columns, or too few steps for a window.
        SettingError: a setting that does not fit the series.
    """
    for name, mend in _MEANINGLESS.items():
        if options[name] not in ("", 0, "auto"):
            raise SettingError(
                f"data.{name} = {options[name]}: {table.where} is read as one series. {mend}",
                setting=f"data.{name}",
            )
    series = long_series(table, column, options)
    names = tuple(c.name for c in like.columns) if like else series.names
    steps = steps_of(series, names, table.where)
    targets = like.targets or (like.target,) if like else _targets(table, series, options)
    season, repeats = _season(series, steps[:, [names.index(n) for n in targets]], options, like)
    look_back, horizon = _lengths(season, len(steps), options, like, table.where)
    at_once = like.at_once if like else _at_once(options["at_once"], horizon, targets, names)
    spec = Spec(
        "series",
        "forecasting",
        (len(names), look_back),
        target=",".join(targets),
        columns=tuple(Column(name) for name in names),
        num_examples=len(steps) - look_back - horizon + 1,
        targets=tuple(targets) if len(targets) > 1 else (),
        every=series.every,
        horizon=horizon,
        season=season,
        at_once=at_once,
    )
    places = [names.index(name) for name in targets]
    filled = carried_on(steps)
    inputs, asked = windows(filled, look_back, horizon, places)
    first = np.arange(look_back, look_back + spec.num_examples)
    part, notes = _parts(series, steps, filled, places, spec, options, like, table.where)
    return Data(
        name=slug(table.name),
        spec=spec,
        inputs=inputs,
        targets=asked[:, 0] if asked.shape[1] == 1 else asked,
        keys=np.array([when(series.times[i], series.dates) for i in first.tolist()]),
        part=part,
        problems=(*series.problems, *repeats, *notes),
        fingerprint=fingerprint(inputs, asked),
        times=first.astype(np.float64),
    )


def steps_of(series: LongSeries, names: tuple[str, ...], where: str) -> np.ndarray:
    """[step, channel] float32 of these columns, nan where a value is missing.

    Raises:
        BadData: one of them is not there.
    """
    missing = [name for name in names if name not in series.names]
    if missing:
        raise refuse(
            "missing_columns",
            f"{where} lacks {some(missing)}, of which the model reads the past. It has: "
            f"{some(series.names, 20)}.",
            "Give a file with the columns that the model was trained on.",
            missing,
        )
    return np.ascontiguousarray(series.values[[series.names.index(name) for name in names]].T)


def _targets(table: Table, series: LongSeries, options: dict[str, Any]) -> tuple[str, ...]:
    if not options["target"]:
        return series.names
    targets = tuple(target_columns(table, options["target"], {}, inputs=False)[0])
    wrong = [name for name in targets if name not in series.names]
    if wrong:
        raise refuse(
            "no_such_column",
            f"data.target = {options['target']}: {wrong[0]} is no column of numbers."
            f"{did_you_mean(wrong[0], series.names)}",
            f"It has: {some(series.names, 20)}.",
            wrong,
            setting="data.target",
        )
    return targets


def _season(
    series: LongSeries, targets: np.ndarray, options: dict[str, Any], like: Spec | None
) -> tuple[int, list[Problem]]:
    """(steps in a season, what is to be said where the values showed it)."""
    if like or options["season"]:
        return (like.season if like else options["season"]), []
    if (season := season_of(series.every)) > 1:
        return season, []
    share = (1 - options["validation"]) * (1 - options["test"])
    trained = options["steps"][0] if options["steps"] else round(share * len(targets))
    if (season := season_in(targets[:trained])) == 1:
        return 1, []
    text = (
        f"The first {many(trained, 'step')}, which are trained on, repeat themselves every {season:,}: "
        "that is taken for the season."
    )
    mend = "Set data.season if it is another; 1: there is none."
    return season, [Problem("season_found", "note", ("data.season",), text, mend)]


def _lengths(
    season: int, count: int, options: dict[str, Any], like: Spec | None, where: str
) -> tuple[int, int]:
    """(look-back, horizon), chosen where they are 0.

    Raises:
        BadData, SettingError: the series is too short for them.
    """
    if like:
        look_back, horizon = like.input_shape[1], like.horizon
    else:
        horizon = options["horizon"] or min(season, max(1, count // 12))
        look_back = options["look_back"] or _look_back(season, count)
    least = look_back + horizon + (0 if like else _LEAST_WINDOWS - 1)
    if count >= least:
        return look_back, horizon
    window = f"a window of data.look_back = {look_back:,} and data.horizon = {horizon:,}"
    given = [name for name in ("horizon", "look_back") if options[name]]
    if like or not given:
        raise refuse(
            "short_series",
            f"{where} has {many(count, 'step')}; {window} takes {look_back + horizon:,}"
            + ("." if like else f", and there must be {_LEAST_WINDOWS} of them."),
            "Give a longer series.",
            where,
        )
    name = given[0] if horizon + _LEAST_WINDOWS > count else given[-1]
    other = look_back if name == "horizon" else horizon
    most = count - other - _LEAST_WINDOWS + 1
    mend = f"Choose at most {most:,}" if most > 0 else "Choose both smaller"
    raise SettingError(
        f"data.{name} = {options[name]}: {window} takes {look_back + horizon:,} steps, there must be "
        f"{_LEAST_WINDOWS} of them, and {where} has {many(count, 'step')}. {mend}, or give a longer "
        "series.",
        setting=f"data.{name}",
        where=where,
    )


def _look_back(season: int, count: int) -> int:
    """A few whole seasons, and no more than a fifth of the series."""
    most = max(1, min(SEASONS_READ * season if season > 1 else 2 * SEASONS_READ, count // 5))
    return most // season * season or most


def _at_once(at_once: int, horizon: int, targets: tuple[str, ...], names: tuple[str, ...]) -> int:
    """Steps that the model itself forecasts; 0: all.

    Raises:
        SettingError: not a part of the horizon, or a column is read that is not forecast.
    """
    if at_once in (0, horizon):
        return 0
    if at_once > horizon or horizon % at_once:
        raise SettingError(
            f"data.at_once = {at_once}: data.horizon = {horizon} is no multiple of it. Choose a divisor of "
            "the horizon, or 0 for all at once.",
            setting="data.at_once",
        )
    others = [name for name in names if name not in targets]
    if others:
        raise SettingError(
            f"data.at_once = {at_once}: a model that goes on from its own forecasts needs forecasts of "
            f"every column that it reads, and {some(others)} {'are' if len(others) > 1 else 'is'} not in "
            "data.target. Leave data.target out, or set data.at_once=0.",
            setting="data.at_once",
        )
    return at_once


def _parts(
    series: LongSeries,
    steps: np.ndarray,
    filled: np.ndarray,
    targets: list[int],
    spec: Spec,
    options: dict[str, Any],
    like: Spec | None,
    where: str,
) -> tuple[np.ndarray, list[Problem]]:
    """([window] its part, what is to be said of that)."""
    look_back, horizon = spec.input_shape[1], spec.horizon
    part = np.full(spec.num_examples, "", "<U10")
    notes = []
    if options["steps"] and like is None:
        sizes = _sizes(options["steps"], len(steps), look_back, horizon, where)
        ends = np.cumsum(sizes)
        first = np.arange(look_back, look_back + len(part))
        part[:] = UNUSED
        for name, start, end in zip(PARTS, [0, *ends[:2].tolist()], ends.tolist(), strict=True):
            part[(first >= start) & (first + horizon <= end)] = name
        rest = len(steps) - int(ends[2])
        said = ", ".join(f"{name} {size:,}" for name, size in zip(PARTS, sizes, strict=True))
        text = f"data.steps parts {many(len(steps), 'step')} in the order of time: {said}"
        text += f"; the last {rest:,} are left out." if rest else "."
        notes.append(Problem("own_split", "note", (where,), text, "Nothing to do."))
    unknown: Any = np.isnan(steps[:, targets]).any(1)
    unread: Any = np.isnan(filled).any(1)
    bad = _within(unknown[look_back:], horizon) | _within(unread, look_back)[: len(part)]
    if bad.all():
        names = [column.name for column in spec.columns]
        empty = [name for name, own in zip(names, np.isnan(steps).T, strict=True) if own.all()]
        if empty:
            raise refuse(
                "missing_values",
                f"{where}: {some(empty)} {'have' if len(empty) > 1 else 'has'} no value in any row.",
                "Fill them in, or take the column out of the file.",
                *empty,
            )
        raise refuse(
            "missing_values",
            f"{where}: every window of {look_back:,} steps and the {horizon:,} behind them lacks values.",
            "Fill them in, choose a smaller data.horizon, or leave columns out with data.target.",
            where,
        )
    if bad.any():
        text = (
            f"{many(int(bad.sum()), 'window')} of {len(part):,} are left out, since values that are to be "
            "forecast are missing there, or all that came before; where one that is read is missing, the "
            "last known one stands for it."
        )
        at = tuple(when(series.times[look_back + i], series.dates) for i in np.flatnonzero(bad))
        mend = "Fill the values in if they are known."
        notes.append(Problem("windows_left_out", "note", at, text, mend))
        part[bad] = UNUSED
    return part, notes


def _within(flags: np.ndarray, length: int) -> np.ndarray:
    """[start] whether any of `length` flags from there on is set."""
    sums = np.concatenate([[0], np.cumsum(flags)])
    return sums[length:] > sums[:-length]


def _sizes(sizes: list[int], count: int, look_back: int, horizon: int, where: str) -> list[int]:
    """`data.steps`, if it can be.

    Raises:
        SettingError: not three numbers, more steps than there are, or a part without a window.
    """
    said = f"data.steps = {sizes}: "
    mend = "Say how many steps are for training, validation and test, as in [8640,2880,2880]."
    wrong = ""
    if len(sizes) != 3:
        wrong = f"are {len(sizes)} numbers, not three. {mend}"
    elif sum(sizes) > count:
        wrong = f"are {sum(sizes):,} steps, and {where} has {count:,}. Choose fewer."
    elif sizes[0] < look_back + horizon:
        wrong = f"training needs {look_back + horizon:,} steps or more for a window. Choose more."
    elif any(0 < size < horizon for size in sizes[1:]):
        wrong = f"a part needs data.horizon = {horizon:,} steps or more, or none. Choose more."
    if wrong:
        raise SettingError(said + wrong, setting="data.steps", where=where)
    return sizes
