"""What a cross-validation varied, as tables, pictures and a sentence."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fitwell.metrics import METRICS
from fitwell.record import SIZES, Row, Run
from fitwell.report.curves import PART_COLOURS
from fitwell.report.figures import draw
from fitwell.report.wording import interval, metric_word, number, setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPREAD = 10.0  # largest by smallest value: from here on the axis is logarithmic


@dataclass(frozen=True)
class Level:
    """One value: mean train and held-out score over the folds, and their spread (nan for one)."""

    value: Any
    train: float
    validation: float
    spread: float
    failure: str = ""


@dataclass(frozen=True)
class Varied:
    """One thing that was varied.

    Args:
        name: the setting, or `SIZES`.
        said: what twice the data would bring, or "".
    """

    name: str
    metric: str
    levels: tuple[Level, ...]
    said: str = ""

    @property
    def title(self) -> str:
        return "examples to train on" if self.name == SIZES else self.name


def varied(run: Run) -> list[Varied]:
    """Everything that was varied, in order."""
    rows = [row for row in run.evidence if row.get("experiment") == "vary"]
    names = dict.fromkeys(str(row["name"]) for row in rows)
    said = next((twice(row) for row in run.evidence if row.get("experiment") == "twice"), "")
    found = []
    for name in names:
        own = [row for row in rows if row["name"] == name]
        levels = tuple(_level(row) for row in own)
        found.append(Varied(name, str(own[0]["metric"]), levels, said if name == SIZES else ""))
    return found


def twice(row: Row) -> str:
    """The sentence about twice the data, and what it rests on."""
    if row["low"] is None:
        why = row.get("why") or "the curves of the folds tell no spread"
        return f"What twice the examples would bring cannot be said: {why}."
    name = str(row["metric"])
    verb = "raise" if METRICS[name].higher_is_better else "lower"
    by = f"{verb} {metric_word(name)} by {number(row['gain'])}"
    around = interval(row["low"], row["high"])
    more = "so more data should help" if row["low"] > 0 else "so it may bring nothing"
    return (
        f"Twice the examples ({row['examples']:,}) would {by}, 95 % interval {around}, {more}. This takes "
        "for granted that the curve goes on as it does from size to size."
    )


def _level(row: Row) -> Level:
    scores = np.array([v for v in row["validation"] if v is not None], dtype=float)
    train = np.array([v for v in row["train"] if v is not None], dtype=float)
    return Level(
        row["value"],
        float(train.mean()) if len(train) else np.nan,
        float(scores.mean()) if len(scores) else np.nan,
        float(scores.std(ddof=1)) if len(scores) > 1 else np.nan,
        str(row.get("failure", "")),
    )


def picture(one: Varied) -> str:
    """Train and held-out score over the values, with the spread of the folds as a band."""

    def paint(axes: "Axes") -> None:
        values = [level.value for level in one.levels]
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        places = np.array(values, dtype=float) if numeric else np.arange(len(values), dtype=float)
        held_out = np.array([level.validation for level in one.levels])
        spread = np.nan_to_num([level.spread for level in one.levels])
        train = np.array([level.train for level in one.levels])
        dashed = (0, (4, 1.5))
        colours = PART_COLOURS
        axes.plot(
            places, train, color=colours["train"], linestyle=dashed, marker="o", label="train"
        )
        axes.plot(places, held_out, color=colours["validation"], marker="o", label="validation")
        axes.fill_between(
            places,
            held_out - spread,
            held_out + spread,
            color=colours["validation"],
            alpha=0.15,
            linewidth=0,
        )
        if numeric and places.min() > 0 and places.max() >= SPREAD * places.min():
            axes.set_xscale("log")
            axes.minorticks_off()
        axes.set_xticks(places, [setting(value) for value in values])
        axes.set_title(metric_word(one.metric))
        axes.set_xlabel(one.title)
        axes.legend()

    return draw(paint)
