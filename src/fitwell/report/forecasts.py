"""Forecasts beside naive ones: errors by step ahead, and windows with their intervals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fitwell.record import Row
from fitwell.report.facts import Facts
from fitwell.report.figures import BLUE, GREEN, INK, MUTED, ORANGE, draw
from fitwell.report.wording import number, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What the references say, by the model of their row.
NAIVE = {"repeat_last": "repeating the last value", "seasonal_naive": "repeating the last season"}
COLOURS = {"network": BLUE, "repeat_last": MUTED, "seasonal_naive": ORANGE}
_PARTS = ("test", "held_out", "validation")


def rows_of(facts: Facts, experiment: str) -> list[Row]:
    """The rows of the last part that there is: the final run's, else those of the folds."""
    for runs in ([facts.run], facts.final_folds):
        rows = [r for run in runs for r in run.evidence if r.get("experiment") == experiment]
        for part in _PARTS:
            if found := [row for row in rows if row["part"] == part]:
                return found
    return []


def said(facts: Facts) -> list[str]:
    """What naive forecasts reach on the same windows; nothing where there are no forecasts."""
    rows = rows_of(facts, "forecast")
    models = [name for name in NAIVE if any(row["model"] == name for row in rows)]
    if not models:
        return []
    parts = []
    for model in models:
        own = [row for row in rows if row["model"] == model]
        season = f" of {own[0]['season']}" if model == "seasonal_naive" else ""
        errors = (f"{name} {number(_mean(own, name))}" for name in ("mse", "mae"))
        parts.append(f"{NAIVE[model]}{season} {', '.join(errors)}")
    return [
        f"Beside it, on the {words(rows[0]['part'])} part: {'; '.join(parts)}. mse and mae are in standard "
        "deviations of the training part, rmse in the target's own unit."
    ]


def _mean(rows: Sequence[Row], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def section(facts: Facts, examples: bool = True) -> dict[str, Any]:
    """What the page says and shows of forecasts; empty where there are none.

    Args:
        examples: show windows of the data.
    """
    rows = rows_of(facts, "forecast")
    if not rows:
        return {}
    covered = [
        f"{share:.0%} of the {words(part)} part"
        for row in facts.run.evidence
        if row.get("experiment") == "intervals"
        for part, share in row["covered"].items()
    ]
    level = [r for r in facts.run.evidence if r.get("experiment") == "intervals"]
    return {
        "said": said(facts),
        "curve": step_curve(rows),
        "windows": [window(row) for row in rows_of(facts, "window")[:9]] if examples else [],
        "level": f"{level[0]['level']:.0%}" if level else "",
        "of": words(level[0]["part"]) if level else "",
        "covered": ", ".join(covered),
    }


def step_curve(rows: Sequence[Row]) -> str:
    """Squared error by step ahead, of the network and of naive forecasts."""
    names = {"network": "network", "repeat_last": "repeat last", "seasonal_naive": "last season"}

    def paint(axes: "Axes") -> None:
        for model, colour in COLOURS.items():
            curves = [row["by_step"]["mse"] for row in rows if row["model"] == model]
            if not curves:
                continue
            mean = np.mean(curves, axis=0)
            at = np.arange(1, len(mean) + 1)
            axes.plot(
                at, mean, color=colour, marker="o" if len(mean) == 1 else "", label=names[model]
            )
        axes.set_ylim(bottom=0)
        axes.set_title("Squared error by step ahead")
        axes.set_xlabel("steps ahead")
        axes.legend()

    return draw(paint, width=9.2, height=2.7)


def window(row: Row) -> dict[str, str]:
    """One window: its past, what came, what was forecast, and the interval."""

    def paint(axes: "Axes") -> None:
        past, truth = np.array(row["past"]), np.array(row["truth"])
        ahead = np.arange(1, len(truth) + 1)
        mark = "o" if len(truth) == 1 else ""
        axes.plot(np.arange(1 - len(past), 1), past, color=INK, linewidth=1.1)
        axes.plot(ahead, truth, color=GREEN, linewidth=1.3, marker=mark, label="what came")
        axes.plot(ahead, row["forecast"], color=BLUE, marker=mark, label="forecast")
        if row["low"] is not None:
            axes.fill_between(ahead, row["low"], row["high"], color=BLUE, alpha=0.15, linewidth=0)
        axes.axvline(0.5, color=MUTED, linewidth=0.7)
        axes.set_title(f"{row['target']} from {row['key']}")
        axes.legend()

    return {"picture": draw(paint, width=4.4, height=2.4), "key": str(row["key"])}
