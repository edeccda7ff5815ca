"""Values far from all others: in inputs, targets and series, with their rows."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from data_problems import named

from fitwell.data import check
from fitwell.data.far import MOST_PLACES

N = 300


def normal(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=N)


def problems(**columns: Any) -> Any:
    frame = pl.DataFrame({"a": normal(1), "b": normal(2), **columns})
    return check(frame, {"kind": "table", "target": "y"})[1]


def test_a_target_far_off_is_named_by_its_row() -> None:
    y = normal()
    y[17] = 1e7
    found = named(problems(y=y), "far_value")
    assert found.where == ("y", "row 17")
    assert "y (1e+07 in row 17)" in found.message
    y[17], y[20:30] = 0, -999
    found = named(problems(y=y), "number_for_missing")
    assert found.where == ("y", *(f"row {i}" for i in range(20, 30)))
    assert "y (-999, 10 times)" in found.message
    assert not {"far_value", "number_for_missing"} & {p.name for p in problems(y=normal())}


def test_any_far_number_that_comes_again_stands_for_missing() -> None:
    for number in (-1e30, 32768.0):
        c = normal(3)
        c[40:90] = number
        found = named(problems(c=c, y=normal()), "number_for_missing")
        assert f"{number:g}, 50 times" in found.message
        assert len(found.where) == 1 + MOST_PLACES
    counts = np.where(np.arange(N) % 3, 0.0, np.round(np.exp(3 * normal(3))))
    assert "number_for_missing" not in {p.name for p in problems(c=counts, y=normal())}


def test_a_capped_target_and_missing_values_name_rows() -> None:
    y = np.minimum(normal(), 1.2)
    c = normal(3)
    c[[4, 8]] = np.nan
    found = problems(c=c, y=y)
    first = np.flatnonzero(y == 1.2)[0]
    assert named(found, "capped_target").where[:2] == ("y", f"row {first}")
    assert named(found, "missing_values").where == ("c", "row 4", "row 8")


def test_a_spike_in_a_long_series_is_named() -> None:
    when = [datetime(2024, 1, 1) + timedelta(hours=i) for i in range(N)]
    load = normal()
    load[50] = 1e9
    found = check(
        pl.DataFrame({"when": when, "load": load, "heat": normal(1)}), {"kind": "series"}
    )[1]
    assert named(found, "far_value").where == ("load", "row 50")
