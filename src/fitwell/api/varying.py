"""What a cross-validation varies beside: `--sizes`, and `--vary KEY=A,B,C` or `KEY=A..B`."""

import math
from typing import Any

from fitwell.api.start import Start
from fitwell.data.options import PREPARING, READING
from fitwell.errors import SettingError
from fitwell.improve.variants import edited
from fitwell.record import SIZES, Row
from fitwell.settings import dotted
from fitwell.trials.crossval import Progress
from fitwell.trials.reusing import Executor
from fitwell.trials.scoring import metric_of
from fitwell.trials.varying import Point, size_points, twice
from fitwell.trials.varying import vary as run_points

MOST_VALUES = 20
_HALF_DECADES = (1.0, 3.0)


def points_of(text: str, start: Start) -> tuple[str, list[Point]]:
    """(setting, its points) of `KEY=A,B,C` or `KEY=A..B`.

    Raises:
        SettingError: no such setting, a value that is wrong or does not suit, or fewer than 2 values.
    """
    key, equals, given = text.partition("=")
    if not (equals and key.strip() and given.strip()):
        raise _refused(text, "write KEY=A,B,C or KEY=A..B, such as model.width=8..128")
    name = dotted(key.strip())
    section, _, setting = name.partition(".")
    if name == "source" or (
        section == "data" and setting not in ("validation", "look_back", *PREPARING)
    ):
        what = "read" if name == "source" or setting in READING else "held out"
        raise _refused(text, f"{name} changes what is {what}; cross-validate each by itself")
    if name == "train.seed":
        raise _refused(text, "seeds are no values to compare; the folds show the spread")
    recipes = [edited(start.recipe, {name: v}, start.data.spec) for v in values_of(given)]
    found = {recipe: Point(recipe[name], recipe) for recipe in recipes}
    if not 2 <= len(found) <= MOST_VALUES:
        raise _refused(text, f"give 2 to {MOST_VALUES} different values")
    return name, list(found.values())


def asked_for(start: Start, *, sizes: bool, vary: str) -> list[tuple[str, list[Point]]]:
    """(name, points) of everything that was asked to be varied.

    Raises:
        SettingError: see `size_points` and `points_of`.
    """
    found = [(SIZES, size_points(start.data, start.recipe, start.seed))] if sizes else []
    return [*found, points_of(vary, start)] if vary else found


def varied(
    start: Start,
    executor: Executor,
    *,
    sizes: bool = False,
    vary: str = "",
    progress: Progress | None = None,
) -> list[Row]:
    """The evidence of what was asked to be varied: a row a value, and what twice the data would bring."""
    rows: list[Row] = []
    asked = asked_for(start, sizes=sizes, vary=vary)
    for name, points in asked:
        rows += run_points(name, points, executor, seed=start.seed, progress=progress)
    if sizes:
        name, metric = metric_of(start.recipe)
        gain = twice([row for row in rows if row["name"] == SIZES], metric)
        row: Row = {
            "experiment": "twice",
            "examples": 2 * asked[0][1][-1].value,
            "metric": name,
        }
        if isinstance(gain, str):
            row |= {"gain": None, "low": None, "high": None, "why": gain}
        else:
            row |= {"gain": gain.effect, "low": gain.low, "high": gain.high}
        rows.append(row)
    return rows


def values_of(text: str) -> list[str]:
    """The values that are listed, or that a range stands for: whole numbers doubled, others by 1, 3, 10.

    >>> values_of("8..100"), values_of("0.001..0.1"), values_of("relu, tanh")
    (['8', '16', '32', '64', '100'], ['0.001', '0.003', '0.01', '0.03', '0.1'], ['relu', 'tanh'])
    """
    low, dots, high = text.partition("..")
    if not dots:
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        first, last = float(low), float(high)
    except ValueError:
        first = last = 0.0
    if not 0 < first < last < math.inf:
        raise _refused(text, "the ends of a range must be numbers above 0, the smaller one first")
    if first == int(first) and last == int(last):
        out, value = [], int(first)
        while value < last:
            out.append(str(value))
            value *= 2
        return [*out, str(int(last))]
    out, place = [low.strip()], first
    while (place := _next(place)) < last * (1 - 1e-9):
        out.append(f"{place:g}")
    return [*out, high.strip()]


def _next(value: float) -> float:
    """The next number of 1, 3, 10, 30 ..., up or down the decades."""
    decade = 1e-12
    while True:
        for step in _HALF_DECADES:
            if step * decade > value * (1 + 1e-9):
                return step * decade
        decade *= 10


def _refused(text: Any, rule: str) -> SettingError:
    return SettingError(f"vary = {text}: {rule}.", setting="vary")
