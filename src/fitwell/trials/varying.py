"""A recipe cross-validated at several values of one thing: a setting, or the number of examples.

The rows go into the evidence of the run; `twice` says what twice as many examples would bring.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fitwell.data.split import fold_rows
from fitwell.data.types import Data
from fitwell.errors import SettingError
from fitwell.metrics import Metric
from fitwell.recipe import Recipe
from fitwell.record import SIZES, Row, json_ready
from fitwell.trials.crossval import Progress, fold_tasks, run_phase
from fitwell.trials.reusing import Executor
from fitwell.trials.scoring import metric_of, score_of
from fitwell.trials.statistics import Interval, paired_verdict
from fitwell.trials.trial import Task

HALVINGS = 4
EVEN = 1.05  # largest by smallest fold, up to which they count as equally large
IN_EPOCHS = ("train.epochs", "train.patience", "train.thaw_epochs", "schedule.patience")
_FEWEST_SIZES = 3  # that a curve with a rest is fitted to
LEAST_EXAMPLES = 30
POWERS = np.linspace(0.1, 1.5, 29)  # of the examples, by which the error that is left falls


@dataclass(frozen=True)
class Point:
    """One value: its recipe, and the number of training examples, 0 for all."""

    value: Any
    recipe: Recipe
    examples: int = 0


def size_points(data: Data, recipe: Recipe, seed: int) -> list[Point]:
    """All training examples of a fold, half of them, a quarter and so on, the fewest first.

    Each sees as many batches as all do, since fewer steps would look like fewer examples.

    Raises:
        SettingError: folds by time, of which each has more examples than the one before.
    """
    if data.times is not None:
        raise SettingError(
            "sizes: with data.time each fold is trained on more examples than the one before, so sizes and "
            "times cannot be told apart. Leave one of them out.",
            setting="sizes",
        )
    options = recipe.section("data")
    folds = range(int(options["folds"]))
    trained = [len(fold_rows(data, options, fold=f, repeat=0, seed=seed).train) for f in folds]
    whole = min(trained)
    even = max(trained) <= EVEN * whole  # groups may be of any size
    least = max(LEAST_EXAMPLES, 2 * len(data.spec.classes))
    counts = [whole >> i for i in range(HALVINGS, 0, -1)]
    points = [Point(n, shortened(recipe, n, whole), n) for n in counts if n >= least]
    return [*points, Point(whole, recipe, 0 if even else whole)]


def shortened(recipe: Recipe, count: int, whole: int) -> Recipe:
    """The recipe for fewer examples: as many steps in more epochs, and all that counts epochs with them."""
    batch = int(recipe["train.batch_size"])  # type: ignore[call-overload]
    steps = [math.ceil(n / min(batch, n)) for n in (whole, count)]
    factor = steps[0] / steps[1]
    edit: dict[str, Any] = {"train.batch_size": min(batch, count)}
    for name in IN_EPOCHS:
        if value := recipe.get(name):
            edit[name] = min(100_000, max(1, round(int(value) * factor)))  # type: ignore[call-overload]
    return recipe.edit(edit)


def tasks_of(name: str, points: Sequence[Point], *, seed: int) -> list[Task]:
    """The folds of every point; those of the plain recipe are named as in a plain cross-validation."""
    tasks = []
    for point in points:
        plain = name == SIZES and not point.examples
        variant = "baseline" if plain else f"{name}-{point.value}"
        folds = fold_tasks(point.recipe, repeat=0, seed=seed, variant=variant)
        tasks += [replace(task, examples=point.examples) for task in folds]
    return tasks


def vary(
    name: str,
    points: Sequence[Point],
    executor: Executor,
    *,
    seed: int,
    progress: Progress | None = None,
) -> list[Row]:
    """Cross-validate every point: a row each, with train and held-out scores of every fold.

    A fold that fails has no score; a point is then judged by the others.
    """
    metric, _ = metric_of(points[0].recipe)
    runs = run_phase(name, tasks_of(name, points, seed=seed), executor, progress)
    folds = len(runs) // len(points)
    rows = []
    for i, point in enumerate(points):
        part = runs[i * folds : (i + 1) * folds]
        row = {
            "experiment": "vary",
            "name": name,
            "value": point.value,
            "metric": metric,
            "train": [run.scores.get("train", {}).get(metric) for run in part],
            "validation": [score_of(run, metric) for run in part],
            "failure": next((run.failure for run in part if run.status == "failed"), ""),
        }
        rows.append(json_ready(row))  # as it will be read again: a score that is none is None
    return rows


def twice(rows: Sequence[Row], metric: Metric) -> Interval | str:
    """What twice as many examples would bring, with a 95 % interval; or why nothing can be said of it.

    In each fold the error e(n) = a + b n^-c is fitted to the sizes, a and b not negative, and read off
    at twice the largest. The interval is that of the folds' gains, corrected for the training examples
    that they share; that the error goes on as it did so far is taken for granted.

    Source: Hestness et al. 2017, arXiv:1712.00409 (power law with a rest); Cortes et al. 1994, NeurIPS

    Args:
        rows: of `vary` over sizes.
    """
    sizes = np.array([row["value"] for row in rows], dtype=float)
    scores = np.array([row["validation"] for row in rows], dtype=float).T  # [fold, size]
    if len(sizes) < _FEWEST_SIZES:
        return (
            f"a curve needs {_FEWEST_SIZES} sizes, each half of the next and of at least {LEAST_EXAMPLES} "
            f"examples, and there {'is' if len(sizes) == 1 else 'are'} {len(sizes)}"
        )
    if not np.isfinite(scores).all():
        return "not every fold has a score"
    errors = 1 - scores if metric.higher_is_better else scores
    gains = [
        errors_at(sizes, fold, sizes[-1]) - errors_at(sizes, fold, 2 * sizes[-1]) for fold in errors
    ]
    return paired_verdict(gains, len(gains), 1)


def errors_at(sizes: np.ndarray, errors: np.ndarray, size: float) -> float:
    """The error at another size, by the power law that fits best.

    >>> sizes = np.array([100.0, 200.0, 400.0])
    >>> round(errors_at(sizes, 0.1 + 2 * sizes**-0.5, 800.0), 4)  # 0.1 + 2 / sqrt(800)
    0.1707
    """
    from scipy.optimize import nnls

    best, found = math.inf, float(errors[-1])
    for power in POWERS:
        shape = (sizes / sizes[-1]) ** -power
        (rest, share), missed = nnls(np.stack([np.ones_like(shape), shape], 1), errors)
        if missed < best - 1e-12:
            best = missed
            found = float(rest + share * (size / sizes[-1]) ** -power)
    return found
