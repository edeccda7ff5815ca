"""Numbers and dates that float32 would make equal: told apart, learnt from, predicted."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import fitwell as fw
from fitwell.data import check, read
from fitwell.data.digits import as_few
from fitwell.data.inputs import read_inputs
from fitwell.spec import Column, Spec

FALSE = {"constant_column", "duplicate_examples", "conflicting_labels", "constant_inputs"}
TABLE = {"kind": "table"}


def moments(folder: Path, count: int = 300) -> Path:
    start = datetime(2024, 5, 1, 12)
    lines = [
        f"{(start + timedelta(milliseconds=10 * i)).isoformat()},{i % 3},{int(i > count // 2)}"
        for i in range(count)
    ]
    path = folder / "moments.csv"
    path.write_text("when,a,y\n" + "\n".join(lines) + "\n")
    return path


def far_off(folder: Path, count: int = 300) -> Path:
    """A column and a target that need more digits than float32 has, beside one that does not."""
    lines = [f"{1600000000 + i},{i % 7 / 10},{1600000000 + 1.5 * i}" for i in range(count)]
    path = folder / "far.csv"
    path.write_text("n,a,target\n" + "\n".join(lines) + "\n")
    return path


def test_what_float32_keeps_apart_stays_float32() -> None:
    random = np.random.default_rng(0)
    computed = np.array([0.3, 0.1 + 0.2])  # which differ by rounding alone
    for numbers in (
        np.arange(300.0),
        random.uniform(size=100_000),
        computed,
        1e39 * random.uniform(size=9),
    ):
        assert as_few(numbers).dtype == np.float32
    sparse = np.where(np.arange(100_000) % 9, 1.6e9 + np.arange(100_000), 0)
    for numbers in (1.6e9 + np.arange(9), 37.77 + 1e-7 * np.arange(50), sparse):
        assert as_few(numbers).dtype == np.float64
        assert len(np.unique(as_few(numbers))) == len(np.unique(numbers))


def test_dates_and_numbers_that_are_close_are_no_copies(tmp_path: Path) -> None:
    for path, distinct in ((moments(tmp_path), "when"), (far_off(tmp_path), "n")):
        data, problems = check(path, TABLE)
        assert data is not None
        assert not FALSE & {p.name for p in problems}
        assert [c.name for c in data.spec.columns if c.fine] == [distinct]
        assert len(np.unique(data.inputs[:, 0])) == 300
    assert data.inputs[1].tolist() == [1600000001, 0.1]
    assert data.targets[:2].tolist() == [1600000000, 1600000001.5]


def test_several_targets_keep_their_digits(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,c\n" + "".join(f"{i},{i / 3},{1.6e9 + i}\n" for i in range(50)))
    data = read(path, {"target": "b,c"})
    assert data.targets.dtype == np.float64
    assert len(np.unique(data.targets[:, 1])) == 50


def test_they_are_learnt_from_and_predicted_in_their_own_unit(tmp_path: Path) -> None:
    path = far_off(tmp_path)
    settings = {"data.kind": "table", "train.epochs": 30}
    run = fw.fit(str(path), model="linear", out=tmp_path / "run", settings=settings)
    assert run.spec is not None
    assert run.scores["test"]["rmse"] < 60  # of a deviation of 130
    again = fw.evaluate(tmp_path / "run")["scores"]
    assert again["rmse"] == pytest.approx(run.scores["test"]["rmse"], rel=1e-4)
    one = tmp_path / "one.csv"
    one.write_text("n,a\n1600000003,0.3\n")
    assert read_inputs(one, run.spec).inputs.tolist() == [[1600000003, 0.3]]
    said = fw.predict(tmp_path / "run", path)
    assert len({row["prediction"] for row in said}) > 250


def test_specs_of_before_read_as_before(tmp_path: Path) -> None:
    data = read(far_off(tmp_path), TABLE)
    saved = json.loads(json.dumps(data.spec.to_json()))
    assert Spec.from_json(saved) == data.spec
    for column in saved["columns"]:
        del column["fine"]
    before = Spec.from_json(saved)
    assert before.columns == (Column("n"), Column("a"))
    old = read(tmp_path / "far.csv", TABLE, like=before)
    assert old.inputs.dtype == np.float32


def test_data_that_changed_by_a_second_has_changed(tmp_path: Path) -> None:
    path = far_off(tmp_path)
    before = read(path, TABLE).fingerprint
    path.write_text(path.read_text().replace("1600000007,", "1600000008,", 1))
    assert read(path, TABLE).fingerprint != before


def test_arrays_keep_the_digits_that_they_need(tmp_path: Path) -> None:
    """Moments 40 seconds apart, of which float32 makes three one."""
    moments, parity = 1.6e9 + 40.0 * np.arange(400), np.arange(400) % 2
    x = np.stack([moments, np.cos(np.arange(400))], axis=1)
    np.savez(tmp_path / "data.npz", x=x, y=parity)
    for source in ((x, parity), str(tmp_path / "data.npz")):
        data = read(source)
        assert data.inputs.dtype == np.float64
        assert len(np.unique(data.inputs[:, 0])) == 400
    assert read((x - [1.6e9, 0], parity)).inputs.dtype == np.float32
    np.testing.assert_array_equal(read_inputs(x[:3], read((x, parity)).spec).inputs, x[:3])


def test_estimators_learn_from_digits_that_float32_has_not(tmp_path: Path) -> None:
    x = 1.6e9 + np.arange(200.0)[:, None]
    y = (np.arange(200) >= 100).astype(int)
    model = fw.Classifier("linear", epochs=40, random_state=0).fit(x, y)
    assert model.score(x, y) > 0.95
    assert model.predict(x[95:96]) == model.predict(x)[95]
    run = fw.fit((x, y), model="linear", out=tmp_path / "run", settings={"train.epochs": 40})
    found = fw.predict(tmp_path / "run", x[[0, 60, 140, 199]])
    assert [str(row["prediction"]) for row in found] == ["0", "0", "1", "1"]
    assert run.scores["test"]["accuracy"] > 0.9
