"""A sheet of pictures as a PNG file: tiles in grids, one grid below another, each with its words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fitwell import store
from fitwell.report.figures import BLUE, GREY, RED, STYLE, any_script

WIDTH = 8.0  # inches
_MARGIN = 0.25
_LINE = 0.19
_WORDS = 0.62  # above a grid: its title, its note and some air


@dataclass(frozen=True)
class Panel:
    """One layer on a sheet.

    Args:
        title, note: what it is; how to read it.
        image: [height, width, colour] between 0 and 1.
        unit: inches a pixel, at most; less where the sheet is not wide enough.
    """

    title: str
    note: str
    image: np.ndarray
    unit: float


def signed(values: np.ndarray) -> np.ndarray:
    """[..., colour] of values between -1 and 1: blue over white to red."""
    from matplotlib.colors import to_rgb

    size = np.clip(np.abs(values), 0, 1)[..., None]
    colour = np.where(values[..., None] > 0, to_rgb(RED), to_rgb(BLUE))
    return 1 - size + size * colour


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[height, width, ...] at another size, without blur."""
    down, across = (
        np.arange(new) * old // new for new, old in zip(size, image.shape[:2], strict=True)
    )
    return image[down][:, across]


def wrapped(tiles: np.ndarray, *, columns: int) -> np.ndarray:
    """[tile, height, width, colour] in rows, one picture; places left over are white."""
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    full = np.ones((rows * columns, *tiles.shape[1:]))
    full[: len(tiles)] = tiles
    picture = tiled(full.reshape(rows, columns, *tiles.shape[1:]))
    empty = rows * columns - len(tiles)
    if empty:
        picture[-tiles.shape[1] :, -empty * (tiles.shape[2] + 1) :] = 1
    return picture


def tiled(tiles: np.ndarray, gap: int = 1) -> np.ndarray:
    """[row, column, height, width, colour] as one picture with lines of `gap` pixels between."""
    from matplotlib.colors import to_rgb

    rows, columns, height, width, colours = tiles.shape
    shape = (rows, height + gap, columns, width + gap, colours)
    picture = np.broadcast_to(np.array(to_rgb(GREY)), shape).copy()
    picture[:, :height, :, :width] = tiles.transpose(0, 2, 1, 3, 4)
    picture = picture.reshape(rows * (height + gap), columns * (width + gap), colours)
    return picture[: picture.shape[0] - gap, : picture.shape[1] - gap]


@dataclass(frozen=True)
class Sheet:
    """Panels below one another, under a heading and a few lines of text."""

    heading: str
    panels: Sequence[Panel]
    lines: Sequence[str] = ()

    def write(self, path: Path) -> None:
        """Draw the sheet; equal sheets give equal files."""
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        units = [min(p.unit, (WIDTH - 2 * _MARGIN) / p.image.shape[1]) for p in self.panels]
        heights = [p.image.shape[0] * u for p, u in zip(self.panels, units, strict=True)]
        total = 2 * _MARGIN + 0.3 + _LINE * len(self.lines) + sum(heights) + _WORDS * len(heights)
        with rc_context(STYLE | {"figure.constrained_layout.use": False}):
            figure = Figure(figsize=(WIDTH, total))

            def say(text: str, top: float, *, size: float = 9, bold: bool = False) -> None:
                weight = "bold" if bold else "normal"
                at = (_MARGIN / WIDTH, 1 - top / total)
                figure.text(*at, text, va="top", size=size, weight=weight)

            top = _MARGIN
            say(self.heading, top, size=12, bold=True)
            top += 0.3
            for text in self.lines:
                say(text, top)
                top += _LINE
            for panel, unit, height in zip(self.panels, units, heights, strict=True):
                say(panel.title, top + 0.2, bold=True)
                say(panel.note, top + 0.2 + _LINE, size=8)
                top += _WORDS + height
                width = panel.image.shape[1] * unit
                place = (_MARGIN / WIDTH, 1 - top / total, width / WIDTH, height / total)
                axes = figure.add_axes(place)
                axes.set_axis_off()
                axes.imshow(panel.image, interpolation="nearest", aspect="auto")
            with store.replacing(path) as temporary, any_script():
                figure.savefig(temporary, format="png", dpi=144, metadata={"Software": None})
