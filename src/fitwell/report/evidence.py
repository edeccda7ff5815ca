"""A small picture for each finding, drawn from the recorded rows that it speaks about."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fitwell.record import Finding, Run
from fitwell.report.curves import learning_curve
from fitwell.report.figures import BLUE, GREEN, MUTED, ORANGE, RED, draw, powers_of_ten
from fitwell.report.wording import metric_word

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Picture: TypeAlias = Callable[[Finding, Sequence[Run], str], str | None]
SIZE = {"width": 2.9, "height": 1.9}


def picture(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
    """The picture of a finding, or None where the rows for it are missing."""
    if not runs:
        return None
    paint = PICTURES.get(finding.name, score_curve)
    return paint(finding, runs, metric) or score_curve(finding, runs, metric)


def score_curve(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
    heading = f"{metric_word(metric).capitalize()} by epoch"
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


def update_size(finding: Finding, runs: Sequence[Run], metric: str) -> str | None:
    """The real update of each layer per step, as a share of its weights."""
    layers, median, _ = by_layer(runs, "step", "update_ratio")
    if not layers or not (median > 0).any():
        return loss_curve(finding, runs, metric)

    def paint(axes: "Axes") -> None:
        axes.axhspan(1e-4, 1e-1, color=GREEN, alpha=0.10, linewidth=0)
        axes.plot(range(len(layers)), median, "o-", color=BLUE, markersize=4)
        powers_of_ten(axes)
        low, high = min(median[median > 0].min(), 1e-4), max(median.max(), 1e-1)
        axes.set_ylim(low / 3, high * 3)
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
    "vanishing_gradient": gradient_by_depth,
    "exploding_gradient": gradient_by_depth,
    "dying_relu": share_of_units("dead", "Units that never fire", ORANGE),
    "saturated_activation": share_of_units("saturated", "Saturated units", ORANGE),
}
