"""One long series forecast: windows without copies, no look-ahead, naive references, what comes next."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from data_problems import named

import fitwell as fw
from fitwell import store
from fitwell.cli.main import run as command
from fitwell.data import BadData, Data, check, preprocess, read, split
from fitwell.data.ahead import Past, pasts
from fitwell.data.batches import Batches
from fitwell.data.looking_back import looking_back
from fitwell.data.seasons import season_in, season_of
from fitwell.data.types import UNUSED
from fitwell.data.windows import covered, purged, steps_under
from fitwell.errors import SettingError
from fitwell.findings.trivial import no_better_than_trivial
from fitwell.models import build
from fitwell.models.dlinear import dlinear
from fitwell.predict import _bounds, scored_rows
from fitwell.record import Finding, NotAssessed, Predictions, Run
from fitwell.remedies.table import REMEDIES
from fitwell.resolve import complete
from fitwell.spec import Column, Spec
from fitwell.tasks import task_of
from fitwell.tasks.forecasting import naive
from fitwell.trials.handover import data_bytes, read_data, write_data
from fitwell.trials.trial import Task, run_trial

START = datetime(2024, 1, 1)
FAST = {"train.epochs": 2, "train.device": "cpu"}


def frame(n: int = 400, seed: int = 0, **columns: Any) -> pl.DataFrame:
    """A day's wave with noise, and a walk."""
    rng, t = np.random.default_rng(seed), np.arange(n)
    when = [START + timedelta(hours=i) for i in range(n)]
    wave = np.sin(2 * np.pi * t / 24) + rng.normal(0, 0.1, n)
    return pl.DataFrame(
        {"when": when, "wave": wave, "walk": rng.normal(size=n).cumsum(), **columns}
    )


def data_of(table: pl.DataFrame | None = None, **options: Any) -> Data:
    return read(frame() if table is None else table, {"kind": "series", **options})


# Windows.


def test_a_column_without_any_value_is_named() -> None:
    empty = frame(100).with_columns(nothing=pl.lit(None, dtype=pl.Float64))
    with pytest.raises(BadData, match="nothing has no value in any row"):
        data_of(empty)


def test_windows_are_views_of_the_steps() -> None:
    table = frame()
    data = data_of(table, look_back=30, horizon=5)
    steps = table.select("wave", "walk").to_numpy().astype(np.float32)
    assert data.inputs.shape == (366, 2, 30) and data.targets.shape == (366, 10)
    assert np.shares_memory(data.inputs[0], data.inputs[1])
    for i in (0, 100, 365):
        assert (data.inputs[i] == steps[i : i + 30].T).all()
        assert (data.targets[i] == steps[i + 30 : i + 35].ravel()).all()
    assert data.keys[0] == "2024-01-02 06:00" and data.times is not None and data.times[0] == 30
    assert data.spec.num_outputs == 10 and data.spec.several[:3] == (
        "wave +1",
        "walk +1",
        "wave +2",
    )


def test_look_back_and_horizon_are_chosen_by_the_season() -> None:
    spec = data_of().spec
    assert (spec.season, spec.horizon, spec.input_shape) == (24, 24, (2, 72))
    assert data_of(season=10).spec.season == 10
    assert data_of(target="walk", horizon=3).spec.num_outputs == 3


def test_workers_get_the_steps_and_not_the_windows(tmp_path: Path) -> None:
    data = data_of(look_back=100, horizon=20)
    write_data(data, tmp_path)
    there = read_data(tmp_path)
    assert (there.inputs == data.inputs).all() and (there.targets == data.targets).all()
    assert there.spec == data.spec and data_bytes(data) < data.inputs.nbytes / 5
    assert (tmp_path / "inputs.npy").stat().st_size < data.inputs.nbytes / 50


def test_the_fingerprint_tells_steps_and_lengths_apart() -> None:
    found = {
        data_of(table, **lengths).fingerprint
        for table in (frame(), frame(seed=1))
        for lengths in ({}, {"look_back": 30}, {"horizon": 7})
    }
    assert len(found) == 6
    assert data_of().fingerprint == data_of().fingerprint


def test_the_feed_gives_what_the_preprocessing_says() -> None:
    data = data_of(look_back=30, horizon=5)
    rows = np.arange(50, 200)
    fitted = preprocess.fit(data, rows)
    batches = Batches(
        data.inputs, data.targets, rows, batch_size=64, preprocess=fitted, shuffle=False
    )
    found = list(batches.epoch(0))
    x = torch.cat([batch.x for batch in found]).numpy()
    y = torch.cat([batch.y for batch in found]).numpy()
    np.testing.assert_allclose(x, fitted.inputs(data.inputs[rows]), atol=1e-6)
    np.testing.assert_allclose(fitted.restore(y), data.targets[rows], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [np.arange(50, 200), np.array([3, 4, 5, 40, 41, 200]), [7]])
def test_numbers_are_standardised_by_the_steps_that_are_trained_on(rows: Any) -> None:
    table = frame()
    data, rows = data_of(table, look_back=30, horizon=5), np.array(rows)
    steps = table.select("wave", "walk").to_numpy().astype(np.float32)
    used = np.zeros(len(steps), bool)
    for i in rows.tolist():
        used[i : i + 35] = True
    assert [sorted(v) for v in covered(data, rows)] == [sorted(steps[used, c]) for c in (0, 1)]
    fitted = preprocess.fit(data, rows)
    np.testing.assert_allclose(fitted.mean, steps[used].mean(0, dtype=float), rtol=1e-5)
    assert fitted.target_mean == fitted.mean * 5 and fitted.target_scale == fitted.scale * 5


# No look-ahead.


def test_nothing_that_is_held_out_is_trained_on() -> None:
    data = data_of(look_back=30, horizon=12)
    parts = [split.fit_rows(data, {}, 0)]
    parts += [split.fold_rows(data, {}, fold=f, repeat=r, seed=0) for f in range(5) for r in (0, 1)]
    assert data.times is not None
    for rows in parts:
        assert len(rows.train) and len(rows.held_out)
        last = data.times[rows.train].max() + 12
        assert last <= data.times[rows.held_out].min()
        if len(rows.validation):
            assert last <= data.times[rows.validation].min()
            assert data.times[rows.validation].max() + 12 <= data.times[rows.held_out].min()


def test_steps_part_the_series_as_published() -> None:
    data = data_of(look_back=30, horizon=12, steps=[200, 80, 60])
    rows = split.fit_rows(data, {"steps": [200, 80, 60]}, 0)
    assert data.times is not None
    spans = [
        (data.times[part].min(), data.times[part].max() + 12)
        for part in (rows.train, rows.validation, rows.held_out)
    ]
    assert spans == [(30, 200), (200, 280), (280, 340)]
    assert (data.part == UNUSED).sum() == len(data) - sum(map(len, vars(rows).values()))


def test_a_planted_leak_of_the_future_is_found() -> None:
    table = frame()
    early = table["walk"].shift(-3).fill_null(0.0)
    found = named(check(table.with_columns(early=early), {"kind": "series"})[1], "future_in_inputs")
    assert found.where == ("early",) and "walk 3 steps later" in found.message
    late = table.with_columns(late=table["walk"].shift(3).fill_null(0.0))
    for harmless in (table, late.drop("walk").with_columns(walk=table["walk"]).drop("late")):
        assert all(p.name != "future_in_inputs" for p in check(harmless, {"kind": "series"})[1])


def test_two_waves_do_not_tell_the_future_of_each_other() -> None:
    t = np.arange(400)
    waves = frame().with_columns(
        wave=pl.Series(np.sin(2 * np.pi * t / 24)), walk=pl.Series(np.cos(2 * np.pi * t / 24))
    )
    assert all(p.name != "future_in_inputs" for p in check(waves, {"kind": "series"})[1])


# What cannot be forecast.


@pytest.mark.parametrize(
    ("options", "setting", "said"),
    [
        ({"look_back": 500}, "data.look_back", "Choose at most 373"),
        ({"horizon": 500}, "data.horizon", "has 400 steps"),
        ({"look_back": 390, "horizon": 20}, "data.look_back", "Choose at most 377"),
        ({"horizon": 12, "at_once": 5}, "data.at_once", "no multiple"),
        ({"horizon": 12, "at_once": 1, "target": "wave"}, "data.at_once", "walk is not"),
        ({"steps": [100, 100]}, "data.steps", "not three"),
        ({"steps": [300, 100, 100]}, "data.steps", "has 400"),
        ({"steps": [50, 100, 100]}, "data.steps", "96 steps or more"),
        ({"steps": [200, 10, 100]}, "data.steps", "24 steps or more"),
    ],
)
def test_settings_that_do_not_fit(options: Any, setting: str, said: str) -> None:
    with pytest.raises(SettingError, match=said) as raised:
        data_of(**options)
    assert raised.value.setting == setting


def test_a_short_series_and_a_horizon_that_leaves_nothing_to_train_on() -> None:
    with pytest.raises(BadData, match="Give a longer series"):
        data_of(frame(2))
    data = data_of(frame(120), look_back=10, horizon=40)
    with pytest.raises(SettingError, match="no window to train on") as raised:
        split.fold_rows(data, {}, fold=0, repeat=0, seed=0)
    assert raised.value.setting == "data.horizon"


def test_mixed_frequencies_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    half = [START + timedelta(hours=400) + timedelta(minutes=15 * i) for i in range(60)]
    both = pl.concat([frame(), frame(60).with_columns(when=pl.Series(half))])
    with pytest.raises(BadData, match="several frequencies"):
        fw.fit(both, settings={"data.kind": "series", **FAST}, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_gaps_are_not_forecast_and_filled_from_the_past_alone() -> None:
    table = frame()
    gone = table.filter((pl.int_range(pl.len()) < 200) | (pl.int_range(pl.len()) >= 203))
    data = data_of(gone, look_back=30, horizon=5)
    steps = steps_under(data.inputs)
    assert (steps[200:203] == steps[199]).all() and not np.isnan(data.inputs).any()
    assert data.times is not None
    unused = data.times[data.part == UNUSED]
    assert unused.tolist() == list(range(196, 203))
    rows = split.fit_rows(data, {}, 0)
    assert not np.isin(
        np.flatnonzero(data.part == UNUSED), np.concatenate([*vars(rows).values()])
    ).any()


# Naive forecasts and scores.


def test_naive_forecasts() -> None:
    data = data_of(look_back=30, horizon=50)
    last, season = (naive(data.inputs, data.spec, n).reshape(len(data), 50, 2) for n in (1, 24))
    steps = steps_under(data.inputs)
    assert (last[7] == steps[36]).all()
    assert (season[7, :24] == steps[13:37]).all() and (season[7, 24:48] == steps[13:37]).all()


def test_mse_is_of_standardised_columns_and_rmse_in_their_unit(tmp_path: Path) -> None:
    table = frame().with_columns(walk=pl.col("walk") * 1000)
    run = fw.fit(table, settings={"data.kind": "series", **FAST}, out=tmp_path / "run")
    found, spec = run.predictions["test"], run.spec
    assert spec is not None and run.recipe is not None and run.recipe["model.name"] == "dlinear"
    scale = np.array(
        json.loads((tmp_path / "run/preprocess/preprocess.json").read_text())["target_scale"]
    )
    error = (found.prediction.astype(float) - found.target) / scale
    assert run.scores["test"]["mse"] == pytest.approx((error**2).mean(), rel=1e-4)
    assert run.scores["test"]["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-4)
    assert run.scores["test"]["rmse"] == pytest.approx(
        np.sqrt(((error * scale) ** 2).mean(0)).mean(), rel=1e-4
    )
    rows = {
        r["model"]: r for r in run.evidence if r["experiment"] == "forecast" and r["part"] == "test"
    }
    assert set(rows) == {"network", "repeat_last", "seasonal_naive"}
    assert rows["network"]["mse"] == pytest.approx(run.scores["test"]["mse"], rel=1e-4)
    for row in rows.values():
        assert len(row["by_step"]["mse"]) == spec.horizon
        assert np.mean(row["by_step"]["mse"]) == pytest.approx(row["mse"])


def test_intervals_hold_as_many_errors_as_they_say() -> None:
    data = data_of(look_back=30, horizon=5)
    rows, noise = np.arange(200), np.random.default_rng(0).normal(size=(400, 10))

    def part(index: np.ndarray) -> Predictions:
        target = data.targets[index]
        said = (target + noise[index]).astype(np.float32)
        return Predictions(data.keys[index], index, target, said, None, np.zeros(len(index)))

    found = task_of(data.spec).measure(
        data, {"validation": part(rows), "test": part(rows + 100)}, lambda numbers: numbers
    )
    (interval,) = (row for row in found if row["experiment"] == "intervals")
    assert interval["part"] == "validation" and 0.87 < interval["covered"]["test"] < 0.95
    shown = [row for row in found if row["experiment"] == "window"]
    assert {row["part"] for row in shown} == {"test"} and len(shown[0]["truth"]) == 5
    few = {"validation": part(rows[:9]), "test": part(rows[:11])}
    pooled = task_of(data.spec).measure(data, few, lambda numbers: numbers)
    (interval,) = (row for row in pooled if row["experiment"] == "intervals")
    assert (interval["part"], interval["windows"]) == ("validation and test", 20)
    del few["test"]  # nine errors say nothing of one in ten
    alone = task_of(data.spec).measure(data, few, lambda numbers: numbers)
    assert all(row["experiment"] != "intervals" for row in alone)


def fitted(mse: float, naive_mse: float, windows: int = 40) -> Run:
    target = np.zeros((windows, 1))
    held = Predictions(np.arange(windows), np.arange(windows), target, target, None, target[:, 0])
    common = {"experiment": "forecast", "part": "held_out", "windows": windows, "season": 24}
    errors = {"network": mse, "repeat_last": naive_mse, "seasonal_naive": 2.0}
    rows = [
        {**common, "model": model, "mse": error, "by_step": {"mse": [error] * 5}}
        for model, error in errors.items()
    ]
    return Run(evidence=rows, predictions={"held_out": held}, fold=0)


def test_a_forecast_no_better_than_repeating_the_last_value_is_found() -> None:
    found = no_better_than_trivial([fitted(1.1, 1.0) for _ in range(3)])
    assert isinstance(found, Finding) and found.confidence == "high"
    assert "repeating the last value gives 1" in found.sentence
    assert no_better_than_trivial([fitted(0.5, 1.0) for _ in range(3)]) is None


def test_few_windows_say_little_of_a_forecast() -> None:
    assert isinstance(no_better_than_trivial([fitted(1.1, 1.0, 19)]), NotAssessed)
    overlapping = no_better_than_trivial([fitted(1.1, 1.0, 20)])  # four that share no step
    assert isinstance(overlapping, Finding) and overlapping.confidence == "low"
    apart = no_better_than_trivial([fitted(1.1, 1.0, 21)])
    assert isinstance(apart, Finding) and apart.confidence == "medium"


# Seasons that the values show.


@pytest.mark.parametrize("period", [7, 25])
def test_a_season_without_a_clock_is_found_in_what_is_trained_on(period: int) -> None:
    rng, t = np.random.default_rng(0), np.arange(400)
    wave = np.sin(2 * np.pi * t / period) + 0.02 * t + rng.normal(0, 0.2, 400)
    later = np.where(t < 324, wave, rng.normal(size=400))
    data = data_of(pl.DataFrame({"step": t, "wave": later}), time="step")
    assert data.spec.season == period and data.spec.horizon == period
    assert any(problem.name == "season_found" for problem in data.problems)
    earlier = np.where(t < 324, rng.normal(size=400), wave)  # what is held out is not looked at
    assert data_of(pl.DataFrame({"step": t, "wave": earlier}), time="step").spec.season == 1
    told = data_of(pl.DataFrame({"step": t, "wave": later}), time="step", season=5)
    assert told.spec.season == 5 and not any(p.name == "season_found" for p in told.problems)


def test_noise_and_walks_have_no_season() -> None:
    rng = np.random.default_rng(0)
    for length in (30, 100, 500):
        for _ in range(20):
            noise = rng.normal(size=(length, 1))
            assert season_in(noise) == season_in(noise.cumsum(0)) == 1
    assert season_in(np.full((50, 1), np.nan)) == season_in(np.ones((50, 2))) == 1
    assert season_in(np.zeros((2, 1))) == 1


# Models.


@pytest.mark.parametrize("name", ["dlinear", "autoregressive"])
@pytest.mark.parametrize("subtract", ["none", "last", "mean"])
@pytest.mark.parametrize("individual", [False, True])
def test_forecasts_of_a_channel_come_from_it_alone(
    name: str, subtract: str, individual: bool
) -> None:
    columns = tuple(map(Column, "abc"))
    spec = Spec(
        "series",
        "forecasting",
        (3, 40),
        target="c,a",
        targets=("c", "a"),
        columns=columns,
        horizon=6,
    )
    model = build(name, spec, {"subtract": subtract, "individual": individual})
    x = torch.randn(4, 3, 40)
    out = model(x).unflatten(1, (6, 2))
    changed = x.clone()
    changed[:, 0] += torch.randn(40)
    again = model(changed).unflatten(1, (6, 2))
    assert (again[..., 0] == out[..., 0]).all() and (again[..., 1] != out[..., 1]).all()
    if subtract != "none":
        torch.testing.assert_close(model(x + 5), model(x) + 5, atol=1e-4, rtol=1e-4)


def test_dlinear_is_the_paper_s() -> None:
    """Against the reference implementation's own steps, written out."""
    spec = Spec("series", "forecasting", (2, 60), targets=("a", "b"), horizon=7)
    model: Any = dlinear(spec)
    body, x = model.channels.body, torch.randn(3, 2, 60)
    front, end = x[:, :, :1].repeat(1, 1, 12), x[:, :, -1:].repeat(1, 1, 12)
    trend = torch.nn.functional.avg_pool1d(torch.cat([front, x, end], 2), 25, 1)
    wanted = body.trend.linear(trend) + body.rest.linear(x - trend)
    torch.testing.assert_close(model(x), wanted.transpose(1, 2).flatten(1))


def test_a_recursive_model_goes_on_from_its_own_forecasts() -> None:
    spec = Spec("series", "forecasting", (2, 9), targets=("a", "b"), horizon=6, at_once=2)
    model: Any = build("autoregressive", spec, {"order": 4})
    x = torch.randn(5, 2, 9)
    first = model.model(x)
    longer = torch.cat([x, first.unflatten(1, (2, 2)).transpose(1, 2)], 2)[:, :, 2:]
    assert model(x).shape == (5, 12)
    torch.testing.assert_close(model(x)[:, :4], first)
    torch.testing.assert_close(model(x)[:, 4:8], model.model(longer))


def test_a_season_longer_than_the_look_back_is_a_reference_too() -> None:
    data = data_of(look_back=5, horizon=30)

    def seasonal(rows: np.ndarray) -> list[Any]:
        target = data.targets[rows]
        part = Predictions(data.keys[rows], rows, target, target, None, np.zeros(len(rows)))
        found = task_of(data.spec).measure(data, {"test": part}, lambda numbers: numbers)
        return [row for row in found if row.get("model") == "seasonal_naive"]

    rows, values = np.arange(100, 200), frame().drop("when").to_numpy()
    first, ahead = rows[:, None] + 5, np.arange(30)
    errors = (values[first + ahead] - values[first - 24 + ahead % 24]) ** 2
    [row] = seasonal(rows)
    np.testing.assert_allclose(row["by_step"]["mse"], errors.mean((0, 2)), rtol=1e-4)
    assert seasonal(np.arange(30)) == []  # of which some have no season before them


def test_recursion_is_clipped_and_does_not_explode(tmp_path: Path) -> None:
    """What a first model says of its own forecasts grows step by step, and the gradient with it."""
    settings = {"data.kind": "series", "data.look_back": 48, "data.horizon": 24, "data.at_once": 1}
    run = fw.fit(frame(600), settings={**settings, **FAST, "train.epochs": 6}, out=tmp_path / "run")
    assert run.recipe is not None and run.recipe["train.clip_norm"] == 1.0
    assert run.scores["validation"]["mse"] < 1
    direct = data_of(look_back=48, horizon=24).spec
    assert complete({"model": "dlinear"}, direct)["train.clip_norm"] == 0


def test_a_setting_of_forecasts_says_that_a_table_is_a_series() -> None:
    assert read(frame(), {"target": "walk"}).spec.kind == "table"
    assert read(frame(), {"target": "walk", "horizon": 3}).spec.task == "forecasting"
    with pytest.raises(SettingError, match="one long series") as raised:
        read(frame(), {"target": "walk", "kind": "table", "horizon": 3})
    assert raised.value.setting == "data.horizon"


def test_a_forecasting_model_refuses_other_data(tmp_path: Path) -> None:
    table = frame().drop("when")
    with pytest.raises(SettingError, match="forecasts a long series"):
        fw.fit(
            table, model="dlinear", settings={"data.target": "walk", **FAST}, out=tmp_path / "run"
        )


# What comes next.


def test_predict_goes_on_behind_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "load.csv"
    frame().write_csv(path)
    run = fw.fit(path, settings={"data.horizon": 12, **FAST}, out=tmp_path / "run")
    rows = fw.predict(run, path)
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert rows[0]["time"] == "2024-01-17 16:00" and set(rows[0]["prediction"]) == {"wave", "walk"}
    for row in rows:
        for name, value in row["prediction"].items():
            assert np.isfinite(value) and row["low"][name] < row["high"][name]
    longer = fw.predict(run, path, ahead=30)
    assert len(longer) == 30 and longer[:12] == rows and longer[20]["low"]["wave"] is None
    grown = frame().vstack(
        pl.DataFrame(
            {
                "when": [START + timedelta(hours=400 + i) for i in range(12)],
                **{n: [row["prediction"][n] for row in rows] for n in ("wave", "walk")},
            }
        ).cast(frame().schema)  # type: ignore[arg-type]
    )
    after = fw.predict(run, grown)
    assert after[0]["prediction"]["walk"] == pytest.approx(
        longer[12]["prediction"]["walk"], abs=1e-4
    )
    assert command(["predict", str(tmp_path / "run"), str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "series,time,target,forecast,low,high" and len(lines) == 1 + 12 * 2
    assert command(["predict", str(tmp_path / "run"), str(path), "--ahead", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 3 * 2
    assert command(["predict", str(tmp_path / "run"), "--prompt", "a", "--ahead", "3"]) == 2
    assert "--ahead is for forecasts" in capsys.readouterr().err
    with pytest.raises(BadData, match="reads the last"):
        fw.predict(run, frame(20))
    with pytest.raises(BadData, match="lacks walk"):
        fw.predict(run, frame().drop("walk"))
    with pytest.raises(SettingError, match="whole number"):
        fw.predict(run, path, ahead="soon")


@pytest.mark.parametrize(
    ("every", "times"),
    [
        ("1mo", ["2034-01-01", "2034-02-01", "2034-03-01"]),
        ("1q", ["2054-01-01", "2054-04-01", "2054-07-01"]),
    ],
)
def test_times_ahead_follow_the_calendar(tmp_path: Path, every: str, times: list[str]) -> None:
    end = pl.date(2033, 12, 1) if every == "1mo" else pl.date(2053, 12, 31)
    when = pl.date_range(pl.date(2024, 1, 1), end, every, eager=True)
    table = frame(len(when)).with_columns(when=when)
    settings = {"data.horizon": 3, "data.kind": "series", **FAST}
    run = fw.fit(table, settings=settings, out=tmp_path / "run")
    assert [row["time"] for row in fw.predict(run, table)] == times


def test_evaluate_compare_and_report(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    frame().write_csv(path)
    settings = {"data.horizon": 12, "data.folds": 2, **FAST}
    run = fw.fit(path, settings=settings, out=tmp_path / "run")
    assert fw.evaluate(run)["scores"] == pytest.approx(run.scores["test"], rel=1e-4)
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "<h2>Forecasts</h2>" in page and "repeating the last value" in page
    assert "Windows that were held out" in page
    verdict = fw.compare(run, run, settings={"model.subtract": "last"})
    assert verdict.metric == "mse" and verdict.trials == 6


# Other look-backs of the same windows.


def echo(n: int = 500, lag: int = 30) -> pl.DataFrame:
    """Noise that comes again after `lag` hours."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=n)
    for i in range(lag, n):
        values[i] = 0.9 * values[i - lag] + 0.4 * rng.normal()
    return pl.DataFrame({"when": frame(n)["when"], "echo": values})


def test_windows_of_another_look_back_are_those_that_reading_gives() -> None:
    short, long = (data_of(look_back=n, horizon=6) for n in (10, 24))
    rows = split.fold_rows(short, {}, fold=1, repeat=0, seed=0)
    seen, kept = looking_back(short, rows, 24)
    assert seen.spec.input_shape == (2, 24) and seen.spec.since == 10
    assert (seen.inputs[14:] == long.inputs).all() and seen.targets is short.targets
    assert (kept.held_out == rows.held_out).all() and kept.train.min() == 14
    fitted, anew = preprocess.fit(seen, kept.train), preprocess.fit(long, kept.train - 14)
    assert fitted.to_json() == anew.to_json()
    back, again = looking_back(seen, kept, 10)
    assert (back.inputs == short.inputs).all() and back.spec == short.spec and again is kept
    assert looking_back(short, rows, 0) == (short, rows)


def test_a_look_back_beyond_what_is_held_out_is_refused() -> None:
    data = data_of(look_back=10, horizon=6)
    rows = split.fold_rows(data, {}, fold=0, repeat=0, seed=0)
    with pytest.raises(
        SettingError, match=r"data\.look_back = 200: .* has 75 steps before it"
    ) as told:
        looking_back(data, rows, 200)
    assert told.value.setting == "data.look_back"
    assert int(rows.held_out[0]) + 10 == 75


def test_a_longer_look_back_is_a_remedy_that_trials_can_pair(tmp_path: Path) -> None:
    path = tmp_path / "echo.csv"
    echo().write_csv(path)
    settings = {"data.look_back": 20, "data.horizon": 4, "data.folds": 2, "optim.lr": 0.01, **FAST}
    run = fw.fit(path, settings=settings | {"train.epochs": 1}, out=tmp_path / "run")
    spec, recipe = run.spec, run.recipe
    assert spec is not None and recipe is not None
    edits = REMEDIES["longer_look_back"](recipe, spec, Finding("underfitting", "high", {}, ""))
    assert edits == [{"data.look_back": 40}]
    longer = recipe.edit({**edits[0], "train.epochs": 8})
    verdict = fw.compare(recipe.edit({"train.epochs": 8}), longer)
    assert verdict.effect > 0.1 and all((gain or 0) > 0 for gain in verdict.differences)
    assert REMEDIES["longer_look_back"](longer, spec, Finding("underfitting", "high", {}, "")) == []


def test_a_model_of_another_look_back_is_evaluated_on_the_windows_it_was_tested_on(
    tmp_path: Path,
) -> None:
    path = tmp_path / "echo.csv"
    echo().write_csv(path)
    data = read(str(path), {"look_back": 20, "horizon": 4})
    values = {"source": str(path), "data.look_back": 20, "data.horizon": 4, **FAST}
    recipe = complete(values, data.spec).edit({"data.look_back": 40})
    task = Task(recipe, kind="final", variant="longer")
    run = run_trial(data, task, tmp_path / "longer", threads=1)
    opened = store.open_run(tmp_path / "longer")
    assert opened.spec is not None and opened.spec.since == 20
    assert fw.evaluate(opened)["scores"] == pytest.approx(run.scores["test"], rel=1e-4)
    read_again, rows = scored_rows(opened)
    assert read_again.keys[rows].tolist() == run.predictions["test"].keys.tolist()


def test_a_look_back_is_searched_and_varied_of_forecasts_alone(tmp_path: Path) -> None:
    path = tmp_path / "echo.csv"
    echo().write_csv(path)
    settings = {"data.look_back": 20, "data.horizon": 4, "data.folds": 2, **FAST}
    run = fw.cv(path, settings=settings, vary="data.look_back=10,40", out=tmp_path / "cv")
    assert [row["value"] for row in run.evidence if row["experiment"] == "vary"] == [10, 40]
    with pytest.raises(SettingError, match="is for one long series"):
        fw.cv("wine", settings=FAST, vary="data.look_back=10,40", out=tmp_path / "wine")


# To the step.


def test_training_goes_on_up_to_what_is_forecast_later() -> None:
    data = data_of(look_back=30, horizon=12)
    assert data.times is not None
    kept = purged(data, np.arange(100), np.arange(100, 120))
    assert data.times[kept].max() + 12 == data.times[100]


def test_windows_that_read_what_was_never_known_are_left_out() -> None:
    walk = [None, None, None, *frame()["walk"][3:]]
    data = data_of(frame(walk=walk), look_back=30, horizon=5)
    assert data.times is not None
    assert data.times[data.part == UNUSED].tolist() == [30, 31, 32]


def test_a_part_may_have_no_steps() -> None:
    data = data_of(look_back=30, horizon=12, steps=[300, 80, 0])
    assert set(data.part) == {"train", "validation", UNUSED}


def test_a_shaking_clock_has_a_season() -> None:
    assert season_of("about hour") == 24 and season_of("about 15 minutes") == 96


def test_another_series_is_read_as_the_model_reads_it() -> None:
    spec = data_of(target="walk", look_back=30, horizon=5, season=10).spec
    table = frame(seed=1).select("when", "walk", "wave")
    again = read(table, {}, like=spec)
    assert again.spec == spec
    steps = table.select("wave", "walk").to_numpy().astype(np.float32)
    assert (again.inputs[7] == steps[7:37].T).all()
    assert (again.targets[7] == steps[37:42, 1]).all()


def test_a_naive_forecast_is_of_the_targets() -> None:
    for target in ("walk", "walk,wave"):
        data = data_of(look_back=30, horizon=3, target=target)
        steps = pl.DataFrame(steps_under(data.inputs), ["wave", "walk"])[39]
        said = naive(data.inputs, data.spec, 1).reshape(len(data), 3, -1)[10]
        assert (said == [steps[name].item() for name in target.split(",")]).all()


def test_intervals_and_windows_lie_where_the_truth_does() -> None:
    table = frame()
    data = data_of(table, look_back=30, horizon=5, target="walk,wave")
    rows, off = np.arange(200), np.arange(10)  # as much too high, each output
    said = (data.targets[rows] + off).astype(np.float32)
    part = Predictions(data.keys[rows], rows, data.targets[rows], said, None, np.zeros(200))
    found = task_of(data.spec).measure(data, {"validation": part}, lambda numbers: numbers)
    (interval,) = (row for row in found if row["experiment"] == "intervals")
    for end in ("low", "high"):
        np.testing.assert_allclose(interval[end], -off, atol=1e-4)
    shown = [row for row in found if row["experiment"] == "window"]
    assert [row["target"] for row in shown] == ["walk"] * 3 + ["wave"] * 3
    for row in shown:
        first = 30 + data.keys.tolist().index(row["key"])
        true = table[row["target"]].to_numpy()[first - 15 : first + 5]
        np.testing.assert_allclose(row["past"], true[:15], atol=1e-5)
        for name in ("truth", "low", "high"):
            np.testing.assert_allclose(row[name], true[15:], atol=1e-4)


def test_a_recursive_model_finds_its_columns_among_its_targets() -> None:
    """Named in another order than they are read in."""
    columns = (Column("a"), Column("b"))
    spec = Spec(
        "series",
        "forecasting",
        (2, 9),
        targets=("b", "a"),
        columns=columns,
        horizon=6,
        at_once=2,
    )
    model: Any = build("dlinear", spec, {"kernel": 3})
    x = torch.randn(5, 2, 9)
    first = model.model(x).unflatten(1, (2, 2))  # b, a
    longer = torch.cat([x, first.flip(2).transpose(1, 2)], 2)[:, :, 2:]
    torch.testing.assert_close(model(x)[:, 4:8], model.model(longer))


def past_of(table: pl.DataFrame) -> Past:
    columns = (Column("wave"), Column("walk"))
    spec = Spec("series", "forecasting", (2, 30), columns=columns, horizon=3)
    (past,) = pasts(table, spec, {}, 3)
    return past


def test_the_last_known_value_stands_for_one_missing_at_the_end() -> None:
    past = past_of(frame(walk=[*frame()["walk"][:397], None, None, None]))
    assert past.steps.shape == (2, 30) and (past.steps[1, -3:] == past.steps[1, -4]).all()


@pytest.mark.parametrize(
    ("every", "times"),
    [
        ("working day", ["2024-07-01", "2024-07-02", "2024-07-03"]),
        ("2mo", ["2044-01-01", "2044-03-01", "2044-05-01"]),
        ("month end", ["2044-01-31", "2044-02-29", "2044-03-31"]),
    ],
)
def test_times_ahead_are_those_of_the_calendar(every: str, times: list[str]) -> None:
    if every == "working day":
        days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 6, 28), eager=True)
        when = days.filter(days.dt.weekday() < 6)
    else:
        step = "1mo" if every == "month end" else every
        when = pl.date_range(pl.date(2024, 1, 1), pl.date(2043, 12, 1), step, eager=True)
        when = when.dt.month_end() if every == "month end" else when
    assert list(past_of(frame(len(when)).with_columns(when=when)).times) == times


def test_bounds_are_of_the_steps_and_targets_that_they_were_measured_at() -> None:
    spec = Spec("series", "forecasting", (2, 9), targets=("a", "b"), horizon=3)
    low, high = list(range(-6, 0)), list(range(1, 7))
    run = Run(evidence=[{"experiment": "intervals", "low": low, "high": high}])
    assert _bounds(run, spec, 2).tolist() == [[[-6, -5], [-4, -3]], [[1, 2], [3, 4]]]
    further = _bounds(run, spec, 5)
    assert further[1, :3].tolist() == [[1, 2], [3, 4], [5, 6]] and np.isnan(further[:, 3:]).all()


def test_going_on_finds_each_column_among_the_targets(tmp_path: Path) -> None:
    """Named in another order than they are read in; and no gap is scored."""
    settings = {"data.horizon": 12, "data.target": "walk,wave", "data.kind": "series", **FAST}
    run = fw.fit(frame(), settings=settings, out=tmp_path / "run")
    longer = fw.predict(run, frame(), ahead=13)
    when = [START + timedelta(hours=400 + i) for i in range(12)]
    said = {n: [row["prediction"][n] for row in longer[:12]] for n in ("wave", "walk")}
    grown = frame().vstack(pl.DataFrame({"when": when, **said}).cast(frame().schema))  # type: ignore[arg-type]
    assert fw.predict(run, grown)[0]["prediction"] == pytest.approx(
        longer[12]["prediction"], abs=1e-4
    )
    hours = pl.int_range(pl.len())
    data, rows = scored_rows(run, frame().filter((hours < 200) | (hours >= 203)))
    assert rows.tolist() == np.flatnonzero(data.part != UNUSED).tolist() and len(rows) < len(data)
