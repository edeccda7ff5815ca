"""A small picture for each finding, drawn from the recorded rows that it speaks about."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fitwell.record import Finding, Run
from fitwell.report.curves import learning_curve, step_curve
from fitwell.report.figures import BLUE, GREEN, MUTED, ORANGE, RED, draw, powers_of_ten
from fitwell.report.wording import capital, metric_word

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Picture: TypeAlias = Callable[[Finding, Sequence[Run], str], str | None]
SIZE = {"width": 2.9, "height": 1.9}


def picture(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
    """The picture of a finding, or None where the rows for it are missing."""
    if not runs:
        return None
    paint = PICTURES.get(finding.name, score_curve)
    others = (score_curve, by_step("loss", "Loss by step"))
    if max(len(run.epochs) for run in runs) < 2:  # a curve of one epoch is a point
        others = others[::-1]
        paint = others[0] if paint in (score_curve, loss_curve) else paint
    found = (draw_it(finding, runs, metric) for draw_it in (paint, *others))
    return next((image for image in found if image is not None), None)


def score_curve(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
    heading = capital(f"{metric_word(metric)} by epoch")
    return learning_curve(runs, metric, heading=heading, **SIZE)


def loss_curve(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
    return learning_curve(runs, "loss", heading="Loss by epoch", **SIZE)


def score_beside(name: str, heading: str) -> Picture:
    """The score by epoch with a dotted line at a number of the evidence."""

    def picture_of(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
        level = finding.evidence.get(name)
        reference = float(level) if isinstance(level, int | float) else None
        return learning_curve(runs, metric, heading=heading, reference=reference, **SIZE)

    return picture_of


def by_layer(runs: Sequence[Run], kind: str, name: str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """A probe by layer in order of depth: its layers, median and largest value over runs and steps.

    Probes of kind "epoch" are taken at each run's last epoch only: what counts is the end.
    """
    found: dict[tuple[int, str], list[float]] = {}
    for run in runs:
        rows = [p for p in run.probes if p.get("kind") == kind and p.get(name) is not None]
        last = max((p["epoch"] for p in rows), default=0)
        for row in rows:
            if kind == "step" or row["epoch"] == last:
                found.setdefault((row["index"], row["layer"]), []).append(float(row[name]))
    keys = sorted(found)
    median = np.array([np.median(found[key]) for key in keys])
    largest = np.array([np.max(found[key]) for key in keys])
    return [layer for _, layer in keys], median, largest


def gradient_by_depth(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
    layers, median, _ = by_layer(runs, "step", "grad_rms")
    if len(layers) < 2 or not (median > 0).any():
        return None

    def paint(axes: "Axes") -> None:
        axes.plot(range(len(layers)), median, "o-", color=RED, markersize=4)
        powers_of_ten(axes)
        axes.set_title("Gradient, first layer to last")
        _name_layers(axes, layers)

    return draw(paint, **SIZE)


def gradient_by_lag(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
    """The gradient by steps before the end, a line a run; dotted: a hundredth of its largest value."""
    rows = [r for run in runs for r in run.evidence if r.get("experiment") == "through_time"]
    if not rows:
        return None

    def paint(axes: "Axes") -> None:
        for row in rows:
            axes.plot(row["lag"], row["gradient"], color=RED, alpha=0.7, linewidth=1.2)
        largest = np.median([max(row["gradient"]) for row in rows])
        axes.axhline(largest / 100, color=MUTED, linestyle=":", linewidth=1)
        powers_of_ten(axes)
        axes.invert_xaxis()  # as time goes
        axes.set_xlabel("steps before the end")
        axes.set_title("Gradient (dotted: a hundredth)")

    return draw(paint, **SIZE)


def where_it_fades(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
    """A gradient that vanishes: with the steps, or with the layers."""
    by = gradient_by_lag if "steps_back" in finding.evidence else gradient_by_depth
    return by(finding, runs, metric)


def update_size(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
    """The real update of each layer per step, as a share of its weights; a cross at the bottom where there
    is none."""
    layers, median, _ = by_layer(runs, "step", "update_ratio")
    moved = median > 0
    if not layers:
        return loss_curve(finding, runs, metric)

    def paint(axes: "Axes") -> None:
        at = np.arange(len(layers))
        low = min(median[moved].min(initial=1e-4), 1e-4) / 3
        axes.axhspan(1e-4, 1e-1, color=GREEN, alpha=0.10, linewidth=0)
        axes.plot(at[moved], median[moved], "o-", color=BLUE, markersize=4)
        axes.plot(at[~moved], np.full((~moved).sum(), 1.5 * low), "x", color=RED, markersize=6)
        powers_of_ten(axes)
        axes.set_ylim(low, max(median.max(), 1e-1) * 3)
        axes.set_title("Update / weight (green: usual)")
        _name_layers(axes, layers)

    return draw(paint, **SIZE)


def share_of_units(name: str, heading: str, colour: str) -> Picture:
    """Bars of a share of units by layer at the end of training."""

    def picture_of(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
        layers, median, largest = by_layer(runs, "epoch", name)
        if not layers:
            return None

        def paint(axes: "Axes") -> None:
            axes.bar(range(len(layers)), median, color=colour, width=0.6)
            axes.vlines(range(len(layers)), median, largest, color=MUTED, linewidth=1)
            axes.set_ylim(0, 1)
            axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
            axes.set_title(heading)
            _name_layers(axes, layers)

        return draw(paint, **SIZE)

    return picture_of


def by_step(name: str, heading: str) -> Picture:
    """A value of the step rows over the training."""

    def picture_of(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
        return step_curve(runs, name, heading, **SIZE)

    return picture_of


def signal_by_depth(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
    """What enters each layer at the first step; of units that start alike their share by layer."""
    name = "twins" if "twins" in finding.evidence else "input_rms"
    first = [replace(run, probes=[p for p in run.probes if p.get("step") == 0]) for run in runs]
    layers, median, _ = by_layer(first, "step", name)
    if len(layers) < 2 or not (median > 0).any():
        return None

    def paint(axes: "Axes") -> None:
        if name == "twins":
            axes.bar(range(len(layers)), median, color=ORANGE, width=0.6)
            axes.set_title("Units that start like another")
        else:
            axes.plot(range(len(layers)), median, "o-", color=RED, markersize=4)
            powers_of_ten(axes)
            axes.set_title("Signal into each layer at first")
        _name_layers(axes, layers)

    return draw(paint, **SIZE)


def bars(
    heading: str, *named: tuple[str, str], usual: float | None = None, powers: bool = False
) -> Picture:
    """Numbers of the evidence beside each other; those that are not there are left out.

    Args:
        named: (key of the evidence, what it is called).
        usual: a dotted line at what would be well.
        powers: on a scale of powers of ten, where the numbers allow it.
    """

    def picture_of(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
        found = [
            (label, float(value))
            for key, label in named
            if isinstance(value := finding.evidence.get(key), int | float)
        ]
        if not found:
            return None
        values = np.array([value for _, value in found])
        spans = powers and bool((values > 0).all())

        def paint(axes: "Axes") -> None:
            axes.bar(range(len(found)), values, color=ORANGE, width=0.5)
            if usual is not None:
                axes.axhline(usual, color=MUTED, linestyle=":", linewidth=1)
            if spans:
                powers_of_ten(axes)
            axes.set_xticks(range(len(found)), [label for label, _ in found])
            axes.set_xlim(-0.6, len(found) - 0.4)
            axes.set_title(heading)

        return draw(paint, **SIZE)

    return picture_of


def held_back(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
    """The training score with and without what holds it back; else how hard the penalties pull."""
    if finding.evidence.get("train_without") is None:
        return bars("Pull of penalties / of data", ("penalty_over_data", ""), usual=1.0)(
            finding, runs, metric
        )
    named = (
        ("train", "as it is"),
        ("train_without", "without"),
        ("reference_held_out", "reference"),
    )
    return bars("Training score", *named)(finding, runs, metric)


def out_of_place(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
    """How many boxes lie elsewhere than said; else how far all of them do."""
    if "keys" in finding.evidence:
        quarters = (
            ("wrong_where_surest", "surest quarter"),
            ("wrong_in_the_next_quarter", "next quarter"),
        )
        return bars("Elsewhere than said", *quarters)(finding, runs, metric)
    sides = [(f"offset_{side}", side) for side in ("left", "top", "right", "bottom")]
    return bars("Sides, from where they are said", *sides)(finding, runs, metric)


def _name_layers(axes: "Axes", layers: Sequence[str]) -> None:
    step = max(1, -(-len(layers) // 5))
    places = list(range(0, len(layers), step))
    axes.set_xticks(places, [layers[i][-12:] for i in places])
    axes.set_xlim(-0.6, len(layers) - 0.4)


PICTURES: dict[str, Picture] = {
    "overfitting": loss_curve,
    "underfitting": score_beside("reference_held_out", "Score (dotted: reference)"),
    "stopped_too_early": loss_curve,
    "oscillating": loss_curve,
    "no_better_than_trivial": score_beside("trivial", "Score (dotted: guessing)"),
    "lr_too_low": update_size,
    "lr_too_high": update_size,
    "vanishing_gradient": where_it_fades,
    "idle_state": bars(
        "Loss by the order of steps", ("loss_in_true_order", "true"), ("loss_in_any_order", "any")
    ),
    "exploding_gradient": by_step("grad_norm", "Gradient's norm by step"),
    "no_gradient": update_size,
    "bad_init": signal_by_depth,
    "head_loss_mismatch": bars("Outputs", ("low", "least"), ("high", "largest")),
    "unreachable_targets": bars(
        "Said, and asked for",
        *(("said_low", "least said"), ("said_high", "most said"), ("target_mean", "asked, mean")),
    ),
    "bad_target": bars("Spread", ("std", "training"), ("validation_std", "validation")),
    "unscaled_inputs": bars(
        "Scale of the inputs",
        *(("scale_low", "usual"), ("scale_high", "largest"), ("rms", "all")),
        powers=True,
    ),
    "cannot_fit_one_batch": bars("Fit of one batch", ("fit", "reached"), usual=1.0),
    "linear_network": bars("Score", ("train", "training"), ("linear_train", "linear model")),
    "over_regularised": held_back,
    "leakage": bars("Held-out score", ("score", "all"), ("score_without", "without copies")),
    "class_imbalance": bars(
        "Found", ("worst_class_recall", "worst class"), ("accuracy", "all"), ("recall", "all")
    ),
    "label_noise": bars(
        "Other label than said",
        *(("wrong_where_surest", "surest quarter"), ("wrong_in_the_next_quarter", "next quarter")),
    ),
    "shifted_boxes": out_of_place,
    "missing_boxes": bars(
        "Boxes in these pictures", ("boxes", "found alone"), ("annotated", "annotated")
    ),
    "objects_too_small": bars(
        "Found", ("tiny_recall", "below 16 pixels"), ("larger_recall", "larger")
    ),
    "shift": bars(
        "Training and held-out",
        *(("auc", "told apart"), ("fit_in_training", "fit, training"), ("fit", "fit, evaluation")),
    ),
    "cannot_tell": bars("Effect", ("smallest_effect", "least to be seen"), ("asked", "asked for")),
    "slow_pipeline": bars("Share of the time waiting", ("waiting", ""), usual=0.25),
    "dying_relu": share_of_units("dead", "Units that never fire", ORANGE),
    "saturated_activation": share_of_units("saturated", "Saturated units", ORANGE),
}
