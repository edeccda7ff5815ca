"""Series without targets, for a model that exists: from arrays, tables and `.ts` files. No torch."""

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fitwell.data.frames import Table
from fitwell.data.panel_arrays import as_series, padded
from fitwell.data.panel_table import rows_as_series
from fitwell.data.panels import fitted
from fitwell.data.ts import load_ts
from fitwell.data.ts_source import problems_of_panel, refuse_channels, ts_files
from fitwell.data.types import Problem, refuse
from fitwell.spec import Spec

Found: TypeAlias = tuple[np.ndarray, list[str], tuple[Problem, ...]]


def series_inputs(source: Any, spec: Spec, where: str, *, before: str = "") -> Found:
    """([example, channel, time] as the model reads it, names, what was left out) of an array or a list.

    Raises:
        BadData: no numbers, or series of other channels.
    """
    found = as_series(source, where, {}, spec)
    if found is None:
        raise refuse(
            "wrong_shape",
            f"{where} holds no series of numbers, and this model reads {spec.examples}.",
            "Give an array [example, channel, time], or a list of [channel, time] of unequal length.",
            where,
        )
    array, notes = found
    keys = [f"{before}row {i}" for i in range(len(array))]
    return _fitted(array, keys, spec, where, notes)


def ts_inputs(path: Path, spec: Spec, *, before: str = "") -> Found:
    """The same of a `.ts` file, or of all parts of a folder of them; classes in it are not looked at."""
    files = [path] if path.is_file() else [file for file, _ in ts_files(path)]
    panels = [load_ts(file, spec.input_shape[0]) for file in files]
    several = len(panels) > 1
    problems = [problem for panel in panels for problem in problems_of_panel(panel, several)]
    refuse_channels(panels)
    series = [each for panel in panels for each in panel.series]
    if not series:
        raise refuse("no_series", f"{path} holds no series.", "Give a series a line.", str(path))
    keys = [f"{before}{key}" for panel in panels for key in panel.keys(several)]
    return _fitted(padded(series), keys, spec, str(path), problems)


def table_inputs(table: Table, spec: Spec, *, before: str = "") -> Found:
    """The same of a table with a series a row; what the model predicts may stand beside them."""
    array, _, problems = rows_as_series(table, spec.targets or (spec.target,))
    return _fitted(array, [f"{before}{key}" for key in table.keys], spec, table.where, problems)


def _fitted(
    array: np.ndarray, keys: list[str], spec: Spec, where: str, problems: list[Problem]
) -> Found:
    inputs, kept, more = fitted(array, keys, where, spec)
    bad = np.isinf(inputs.reshape(len(inputs), -1)).any(1)
    names = [key for key, stays in zip(keys, kept, strict=True) if stays]
    if bad.any():
        wrong = [names[i] for i in np.flatnonzero(bad).tolist()]
        raise refuse(
            "nonfinite_inputs",
            f"{where}: {len(wrong)} of {len(names)} series hold infinite values, or numbers too large for "
            "float32.",
            "Correct them, or give nan, which counts as missing.",
            wrong,
        )
    return inputs, names, (*problems, *more)
