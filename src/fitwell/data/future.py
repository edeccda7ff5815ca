"""Columns of a long series that hold what is to be forecast before it comes. No torch."""

from collections.abc import Iterator

import numpy as np

from fitwell.data.types import Data, Options, Problem, many, some
from fitwell.data.windows import steps_under

LOOKED_AT = 20_000  # steps, the last ones
MOST_LAGS = 48
SAME = 0.999  # squared correlation with a later value, from which a column is taken to tell it
# Of what that leaves unexplained to what values of the same time and before leave: a smooth series is
# close to its past as well, a periodic one as close.
CLOSER = 0.1
EXACT = 1e-9  # what rounding leaves


def future_in_inputs(data: Data, options: Options) -> Iterator[Problem]:
    """A column whose value now is that of another some steps later: known only where the data was made."""
    if not data.spec.horizon or data.spec.input_shape[0] < 2:
        return
    steps = steps_under(data.inputs)[-LOOKED_AT:].astype(np.float64)
    steps = steps[np.isfinite(steps).all(1)]
    lags = min(data.spec.horizon, MOST_LAGS, len(steps) // 4)
    names = [column.name for column in data.spec.columns]
    targets = data.spec.targets or (data.spec.target,)
    found = {}
    for b in [names.index(name) for name in targets]:
        for a in range(len(names)):
            if a == b:
                continue
            later = [_unexplained(steps[:-k, a], steps[k:, b]) for k in range(1, lags + 1)]
            best = int(np.argmin(later)) if later else 0
            if not later or later[best] > 1 - SAME:
                continue
            before = min(
                _unexplained(steps[k:, a], steps[: len(steps) - k, b]) for k in range(lags)
            )
            if later[best] + EXACT <= CLOSER * before:
                found.setdefault(names[a], f"{names[b]} {many(best + 1, 'step')} later")
    if found:
        said = some(f"{name} holds {what}" for name, what in found.items())
        yield Problem(
            "future_in_inputs",
            "warning",
            tuple(found),
            f"{said}: a value that is not known yet when a forecast is made. The scores are those of "
            "copying it.",
            "Leave the column out of the file, or shift it to the time at which it is known.",
        )


def _unexplained(x: np.ndarray, y: np.ndarray) -> float:
    """1 less the squared correlation."""
    x, y = x - x.mean(), y - y.mean()
    size = float((x @ x) * (y @ y))
    return 1 - float(x @ y) ** 2 / size if size else 1.0
