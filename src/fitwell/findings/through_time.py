"""What a recurrent network keeps of the steps long ago: the gradient by lag, and whether order matters."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fitwell.findings.reading import confidence, evidence_of, folds_of, median, rounded, share
from fitwell.findings.reference import short_of_reference
from fitwell.record import Finding, Row, Run

VANISHED = (
    0.01  # gradient of the furthest quarter of the steps over the largest of the last quarter
)
_FEWEST_STEPS = 8
_ORDER = 0.1  # of the first loss: what a true order brings at most where it brings nothing
_LEFT = 0.5  # of the first loss: what new examples still cost where little was learned
_ONE_SIDED = 1.645  # standard errors above a mean: 95 %


def vanishing_through_time(runs: Sequence[Run]) -> Finding | None:
    """The part of `vanishing_gradient` that is told of recurrent networks; its docstring says when."""
    folds = [run for run in folds_of(runs) if _far_over_near(run) is not None]
    ratios = [ratio for run in folds if (ratio := _far_over_near(run)) is not None]
    flags = [ratio < VANISHED for ratio in ratios]
    if not folds or share(flags) < 0.5:
        return None
    order = _without_order(folds)
    short = short_of_reference(runs)
    # No model of language reads all of its context, and counting what stands nearest is hard to beat.
    language = any(run.spec is not None and run.spec.task == "language" for run in folds)
    poor = not isinstance(short, str) and short.clear and not language
    if order is None and not poor:
        return None
    steps, hundredth = (median(values) for values in zip(*map(_reach, folds), strict=True))
    facts = {
        "runs_vanishing": sum(flags),
        "runs": len(folds),
        "steps_back": int(steps),
        "gradient_far_over_near": median(ratios),
        "a_hundredth_within": int(hundredth),
        **(order or {}),
        **({} if isinstance(short, str) else short.facts),
    }
    sentence = (
        f"The gradient fades to {median(ratios):.1e} of its size within {int(steps)} steps, to a hundredth "
        f"within {int(hundredth)}"
    )
    if order is not None:
        sentence += (
            ", and order does not matter: the loss of new examples is "
            f"{order['loss_in_any_order']:.3g} with their steps in any order, "
            f"{order['loss_in_true_order']:.3g} in the true one."
        )
    elif not isinstance(short, str):
        sentence += f". {short.sentence}"
    settings = ("model.name", "model.pooling", "model.recurrent_init", "model.norm")
    level = confidence(folds, sum(flags), strong=median(ratios) < VANISHED / 10)
    return Finding("vanishing_gradient", level, rounded(facts), sentence, settings)


def is_measured(runs: Sequence[Run]) -> bool:
    """Whether any of the runs tells its gradient by lag."""
    return bool(evidence_of(runs, "through_time"))


def _curve(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(lags, gradients) of a run; empty where they were not measured or are of a few steps alone."""
    rows = evidence_of([run], "through_time")
    if not rows or rows[0]["lag"][-1] < _FEWEST_STEPS - 1:
        return np.empty(0), np.empty(0)
    return np.array(rows[0]["lag"]), np.array(rows[0]["gradient"])


def _far_over_near(run: Run) -> float | None:
    """Gradient of the furthest quarter of the lags (median) over the largest of the nearest quarter."""
    _, gradient = _curve(run)
    quarter = max(1, len(gradient) // 4)
    if not len(gradient) or not gradient[:quarter].max() > 0:
        return None
    return float(np.median(gradient[-quarter:]) / gradient[:quarter].max())


def _reach(run: Run) -> tuple[int, int]:
    """(the furthest lag, the first whose gradient is below a hundredth of the largest before it)."""
    lag, gradient = _curve(run)
    below = gradient < VANISHED * np.maximum.accumulate(gradient)
    return int(lag[-1]), int(lag[below.argmax()] if below.any() else lag[-1])


def _without_order(folds: Sequence[Run]) -> dict[str, Any] | None:
    """Losses in the true order and in any, where little was learned and the order brings nothing: 95 % sure
    that it is less than a tenth of the first loss; None where it does, or is not known."""
    found = [(run, row) for run in folds for row in evidence_of([run], "shuffled_order")]
    firsts = [first for run, _ in found if (first := _first_loss(run)) > 0]
    if not found or len(firsts) < len(found):
        return None
    rows: list[Row] = [row for _, row in found]
    first, loss = median(firsts), median(row["loss"] for row in rows)
    rise = float(np.mean([row["rise"] for row in rows]))
    error = math.sqrt(sum(row["error"] ** 2 for row in rows)) / len(rows)
    if loss < _LEFT * first or rise + _ONE_SIDED * error > _ORDER * first:
        return None
    named = {"loss_in_true_order": "loss", "loss_in_any_order": "loss_shuffled"}
    return {name: median(row[key] for row in rows) for name, key in named.items()}


def _first_loss(run: Run) -> float:
    """Median loss of the first tenth of the steps; nan where it is not known."""
    losses = [row["loss"] for row in run.steps if row.get("loss") is not None]
    return median(losses[: max(1, len(losses) // 10)])
