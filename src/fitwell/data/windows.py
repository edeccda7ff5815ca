"""Windows of one long series: views of its steps, so that a step stands in memory once. No torch.

Window i reads the steps i to i + look_back - 1 and is asked for the `horizon` steps behind them. Its time
is the number of the first of these, so that windows are parted in the order of time.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from fitwell.data.types import Data
from fitwell.data.views import under


def windows(
    steps: np.ndarray, look_back: int, horizon: int, targets: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """([window, channel, look_back] inputs, [window, horizon x target] targets, step by step), as views.

    Args:
        steps: [step, channel] float32.
        targets: the channels that are forecast, by number.

    >>> inputs, asked = windows(np.arange(10.0).reshape(5, 2), 2, 2, [1])
    >>> inputs[1].tolist(), asked.tolist()
    ([[2.0, 4.0], [3.0, 5.0]], [[5.0, 7.0], [7.0, 9.0]])
    """
    count = len(steps) - look_back - horizon + 1
    inputs = sliding_window_view(steps, look_back, axis=0)[:count]
    behind = np.ascontiguousarray(steps[look_back:, targets])
    size, row = behind.itemsize, behind.strides[0]
    shape = (count, horizon * len(targets))
    return inputs, as_strided(behind, shape, (row, size), writeable=False)


def steps_under(inputs: np.ndarray) -> np.ndarray:
    """[step, channel] the steps that the windows of a view read."""
    return under(inputs).reshape(-1, inputs.shape[1])


def carried_on(steps: np.ndarray) -> np.ndarray:
    """[step, channel] with the last known value in place of a missing one; nan before the first.

    A line to the next known value would look ahead.

    >>> carried_on(np.array([[np.nan], [1.0], [np.nan]])).tolist()
    [[nan], [1.0], [1.0]]
    """
    place = np.where(np.isnan(steps), 0, np.arange(len(steps))[:, None])
    return np.take_along_axis(steps, np.maximum.accumulate(place, axis=0), axis=0)


def covered(data: Data, rows: np.ndarray) -> list[np.ndarray]:
    """[channel] the values at the steps that these windows read or are asked for, each step once."""
    first = data.times[rows].astype(np.int64)  # type: ignore[index]
    back, horizon = data.inputs.shape[2], data.spec.horizon
    steps = np.full((int(first.max(initial=0)) + horizon, data.inputs.shape[1]), np.nan)
    places = [column.name for column in data.spec.columns]
    asked = [places.index(name) for name in data.spec.targets or (data.spec.target,)]
    # Of windows one after the other each brings one step; of the first of a run, all are new.
    begins = np.diff(first, prepend=-2) != 1
    for at in range(back):
        new = begins if at < back - 1 else np.ones(len(rows), bool)
        steps[first[new] - back + at] = data.inputs[rows[new], :, at]
    ends = np.append(begins[1:], True)
    wanted = data.targets.reshape(len(data), horizon, -1)
    for at in range(horizon):
        new = ends if at else np.ones(len(rows), bool)
        steps[first[new, None] + at, asked] = wanted[rows[new], at]
    return [values[~np.isnan(values)] for values in steps.T]


def steps_before(data: Data, rows: np.ndarray, back: int, count: int) -> np.ndarray | None:
    """[window, channel, count] the steps that begin `back` steps before those that these windows are asked
    for, which may lie before what they read; None where one of them has no such steps.

    >>> from fitwell.spec import Spec
    >>> inputs, asked = windows(np.arange(6.0)[:, None], 1, 1, [0])
    >>> spec, keys = Spec("series", "forecasting", (1, 1), horizon=1), np.arange(5)
    >>> data = Data("", spec, inputs, asked, keys, np.full(5, ""), (), "")
    >>> steps_before(data, np.array([3, 4]), 3, 2)[:, 0].tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    first = rows + data.inputs.shape[2] - back
    if not len(rows) or first.min() < 0:
        return None
    found = steps_under(data.inputs)[first[:, None] + np.arange(count)].transpose(0, 2, 1)
    return None if np.isnan(found).any() else found


def purged(data: Data, rows: np.ndarray, later: np.ndarray) -> np.ndarray:
    """The rows without those that are asked for a step that the `later` ones are asked for, too.

    What later windows read of the past is known when they forecast: it may be trained on.
    """
    if not data.spec.horizon or data.times is None or not len(later):
        return rows
    return rows[data.times[rows] + data.spec.horizon <= data.times[later].min()]
