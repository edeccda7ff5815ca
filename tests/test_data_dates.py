"""Columns of dates: spellings, days and months, what a model sees of them, and what is refused."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from data_problems import named

import fitwell as fw
from fitwell.data import BadData, check, preprocess, read
from fitwell.data.dates import as_text, cycles
from fitwell.data.inputs import read_inputs
from fitwell.report.mistakes import cells
from fitwell.spec import CYCLES, Column, Spec

FIRST = datetime(2023, 1, 3)
DAYS = [FIRST + timedelta(days=11 * i, hours=5 * i) for i in range(60)]


def csv(folder: Path, texts: list[str], name: str = "t.csv", **options: str) -> Path:
    """A table with dates, a number and a target."""
    path = folder / name
    lines = [f"{t};{i * 0.5};{'yes' if i % 2 else 'no'}" for i, t in enumerate(texts)]
    path.write_text("when;x;target\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def expected(with_time: bool) -> np.ndarray:
    days = [(d - datetime(2000, 1, 1)).total_seconds() / 86400 for d in DAYS]
    return np.array(days if with_time else np.floor(days), np.float32)


@pytest.mark.parametrize(
    "spelling",
    [
        "%Y-%m-%d",
        "%Y/%m/%d",
        "%d.%m.%Y",
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%d-%m-%Y",
        "%d %b %Y",
        "%B %d, %Y",
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M:%SZ",
        "%d.%m.%Y %H:%M",
        "%m/%d/%Y %H:%M:%S",
    ],
)
def test_usual_spellings_are_read(tmp_path: Path, spelling: str) -> None:
    data = read(csv(tmp_path, [d.strftime(spelling) for d in DAYS]))
    assert data.spec.columns[0] == Column("when", "date", (spelling,))
    np.testing.assert_allclose(data.inputs[:, 0], expected("%H" in spelling), atol=1e-3)
    assert not [p for p in data.problems if "date" in p.name]


def test_frames_hold_dates_already() -> None:
    columns = {"when": DAYS, "x": np.arange(60.0), "target": ["a", "b"] * 30}
    for source in (pl.DataFrame(columns), pd.DataFrame(columns)):
        data = read(source)
        assert data.spec.columns[0].kind == "date"
        np.testing.assert_allclose(data.inputs[:, 0], expected(True), atol=1e-3)


def test_mixed_spellings_mistakes_and_gaps_are_said(tmp_path: Path) -> None:
    texts = [d.strftime("%Y-%m-%d") for d in DAYS]
    texts[3:9] = [d.strftime("%d.%m.%Y") for d in DAYS[3:9]]
    texts[20:22] = [d.strftime("%d %b %Y") for d in DAYS[20:22]]
    texts[30], texts[31] = "", "soon"
    data = read(csv(tmp_path, texts))
    known = np.setdiff1d(np.arange(60), [30, 31])
    np.testing.assert_array_equal(data.inputs[known, 0], expected(False)[known])
    assert np.isnan(data.inputs[[30, 31], 0]).all()
    mixed = named(data.problems, "mixed_dates")
    assert "50 as %Y-%m-%d, 6 as %d.%m.%Y, 2 as %d %b %Y" in mixed.message
    assert named(data.problems, "not_a_date").where == ("row 32",)


def test_days_that_may_be_months_are_asked_about(tmp_path: Path) -> None:
    texts = [f"0{1 + i % 9}/0{1 + i % 7}/2024" for i in range(60)]
    path = csv(tmp_path, texts)
    with pytest.raises(
        BadData, match=r"row 2 may be 2024-02-02|whether the day or the month"
    ) as error:
        read(path)
    assert error.value.setting == "data.dates"
    assert "data.dates=day_first or data.dates=month_first" in str(error.value)
    day, month = (read(path, {"dates": f"{order}_first"}) for order in ("day", "month"))
    row = 8  # 09/02/2024
    assert (
        as_text(day.inputs[row, 0]) == "2024-02-09"
        and as_text(month.inputs[row, 0]) == "2024-09-02"
    )
    same = csv(tmp_path, [f"0{1 + i % 9}/0{1 + i % 9}/2024" for i in range(60)])
    assert as_text(read(same).inputs[4, 0]) == "2024-05-05"  # either way


def test_texts_that_are_no_dates_stay_categories(tmp_path: Path) -> None:
    kinds = [f"{'AB'[i % 2]}{i % 5}" for i in range(60)]
    assert read(csv(tmp_path, kinds)).spec.columns[0].kind == "category"
    half = [t if i % 2 else "2024-05-01" for i, t in enumerate(kinds)]
    assert read(csv(tmp_path, half)).spec.columns[0].kind == "category"
    assert read(csv(tmp_path, [f"{v}.5" for v in range(60)])).spec.columns[0].kind == "numeric"
    names = check(csv(tmp_path, [f"name {i}" for i in range(60)]))[1]
    assert named(names, "id_column").where == ("when",)


def test_a_model_sees_the_place_in_time_year_week_and_day(tmp_path: Path) -> None:
    texts = [d.strftime("%Y-%m-%d %H:%M:%S") for d in DAYS]
    texts[5] = ""
    data = read(csv(tmp_path, texts))
    assert data.spec.input_shape == (1 + 2 * len(CYCLES) + 1,)
    assert data.spec.columns[0].features[:3] == ("when", "when sine of year", "when cosine of year")
    fitted = preprocess.fit(data, np.arange(60))
    x = fitted.inputs(data.inputs)
    assert x.shape == (60, 8) and np.isfinite(x).all()
    assert abs(x[:, 0].mean()) < 0.1 and abs(x[:, 0].std() - 1) < 0.1
    assert (x[5, 1:7] == 0).all()
    waves = x[[i for i in range(60) if i != 5], 1:7].reshape(-1, 3, 2)
    np.testing.assert_allclose((waves**2).sum(2), 1, atol=1e-5)
    assert Spec.from_json(data.spec.to_json()) == data.spec
    assert preprocess.Preprocess.from_json(fitted.to_json()) == fitted


def test_weeks_and_days_come_again() -> None:
    monday = (datetime(2024, 1, 1, 9) - datetime(2000, 1, 1)).total_seconds() / 86400
    same = cycles(np.array([monday, monday + 7, monday + 1]))
    np.testing.assert_allclose(same[0, 2:], same[1, 2:], atol=1e-6)  # hour and weekday
    np.testing.assert_allclose(same[0, 4:], same[2, 4:], atol=1e-6)
    assert abs(same[0, 2] - same[2, 2]) > 0.1


def test_what_a_model_reads_later_is_read_as_then(tmp_path: Path) -> None:
    texts = [d.strftime("%d/%m/%Y") for d in DAYS]
    data = read(csv(tmp_path, texts))
    later = csv(tmp_path, ["04/03/2024", "2024-03-04", "when it rains"], "later.csv")
    found = read_inputs(later, data.spec)
    assert as_text(found.inputs[0, 0]) == "2024-03-04"  # the day first, as in training
    assert np.isnan(found.inputs[1:, 0]).all()
    assert [p.where for p in found.problems] == [("row 2", "row 3")]
    frame = pl.DataFrame({"when": [datetime(2024, 3, 4, tzinfo=UTC)], "x": [1.0]})
    assert as_text(read_inputs(frame, data.spec).inputs[0, 0]) == "2024-03-04"


def test_what_depends_on_the_week_is_learned_from_dates(tmp_path: Path) -> None:
    days = [datetime(2021, 1, 1) + timedelta(days=i) for i in range(700)]
    target = ["closed" if d.weekday() >= 5 else "open" for d in days]
    frame = pl.DataFrame({"when": days, "target": target})
    settings = {"train.epochs": 40}
    run = fw.fit(frame, model="mlp", settings=settings, out=tmp_path / "run")
    assert run.scores["test"]["balanced_accuracy"] > 0.95
    assert run.spec is not None
    assert cells(np.array([8766.5]), run.spec) == (("when", "2024-01-01 12:00"),)  # in a report


def test_the_setting_is_refused_where_it_is_misspelt() -> None:
    from fitwell.errors import SettingError
    from fitwell.settings import validate

    with pytest.raises(SettingError, match="Choose one of: auto, day_first, month_first"):
        validate({"data.dates": "dayfirst"})


def test_short_years_stray_dates_and_times_of_day_are_no_dates(tmp_path: Path) -> None:
    """Nothing is read wrongly in silence, and one cell does not speak for its column."""
    short = [f"{1 + i % 28}/0{1 + i % 9}/24" for i in range(60)]
    assert "when" not in [
        c.name for c in read(csv(tmp_path, short)).spec.columns if c.kind == "date"
    ]
    stray = csv(tmp_path, ["03/04/2024", *["abc", "def"] * 30])
    assert read(stray).spec.columns[0].kind == "category"
    mixed = csv(tmp_path, ["05/05/2024", *[d.strftime("%Y-%m-%d") for d in DAYS]])
    assert as_text(read(mixed).inputs[0, 0]) == "2024-05-05"
    clock = [(datetime(2024, 1, 1) + timedelta(hours=i)).time() for i in range(20)] * 3
    frame = pl.DataFrame({"at": clock, "x": np.arange(60.0), "target": ["a", "b"] * 30})
    assert read(frame).spec.columns[0].kind == "category"


@pytest.mark.parametrize("zone", ["+00:00", "+02:00"])
def test_dates_with_a_zone_are_read(tmp_path: Path, zone: str) -> None:
    texts = [d.strftime("%Y-%m-%dT%H:%M:%S") + zone for d in DAYS]
    data = read(csv(tmp_path, texts))
    hours = int(zone[1:3])
    np.testing.assert_allclose(data.inputs[:, 0], expected(True) - hours / 24, atol=1e-3)
    parts = read(csv(tmp_path, [d.strftime("%Y-%m-%dT%H:%M:%S.250Z") for d in DAYS]))
    np.testing.assert_allclose(parts.inputs[:, 0], expected(True), atol=1e-3)
