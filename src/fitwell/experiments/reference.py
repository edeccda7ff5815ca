"""Reference models: what simple methods reach on the same rows. A network that fits its training
examples worse than these predict new ones has not been fitted yet.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fitwell.data import preprocess
from fitwell.data.preprocess import Preprocess
from fitwell.data.split import Rows
from fitwell.data.tokens import BYTES
from fitwell.data.types import Data
from fitwell.data.words import Words
from fitwell.experiments.markov import language_references
from fitwell.metrics import METRICS
from fitwell.record import Row
from fitwell.spec import RESERVED

# Large enough for a fair reference, small enough for a few seconds on one core.
MOST_EXAMPLES = 5000
_MOST_FEATURES = 256
_MOST_WORDS = 2000
_MOST_OUTPUTS = 12
_OF_NUMBERS = ("regression", "forecasting")
# Boosted trees cost examples x features x classes; more classes get fewer examples.
_TREE_WORK = 4_000_000


def reference_models(
    data: Data, rows: Rows, seed: int = 0, *, metric: str, fold: int | None = None
) -> list[Row]:
    """Fit the reference models to the training rows and score them.

    Args:
        data: images are averaged down to at most 256 values; of texts the 2,000 most frequent words are
            looked for.
        rows: trained on `train` (at most 5,000 of them), scored on `held_out` (likewise).
        seed: of the sample and of the models.
        metric: the score, by name.
        fold: written into the rows.

    Returns:
        Rows `{"experiment": "reference", "model", "fold", "train", "held_out", "metric",
        "examples"}`; the models are trivial (majority class, or mean), nearest_neighbour, linear
        (of numbers: ridge), lasso (of numbers alone), boosted_trees; the last two of at most 12 targets; of
        one text those of `language_references`; of boxes none.
    """
    if data.spec.task == "detection":
        return []  # none that is simple finds boxes
    if data.spec.task == "language":
        return language_references(data, rows, metric=metric, fold=fold)
    random = np.random.default_rng([seed, 41])
    task = data.spec.task
    train = _sample(rows.train, random)
    held_out = _sample(rows.held_out, random)
    fitted = preprocess.fit(data, rows.train)
    x, x_new = (features(fitted, data.inputs[r]) for r in (train, held_out))
    y, y_new = data.targets[train], data.targets[held_out]
    if task in METRICS[metric].standardised:
        y, y_new = fitted.targets(y), fitted.targets(y_new)
    found: list[Row] = []
    for name, build in _models(task, seed, y[0].size, len(y)).items():
        used = np.arange(len(y))
        if name == "boosted_trees":
            classes = data.spec.num_outputs if len(data.spec.classes) != 2 else 1
            used = used[: max(200, _TREE_WORK // (x.shape[1] * classes))]
        model = build()
        if task not in _OF_NUMBERS and len(np.unique(y[used], axis=0)) < 2 and name != "trivial":
            continue
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # not converged to the last digit: a reference need not be
            model.fit(x[used], y[used])
        score = METRICS[metric].function
        found.append(
            {
                "experiment": "reference",
                "model": name,
                "fold": fold,
                "train": float(score(y[used], _predict(model, x[used], task), None)),
                "held_out": float(score(y_new, _predict(model, x_new, task), None)),
                "metric": metric,
                "examples": len(used),
            }
        )
    return found


def _models(
    task: str, seed: int, outputs: int = 1, examples: int = MOST_EXAMPLES
) -> dict[str, Callable[[], Any]]:
    # scikit-learn is imported here: it costs a second, and only this experiment needs it.
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LassoCV, LogisticRegression, Ridge
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    trees = {
        "max_iter": 20,
        "learning_rate": 0.2,
        "max_leaf_nodes": 15,
        "early_stopping": False,
        "random_state": seed,
    }

    def each(build: Callable[[], Any], wrapper: type) -> Callable[[], Any]:
        """A model for each of several targets, where one model predicts one."""
        return (lambda: wrapper(build())) if outputs > 1 else build

    if task not in _OF_NUMBERS:
        # Not to the last digit: a few per mille of the score do not matter here, time does.
        logistic = partial(LogisticRegression, C=1.0, max_iter=50, tol=1e-2)
        boosted = partial(HistGradientBoostingClassifier, **trees)
        return {
            "trivial": lambda: DummyClassifier(strategy="most_frequent"),
            "nearest_neighbour": lambda: KNeighborsClassifier(1),
            "linear": each(logistic, OneVsRestClassifier),
            "boosted_trees": each(boosted, OneVsRestClassifier),
        }
    at_once: dict[str, Callable[[], Any]] = {
        "trivial": lambda: DummyRegressor(strategy="mean"),
        # One neighbour copies the noise of one target; ten average it away.
        "nearest_neighbour": lambda: KNeighborsRegressor(min(10, examples)),
        "linear": lambda: Ridge(alpha=1.0),
    }
    if outputs > _MOST_OUTPUTS:  # the others fit a model each
        return at_once
    return at_once | {
        "lasso": each(partial(LassoCV, alphas=20, cv=3, tol=1e-3), MultiOutputRegressor),
        "boosted_trees": each(
            partial(HistGradientBoostingRegressor, **trees), MultiOutputRegressor
        ),
    }


def _predict(model: Any, x: np.ndarray, task: str) -> np.ndarray:
    predicted = np.asarray(model.predict(x))
    return predicted if task not in _OF_NUMBERS else predicted.astype(np.float64)


def _sample(rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """At most MOST_EXAMPLES rows in random order (so that a part of them is a sample too)."""
    return random.permutation(rows)[:MOST_EXAMPLES]


def features(fitted: Preprocess, raw: np.ndarray) -> np.ndarray:
    """[example, feature]: images are averaged over blocks, wide tables keep every k-th column, texts
    become a column a word, or a token."""
    if fitted.words is not None:
        return _words_in(fitted.words, raw)
    if fitted.tokens is not None:
        size = min(RESERVED + len(fitted.tokens.vocabulary or range(BYTES)), _MOST_WORDS)
        kept = [ids[ids < size] for ids in map(fitted.tokens.ids, raw.tolist())]
        return np.stack([np.bincount(ids, minlength=size) for ids in kept]).astype(np.float32)
    x = fitted.inputs(raw)
    if x.ndim == 4:
        block = 1
        while x[0, :, ::block, ::block].size > _MOST_FEATURES:
            block += 1
        height, width = (size // block * block for size in x.shape[2:])
        cut = x[:, :, :height, :width]
        shape = (*x.shape[:2], height // block, block, width // block, block)
        x = cut.reshape(shape).mean(axis=(3, 5)) if block > 1 and height and width else cut
    x = x.reshape(len(x), -1)
    return x[:, :: -(-x.shape[1] // 2000)].astype(np.float32)


def _words_in(words: Words, texts: np.ndarray) -> np.ndarray:
    """[text, word] 1 where a text has a word, of the most frequent words."""
    flat, ends = words.flat(texts)
    found = np.zeros((len(texts), min(len(words.vocabulary), _MOST_WORDS)), np.float32)
    text, word = np.repeat(np.arange(len(texts)), np.diff(ends)), flat - RESERVED
    kept = (word >= 0) & (word < found.shape[1])
    found[text[kept], word[kept]] = 1.0
    return found
