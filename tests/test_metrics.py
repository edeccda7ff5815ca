"""Scores against scikit-learn's."""

import inspect
import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from fitwell.metrics import METRICS, MetricName, score_settings
from fitwell.resolve import complete
from fitwell.spec import Spec

REFERENCE: dict[str, Any] = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "average_precision": lambda y, z: sk.average_precision_score(y[:, y.any(0)], z[:, y.any(0)]),
    "f1": lambda y, z: sk.f1_score(y, z, average="macro", labels=_called(y, z)),
    "exact_match": sk.accuracy_score,
    "hamming_loss": sk.hamming_loss,
    "rmse": sk.root_mean_squared_error,
    "mae": sk.mean_absolute_error,
    "mse": sk.mean_squared_error,
    "r2": sk.r2_score,
}
CLASSES, LABELS, NUMBERS, LANGUAGE, BOXES = (
    [name for name, metric in METRICS.items() if task in metric.tasks]
    for task in ("classification", "multilabel", "regression", "language", "detection")
)


SOME_LABEL = ("average_precision", "f1")  # of no label at all there is none


def _called(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    return np.flatnonzero((target | prediction).any(0))


def test_settings_list_the_table() -> None:
    assert list(get_args(MetricName)) == ["", *METRICS]
    # Of language and boxes: tests/test_language.py, tests/test_box_scores.py.
    assert {*REFERENCE, *LANGUAGE, *BOXES} == set(METRICS)
    assert score_settings() == {"name": "", "min_effect": 0.0}


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.filterwarnings("ignore:A single label was found")
@pytest.mark.parametrize("name", CLASSES)
@settings(max_examples=80, deadline=None)
@given(
    pair=st.integers(1, 30).flatmap(
        lambda n: st.tuples(*[arrays(np.int64, n, elements=st.integers(0, 4))] * 2)
    )
)
def test_classification_is_sklearns(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    target, prediction = pair
    assert METRICS[name](target, prediction) == pytest.approx(REFERENCE[name](target, prediction))


@pytest.mark.parametrize("name", NUMBERS)
@settings(max_examples=80, deadline=None)
@given(
    pair=st.integers(2, 30).flatmap(
        lambda n: st.tuples(*[arrays(np.float32, n, elements=st.floats(-1e3, 1e3, width=32))] * 2)
    )
)
def test_regression_is_sklearns(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    target, prediction = (part.astype(np.float64) for part in pair)
    if 0 < np.var(target) < 1e-12:
        return  # whether such a target is constant is a matter of rounding
    expected = REFERENCE[name](target, prediction)
    assert METRICS[name](target, prediction) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", LABELS)
@settings(max_examples=80, deadline=None)
@given(
    pair=st.tuples(st.integers(1, 30), st.integers(2, 5)).flatmap(
        lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=st.integers(0, 1))] * 2)
    )
)
def test_labels_are_sklearns(name: str, pair: tuple[np.ndarray, np.ndarray]) -> None:
    target, prediction = pair
    if not len(_called(target, prediction if name == "f1" else target)) and name in SOME_LABEL:
        assert math.isnan(METRICS[name](target, prediction))
        return
    assert METRICS[name](target, prediction) == pytest.approx(REFERENCE[name](target, prediction))


@settings(max_examples=80, deadline=None)
@given(
    pair=st.tuples(st.integers(1, 30), st.integers(1, 4)).flatmap(
        lambda shape: st.tuples(
            arrays(np.uint8, shape, elements=st.integers(0, 1)),
            arrays(np.float32, shape, elements=st.sampled_from([0.0, 0.1, 0.5, 0.7, 1.0])),
        )
    )
)
def test_average_precision_by_probabilities_is_sklearns(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    target, chances = pair
    occurs = target.any(0)
    if occurs.any():
        expected = sk.average_precision_score(
            target[:, occurs], chances[:, occurs], average="macro"
        )
        found = METRICS["average_precision"](target, chances >= 0.5, chances)
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", NUMBERS)
def test_of_several_targets_the_mean_is_sklearns(name: str) -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=(40, 3)) * [1, 10, 100]
    target[:, 2] = 5  # constant
    prediction = target + rng.normal(size=(40, 3)) * [0, 5, 1]
    expected = REFERENCE[name](target, prediction)
    assert METRICS[name](target, prediction) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", REFERENCE)
def test_direction_order_and_gain(name: str) -> None:
    metric = METRICS[name]
    target = np.array([0, 1, 2, 1, 0, 2, 1, 1])
    worse = np.array([1, 0, 2, 1, 2, 0, 0, 1])
    if name in LABELS:
        target, worse = (part.reshape(4, 2) // 2 for part in (target, worse))
        worse[0] = 1
    best = target
    if name in LANGUAGE:  # characters and tokens, nats and tokens that were the likeliest
        target, worse = np.array([[4.0, 3], [6, 5]]), np.array([[9.0, 1], [7, 2]])
        best = np.stack([np.zeros(2), target[:, 1]], axis=1)
    bad, perfect = metric(target, worse), metric(target, best)
    assert metric.gain(bad, perfect) > 0 > metric.gain(perfect, bad)
    assert metric.higher_is_better == (perfect > bad)
    assert metric.bounded == ((perfect == 1 or name == "hamming_loss") and name != "perplexity")
    order = np.random.default_rng(0).permutation(len(target))
    assert metric(target[order], worse[order]) == pytest.approx(bad)


@pytest.mark.parametrize("name", NUMBERS)
def test_unit_follows_the_target(name: str) -> None:
    rng = np.random.default_rng(0)
    target, prediction = rng.normal(size=50), rng.normal(size=50)
    factor = METRICS[name](target * 10, prediction * 10) / METRICS[name](target, prediction)
    assert factor == pytest.approx({"rmse": 10, "mae": 10, "mse": 100, "r2": 1}[name])


@pytest.mark.parametrize("name", REFERENCE)
def test_no_examples_is_not_a_zero(name: str) -> None:
    empty = np.empty((0, 2) if name in LABELS else 0, np.int64)
    assert math.isnan(METRICS[name](empty, empty))


def test_float32_targets_keep_their_digits() -> None:
    # 4097 has a square of 25 bits: float32 would round it to 16,785,408.
    target, prediction = np.zeros(3, np.float32), np.full(3, 4097, np.float32)
    assert METRICS["mse"](target, prediction) == 4097**2


def test_the_catalogue_sees_the_functions_text() -> None:
    for metric in METRICS.values():
        assert "Formula:" in (inspect.getdoc(metric) or "")
        assert list(inspect.signature(metric).parameters) == [
            "target",
            "prediction",
            "probabilities",
        ]


@pytest.mark.parametrize(
    ("counts", "metric"),
    [((50, 50), "accuracy"), ((75, 25), "accuracy"), ((76, 24), "balanced_accuracy")],
)
def test_unequal_classes_are_judged_by_balanced_accuracy(
    counts: tuple[int, int], metric: str
) -> None:
    spec = Spec("table", "classification", (4,), ("a", "b"), class_counts=counts, num_examples=100)
    assert complete({}, spec)["score.name"] == metric
