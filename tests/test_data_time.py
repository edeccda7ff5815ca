"""Splits by time: nothing held out is earlier than what is trained on; the reason is said."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import fitwell as fw
from fitwell.cli.main import run as command
from fitwell.data import BadData, read, split
from fitwell.errors import SettingError
from fitwell.trials.handover import read_data, write_data

RNG = np.random.default_rng


def frame(n: int = 300, *, moments: int = 0, **columns: Any) -> pl.DataFrame:
    """Rows in random order; `moments`: so many different times."""
    order = RNG(0).permutation(n)
    step = order if not moments else order % moments
    when = [datetime(2020, 1, 1) + timedelta(days=int(i)) for i in step]
    x = RNG(1).normal(size=n)
    return pl.DataFrame({"when": when, "x": x, "y": np.where(x > 0, "a", "b"), **columns})


OPTIONS = {"target": "y", "time": "when"}


def earlier(data: Any, first: np.ndarray, second: np.ndarray) -> bool:
    """Whether all of the first were strictly before all of the second."""
    return data.times[first].max() < data.times[second].min()


@pytest.mark.parametrize("moments", [0, 12])
def test_what_is_held_out_is_later(moments: int) -> None:
    data = read(frame(moments=moments), OPTIONS)
    assert [c.name for c in data.spec.columns] == ["x"]  # the time itself is no input
    rows = split.fit_rows(data, OPTIONS, 0)
    assert earlier(data, rows.train, rows.validation) and earlier(
        data, rows.validation, rows.held_out
    )
    sizes = [len(rows.train), len(rows.validation), len(rows.held_out)]
    assert sum(sizes) == 300
    assert abs(sizes[2] - 30) <= (0 if not moments else 13)
    assert abs(sizes[1] - 27) <= (0 if not moments else 13)
    final = split.final_rows(data, OPTIONS, 0)
    assert (final.held_out == rows.held_out).all() and len(final.train) == sizes[0] + sizes[1]


@pytest.mark.parametrize("repeat", [0, 1, 2])
@pytest.mark.parametrize("moments", [0, 12])
def test_each_fold_is_later_than_what_it_is_trained_on(repeat: int, moments: int) -> None:
    data = read(frame(moments=moments), OPTIONS)
    test = split.fit_rows(data, OPTIONS, 0).held_out
    held_out = []
    for fold in range(5):
        rows = split.fold_rows(data, OPTIONS, fold=fold, repeat=repeat, seed=0)
        assert earlier(data, np.concatenate([rows.train, rows.validation]), rows.held_out)
        assert not set(rows.held_out) & set(test) and not set(rows.train) & set(test)
        if held_out:
            assert set(held_out[-1]) <= set(rows.train) | set(rows.validation)
        held_out.append(rows.held_out)
    counts = [len(rows) for rows in held_out]
    if not moments:
        assert max(counts) - min(counts) <= 1
        assert (sum(counts) == 225) == (repeat == 0)  # of 270, the first sixth begins
    assert min(counts) > 0 and len(set(np.concatenate(held_out))) == sum(counts)


def test_repeats_part_otherwise_and_seeds_too() -> None:
    data = read(frame(), OPTIONS)
    folds = {
        tuple(split.fold_rows(data, OPTIONS, fold=2, repeat=r, seed=s).held_out)
        for r, s in ((0, 0), (0, 1), (1, 0), (2, 0))
    }
    assert len(folds) == 3  # the first partition is the same whatever the seed


def test_many_rows_of_one_moment_leave_no_fold_empty() -> None:
    when = [datetime(2020, 1, 1)] * 200 + [
        datetime(2020, 2, 1) + timedelta(days=i) for i in range(60)
    ]
    table = pl.DataFrame({"when": when, "x": RNG(0).normal(size=260), "y": ["a", "b"] * 130})
    data = read(table, OPTIONS)
    for fold in range(5):
        rows = split.fold_rows(data, {**OPTIONS, "validation": 0.0}, fold=fold, repeat=0, seed=0)
        assert len(rows.held_out) and len(rows.train) >= 200


def test_numbers_are_times_too_and_workers_get_them(tmp_path: Path) -> None:
    table = frame().with_columns(year=pl.Series(RNG(0).permutation(300) % 40 + 1980))
    data = read(table.drop("when"), {"target": "y", "time": "year"})
    assert data.times is not None and data.times.min() == 1980
    write_data(data, tmp_path)
    back = read_data(tmp_path).times
    assert back is not None and back.tolist() == data.times.tolist()


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (frame(), {"time": "wen"}, r"data\.time = wen: .*Did you mean when"),
        (frame(), {"time": "y", "target": "x"}, "neither numbers nor dates"),
        (
            frame(who=["p", "q"] * 150),
            {"time": "when", "group": "who"},
            r"beside data\.group = who",
        ),
        (frame(moments=4), {"time": "when"}, None),
        (
            frame(note=[None, *["1"] * 299]),
            {"time": "note"},
            r"1 of 300 rows say no time \(row 0\)",
        ),
    ],
)
def test_what_cannot_be_a_time_is_refused(
    table: pl.DataFrame, options: dict[str, Any], message: str | None
) -> None:
    options = {"target": "y", **options}
    if message is None:
        data = read(table, options)
        with pytest.raises(
            SettingError,
            match=r"at least 6 different moments, and outside the test part data\.time gives 3",
        ):
            split.fold_rows(data, options, fold=0, repeat=0, seed=0)
        return
    with pytest.raises((BadData, SettingError), match=message):
        read(table, options)


def test_one_moment_is_no_order() -> None:
    with pytest.raises(SettingError, match="all 300 examples of a part are of one moment"):
        split.fit_rows(read(frame(moments=1), OPTIONS), OPTIONS, 0)


def test_arrays_have_no_column_of_time() -> None:
    with pytest.raises(SettingError, match=r"data\.time = when: arrays \(X, y\) has no columns"):
        read((np.zeros((9, 2)), np.arange(9)), {"time": "when"})


def test_a_drift_is_seen_only_where_the_split_is_by_time(tmp_path: Path) -> None:
    """y follows the time; at random the neighbours in time give it away, as they will not later."""
    n = 400
    t = np.arange(n, dtype=float)
    table = pl.DataFrame({"t": t, "x": t + RNG(0).normal(size=n), "y": 0.01 * (t - 200) ** 2})
    settings = {"data.target": "y", "train.epochs": 15, "data.folds": 3}
    scores = {}
    for time in ("", "t"):
        given = {**settings, "data.time": time} if time else settings
        run = fw.cv(table.drop("t") if not time else table, model="mlp", settings=given)
        scores[time] = run.scores["validation"]["rmse"]
    assert scores["t"] > 2 * scores[""]
    parts = pl.read_parquet(run.folder / "split.parquet") if run.folder else pl.DataFrame()
    first = parts.filter(pl.col("part") == "train")
    assert len(first) == 90 and first["index"].max() == 89  # of 360, the first quarter


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        (
            "digits",
            {},
            "At random, stratified: every part has the class shares of the whole, the same",
        ),
        ("diabetes", {}, "At random, the same test part whatever the seed."),
        (frame(), OPTIONS, "By data.time = when: what is held out is later"),
        (
            frame(who=["p"] * 150 + ["q"] * 150),
            {"target": "y", "group": "who"},
            "By data.group = who: no",
        ),
    ],
)
def test_the_reason_is_said(source: Any, options: dict[str, Any], said: str) -> None:
    assert split.reason(read(source, options), options).startswith(said)


def test_check_prints_split_and_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["check", "digits"]) == 0
    text = capsys.readouterr().out
    assert "Split: train 1,455, validation 162, test 180. At random, stratified" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert command(["check", "digits", "data.test=0", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["split"]["test"] == 0 and document["split"]["train"] == 1617


@pytest.mark.parametrize("verb", [fw.fit, fw.cv])
def test_a_run_keeps_the_reason(verb: Any, tmp_path: Path) -> None:
    verb("wine", settings={"train.epochs": 1, "data.folds": 2}, out=tmp_path / "run")
    assert "Split: At random, stratified" in (tmp_path / "run" / "log.txt").read_text("utf-8")
