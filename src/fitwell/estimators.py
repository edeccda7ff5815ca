"""scikit-learn estimators: `Classifier` and `Regressor`, which pass `check_estimator`."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (  # type: ignore[attr-defined]  # the stubs lag behind
    check_is_fitted,
    check_random_state,
    validate_data,  # type: ignore[attr-defined]
)

from fitwell import store
from fitwell.augment import views_of
from fitwell.data import split
from fitwell.data.arrays import read_arrays
from fitwell.data.batches import Batches
from fitwell.data.options import fill
from fitwell.errors import TrainingError
from fitwell.resolve import complete
from fitwell.settings import validate
from fitwell.tasks import Decoded, task_of
from fitwell.train import load_model, train_once
from fitwell.train.evaluate import decoded

BATCH = 512
_KEPT = [np.float32, np.float64]  # other types become the first


class _Estimator(BaseEstimator):
    """What both kinds share: training on arrays, nothing kept on disk, no part held out unless
    `settings` ask for an inner cut (`data.validation`). Whoever splits has done so already.
    """

    _task = ""

    def __init__(
        self,
        model: str = "mlp",
        *,
        epochs: int | None = None,
        settings: Mapping[str, Any] | None = None,
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.settings = settings
        self.random_state = random_state

    def _settings(self, count: int) -> dict[str, Any]:
        """Every setting that this fit names, validated."""
        given: dict[str, Any] = {"data.validation": 0.0, **(self.settings or {})}
        given |= {"model.name": self.model, "data.task": self._task, "data.test": 0.0}
        if self.epochs is not None:
            given["train.epochs"] = self.epochs
        values = validate(given)
        if ":" in self.model:
            store.trust_model(self.model)
        if "train.seed" not in values:
            values["train.seed"] = int(check_random_state(self.random_state).randint(2**31 - 1))
        values.setdefault("train.batch_size", min(32 if count < 5000 else 128, count))
        return values

    def _train(self, x: np.ndarray, y: np.ndarray, classes: tuple[str, ...] = ()) -> None:
        values = self._settings(len(x))
        options = {k[5:]: v for k, v in values.items() if k.startswith("data.")}
        data = read_arrays(x, y, fill({**options, "seed": values["train.seed"]}), classes=classes)
        recipe = complete(values, data.spec)
        seed = int(recipe["train.seed"])  # type: ignore[arg-type]
        rows = split.fit_rows(data, options, seed)
        with tempfile.TemporaryDirectory(prefix="fitwell-") as folder:
            run = train_once(data, rows, recipe, seed=seed, folder=Path(folder), probes=False)
            if run.status == "failed":
                raise TrainingError(run.failure)
            self.module_, self.preprocess_ = load_model(run)
        run.folder = None
        self.recipe_, self.spec_, self.run_ = recipe, data.spec, run
        self.n_iter_ = len(run.epochs)

    def _decode(self, X: Any) -> Decoded:
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, allow_nd=True, dtype=_KEPT)
        if x.ndim > 2 or self.spec_.kind == "series":
            x = x.reshape(len(x), *self.spec_.input_shape)
        batches = Batches(
            x,
            np.zeros(len(x), np.int64),
            np.arange(len(x)),
            batch_size=BATCH,
            preprocess=self.preprocess_,
            shuffle=False,
        )
        task, views = task_of(self.spec_), views_of(self.recipe_)
        return decoded(self.module_, batches, task, "float32", views)


class Classifier(ClassifierMixin, _Estimator):
    """A network as a scikit-learn classifier.

    Args:
        model: a model's name, or an import path `package.module:name`.
        epochs: passes over the examples; by default as many as suit their number.
        settings: further settings, dotted name -> value.
        random_state: of initial weights and order: a number, a RandomState, or None.

    Attributes:
        classes_: the labels, sorted.
        module_: the trained torch module.
        recipe_: every setting that it was trained with.
        run_: what happened while it trained.

    >>> X = np.array([[0.0], [0.1], [0.9], [1.0]] * 8)
    >>> y = np.array(["low", "low", "high", "high"] * 8)
    >>> Classifier("linear", epochs=20, random_state=0).fit(X, y).predict([[0.05], [0.95]]).tolist()
    ['low', 'high']
    """

    _task = "classification"

    def fit(self, X: Any, y: Any) -> "Classifier":
        """Train on X [example, feature] (or images [example, channel, height, width]) and labels y.

        Raises:
            ValueError: X or y is not what scikit-learn takes, or y has one class only.
            SettingError: a setting is wrong.
        """
        x, y = validate_data(self, X, y, allow_nd=True, dtype=_KEPT)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"Classifier needs at least 2 classes; y has one class: {self.classes_[0]!r}."
            )
        # Names stand for positions: labels of any type, in the order of `classes_`.
        width = len(str(len(self.classes_)))
        names = tuple(f"{i:0{width}d}" for i in range(len(self.classes_)))
        self._train(x, codes, names)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """[example, class] probabilities, in the order of `classes_`."""
        probabilities = self._decode(X).probabilities
        assert probabilities is not None
        return probabilities

    def predict(self, X: Any) -> np.ndarray:
        """[example] labels."""
        index = self._decode(X).prediction.astype(int)
        return self.classes_[index]


class Regressor(RegressorMixin, _Estimator):
    """A network as a scikit-learn regressor; arguments as for `Classifier`.

    >>> X = np.linspace(0, 1, 64)[:, None]
    >>> model = Regressor("linear", epochs=60, random_state=0).fit(X, 3 * X[:, 0] + 1)
    >>> bool(abs(model.predict([[0.5]])[0] - 2.5) < 0.1)
    True
    """

    _task = "regression"

    def fit(self, X: Any, y: Any) -> "Regressor":
        """Train on X [example, feature] and numbers y [example].

        Raises:
            ValueError: X or y is not what scikit-learn takes.
            SettingError: a setting is wrong.
        """
        x, y = validate_data(self, X, y, allow_nd=True, dtype=_KEPT, y_numeric=True)
        self._train(x, np.asarray(y, np.float64))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """[example] numbers, in the unit of y."""
        return np.asarray(self._decode(X).prediction)
