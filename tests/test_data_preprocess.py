"""Preprocessing: against scikit-learn, on training rows only, and back again."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import RobustScaler, StandardScaler

from fitwell.data import Data, preprocess, read
from fitwell.data.preprocess import Preprocess
from fitwell.spec import Column


def test_tables_are_standardised_as_scikit_learn_does() -> None:
    data = read("wine")
    rows = np.arange(0, 178, 2)
    fitted = preprocess.fit(data, rows)
    scaler: Any = StandardScaler()
    reference = scaler.fit(data.inputs[rows].astype(np.float64))
    np.testing.assert_allclose(
        fitted.inputs(data.inputs), reference.transform(data.inputs), rtol=1e-4, atol=1e-5
    )
    assert fitted.inputs(data.inputs).dtype == np.float32


def test_robust_scaling_is_scikit_learns_bent_into_three() -> None:
    data = read("wine")
    rows = np.arange(0, 178, 2)
    fitted = preprocess.fit(data, rows, scaling="robust")
    scaler: Any = RobustScaler()
    scaled = scaler.fit(data.inputs[rows].astype(np.float64)).transform(data.inputs)
    out = fitted.inputs(data.inputs)
    np.testing.assert_allclose(out, scaled / np.sqrt(1 + scaled**2 / 9), rtol=1e-4, atol=1e-5)
    assert np.abs(fitted.inputs(np.full((1, 13), 1e30, np.float32))).max() <= 3
    assert Preprocess.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_robust_scaling_of_a_column_that_is_mostly_one_value() -> None:
    x = np.zeros((40, 2), np.float32)
    x[:5, 0] = [1, 2, 3, 4, 8]  # the quartiles are equal: half the range
    x[:, 1] = 7  # constant: only shifted
    fitted = preprocess.fit(read((x, np.arange(40) % 2)), np.arange(40), scaling="robust")
    assert fitted.mean == (0.0, 7.0) and fitted.scale == (4.0, 1.0)


def test_only_the_training_rows_count() -> None:
    data = read("wine")
    changed = data.inputs.copy()
    changed[100:] *= 1000
    rows = np.arange(100)
    assert preprocess.fit(data, rows) == preprocess.fit(replace(data, inputs=changed), rows)
    assert preprocess.fit(data, rows) != preprocess.fit(data, np.arange(120))


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_images_are_standardised_a_channel(kind: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 3, 6, 5)).astype(np.uint8)
    images[:, 1] //= 7
    images[:, 2] = 9  # a constant channel is shifted to 0, not divided by 0
    x = images if kind == "uint8" else images.astype(np.float32) + 10_000
    data = read((x, np.arange(50) % 2))
    rows = np.arange(30)
    out = preprocess.fit(data, rows).inputs(data.inputs[rows])
    np.testing.assert_allclose(out.mean((0, 2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(out.std((0, 2, 3)), [1, 1, 0], atol=1e-3)
    raw = x[rows].astype(np.float64)
    expected = (raw - raw.mean((0, 2, 3), keepdims=True)) / np.array([1, 1, 1])[:, None, None]
    expected[:, :2] /= raw[:, :2].std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(out, expected, atol=2e-3)


def test_many_chunks_give_the_moments_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    data = read("digits")
    once = preprocess.fit(data, np.arange(1797))
    monkeypatch.setattr(preprocess, "CHUNK_VALUES", 100)
    many = preprocess.fit(data, np.arange(1797))
    assert once == many
    assert once.mean[0] == pytest.approx(data.inputs.mean(), rel=1e-12)
    assert once.scale[0] == pytest.approx(data.inputs.std(), rel=1e-12)


def table() -> Data:
    import polars as pl

    frame = pl.DataFrame(
        {
            "age": [1.0, 2.0, None, 9.0, 4.0, 5.0],
            "colour": ["red", "blue", None, "red", "green", "blue"],
            "flat": [3.0] * 6,
            "price": [10.5, 20.0, 30.0, 40.0, 50.0, 60.0],
        }
    )
    return read(frame, {"target": "price"})


def test_missing_numbers_become_the_median_and_categories_one_hot() -> None:
    data = table()
    assert data.spec.input_shape == (5,)
    assert data.spec.columns[1] == Column("colour", "category", ("blue", "green", "red"))
    fitted = preprocess.fit(data, np.arange(4))
    out = fitted.inputs(data.inputs)
    known = np.array([1.0, 2.0, 9.0])
    assert fitted.fill[0] == np.median(known)
    assert out[2, 0] == pytest.approx((2.0 - known.mean()) / known.std(), rel=1e-6)
    assert out[:, 1:4].tolist() == [
        [0, 0, 1],
        [1, 0, 0],
        [0, 0, 0],  # missing: none of them
        [0, 0, 1],
        [0, 0, 0],  # a category that no training row has: likewise
        [1, 0, 0],
    ]
    assert (out[:, 4] == 0).all()  # constant: shifted to 0, never divided by 0


def test_a_column_constant_in_training_stays_finite_elsewhere() -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    x[:, 0] = 0.1
    x[50:, 0] = 2.1
    data = read((x, np.arange(60) % 2))
    fitted = preprocess.fit(data, np.arange(50))
    assert fitted.scale[0] == 1.0
    np.testing.assert_allclose(fitted.inputs(data.inputs)[50:, 0], 2.0, rtol=1e-6)


def test_regression_targets_go_there_and_back() -> None:
    data = table()
    fitted = preprocess.fit(data, np.arange(4))
    scaled = fitted.targets(data.targets)
    assert scaled[:4].mean() == pytest.approx(0, abs=1e-6)
    assert scaled[:4].std() == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(fitted.restore(scaled), data.targets, rtol=1e-6)


def test_class_indices_are_left_alone() -> None:
    data = read("digits")
    fitted = preprocess.fit(data, np.arange(100))
    assert fitted.targets(data.targets) is data.targets


def test_json_gives_the_same_preprocessing() -> None:
    data = table()
    fitted = preprocess.fit(data, np.arange(4))
    again = Preprocess.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted
    np.testing.assert_array_equal(again.inputs(data.inputs), fitted.inputs(data.inputs))


def test_a_column_of_large_numbers_keeps_its_digits() -> None:
    x = np.stack([np.arange(100) + 1.6e9, np.arange(100.0)], axis=1)
    data = read((x - [1.6e9 - 2**23, 0], np.arange(100) % 2))
    out = preprocess.fit(data, np.arange(100)).inputs(data.inputs)
    np.testing.assert_allclose(out[:, 0], out[:, 1], atol=1e-4)
