"""What columns of tables are read as: spans of time, parts, numbers as other countries write them."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from data_problems import named

from fitwell.cli.main import run as command
from fitwell.data import BadData, check, read
from fitwell.data.inputs import read_inputs
from fitwell.data.ranges import _numbers
from fitwell.spec import Column, Spec

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


def test_an_unknown_part_is_refused_by_row(tmp_path: Path) -> None:
    parts = ["train"] * 14 + ["Val", "dev", "TEST", "TEST ", "tset", ""]
    rows = [f"{i},{i * i % 7},{part},{i % 2}\n" for i, part in enumerate(parts)]
    path = tmp_path / "t.csv"
    path.write_text("a,b,split,y\n" + "".join(rows))
    _, problems = check(path, TABLE)
    found = named(problems, "unknown_part")
    assert (found.severity, found.where) == ("error", ("row 19",))
    assert "'tset' in row 19" in found.message
    with pytest.raises(BadData, match="tset"):
        read(pl.read_csv(path), TABLE)
    path.write_text("a,b,split,y\n" + "".join(rows).replace("tset", "test"))
    assert (read(path, TABLE).part == "test").sum() == 3
    path.write_text("a,b,split,y\n" + "".join(rows).replace("train", "wool"))
    assert "split" in [c.name for c in read(path, TABLE).spec.columns]


def test_an_unknown_part_of_listed_files_is_refused(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i}.txt").write_text(f"some words of text number {i}")
    rows = [
        f"{i}.txt,{'test' if i > 15 else 'train' if i else 'trian'},{i % 2}\n" for i in range(20)
    ]
    path = tmp_path / "list.csv"
    path.write_text("file,split,label\n" + "".join(rows))
    assert named(check(path, {})[1], "unknown_part").where == ("row 1",)
    path.write_text("file,split,label\n" + "".join(rows).replace("trian", "train"))
    assert (read(path, {}).part == "test").sum() == 4


def numbers_of(folder: Path, *cells: str) -> list[float]:
    path = folder / "t.csv"
    lines = [f"{cells[i % len(cells)]};{i};{i % 2}\n" for i in range(10 * len(cells))]
    path.write_text("price;b;y\n" + "".join(lines))
    data = read(path, TABLE)
    assert data.spec.columns[0] == Column("price")
    return data.inputs[: len(cells), 0].tolist()


def test_dots_between_thousands_beside_decimal_commas(tmp_path: Path) -> None:
    assert numbers_of(tmp_path, "1.000,50", "2.000", "12,25", "-3.000.000") == [
        1000.5,
        2000,
        12.25,
        -3e6,
    ]
    assert numbers_of(tmp_path, "1.234.567", "€ 1.000", "7") == [1234567, 1000, 7]
    assert numbers_of(tmp_path, "€ 1,50", "2,25 €") == [1.5, 2.25]
    # Dots of decimals stay so.
    assert numbers_of(tmp_path, "1.125", "2.250") == [1.125, 2.25]
    assert numbers_of(tmp_path, "1.125", "2.5", "0,25") == [1.125, 2.5, 0.25]


def test_infinite_inputs_of_a_prediction_count_as_missing(tmp_path: Path) -> None:
    columns = (Column("a"), Column("b"), Column("c", "category", ("x", "y")))
    spec = Spec("table", "regression", (4,), columns=columns)
    path = tmp_path / "new.csv"
    path.write_text("a,b,c\n1,inf,x\n2,3,y\n-inf,1e39,x\n")
    found = read_inputs(pl.read_csv(path), spec)
    assert np.isnan(found.inputs).tolist() == [[0, 1, 0], [0, 0, 0], [1, 1, 0]]
    problem = named(found.problems, "nonfinite_inputs")
    assert problem.where == ("row 0", "row 2")
    assert "2 rows with infinite values" in problem.message
    assert "in a and b: row 0 and row 2" in problem.message


def test_texts_of_problems_and_ranges_stay_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    number = [str(i) for i in range(60)]
    number[7] = "word" * 50_000
    kinds = ['"red\nblue"' if i % 3 else "green" for i in range(60)]
    rows = [f"{a},{kind},{i % 2}\n" for i, (a, kind) in enumerate(zip(number, kinds, strict=True))]
    path.write_text("a,kind,y\n" + "".join(rows))
    problem = named(check(path, TABLE)[1], "not_a_number")
    assert problem.where == ("row 8",) and len(problem.message) < 200
    assert command(["check", str(path)]) == 0
    assert "red blue" in capsys.readouterr().out


def test_columns_without_names_below_a_title(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    lines = [f"{i},{i * i},{i % 2}\n" for i in range(20)]
    path.write_text("My report,,\nwhen,a,y\n" + "".join(lines))
    problems = check(path, TABLE)[1]
    assert named(problems, "target_guessed").where == ("Unnamed: 2",)
    assert named(problems, "unnamed_columns").where == ("line 1",)
    path.write_text(",a,y\n" + "".join(lines))
    assert "unnamed_columns" not in {p.name for p in check(path, TABLE)[1]}


def test_infinite_cells_are_not_called_missing() -> None:
    values = np.array([1.0, np.inf, np.nan, 3.0])
    assert _numbers("a", values).missing == 1
