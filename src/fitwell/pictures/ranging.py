"""The curves of a range test: the smoothed loss of each seed over the rate, and the range they agree on."""

import math
from collections.abc import Sequence
from pathlib import Path

from fitwell import store
from fitwell.experiments.range_test import smoothed, window_of
from fitwell.lr_range import LrRange
from fitwell.record import Row
from fitwell.report.figures import BLUE, GREEN, MUTED, ORANGE, STYLE, any_script, power_of_ten

_HEADROOM = 1.6  # times the first loss: what lies above has broken, and would flatten the rest


def write_range(path: Path, rows: Sequence[Row], found: LrRange, own: float) -> None:
    """Draw the curves; the suffix of `path` says as what: PNG, SVG or PDF.

    Args:
        own: the recipe's rate, which is marked.

    Raises:
        FolderError: the file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    with rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6))
        axes = figure.subplots()
        tops = []
        for row in rows:
            losses = [math.nan if loss is None else loss for loss in row["loss"]]
            line = smoothed(losses, window_of(row["lr"]))
            axes.plot(row["lr"], line, color=BLUE, alpha=0.7, linewidth=1.2)
            tops.append(line[0])
            if broke := row["divergence_lr"]:
                at = min(range(len(line)), key=lambda i: abs(row["lr"][i] - broke))
                axes.plot(broke, min(line[at], 1.5 * line[0]), "o", color=BLUE, markersize=4)
        if found.lr is not None and found.low is not None and found.high is not None:
            axes.axvspan(found.low, found.high, color=GREEN, alpha=0.12, linewidth=0)
            axes.axvline(found.lr, color=GREEN, label=f"found: {found.lr:.2g}")
        axes.axvline(own, color=ORANGE, linestyle="--", label=f"recipe: {own:.2g}")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: power_of_ten(value))
        axes.xaxis.set_minor_formatter(NullFormatter())
        known = [top for top in tops if math.isfinite(top)]
        if known:
            axes.set_ylim(min(0.0, *known), _HEADROOM * max(known))
        axes.set_xlabel("learning rate (dots: where the loss broke)")
        axes.set_ylabel("loss, running median")
        seeds = f"{len(rows)} seeds"
        range_ = f", range {found.low:.2g} to {found.high:.2g}" if found.low and found.high else ""
        axes.set_title(f"Range test, {seeds}{range_}")
        axes.legend(loc="upper left", labelcolor=MUTED)
        kind = path.suffix.lower().lstrip(".")
        with store.replacing(path) as temporary, any_script():
            figure.savefig(temporary, format=kind, dpi=144)
