"""What columns of tables are read as: spans of time, parts, numbers as other countries write them."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from data_problems import named

from fitwell.data import BadData, check, read
from fitwell.spec import Column

SPANS = [timedelta(seconds=1.5 * i) for i in range(40)]
TABLE = {"kind": "table"}


def spans() -> pl.DataFrame:
    a = [None, *range(1, 40)]
    return pl.DataFrame({"length": [None, *SPANS[1:]], "a": a, "y": [i % 2 for i in range(40)]})


def test_spans_of_time_are_seconds(tmp_path: Path) -> None:
    frame = spans()
    frame.write_parquet(tmp_path / "t.parquet")
    pandas = pd.DataFrame({name: frame[name].to_list() for name in frame.columns})
    assert pandas["length"].dtype.kind == "m"
    for source in (tmp_path / "t.parquet", frame, pandas):
        data = read(source, TABLE)
        assert data.spec.columns == (Column("length"), Column("a"))
        assert np.isnan(data.inputs[0]).all()
        assert data.inputs[1].tolist() == [1.5, 1]
    backwards = read(pl.DataFrame({"a": range(40), "y": SPANS}), TABLE)
    assert backwards.spec.task == "regression"
    assert backwards.targets[3] == 4.5
