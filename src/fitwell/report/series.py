"""A series as a small line plot."""

from typing import TYPE_CHECKING

import numpy as np

from fitwell.report.figures import BLUE, GREEN, MUTED, ORANGE, RED, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CHANNELS = 8  # lines that can still be told apart
MOST_POINTS = 800  # of a line: more are not seen at this size
COLOURS = (BLUE, ORANGE, GREEN, RED, MUTED)


def series_plot(series: np.ndarray) -> str:
    """[channel, time] as the data URI of a picture: a line a channel, gaps where values are missing.

    Of several channels each is drawn around its own mean and in its own scale.

    Of very long series the smallest and largest value of each stretch are drawn, so that no peak is lost.
    """
    shown = series[:MOST_CHANNELS]

    def paint(axes: "Axes") -> None:
        for i, channel in enumerate(shown):
            at, values = thinned(channel)
            if len(series) > 1:
                values = _standard(values)
            axes.plot(at, values, color=COLOURS[i % len(COLOURS)], linewidth=1.1)
        axes.set_xlim(0, max(1, series.shape[1] - 1))
        axes.locator_params(nbins=3)
        if len(series) > 1:
            axes.set_yticks([])
            more = f" of {len(series)}" if len(series) > MOST_CHANNELS else ""
            axes.set_title(f"{len(shown)}{more} channels", fontsize=8)

    return draw(paint, width=1.7, height=1.6)


def thinned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(places, values) to draw: all of a short line, of a long one both extremes of each stretch.

    >>> at, kept = thinned(np.eye(1, 9000, 4321)[0])
    >>> len(at) <= MOST_POINTS, 4321 in at.tolist(), kept.max()
    (True, True, np.float64(1.0))
    """
    if len(values) <= MOST_POINTS:
        return np.arange(len(values)), values
    kept: list[int] = []
    for stretch in np.array_split(np.arange(len(values)), MOST_POINTS // 2):
        known = stretch[np.isfinite(values[stretch])]
        if not len(known):
            kept.append(int(stretch[0]))  # nan: a gap in the line
            continue
        kept += sorted({int(known[values[known].argmin()]), int(known[values[known].argmax()])})
    return np.array(kept), values[kept]


def _standard(values: np.ndarray) -> np.ndarray:
    known = values[np.isfinite(values)]
    scale = float(known.std()) if len(known) else 0.0
    return (values - (known.mean() if len(known) else 0.0)) / (scale or 1.0)
