"""What goes into a network, what comes out and what is asked for, on a sample of examples."""

import numpy as np

from fitwell.record import Row

_FEW_PAIRS = 10  # different ones of an output and its target
_ENDS = 1e-3  # of the targets' spread: an output this near to the lowest or highest is at the end


def describe_inputs(x: np.ndarray) -> Row | None:
    """An evidence row "inputs": the scale of each feature as the network gets it.

    Args:
        x: [example, ...] numbers; images, series and recordings are measured as a whole, tables feature
            by feature. None for codes.

    Returns:
        `features`; `rms` and `mean` over everything; of tables `scale_low` and `scale_high`, the lower
        quartile and the largest of the features' robust scales (half of the width of the middle 68 %), with
        their columns, `low_column` and `high_column`. Of a feature that mostly has one value the root
        mean square of how far the others are from it. Constant features, those of two values, and those of
        which fewer than 5 rows or 1 % differ from the usual value have no scale.

    >>> x = np.random.default_rng(0).normal(size=(100, 2)) * np.array([1.0, 5000.0])
    >>> row = describe_inputs(x)
    >>> row["high_column"], 3000 < row["scale_high"] / row["scale_low"] < 8000
    (1, True)
    """
    if x.dtype.kind != "f" or len(x) < 2:
        return None
    row: Row = {
        "experiment": "inputs",
        "features": int(np.prod(x.shape[1:])),
        "rms": float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))),
        "mean": float(x.mean(dtype=np.float64)),
    }
    if x.ndim == 2:
        low, high = np.nanquantile(x, [0.16, 0.84], axis=0)
        scale = (high - low) / 2
        apart = np.nan_to_num(x - np.nanmedian(x, axis=0))
        differing = (apart != 0).sum(0)
        sparse = np.sqrt(np.square(apart).sum(0) / np.maximum(differing, 1))
        scale = np.where(scale > 0, scale, np.where(differing >= max(5, len(x) / 100), sparse, 0))
        several = np.array([len(np.unique(column)) > 2 for column in x.T])
        known = np.flatnonzero(several & (scale > 0))
        if len(known):
            # The quartile: of pixels in a row, those at the rim hardly vary, and do no harm.
            order = known[scale[known].argsort()]
            least, most = order[(len(order) - 1) // 4], order[-1]
            row |= {
                "scale_low": float(scale[least]),
                "scale_high": float(scale[most]),
                "low_column": int(least),
                "high_column": int(most),
            }
    return row


def describe_outputs(outputs: np.ndarray, target: np.ndarray, loss: str = "") -> list[Row]:
    """Evidence rows "outputs" and "targets": ranges of what the network says and of what is asked for.

    Args:
        outputs: [example, output] as the loss gets them.
        target: [example] class index; or numbers [example] or [example, target], as the loss gets them.
        loss: its name.

    Returns:
        "outputs": `units`, `low`, `high`, `loss`; `row_sum_low`, `row_sum_high` (of the sums over the
        outputs of an example).
        "targets" (of numbers, of several the one that is least within reach): `mean`, `std`, `fit` (R
        squared), `said_low` and `said_high` (the range of the outputs), `beyond` (share of targets outside
        of it), `at_the_ends` (share of outputs at one end of it) and `most_common` (share of the most
        frequent target).
    """
    said = outputs.reshape(len(outputs), -1).astype(np.float64)
    sums = said.sum(1)
    rows: list[Row] = [
        {
            "experiment": "outputs",
            "units": said.shape[1],
            "loss": loss,
            "low": float(said.min()),
            "high": float(said.max()),
            "row_sum_low": float(sums.min()),
            "row_sum_high": float(sums.max()),
        }
    ]
    asked = target.reshape(len(target), -1)
    if target.dtype.kind == "f" and asked.shape == said.shape:
        rows.append(_numbers(said, asked.astype(np.float64)))
    return rows


def _numbers(said: np.ndarray, asked: np.ndarray) -> Row:
    spread = asked.std(0)
    reach = np.where(spread > 0, spread, 1.0)
    low, high = said.min(0), said.max(0)
    near = _ENDS * reach
    ends = np.maximum((said <= low + near).mean(0), (said >= high - near).mean(0))
    beyond = ((asked < low - near) | (asked > high + near)).mean(0)
    if 1 < len(np.unique(np.concatenate([said, asked], axis=1), axis=0)) < _FEW_PAIRS:
        beyond = np.zeros_like(beyond)  # of so few each is at an end
    worst = int((beyond * ends).argmax())
    error = np.square(said - asked).mean(0)
    return {
        "experiment": "targets",
        "mean": float(asked[:, worst].mean()),
        "std": float(spread[worst]),
        "said_low": float(low[worst]),
        "said_high": float(high[worst]),
        "fit": float(1 - error[worst] / reach[worst] ** 2),
        "beyond": float(beyond[worst]),
        "at_the_ends": float(ends[worst]),
        "most_common": float(np.unique(asked[:, worst], return_counts=True)[1].max() / len(asked)),
    }
