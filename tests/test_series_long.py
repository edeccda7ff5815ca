"""One long series in a table: recognised, its facts told, its flaws found."""

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from data_problems import named
from hypothesis import given
from hypothesis import strategies as st

import fitwell as fw
from fitwell.cli.main import run as command
from fitwell.data import BadData, Data, Problem, check, read
from fitwell.data.frames import load_frame
from fitwell.data.long_series import long_series
from fitwell.data.options import fill
from fitwell.data.spacing import spacing_of
from fitwell.data.types import UNUSED
from fitwell.data.windows import steps_under
from fitwell.errors import SettingError

RNG = np.random.default_rng
SERIES = {"kind": "series"}
START = datetime(2024, 1, 1)
OF_ANY = ("one_series", "windows_left_out")  # what is said of healthy series, and of gaps in others


def hours(n: int = 200) -> list[datetime]:
    return [START + timedelta(hours=i) for i in range(n)]


def frame(when: Any = None, **columns: Any) -> pl.DataFrame:
    when = hours() if when is None else when
    x = RNG(0).normal(size=(2, len(when))).cumsum(1)
    return pl.DataFrame({"when": when, "load": x[0], "heat": x[1], **columns})


def problems(table: pl.DataFrame, **options: Any) -> dict[str, Problem]:
    data, found = check(table, {**SERIES, **options})
    assert data is None or data.spec.kind == "series"
    assert all(p.where and p.mend for p in found)
    return {p.name: p for p in found if p.name not in OF_ANY}


def steps_in(data: Data) -> np.ndarray:
    """[step, channel] what the windows are cut out of: what is read, then the rest of what is asked for."""
    asked = data.targets[-1].reshape(data.spec.horizon, -1)
    return np.concatenate([steps_under(data.inputs), asked])


# What it is.


def test_a_column_of_dates_by_equal_steps_makes_a_series() -> None:
    data, found = check(frame())
    assert data is not None and data.spec.kind == "series" and data.spec.task == "forecasting"
    assert data.spec.every == "hour" and steps_in(data).shape == (200, 2)
    assert [column.name for column in data.spec.columns] == ["load", "heat"]
    assert data.keys[0] == "2024-01-02" and len(data) == 200 - 24 - 16 + 1
    text = named(found, "one_series").message
    assert (
        "200 rows, every hour, from 2024-01-01 to 2024-01-09 07:00; 2 columns: load and heat"
        in text
    )
    assert {p.severity for p in found} == {"note"}


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda f: f, {"kind": "table"}),
        (lambda f: f, {"target": "heat"}),
        (lambda f: f, {"time": "when"}),
        (lambda f: f.rename({"heat": "target"}), {}),
        (lambda f: f.with_columns(where=pl.lit("north")), {}),
        (lambda f: f.sample(fraction=1, shuffle=True, seed=0), {}),
        (lambda f: f[:30].sample(fraction=1, shuffle=True, seed=1), {}),
        (lambda f: f.sample(fraction=0.7, seed=0), {}),  # many gaps
        (lambda f: f[:8], {}),
        (lambda f: f.with_columns(ill=np.arange(200) % 2), {}),
        (lambda f: f.with_columns(ward=np.arange(200) % 12), {}),
    ],
)
def test_other_tables_stay_tables(change: Any, options: Any) -> None:
    data, _ = check(change(frame(heat=np.arange(200) % 7 / 2)), options)
    assert data is not None and data.spec.kind == "table"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda f: f.sample(fraction=1, shuffle=True, seed=0), "by equal steps"),
        (lambda f: f.sample(fraction=0.7, seed=0), "by equal steps"),
        (lambda f: pl.concat([f, days_after(f)]), "by equal steps"),  # two frequencies
        (lambda f: f[:8], "there are only 8 rows"),
    ],
)
def test_of_a_table_that_may_be_a_series_it_is_said(change: Any, why: str) -> None:
    data, problems = check(change(frame(heat=np.arange(200) % 7 / 2)))
    found = named(problems, "perhaps_series")
    assert data is not None and data.spec.kind == "table"
    assert why in found.message and found.severity == "note" and found.where == ("when",)
    assert found.mend == "To forecast them, set data.kind=series."


def days_after(table: pl.DataFrame) -> pl.DataFrame:
    last = table["when"].max()
    when = [last + timedelta(days=i + 1) for i in range(100)]  # type: ignore[operator]
    return table[:100].with_columns(when=pl.Series(when))


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda f: f, {"kind": "table"}),
        (lambda f: f, {"target": "heat"}),
        (lambda f: f.rename({"heat": "target"}), {}),
        (lambda f: f.with_columns(where=pl.lit("north")), {}),
        (lambda f: f.with_columns(ill=np.arange(200) % 2), {}),
        (lambda f: f.with_columns(noted=pl.Series(hours())), {}),
    ],
)
def test_of_other_tables_it_is_not(change: Any, options: Any) -> None:
    shuffled = change(frame(heat=np.arange(200) % 7 / 2)).sample(fraction=1, shuffle=True, seed=0)
    assert "perhaps_series" not in {problem.name for problem in check(shuffled, options)[1]}


def test_a_column_that_never_changes_is_no_class() -> None:
    data, problems = check(frame(idle=np.zeros(200)))
    assert data is not None and data.spec.kind == "series"
    assert named(problems, "constant_column").where == ("idle",)


def test_one_column_beside_the_times_is_to_be_forecast(tmp_path: Path) -> None:
    """What is proposed works: no time of its own predicts a column."""
    shuffled = frame().drop("heat").sample(fraction=1, shuffle=True, seed=0)
    _, problems = check(shuffled)
    mend = "To forecast load from its own past, set data.kind=series."
    assert named(problems, "time_across_split").mend == mend
    with pytest.raises(BadData, match=r"2 columns, and beside data\.time only load"):
        read(shuffled, {"time": "when"})
    assert named(check(shuffled, {"time": "when"})[1], "no_inputs").mend == mend
    assert read(shuffled, {"kind": "series"}).spec.task == "forecasting"


def test_dates_that_are_not_read_are_said_to_be() -> None:
    odd = frame().with_columns(when=pl.Series([f"{w:%d.%B.%Y/%H}" for w in hours()]))
    for table, options, name in (
        (odd, {}, "perhaps_series"),
        (odd.drop("heat"), {}, "no_inputs"),
        (odd, {"kind": "series"}, "no_times"),
        (odd, {"kind": "series", "time": "when"}, "no_times"),
        (odd, {"time": "when"}, "no_times"),
    ):
        assert "2024-12-31 or 2024-12-31 14:00" in named(check(table, options)[1], name).mend
    codes = frame().with_columns(when=pl.Series([f"item {1000 + i}" for i in range(200)]))
    assert not [p for p in check(codes)[1] if "dates" in p.message + p.mend]


def test_few_windows_are_said() -> None:
    assert "few_examples" not in problems(frame())
    found = problems(frame(hours(48)), look_back=4, horizon=2)["few_examples"]
    assert found.message.startswith("There are only 43 windows") and found.severity == "warning"


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda f: f.with_row_index().filter(pl.col("index") != 7).drop("index"), "gaps"),
        (lambda f: pl.concat([f[1:], f[:1]]), "unsorted_times"),
        (lambda f: f.reverse(), "newest_first"),
        (lambda f: pl.concat([f[:100], f[99:]]), "duplicate_times"),
    ],
)
def test_a_series_with_a_flaw_is_one_still(change: Any, name: str) -> None:
    data, problems = check(change(frame(heat=np.arange(200) % 7 / 2)))
    assert data is not None and data.spec.kind == "series"
    assert name in {problem.name for problem in problems}


def test_the_command_line_says_what_will_be_forecast(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "load.csv"
    frame().write_csv(path)
    assert command(["check", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "One series of 2 columns and 200 steps, every hour" in printed
    assert "from 24 steps the next 16 are forecast" in " ".join(printed.split())
    assert "Split: train " in printed and "no window" in printed


def test_which_column_says_the_time() -> None:
    two = frame(noted=hours())
    assert "data.time" in problems(two)["time_ambiguous"].mend
    assert problems(two, time="when")["not_numeric"].where == ("noted",)
    counted = frame().drop("when").with_columns(step=pl.Series(np.arange(200.0) * 0.5))
    assert "no_time_column" in problems(counted)
    data, found = check(counted, {**SERIES, "time": "step"})
    assert data is not None and data.spec.every == "0.5"
    assert "from 0 to 99.5" in named(found, "one_series").message
    assert problems(frame(), time="whan")["no_such_column"].severity == "error"
    with pytest.raises(SettingError, match="one series"):
        check(frame(), {**SERIES, "group": "load"})


@pytest.mark.parametrize("setting", [{"task": "classification"}, {"group": "load"}])
def test_settings_that_say_nothing_about_one_series(setting: Any) -> None:
    with pytest.raises(SettingError, match=f"data.{next(iter(setting))} = .*one series"):
        check(frame(), {**SERIES, **setting})


def test_target_names_what_will_be_forecast() -> None:
    data, _ = check(frame(), {**SERIES, "target": "heat"})
    assert data is not None and data.spec.target == "heat" and data.spec.targets == ()
    every, _ = check(frame(), SERIES)
    assert every is not None and every.spec.targets == ("load", "heat")
    assert "no_such_column" in problems(frame(), target="haet")


# How far apart.


@pytest.mark.parametrize(
    ("step", "every"),
    [
        (timedelta(minutes=15), "15 minutes"),
        (timedelta(seconds=1), "second"),
        (timedelta(milliseconds=250), "0.25 seconds"),
        (timedelta(hours=6), "6 hours"),
        (timedelta(days=1), "day"),
        (timedelta(days=7), "week"),
        (timedelta(days=10), "10 days"),
    ],
)
def test_equal_steps(step: timedelta, every: str) -> None:
    data, _ = check(frame([START + i * step for i in range(300)]))
    assert data is not None and data.spec.every == every and len(steps_in(data)) == 300


@pytest.mark.parametrize(
    ("months", "every"),
    [(1, "month"), (3, "quarter"), (12, "year"), (2, "2 months"), (60, "5 years")],
)
@pytest.mark.parametrize("last", [False, True])
def test_calendar_steps(months: int, every: str, last: bool) -> None:
    firsts = pl.date_range(pl.date(1900, 1, 1), pl.date(2020, 1, 1), f"{months}mo", eager=True)
    when = firsts.dt.month_end() if last else firsts
    data, found = check(frame(when))
    assert data is not None and data.spec.every == every, found
    gone = frame(when).filter(pl.int_range(pl.len()) != 5)
    assert "1 missing step" in problems(gone)["gaps"].message
    said, _ = check(frame(when.dt.strftime("%Y-%m")))
    assert said is not None and said.spec.every == every


def test_working_days_are_no_gaps() -> None:
    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 6, 30), eager=True)
    working = days.filter(days.dt.weekday() < 6)
    data, _ = check(frame(working))
    assert data is not None and data.spec.every == "working day"
    assert len(steps_in(data)) == len(working)
    holiday = frame(working).filter(pl.col("when") != pl.date(2024, 5, 1))
    assert problems(holiday)["gaps"].where == ("row 86 to row 87",)


def test_shaking_and_irregular_clocks() -> None:
    rng = RNG(0)
    shaking = [START + timedelta(seconds=60 * i + float(rng.uniform(-2, 2))) for i in range(300)]
    data, _ = check(frame(shaking), SERIES)
    assert data is not None and data.spec.every.startswith("about ")
    wild = [START + timedelta(seconds=float(s)) for s in rng.exponential(60, 300).cumsum()]
    assert "irregular_times" in problems(frame(wild))
    data, _ = check(frame(wild), SERIES)
    assert data is not None and data.spec.every == ""


@given(
    st.sets(st.integers(1, 80), max_size=20),
    st.sampled_from([1 / 1440, 1 / 24, 1.0, 7.0]),
    st.floats(-5000, 9000),
)
def test_gaps_are_counted_exactly(gone: set[int], step: float, start: float) -> None:
    places = np.array([i for i in range(200) if i not in gone])
    first = round(start * 86400) / 86400
    found = spacing_of(first + places * step, dates=True)
    assert found.places.tolist() == places.tolist()
    if not found.others:  # many equal gaps in a row are another frequency
        runs = [(i, int(b - a) - 1) for i, (a, b) in enumerate(pairwise(places.tolist()))]
        assert found.gaps() == [run for run in runs if run[1]]


# What is wrong.


def test_healthy_series_have_no_problem() -> None:
    assert problems(frame()) == {}


def test_gaps_and_where_they_are() -> None:
    when = [t for i, t in enumerate(hours(300)) if i not in (*range(50, 60), 120)]
    found = problems(frame(when))
    assert set(found) == {"gaps"}
    gaps = found["gaps"]
    assert gaps.where == ("row 49 to row 50", "row 109 to row 110")
    assert "2 gaps in when, together 11 missing steps of 300" in gaps.message
    assert "10 steps after row 49 (2024-01-03 01:00 to 2024-01-03 12:00)" in gaps.message
    data, _ = check(frame(when), SERIES)
    assert data is not None and len(steps_in(data)) == 300  # gaps are missing values
    assert np.flatnonzero(data.part != UNUSED).min() > 0  # and nothing forecasts them
    series = long_series(load_frame(frame(when)), "when", fill({}))
    np.testing.assert_allclose(np.diff(series.times), 1 / 24)


def test_unsorted_and_reversed_rows() -> None:
    rows = [*range(100), 150, *range(100, 150), *range(151, 200)]
    found = problems(frame()[rows])
    assert found["unsorted_times"].where == ("row 101",)
    assert set(found) == {"unsorted_times"}
    data, _ = check(frame()[rows], SERIES)
    straight, _ = check(frame(), SERIES)
    assert data is not None and straight is not None and data.fingerprint == straight.fingerprint
    assert set(problems(frame()[::-1])) == {"newest_first"}
    turned, _ = check(frame()[::-1], SERIES)
    assert turned is not None and turned.fingerprint == straight.fingerprint


def test_times_that_stand_twice() -> None:
    again = pl.concat([frame()[:51], frame()[50:]])
    found = problems(again)
    assert found["duplicate_times"].where == ("row 50", "row 51") and set(found) == {
        "duplicate_times"
    }
    other = again.with_columns(
        load=pl.when(pl.int_range(pl.len()) == 51).then(9.0).otherwise(pl.col("load"))
    )
    found = problems(other)
    assert (
        set(found) == {"conflicting_times"}
        and "2024-01-03 02:00" in found["conflicting_times"].message
    )
    data, _ = check(other, SERIES)
    straight, _ = check(frame(), SERIES)
    assert data is not None and straight is not None and data.fingerprint == straight.fingerprint
    assert (
        problems(pl.concat([frame(), frame()]).sort("when"))["several_series"].severity == "error"
    )


def test_what_is_missing_in_both_of_two_rows_is_equal() -> None:
    load = pl.when(pl.int_range(pl.len()) == 50).then(None).otherwise(pl.col("load"))
    gap = frame().with_columns(load=load)
    again = problems(pl.concat([gap[:51], gap[50:]]))
    assert again["duplicate_times"].where == ("row 50", "row 51")
    assert "conflicting_times" not in again
    one = problems(pl.concat([frame()[:51], gap[50:]]))
    assert one["conflicting_times"].where == ("row 50", "row 51")


def test_many_times_twice() -> None:
    n = 3000
    when = [START + timedelta(minutes=i) for i in range(n)]
    again = pl.DataFrame({"when": [*when, *when[: n // 3]], "x": np.r_[0:n, 0 : n // 3] % 97 / 2})
    found = problems(again)
    assert len(found["duplicate_times"].where) == 2 * (n // 3)
    assert found["duplicate_times"].where[:4] == ("row 0", f"row {n}", "row 1", f"row {n + 1}")


@pytest.mark.parametrize("micro", [1, 100, 500, 333])
@pytest.mark.parametrize("text", [False, True])
def test_times_closer_than_a_millisecond(micro: int, text: bool) -> None:
    when: Any = [START + timedelta(microseconds=micro * i) for i in range(500) if i != 77]
    if text:
        when = [f"{each:%Y-%m-%d %H:%M:%S.%f}" for each in when]
    data, found = check(frame(when), SERIES)
    assert data is not None and steps_in(data).shape == (500, 2)
    assert data.spec.every == f"{micro / 1e6:g} seconds"
    assert "1 missing step" in named(found, "gaps").message


def test_frequencies_that_change() -> None:
    later = [START + timedelta(hours=200) + timedelta(minutes=15 * i) for i in range(60)]
    found = problems(frame([*hours(200), *later]))
    assert set(found) == {"mixed_frequencies"}
    assert found["mixed_frequencies"].severity == "error"
    assert "mostly every hour, and every 15 minutes (59 steps" in found["mixed_frequencies"].message
    assert found["mixed_frequencies"].where == ("row 200",)


def test_times_beside_the_steps() -> None:
    when = hours()
    when[30] += timedelta(minutes=7)
    found = problems(frame(when))
    assert (
        found["off_grid_times"].where == ("row 30",)
        and "2024-01-02 06:07" in found["off_grid_times"].message
    )


def test_missing_and_constant_values() -> None:
    load = RNG(0).normal(size=200)
    load[[3, *range(20, 25)]] = np.nan
    found = problems(frame(load=load, on=np.ones(200)))
    assert found["constant_column"].where == ("on",)
    assert "load 6 (at most 5 in a row, from row 20)" in found["missing_values"].message
    load[0] = np.inf
    assert problems(frame(load=load))["nonfinite_inputs"].where == ("row 0",)
    flat = frame().with_columns(load=pl.lit(1.0), heat=pl.lit(2.0))
    assert problems(flat)["constant_inputs"].severity == "error"


def test_numbers_as_text_and_columns_without() -> None:
    text = [f"{v:.3f}" for v in RNG(0).normal(size=200)]
    words = [f"{v} kW" for v in range(200)]
    found = problems(frame(load=text, power=words, id=range(200)))
    assert found["numbers_as_text"].where == ("load",)
    assert (
        found["not_numeric"].where == ("power", "id") and "'0 kW'" in found["not_numeric"].message
    )
    text[7] = "off"
    found = problems(frame(load=text))
    assert found["not_a_number"].where == ("row 7",) and "missing_values" in found
    assert problems(frame().select("when"))["no_inputs"].severity == "error"


def test_dates_in_several_spellings_and_none(tmp_path: Path) -> None:
    spelled = [
        t.strftime("%Y-%m-%d %H:%M") if i < 150 else t.strftime("%d.%m.%Y %H:%M")
        for i, t in enumerate(hours())
    ]
    found = problems(frame(spelled))
    assert set(found) == {"mixed_dates"}
    spelled[20], spelled[21] = "soon", ""
    path = tmp_path / "load.csv"
    frame(spelled).write_csv(path)
    data, listed = check(path, SERIES)
    assert (
        named(listed, "missing_time").where == ("row 21", "row 22")
        and "soon" in named(listed, "missing_time").message
    )
    assert data is not None and len(steps_in(data)) == 200  # the two steps are missing values
    assert named(listed, "gaps").where == ("row 20 to row 23",)
    slashed = [f"{1 + i % 12:02d}/{1 + i // 12:02d}/2024" for i in range(60)]
    assert "data.dates" in problems(frame(slashed))["ambiguous_dates"].mend


def test_a_cleaned_copy_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    frame().write_csv(path)
    with pytest.raises(BadData, match="holds series"):
        fw.check(path, fix=True, out=tmp_path / "clean.csv")


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "load.parquet")
    frame().write_csv(tmp_path / "load.csv")
    both = [check(tmp_path / name)[0] for name in ("load.parquet", "load.csv")]
    assert both[0] is not None and both[1] is not None
    assert both[0].fingerprint == both[1].fingerprint and both[0].spec == both[1].spec


# Real ones.


@pytest.mark.parametrize(
    ("file", "columns", "steps", "every", "first", "last"),
    [
        ("etth1/ETTh1.csv", 7, 17420, "hour", "2016-07-01", "2018-06-26 19:00"),
        ("tabular/airline_passengers.csv", 1, 144, "month", "1949-01-01", "1960-12-01"),
    ],
)
def test_real_series(
    shared: Path, file: str, columns: int, steps: int, every: str, first: str, last: str
) -> None:
    if not (shared / file).is_file():
        pytest.skip(f"needs {file} in shared/data")
    found = fw.check(shared / file)
    assert found.usable and found.spec and found.spec.input_shape[0] == columns
    assert found.spec.every == every
    assert [p.name for p in found.problems] == ["one_series"]
    assert f"from {first} to {last};" in found.problems[0].message
    document = found.to_json()
    assert document["kind"] == "series" and document["spec"]["every"] == every
