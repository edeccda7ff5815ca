"""Classifier and Regressor against scikit-learn's own checks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fitwell as fw
from fitwell.errors import SettingError

SMALL = {"model.width": 32, "model.depth": 1}


def scikit_learn_checks() -> pytest.MarkDecorator:
    return parametrize_with_checks(
        [
            fw.Classifier(epochs=30, settings=SMALL, random_state=0),
            fw.Regressor(epochs=30, settings=SMALL, random_state=0),
        ]
    )


@scikit_learn_checks()
def test_scikit_learn_contract(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_as_good_as_logistic_regression() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    ours = cross_val_score(fw.Classifier("linear", epochs=20, random_state=0), X, y, cv=3).mean()
    reference = make_pipeline(StandardScaler(), LogisticRegression())
    assert ours > cross_val_score(reference, X, y, cv=3).mean() - 0.02


def test_as_good_as_ridge() -> None:
    X, y = load_diabetes(return_X_y=True)
    ours = cross_val_score(fw.Regressor("linear", epochs=30, random_state=0), X, y, cv=3).mean()
    reference = make_pipeline(StandardScaler(), Ridge())
    assert ours > cross_val_score(reference, X, y, cv=3).mean() - 0.05


def test_random_state_decides_and_a_random_one_varies() -> None:
    X, y = load_diabetes(return_X_y=True)

    def predicted(state: int | None) -> np.ndarray:
        return fw.Regressor(epochs=2, settings=SMALL, random_state=state).fit(X, y).predict(X)

    assert np.array_equal(predicted(3), predicted(3))
    assert not np.array_equal(predicted(3), predicted(4))
    assert not np.array_equal(predicted(None), predicted(None))


def test_labels_keep_their_type_and_order() -> None:
    X = np.repeat(np.eye(12, dtype=np.float32), 6, axis=0)
    y = np.repeat(np.arange(12) * 10 - 30, 6)
    model = fw.Classifier("linear", epochs=60, random_state=0).fit(X, y)
    assert np.array_equal(model.classes_, np.unique(y))
    assert np.array_equal(model.predict(X), y)
    chances = model.predict_proba(X)
    assert np.allclose(chances.sum(1), 1, atol=1e-5)
    assert np.array_equal(model.classes_[chances.argmax(1)], y)


def test_grid_search_over_settings() -> None:
    X, y = load_breast_cancer(return_X_y=True)
    search = GridSearchCV(
        fw.Classifier(epochs=2, random_state=0),
        {"model": ["linear", "mlp"]},
        cv=2,
        error_score="raise",
    )
    assert search.fit(X[:120], y[:120]).best_params_["model"] in ("linear", "mlp")


def test_a_misspelt_setting_is_refused_when_fitted_and_not_before() -> None:
    model = clone(fw.Classifier(settings={"optim.momentun": 0.5}))
    with pytest.raises(SettingError, match="Did you mean momentum"):
        model.fit(np.eye(4), [0, 1, 0, 1])
