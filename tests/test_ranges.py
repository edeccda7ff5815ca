"""What `check` says of the values: smallest, median and largest of each column and each thing measured."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fitwell as fw
from fitwell.cli.main import run
from fitwell.data.ranges import LOOKED_AT, Range, ranges

TABLE = """age,colour,day,y
30,red,2020-01-01,1.5
,red,2021-06-05,2.5
50,blue,2022-12-31,4.5
"""


def by_name(source: object, **settings: object) -> dict[str, Range]:
    found = fw.check(source, settings=settings)
    return {one.name: one for one in found.ranges}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_a_table_tells_numbers_categories_dates_and_its_target(table: Path) -> None:
    found = by_name(table, **{"data.kind": "table"})
    age, colour, day, y = (found[name] for name in ("age", "colour", "day", "y"))
    assert (age.low, age.middle, age.high, age.missing, age.of) == (30, 40, 50, 1, 3)
    assert (colour.different, colour.usual, colour.low) == (2, "red", None)
    assert (day.low, day.middle, day.high) == ("2020-01-01", "2021-06-05", "2022-12-31")
    assert (y.low, y.middle, y.high) == (1.5, 2.5, 4.5)


def test_a_float32_is_told_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,y\n0.1,1\n25.7,2\n42.2,3\n0.3,4\n", encoding="utf-8")
    found = by_name(path, **{"data.task": "regression"})
    assert (found["x"].low, found["x"].high) == (0.1, 42.2)


def test_pictures_tell_each_colour_and_series_how_long_they_are() -> None:
    pictures = np.zeros((40, 8, 8, 3), np.uint8)
    pictures[..., 0], pictures[3, 2, 1, 2] = 7, 255
    pictures[::2, 1, 1, 1] = 9
    labels = np.arange(40) % 2
    found = by_name((pictures, labels))
    assert (found["pixels, red"].low, found["pixels, red"].high) == (7, 7)
    assert (found["pixels, green"].high, found["pixels, blue"].high) == (9, 255)
    series = [np.full((2, 5 + i % 3), float(i)) for i in range(40)]
    found = by_name((series, labels), **{"data.kind": "series"})
    assert (found["steps"].low, found["steps"].high) == (5, 7)
    assert (found["channel 2"].low, found["channel 2"].high) == (0, 39)
    assert found["channel 2"].missing == 0  # what is behind the end of a shorter one is not missing


def test_a_value_missing_inside_a_series_counts() -> None:
    series = np.random.default_rng(0).normal(size=(40, 1, 9)).astype(np.float32)
    series[4, 0, 3] = np.nan
    found = by_name((series, np.arange(40) % 2), **{"data.kind": "series"})
    assert found["channel 1"].missing == 1


def test_of_many_pictures_some_are_looked_at_from_first_to_last() -> None:
    data = fw.check("digits").data
    assert data is not None
    many = LOOKED_AT // 64 + 10_000
    inputs = np.full((many, 1, 8, 8), 9, np.uint8)
    inputs[0, 0, 0, 0], inputs[-1, 0, 0, 0] = 1, 254
    (found,) = ranges(replace(data, inputs=inputs, targets=np.zeros(many, np.int64)))
    assert (found.of, found.low, found.middle, found.high) == (LOOKED_AT // 64, 1, 9, 254)


def test_it_is_printed_and_in_the_document(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["check", str(table), "data.kind=table"])
    said = capsys.readouterr().out
    assert "2 kinds" in said and "2022-12-31" in said
    of_problems = said[said.index("note:") :].splitlines()
    assert all(line == line.rstrip() for line in of_problems)
    run(["check", str(table), "data.kind=table", "--json"])
    found = {r["name"]: r for r in json.loads(capsys.readouterr().out)["ranges"]}
    assert found["y"]["high"] == 4.5 and found["age"]["missing"] == 1


def test_many_columns_are_cut_for_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    head = ",".join(f"c{i}" for i in range(30))
    body = "\n".join(",".join(f"{v:.3f}" for v in row) for row in random.normal(size=(50, 30)))
    path = tmp_path / "wide.csv"
    path.write_text(f"{head}\n{body}\n", encoding="utf-8")
    run(["check", str(path), "data.kind=table"])
    said = capsys.readouterr().out
    assert "and 18 more" in said and "c10 " in said and "c12 " not in said
    assert "c29 " in said  # the target
