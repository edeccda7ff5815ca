"""Can a simple model tell training examples from held-out ones? From one source it cannot."""

import math

import numpy as np

from fitwell.data import preprocess
from fitwell.data.split import Rows
from fitwell.data.types import Data
from fitwell.experiments.reference import features
from fitwell.record import Row

MOST_EXAMPLES = 2000  # of each part
LEAST_EXAMPLES = 30


def domain_classifier(
    data: Data, rows: Rows, seed: int = 0, *, fold: int | None = None
) -> list[Row]:
    """Boosted trees that tell the parts apart, on examples that they were not fitted to.

    Args:
        data, rows: `train` is told from `held_out`, at most 2,000 of each, in two halves, each predicted by
            the trees of the other. Of a long series windows that share no step, and each part's first half
            against its second: a window beside one that was learned is known by heart.
        seed: of sample and halves.
        fold: written into the row.

    Returns:
        One row `{"experiment": "domain", "auc", "low", "high", "examples", "fold"}`: the area under the
        curve and its 95 % interval; none where a part has fewer than 30 examples.

    Source: Rabanser, Günnemann and Lipton 2019, NeurIPS; the interval: Hanley and McNeil 1982,
        Radiology 143
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    random = np.random.default_rng([seed, 43])
    if data.spec.horizon:
        apart = data.spec.input_shape[1]
        parts = [part[::apart][:MOST_EXAMPLES] for part in (rows.train, rows.held_out)]
    else:
        parts = [random.permutation(part)[:MOST_EXAMPLES] for part in (rows.train, rows.held_out)]
    if min(map(len, parts)) < LEAST_EXAMPLES:
        return []
    fitted = preprocess.fit(data, rows.train)
    x = np.concatenate([features(fitted, data.inputs[part]) for part in parts])
    held_out = np.repeat([0, 1], [len(part) for part in parts])
    trees = HistGradientBoostingClassifier(
        max_iter=30, learning_rate=0.2, max_leaf_nodes=15, early_stopping=False, random_state=seed
    )
    # Unshuffled, the folds are stretches of each part.
    halves = (
        StratifiedKFold(2)
        if data.spec.horizon
        else StratifiedKFold(2, shuffle=True, random_state=seed)
    )
    said = cross_val_predict(trees, x, held_out, cv=halves, method="predict_proba")[:, 1]
    auc = float(roc_auc_score(held_out, said))
    reach = 1.96 * hanley_mcneil(auc, len(parts[1]), len(parts[0]))
    return [
        {
            "experiment": "domain",
            "auc": auc,
            "low": auc - reach,
            "high": auc + reach,
            "examples": len(held_out),
            "fold": fold,
        }
    ]


def hanley_mcneil(auc: float, positives: int, negatives: int) -> float:
    """Standard error of an area under the curve.

    >>> round(hanley_mcneil(0.893, 51, 58), 4)
    0.0325
    """
    first, second = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (
        auc * (1 - auc) + (positives - 1) * (first - auc**2) + (negatives - 1) * (second - auc**2)
    )
    return math.sqrt(max(0.0, variance) / (positives * negatives))
