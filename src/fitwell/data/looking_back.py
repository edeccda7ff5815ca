"""Windows that read more or fewer steps than those that the parts were made of. No torch.

A larger `data.look_back` read anew would begin its windows later, so that parts and folds were others. Of a
pair of trials both forecast the same steps: rows keep their numbers, and those with too few steps before
them are not trained on.
"""

from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fitwell.data.split import Rows
from fitwell.data.types import Data, many
from fitwell.data.windows import steps_under
from fitwell.errors import SettingError
from fitwell.spec import Spec


def looking_back(data: Data, rows: Rows, look_back: int) -> tuple[Data, Rows]:
    """The data with windows of so many steps, each behind the same steps as before, and the rows of it.

    Args:
        look_back: 0: as the data has it.

    Raises:
        SettingError: a window that is held out, or each that is trained on, has fewer steps before it.
    """
    if not data.spec.horizon or look_back in (0, data.spec.input_shape[1]):
        return data, rows
    before = data.spec.input_shape[1]
    since = data.spec.since or before
    shape = (data.spec.input_shape[0], look_back)
    spec = replace(data.spec, input_shape=shape, since=0 if since == look_back else since)
    if look_back < before:
        return replace(data, spec=spec, inputs=data.inputs[:, :, -look_back:]), rows
    steps = steps_under(data.inputs)
    unknown = np.full((look_back - before, steps.shape[1]), np.nan, steps.dtype)
    inputs = sliding_window_view(np.concatenate([unknown, steps]), look_back, axis=0)[: len(data)]
    first = int(np.isnan(inputs[:, :, 0]).any(1).sum())  # values are missing at the start alone
    if not len(rows.train) or rows.train[-1] < first or (rows.held_out < first).any():
        earliest = int((rows.held_out if len(rows.held_out) else rows.train)[0])
        raise SettingError(
            f"data.look_back = {look_back}: the first window held out has "
            f"{many(before + earliest, 'step')} before it, and some must be left to train on. Take fewer.",
            setting="data.look_back",
        )
    kept = Rows(
        rows.train[rows.train >= first], rows.validation[rows.validation >= first], rows.held_out
    )
    return replace(data, spec=spec, inputs=inputs), kept


def as_parted(spec: Spec) -> Spec:
    """The spec of the windows that the parts of a run were made of."""
    return (
        replace(spec, input_shape=(spec.input_shape[0], spec.since), since=0)
        if spec.since
        else spec
    )
