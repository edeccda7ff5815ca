"""Tables in which each row is a series."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from data_problems import named

import fitwell as fw
from fitwell.data import BadData, check, read
from fitwell.data.inputs import read_inputs
from fitwell.data.preprocess import fit
from fitwell.errors import SettingError
from fitwell.spec import Spec

KIND = {"kind": "series", "target": "kind"}


def waves(count: int = 40, steps: int = 12) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    rising = np.arange(count) % 2 == 0
    x = rng.normal(0, 0.2, (count, steps)) + np.where(rising, 1, -1)[:, None] * np.linspace(
        -1, 1, steps
    )
    return x.astype(np.float32), ["up" if up else "down" for up in rising]


def table(**more: Any) -> pl.DataFrame:
    x, y = waves()
    return pl.DataFrame({"kind": y, **{f"t{i}": x[:, i] for i in range(x.shape[1])}, **more})


def test_each_row_is_a_series(tmp_path: Path) -> None:
    x, y = waves()
    data = read(table(), KIND)
    assert data.spec.kind == "series" and data.spec.input_shape == (1, 12)
    assert data.spec.classes == ("down", "up") and data.spec.target == "kind"
    np.testing.assert_array_equal(data.inputs[:, 0], x)
    assert [data.spec.classes[i] for i in data.targets] == y
    assert (
        "a series of 12 steps: the columns t0 to t11"
        in named(data.problems, "rows_are_series").message
    )
    path = tmp_path / "waves.tsv"
    table().write_csv(path, separator="\t")
    again = read(path, KIND)
    np.testing.assert_allclose(again.inputs, data.inputs, atol=1e-6)
    assert again.spec == data.spec and again.keys[0] == "row 1"


def test_without_names_as_in_the_archive(tmp_path: Path) -> None:
    x, y = waves()
    lines = (
        "\t".join([str(int(k == "up")), *map(str, r)]) for k, r in zip(y, x.tolist(), strict=True)
    )
    (tmp_path / "waves.tsv").write_text("\n".join(lines))
    data = read(tmp_path / "waves.tsv", {"kind": "series", "target": "column_1"})
    assert data.inputs.shape == (40, 1, 12) and data.spec.classes == ("0", "1")


def test_empty_cells_are_the_end_or_missing() -> None:
    frame = table()
    frame[3, "t11"] = frame[3, "t10"] = frame[5, "t4"] = None
    data = read(frame, KIND)
    assert np.isnan(data.inputs[3, 0, 10:]).all() and np.isnan(data.inputs[5, 0, 4])
    seen = fit(data, np.arange(40)).inputs(data.inputs)
    assert (seen[3, 0, 10:] == 0).all() and np.isfinite(seen).all()


def test_groups_parts_and_other_targets() -> None:
    frame = table(speaker=[f"s{i // 4}" for i in range(40)], split=["train"] * 30 + ["test"] * 10)
    data = read(frame, {**KIND, "group": "speaker"})
    assert data.spec.input_shape == (1, 12) and data.groups is not None
    assert len(np.unique(data.groups)) == 10
    assert data.part.tolist() == ["train"] * 30 + ["test"] * 10
    frame = table(speed=np.linspace(0, 1, 40))
    data = read(frame.drop("kind"), {"kind": "series", "target": "speed"})
    assert data.spec.task == "regression" and data.spec.input_shape == (1, 12)
    data = read(
        frame.with_columns(kind=pl.lit(1.0) - pl.col("speed")), {**KIND, "target": "speed,kind"}
    )
    assert data.spec.targets == ("speed", "kind") and data.inputs.shape == (40, 1, 12)


def test_what_cannot_be_read_so_is_refused() -> None:
    with pytest.raises(BadData, match=r"note \(holds 'seen'\) is no column of numbers"):
        read(table(note=["seen"] * 40), KIND)
    with pytest.raises(BadData, match=r"each row is a series, .* data\.target"):
        read(table(), {"kind": "series"})
    with pytest.raises(BadData, match="no such column"):
        read(table(), {"kind": "series", "target": "kinds"})
    with pytest.raises(SettingError, match=r"data\.time = t3: series of one table"):
        read(table(), {"time": "t3"}, like=read(table(), KIND).spec)
    with pytest.raises(BadData, match="there is no column of numbers"):
        read(table().select("kind"), KIND)
    assert read(table(), {"target": "kind"}).spec.kind == "table"  # only where that is said


def test_a_column_of_times_makes_one_long_series() -> None:
    frame = table().with_columns(
        when=pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 2, 9), eager=True)
    )
    data, _ = check(frame.drop("kind"), {"kind": "series", "target": "t3"})
    assert data is not None and data.spec.task == "forecasting"
    # No dates, but a column that is said to be times.
    numbered = table(second=np.arange(40.0)).drop("kind")
    data, _ = check(numbered, {"kind": "series", "target": "t3", "time": "second"})
    assert data is not None and data.spec.task == "forecasting"


def test_train_evaluate_predict(tmp_path: Path) -> None:
    path, new = tmp_path / "waves.csv", tmp_path / "new.csv"
    table().write_csv(path)
    table()[:10].drop("kind").write_csv(new)
    chosen = {"data.kind": "series", "data.target": "kind", "train.epochs": 30}
    run = fw.fit(path, settings=chosen, out=tmp_path / "run", examples=False)
    assert run.scores["test"]["accuracy"] > 0.9
    assert fw.evaluate(run, path)["scores"]["accuracy"] > 0.9
    for source in (new, table()[:10]):
        answers = fw.predict(run, source)
        assert [a["prediction"] for a in answers] == waves()[1][:10]
    assert fw.fit(tmp_path / "run", out=tmp_path / "again", examples=False).scores == run.scores


def test_a_model_of_other_series_says_so() -> None:
    two = Spec("series", "classification", (2, 12), classes=("down", "up"), target="kind")
    with pytest.raises(BadData, match=r"series of 1 channel, and this model reads 2"):
        read_inputs(table(), two)
    with pytest.raises(BadData, match=r"series of 1 channel, and this model reads 2"):
        read(table(), like=two)
    shorter = Spec("series", "classification", (1, 9), classes=("down", "up"), target="kind")
    found = read_inputs(table(), shorter)
    assert found.inputs.shape == (40, 1, 9)
    assert named(found.problems, "series_cut")
