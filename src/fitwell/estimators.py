"""scikit-learn estimators: `Classifier` and `Regressor`, which pass `check_estimator`."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, check_random_state, validate_data

from fitwell.data import preprocess, read, split
from fitwell.errors import SettingError, TrainingError
from fitwell.recipe import Recipe
from fitwell.resolve import complete
from fitwell.settings import validate
from fitwell.tasks import Decoded, task_of

BATCH = 512


class _Estimator(BaseEstimator):
    """What both kinds share. Nothing is written to disk, and no test part is cut off: whoever holds
    examples out (a scikit-learn splitter) has done so.

    Args:
        model: a model's name, or an import path.
        epochs: passes over the training part.
        settings: further settings, dotted name -> value.
        random_state: of initial weights, order and inner cut.
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

    def _recipe_settings(self, count: int) -> dict[str, Any]:
        given = {"data.validation": 0.0, **dict(self.settings or {})}
        given["model.name"] = self.model
        if self.epochs is not None:
            given["train.epochs"] = self.epochs
        if "train.seed" not in given:
            random = check_random_state(self.random_state)
            given["train.seed"] = int(random.randint(2**31 - 1)) if random is not None else 0
        values = validate(given)
        if "train.batch_size" not in values:
            values["train.batch_size"] = max(1, min(32 if count < 5000 else 128, count))
        return values

    def _train(self, x: np.ndarray, y: np.ndarray) -> None:
        from fitwell.train import train_once

        values = self._recipe_settings(len(x))
        options = {k[5:]: v for k, v in values.items() if k.startswith("data.")}
        options["task"], options["test"] = self._task, 0.0
        values |= {"data.task": self._task, "data.test": 0.0}
        data = read((x, y), {**options, "seed": values["train.seed"]}, like=self._spec(x, y))
        recipe = complete(values, data.spec)
        seed = int(recipe["train.seed"])  # type: ignore[arg-type]
        rows = split.fit_rows(data, options, seed)
        run = train_once(data, rows, recipe, seed=seed, probes=False)
        if run.status == "failed":
            raise TrainingError(run.failure)
        self.recipe_: Recipe = recipe
        self.spec_ = data.spec
        self.run_ = run
        self.n_iter_ = len(run.epochs)
        self.preprocess_ = preprocess.fit(data, rows.train)
        self.precision_ = str(run.environment["precision"])
