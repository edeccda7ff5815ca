"""Forecasting: the next steps of a long series, each of its targets at each of them a number.

Learnt and compared in standard deviations of the training part, so that columns of any unit count alike
(`mse`, `mae`); told in the targets' own units (`rmse`, predictions).

What held-out windows show is kept as evidence:

"forecast"   part, model ("network", "repeat_last", "seasonal_naive"), season, windows, mse, mae, by_step:
             {"mse": [...], "mae": [...]}, of each step ahead
"intervals"  level, part (that the errors are of), windows, low, high: [output] what is added to a forecast;
             covered: {part: share of the numbers of the other parts that lie within}
"window"     part, key, target, past, truth, forecast, low, high: one window of the first targets
"""

import math
from collections.abc import Mapping

import numpy as np

from fitwell.data.types import Data
from fitwell.data.windows import steps_before
from fitwell.record import Predictions, Row
from fitwell.spec import Spec
from fitwell.tasks.kind import Standardised, Task, per_example
from fitwell.tasks.regression import decode, trivial

LEVEL = 0.9  # of the intervals
WINDOWS_SHOWN, TARGETS_SHOWN = 3, 3
_FEWEST = 20  # errors that an interval is read off
_CALIBRATING = (
    "validation",
    "held_out",
    "test",
)  # whose errors make the intervals: the first there is


def naive(inputs: np.ndarray, spec: Spec, season: int) -> np.ndarray:
    """[window, horizon x target] the last season again and again; of a season of 1 the last value.

    Args:
        inputs: [window, channel, step], the last steps; of a season at least as many of its first as are
            forecast.

    Source: Hyndman and Athanasopoulos 2021, Forecasting: principles and practice, section 5.2

    >>> spec = Spec("series", "forecasting", (1, 4), horizon=3)
    >>> naive(np.array([[[1.0, 2.0, 3.0, 4.0]]]), spec, 2).tolist()
    [[3.0, 4.0, 3.0]]
    """
    names = [column.name for column in spec.columns]
    places = [names.index(n) for n in spec.targets or (spec.target,)] if names else [0]
    last = inputs[:, places, -season:]
    ahead = last[:, :, np.arange(spec.horizon) % season]
    return ahead.transpose(0, 2, 1).reshape(len(inputs), -1)


def measure(
    data: Data, predictions: Mapping[str, Predictions], standardised: Standardised
) -> list[Row]:
    """Errors by step of the network and of naive forecasts, intervals, and some windows to look at."""
    spec = data.spec
    parts = {part: predictions[part] for part in predictions if part != "train"}
    rows: list[Row] = []
    for part, found in parts.items():
        target, season = standardised(found.target), spec.season
        said = {
            "network": found.prediction,
            "repeat_last": naive(data.inputs[found.index], spec, 1),
        }
        # A season may be longer than what the network reads.
        last = steps_before(data, found.index, season, min(season, spec.horizon))
        if season > 1 and last is not None:
            said["seasonal_naive"] = naive(last, spec, season)
        for model, ahead in said.items():
            ahead = ahead.reshape(found.target.shape)
            error = (standardised(ahead) - target).astype(np.float64)
            rows.append(
                {"experiment": "forecast", "part": part, "model": model, **_errors(error, spec)}
            )
    intervals = _intervals(parts, spec)
    return rows + intervals + _shown(data, parts, intervals)


def _errors(error: np.ndarray, spec: Spec) -> Row:
    """The error of all steps, and of each."""
    steps = error.reshape(len(error), spec.horizon, -1)
    by_step = {"mse": (steps**2).mean((0, 2)), "mae": np.abs(steps).mean((0, 2))}
    return {
        "season": spec.season,
        "windows": len(error),
        "mse": float((error**2).mean()),
        "mae": float(np.abs(error).mean()),
        "by_step": {name: values.tolist() for name, values in by_step.items()},
    }


def _intervals(parts: Mapping[str, Predictions], spec: Spec) -> list[Row]:
    """Quantiles of held-out errors, a step and target; of the parts that they are not of, how many numbers
    lie within.

    With so many errors that the next one, were it drawn as they were, would lie within as often as said
    (Vovk, Gammerman and Shafer 2005, conformal prediction); errors of windows that overlap are alike, so
    it is no guarantee.
    """
    part = next((p for p in _CALIBRATING if p in parts and len(parts[p].target) >= _FEWEST), "")
    used = [part] if part else list(parts)  # of few windows all that were held out
    count = sum(len(parts[p].target) for p in used)
    if count < _FEWEST:
        return []
    errors = np.concatenate([_residuals(parts[p]) for p in used])
    rank = min(1.0, math.ceil((count + 1) * (1 + LEVEL) / 2) / count)
    low = -np.quantile(-errors, rank, axis=0, method="higher")
    high = np.quantile(errors, rank, axis=0, method="higher")
    others = {p: _residuals(found) for p, found in parts.items() if p not in used}
    covered = {p: float(((low <= e) & (e <= high)).mean()) for p, e in others.items()}
    return [
        {
            "experiment": "intervals",
            "level": LEVEL,
            "part": " and ".join(used),
            "windows": count,
            "low": low.tolist(),
            "high": high.tolist(),
            "covered": covered,
        }
    ]


def _residuals(found: Predictions) -> np.ndarray:
    """[window, output] truth less forecast, in the target's own unit."""
    return (found.target.astype(np.float64) - found.prediction).reshape(len(found.target), -1)


def _shown(data: Data, parts: Mapping[str, Predictions], intervals: list[Row]) -> list[Row]:
    """Some windows of the last part, one after the other as far as they do not overlap."""
    spec = data.spec
    part = next((p for p in reversed(_CALIBRATING) if p in parts), "")
    if not part or not len(parts[part].index):
        return []
    found, names = parts[part], [column.name for column in spec.columns]
    count = len(found.index)
    chosen = np.unique(np.linspace(0, count - 1, WINDOWS_SHOWN).astype(int))
    rows = []
    for name in (spec.targets or (spec.target,))[:TARGETS_SHOWN]:
        own = (spec.targets or (spec.target,)).index(name)
        low, high = (
            _column(np.array(intervals[0][k]), spec, own) if intervals else None
            for k in ("low", "high")
        )
        for row in chosen.tolist():
            past = data.inputs[found.index[row], names.index(name), -3 * spec.horizon :]
            ahead = _column(found.prediction[row], spec, own)
            rows.append(
                {
                    "experiment": "window",
                    "part": part,
                    "key": str(found.keys[row]),
                    "target": name,
                    "past": past.tolist(),
                    "truth": _column(found.target[row], spec, own).tolist(),
                    "forecast": ahead.tolist(),
                    "low": None if low is None else (ahead + low).tolist(),
                    "high": None if high is None else (ahead + high).tolist(),
                }
            )
    return rows


def _column(outputs: np.ndarray, spec: Spec, target: int) -> np.ndarray:
    """[step] of one target."""
    return np.asarray(outputs, np.float64).reshape(spec.horizon, -1)[:, target]


def head(spec: Spec, loss: str) -> int:
    return spec.horizon * max(1, len(spec.targets))


FORECASTING = Task(
    name="forecasting",
    losses=("mse", "mae", "huber", "log_cosh", "quantile"),
    head=head,
    metric=lambda spec: "mse",
    decode=decode,
    trivial=trivial,
    normaliser=per_example,
    measure=measure,
)
