"""What a recurrent network keeps of the steps long ago: the gradient by lag, and whether order matters."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fitwell.findings.length import stopped_too_early
from fitwell.findings.reading import (
    confidence,
    evidence_of,
    folds_of,
    goodness,
    median,
    metric_of,
    rounded,
    share,
)
from fitwell.findings.reference import best_reference, margin_of, short_of_reference
from fitwell.record import Finding, NotAssessed, Row, Run

_VANISHED = 0.01  # gradient of the furthest quarter of the steps over the nearest quarter's largest
_FEWEST_STEPS = 8
_NEAR = 10  # tokens: in a language the last ones tell most, so fewer than all may be enough
# Of the first loss, what the true order brings at most where it brings nothing.
_ORDER, _ORDER_OF_TOKENS = 0.1, 0.01
_LEFT = 0.5  # of the first loss: what new examples still cost where little was learned
_ONE_SIDED = 1.645  # standard errors above a mean: 95 %


def vanishing_through_time(runs: Sequence[Run]) -> Finding | None:
    """The part of `vanishing_gradient` that is told of recurrent networks; its docstring says when."""
    folds = [run for run in folds_of(runs) if far_over_near(run) is not None]
    language = any(run.spec is not None and run.spec.task == "language" for run in folds)
    ratios = [ratio for run in folds if (ratio := far_over_near(run)) is not None]
    reaches = [_reach(run) for run in folds]
    flags = [
        ratio < _VANISHED and not (language and reach > _NEAR)
        for ratio, (_, reach) in zip(ratios, reaches, strict=True)
    ]
    # What is still being learned may come to use the order.
    if not folds or share(flags) < 0.5 or isinstance(stopped_too_early(runs), Finding):
        return None
    order = _without_order(folds, _ORDER_OF_TOKENS if language else _ORDER)
    short = short_of_reference(runs)
    # Of a language the best reference counts what stands nearest, which needs no memory.
    poor = not isinstance(short, str) and short.clear and not language
    if order is None and not poor:
        return None
    steps, hundredth = (median(values) for values in zip(*reaches, strict=True))
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
    level = confidence(folds, sum(flags), strong=median(ratios) < _VANISHED / 10)
    level = "low" if _nothing_to_know(runs) else level
    return Finding("vanishing_gradient", level, rounded(facts), sentence, settings)


def idle_state(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The state of a recurrent network carries nothing from step to step.

    Symptom: new examples cost the same with their steps in any order, and most of the first loss is left.
    Mechanism: each step is read by itself, and what reaches the head is their mean or maximum; or the order
        says nothing in these data.
    Threshold: the true order of the steps brings less than a tenth of the first loss (a hundredth, of a
        language), with 95 % confidence; new examples cost more than half of it; and the gradient does not
        fade with the lag, which is `vanishing_gradient`. Of low confidence unless simple models are
        known to do better: there may be nothing to carry.
    Source: Sankar, Subramanian, Pal, Chandar and Bengio 2019, ACL (the history in any order)
    """
    folds = [run for run in folds_of(runs) if evidence_of([run], "shuffled_order")]
    if not folds and any(run.epochs for run in runs):
        return None  # of a network without a state
    if not folds:
        return NotAssessed("idle_state", "the loss with the steps in any order (shuffled_order)")
    if isinstance(stopped_too_early(runs), Finding):
        return None
    language = any(run.spec is not None and run.spec.task == "language" for run in folds)
    order = _without_order(folds, _ORDER_OF_TOKENS if language else _ORDER)
    if order is None or vanishing_through_time(runs) is not None:
        return None
    short = short_of_reference(runs)
    beaten = not isinstance(short, str) and short.clear
    facts = {"runs": len(folds), **order, **(short.facts if beaten else {})}  # type: ignore[union-attr]
    sentence = (
        f"The state carries nothing: new examples cost {order['loss_in_any_order']:.3g} with their steps "
        f"in any order, {order['loss_in_true_order']:.3g} in the true one."
    )
    level = confidence(folds, len(folds)) if beaten else "low"
    settings = ("model.name", "model.pooling", "model.recurrent_init", "optim.lr")
    return Finding("idle_state", level, rounded(facts), sentence, settings)


def is_measured(runs: Sequence[Run]) -> bool:
    """Whether any of the runs tells its gradient by lag."""
    return bool(evidence_of(runs, "through_time"))


def far_over_near(run: Run) -> float | None:
    """Gradient of the furthest quarter of the lags (median) over the largest of the nearest quarter; None
    where it was not measured, or is of a few steps alone."""
    _, gradient = _curve(run)
    quarter = max(1, len(gradient) // 4)
    if not len(gradient) or not gradient[:quarter].max() > 0:
        return None
    return float(np.median(gradient[-quarter:]) / gradient[:quarter].max())


def _curve(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(lags, gradients) of a run; empty where they were not measured or are of a few steps alone."""
    rows = evidence_of([run], "through_time")
    if not rows or rows[0]["lag"][-1] < _FEWEST_STEPS - 1:
        return np.empty(0), np.empty(0)
    return np.array(rows[0]["lag"]), np.array(rows[0]["gradient"])


def _reach(run: Run) -> tuple[int, int]:
    """(the furthest lag, the first whose gradient is below a hundredth of the largest before it)."""
    lag, gradient = _curve(run)
    below = gradient < _VANISHED * np.maximum.accumulate(gradient)
    return int(lag[-1]), int(lag[below.argmax()] if below.any() else lag[-1])


def _without_order(folds: Sequence[Run], most: float) -> dict[str, Any] | None:
    """Losses in the true order and in any, where little was learned and the order brings nothing; None
    where it does, or is not known.

    Args:
        most: share of the first loss that it brings at most, with 95 % confidence.
    """
    found = [(run, row) for run in folds for row in evidence_of([run], "shuffled_order")]
    firsts = [first for run, _ in found if (first := _first_loss(run)) > 0]
    if not found or len(firsts) < len(found):
        return None
    rows: list[Row] = [row for _, row in found]
    first, loss = median(firsts), median(row["loss"] for row in rows)
    rise = float(np.mean([row["rise"] for row in rows]))
    error = math.sqrt(sum(row["error"] ** 2 for row in rows)) / len(rows)
    if loss < _LEFT * first or rise + _ONE_SIDED * error > most * first:
        return None
    named = {"loss_in_true_order": "loss", "loss_in_any_order": "loss_shuffled"}
    return {name: median(row[key] for row in rows) for name, key in named.items()}


def _nothing_to_know(runs: Sequence[Run]) -> bool:
    """Whether simple models learn nothing either: then there may be nothing that fades."""
    metric = metric_of(folds_of(runs))
    named = best_reference(runs, metric)
    said = [row for row in evidence_of(runs, "reference") if row["model"] == "trivial"]
    if named is None or not said:
        return False
    trivial = median(row["held_out"] for row in said)
    gain = float(goodness(metric, named[1]) - goodness(metric, trivial))
    return gain <= margin_of(metric, trivial)


def _first_loss(run: Run) -> float:
    """Median loss of the first tenth of the steps; nan where it is not known."""
    losses = [row["loss"] for row in run.steps if row.get("loss") is not None]
    return median(losses[: max(1, len(losses) // 10)])
