"""Learning curves with fold bands, and the verdict plot."""

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fitwell.record import Run, Verdict
from fitwell.report.figures import BLUE, GREEN, GREY, INK, MUTED, ORANGE, RED, draw, powers_of_ten
from fitwell.report.wording import metric_word, number, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PART_COLOURS = {"train": ORANGE, "validation": BLUE}
LABEL_WIDTH = 40  # characters


def curve_table(runs: Sequence[Run], part: str, metric: str) -> np.ndarray:
    """[run, epoch] the metric of a part, nan where a run has no such epoch."""
    rows = [
        [np.nan if value is None else float(value) for value in _values(run, part, metric)]
        for run in runs
    ]
    length = max((len(row) for row in rows), default=0)
    table = np.full((len(rows), length), np.nan)
    for i, row in enumerate(rows):
        table[i, : len(row)] = row
    return table


def _values(run: Run, part: str, metric: str) -> list[float | None]:
    return [(epoch.get(part) or {}).get(metric) for epoch in run.epochs]


def learning_curve(
    runs: Sequence[Run],
    metric: str,
    *,
    heading: str,
    limits: tuple[float, float] | None = None,
    reference: float | None = None,
    width: float = 4.4,
    height: float = 2.7,
) -> str | None:
    """Train and validation by epoch: the mean over folds, and the band of all folds.

    Args:
        runs: the folds of one recipe, or one run.
        metric: a score, or "loss".
        limits: of the vertical axis, so that two pictures can be compared.
        reference: a horizontal line, such as the score of guessing.
        width, height: of the picture, in inches.

    Returns:
        A data URI, or None where no epoch has the metric.
    """
    tables = {part: curve_table(runs, part, metric) for part in PART_COLOURS}
    tables = {p: t for p, t in tables.items() if t.size and np.isfinite(t).any()}
    if not tables:
        return None

    def paint(axes: "Axes") -> None:
        from matplotlib.ticker import MaxNLocator

        for part, table in tables.items():
            kept = np.isfinite(table).any(axis=0)
            epochs = np.arange(1, table.shape[1] + 1)[kept]
            table = table[:, kept]
            colour = PART_COLOURS[part]
            marker = "o" if len(epochs) < 3 else None
            dash = "-" if part == "validation" else (0, (4, 1.5))
            mean = np.nanmean(table, axis=0)
            axes.plot(epochs, mean, color=colour, linestyle=dash, marker=marker, label=part)
            if len(table) > 1:
                low, high = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
                axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
        if reference is not None:
            axes.axhline(reference, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
        if limits is not None:
            axes.set_ylim(*limits)
        axes.set_title(heading)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.legend(loc="best")

    return draw(paint, width=width, height=height)


def step_curve(
    runs: Sequence[Run], name: str, heading: str, *, width: float = 4.4, height: float = 2.7
) -> str | None:
    """A value of the step rows over the training, each run a line; powers of ten where it spans several.

    None where it is not recorded, or not positive.
    """
    lines = []
    for run in runs:
        rows = [(row.get("step", n), row.get(name)) for n, row in enumerate(run.steps)]
        lines.append(np.array([(at, value) for at, value in rows if value is not None], float))
    lines = [line for line in lines if len(line) > 1 and (line[:, 1] > 0).all()]
    if not lines:
        return None

    def paint(axes: "Axes") -> None:
        for line in lines:
            axes.plot(line[:, 0], line[:, 1], color=BLUE, linewidth=0.8, alpha=0.8)
        values = np.concatenate([line[:, 1] for line in lines])
        if values.max() > 30 * np.median(values):
            powers_of_ten(axes)
        axes.set_title(heading)
        axes.set_xlabel("step")

    return draw(paint, width=width, height=height)


def shared_limits(groups: Sequence[Sequence[Run]], metric: str) -> tuple[float, float] | None:
    """Limits that hold the curves of every group; the top of a loss leaves out single spikes."""
    tables = [curve_table(runs, part, metric) for runs in groups for part in PART_COLOURS]
    values = np.concatenate([t[np.isfinite(t)] for t in tables]) if tables else np.array([])
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    if metric == "loss":
        high = min(high, 1.5 * float(np.quantile(values, 0.98)))
    margin = 0.05 * (high - low) or 0.05
    return low - margin, high + margin


def verdict_plot(verdicts: Sequence[Verdict], min_effect: float) -> str:
    """Effect and interval a remedy of one round: hollow where screened, filled where confirmed.

    Zero is a solid line; the dashed one is the smallest gain worth having. A round has a picture of
    its own, since effects of the first may be a hundred times those of the last. The confirmed
    intervals set the scale: a screened effect far beyond them is a triangle at the edge.
    """
    rows = list(verdicts)
    row_height = 0.36 if any(len(short(v.remedy)) > LABEL_WIDTH for v in rows) else 0.27  # inches
    return draw(
        lambda axes: paint_verdicts(axes, rows, min_effect),
        width=7.4,
        height=0.75 + row_height * len(rows),
    )


def paint_verdicts(axes: "Axes", rows: Sequence[Verdict], min_effect: float) -> None:
    """A row a verdict, from the top."""
    low, high = scale_of(rows, min_effect)
    margin = 0.05 * (high - low)
    edges = low - margin, high + margin
    axes.grid(False)
    axes.axvline(0, color=INK, linewidth=0.9)
    if min_effect > 0:
        axes.axvline(min_effect, color=GREEN, linewidth=0.9, linestyle=(0, (4, 3)))
    for y, row in enumerate(rows):
        _verdict_row(axes, y, row, edges)
        before = rows[y - 1] if y else row
        if row.stage != before.stage:
            axes.axhline(y - 0.5, color=GREY, linewidth=0.5)
    axes.set_yticks(range(len(rows)), [_wrapped(r.remedy) for r in rows], color=INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.05)
    axes.set_xlabel(f"effect on {metric_word(rows[0].metric)} (right of zero is better)")


def scale_of(rows: Sequence[Verdict], min_effect: float) -> tuple[float, float]:
    """What is drawn to scale: zero, the least gain, all that was confirmed, what lies near them."""
    confirmed = [row for row in rows if row.stage == "confirm"]
    ends = [v for row in confirmed for v in (row.low, row.effect, row.high) if v is not None]
    known = [0.0, min_effect, *filter(math.isfinite, ends)]
    low, high = min(known), max(known)
    room = high - low if confirmed else math.inf
    known += [row.effect for row in rows if low - room <= row.effect <= high + room]
    low, high = min(known), max(known)
    return (low, high) if low < high else (low - 1e-3, high + 1e-3)


def mark_of(effect: float, edges: tuple[float, float]) -> tuple[float, str]:
    """Where an effect is drawn, and as what: a circle, or a triangle at the edge it lies beyond.

    >>> mark_of(0.2, (-1, 1)), mark_of(-3.0, (-1, 1)), mark_of(3.0, (-1, 1))
    ((0.2, 'o'), (-1, '<'), (1, '>'))
    """
    low, high = edges
    return (low, "<") if effect < low else (high, ">") if effect > high else (effect, "o")


def _verdict_row(axes: "Axes", y: int, row: Verdict, edges: tuple[float, float]) -> None:
    colour = {"helps": GREEN, "hurts": RED}.get(row.decision, BLUE if row.low is not None else GREY)
    confirmed = row.stage == "confirm"
    if row.low is not None and row.high is not None:
        axes.plot([row.low, row.high], [y, y], color=colour, linewidth=2.2)
    face = colour if confirmed else "white"
    place, marker = mark_of(row.effect, edges)
    axes.plot([place], [y], marker, color=colour, ms=6, markerfacecolor=face)
    said = f"{number(row.effect, signed=True)}  {row.decision}"
    axes.annotate(
        said,
        xy=(1.01, y),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=8,
        color=colour if confirmed else MUTED,
        fontweight="bold" if row.decision == "helps" else "normal",
    )


def _wrapped(name: str) -> str:
    lines = textwrap.wrap(short(name), LABEL_WIDTH, max_lines=2, placeholder=" …")
    return "\n".join(lines)
