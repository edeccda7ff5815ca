"""What a search tried, as pictures: how much each setting matters, and every trial as a line."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fitwell import store
from fitwell.report.figures import BLUE, GREY, INK, MUTED, ORANGE, STYLE, any_script, draw
from fitwell.report.wording import cut, higher_is_better, metric_word, number, setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMPORTANCE, PARALLEL = "importance.png", "parallel.png"
DOTS = 150  # an inch
WIDTH = 9.2
ROW = 0.34  # inches of a bar
LISTED = 10  # trials in the report
ALT = {
    IMPORTANCE: "Share of the score's variation that each setting explains",
    PARALLEL: "Parallel coordinates of the trials",
}

Paint = Callable[["Axes"], None]


def write_pictures(result: Any) -> None:
    """`importance.png` and `parallel.png` in the run folder, of a search that has something to show."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    for name, (paint, height) in paintings(result).items():
        with rc_context(STYLE), store.replacing(result.folder / name) as temporary, any_script():
            figure = Figure(figsize=(WIDTH, height))
            paint(figure.subplots())
            figure.savefig(temporary, format="png", dpi=DOTS, facecolor="white")


def section(result: Any) -> dict[str, Any]:
    """What the report's section of the search shows."""
    return {
        "said": said(result),
        "metric": metric_word(str(result.recipe["score.name"])),
        "names": [*result.importance, *(n for n in result.space if n not in result.importance)],
        "rows": best_rows(result)[:LISTED],
        "alt": ALT,
        "pictures": {
            name: draw(paint, width=WIDTH, height=height)
            for name, (paint, height) in paintings(result).items()
        },
    }


def said(result: Any) -> str:
    """How it was searched, and how much the best score flatters."""
    tried = [row for row in result.trials if not row.start]
    counts = [
        (sum(row.state == state for row in tried), state) for state in ("stopped early", "failed")
    ]
    rest = "".join(f", {count} {state}" for count, state in counts if count)
    text = f"{len(tried)} trials ({result.sampler}, pruner {result.pruner}{rest})."
    if result.selected.get("fresh") is not None:
        score, fresh = (number(result.selected[key]) for key in ("score", "fresh"))
        text += f" The best one scored {score} on the folds that selected it, and {fresh} on fresh ones."
    return text


def best_rows(result: Any) -> list[Any]:
    """The trials that ran on all folds, best first."""
    sign = -1 if higher_is_better(str(result.recipe["score.name"])) else 1
    whole = [row for row in result.trials if row.state == "done"]
    return sorted(whole, key=lambda row: sign * row.score)


def paintings(result: Any) -> dict[str, tuple[Paint, float]]:
    """name -> (what draws it, height in inches)."""
    found: dict[str, tuple[Paint, float]] = {}
    if result.importance:
        found[IMPORTANCE] = (importance_of(result), 0.9 + ROW * len(result.importance))
    if sum(row.score is not None for row in result.trials) > 1:
        found[PARALLEL] = (parallel_of(result), 3.6)
    return found


def importance_of(result: Any) -> Paint:
    """A bar a setting: the share of the score's variation that it explains."""

    def paint(axes: "Axes") -> None:
        names = list(result.importance)[::-1]
        shares = [result.importance[name] for name in names]
        axes.barh(names, shares, color=BLUE, height=0.62)
        for place, share in enumerate(shares):
            axes.text(share, place, f" {100 * share:.0f} %", va="center", fontsize=8, color=INK)
        axes.set_xlim(0, max(shares) * 1.12)
        axes.grid(False)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.set_title("Share of the score's variation that each setting explains (fANOVA)")

    return paint


def parallel_of(result: Any) -> Paint:
    """Parallel coordinates: an axis a setting and one for the score, a line a trial; the best is orange.

    Stopped trials end with the mean of the folds that they ran on, and are dotted.
    """

    def paint(axes: "Axes") -> None:
        rows = [row for row in result.trials if row.score is not None]
        metric = result.recipe["score.name"]
        names = list(result.space)
        columns = [_column(name, result.space[name], rows) for name in names]
        score = _scaled([row.score for row in rows], log=False)
        places = range(len(names) + 1)
        lines = np.array([*[column[0] for column in columns], score[0]]).T  # [trial, axis]
        order = np.argsort([row.score for row in rows])
        order = order if higher_is_better(metric) else order[::-1]
        for rank, i in enumerate(order):  # the better, the later and the darker
            best = result.best is not None and rows[i].number == result.best.number
            axes.plot(
                places,
                lines[i],
                color=ORANGE if best else BLUE,
                alpha=1.0 if best else 0.15 + 0.6 * rank / max(1, len(rows) - 1),
                linewidth=2.2 if best else 1.0,
                linestyle=":" if rows[i].state == "stopped early" else "-",
                zorder=3 if best else 2,
            )
        for place, (_, ticks) in zip(places, [*columns, score], strict=True):
            axes.axvline(place, color=GREY, linewidth=0.8, zorder=1)
            for height, text in ticks:
                axes.text(place + 0.015, height, text, fontsize=7.5, color=MUTED, zorder=4)
        axes.set_xticks(list(places), [*[cut(n, 24) for n in names], metric_word(metric)])
        axes.set_yticks([])
        axes.grid(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.set_xlim(-0.05, len(names) + 0.25)
        axes.set_title("Every trial as a line" + (", the best in orange" if result.best else ""))

    return paint


Column = tuple[list[float], list[tuple[float, str]]]  # heights of the trials, and (height, label)


def _column(name: str, text: str, rows: Sequence[Any]) -> Column:
    """Where each trial stands on the axis of one setting; nan where it does not have it."""
    values = [row.settings.get(name) for row in rows]
    if ".." in text:
        return _scaled(values, log=text.endswith(":log"))
    options = list(dict.fromkeys(setting(v) for v in values if v is not None))
    heights = {option: i / max(1, len(options) - 1) for i, option in enumerate(options)}
    places = [np.nan if v is None else heights[setting(v)] for v in values]
    return places, [(height, option) for option, height in heights.items()]


def _scaled(values: Sequence[Any], *, log: bool) -> Column:
    """Numbers from 0 to 1, with labels at both ends and in the middle."""
    known = np.array([np.nan if v is None else v for v in values], dtype=float)
    scale = np.log(known) if log else known
    low, high = np.nanmin(scale), np.nanmax(scale)
    span = (high - low) or 1.0
    marks = [low + share * (high - low) for share in (0.0, 0.5, 1.0)]
    shown = np.exp(marks) if log else marks
    heights = [(m - low) / span for m in marks]
    ticks = dict(zip(heights, [f"{v:.3g}" for v in shown], strict=True))
    return ((scale - low) / span).tolist(), list(ticks.items())
