"""Matplotlib figures as inline pictures, in the report's own look.

Figures are made without pyplot: no global state, no window, nothing to close.
"""

import base64
import io
import math
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2a37"
MUTED = "#6b7684"
RULE = "#e2e7ed"
BLUE = "#2563a8"
ORANGE = "#c8771b"
GREEN = "#1f7a4d"
RED = "#b3382c"
GREY = "#9aa5b1"

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

STYLE: dict[str, Any] = {
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": MUTED,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 8,
    # Text stays text: it takes the page's font, can be searched, and keeps the file small.
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class may be called $x$
    "svg.hashsalt": "fitwell",  # equal results give an equal file
    "figure.constrained_layout.use": True,
}


def draw(paint: Callable[["Axes"], None], *, width: float = 4.4, height: float = 2.7) -> str:
    """One pair of axes, painted, as the data URI of an SVG picture.

    Args:
        paint: draws on the axes.
        width, height: in inches of 72 points.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        paint(figure.subplots())
        return as_uri(figure)


def powers_of_ten(axes: "Axes") -> None:
    """A logarithmic vertical axis; matplotlib's own labels need its formula language."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_major_formatter(lambda value, _: power_of_ten(value))
    axes.yaxis.set_minor_formatter(NullFormatter())


def power_of_ten(value: float) -> str:
    """The label of a logarithmic axis.

    >>> power_of_ten(0.001), power_of_ten(1e5), power_of_ten(0.1)
    ('0.001', '10⁵', '0.1')
    """
    exponent = math.log10(value) if value > 0 else math.nan
    if exponent != round(exponent) or -4 < exponent < 4:
        return f"{value:g}"
    return "10" + str(round(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def as_uri(figure: "Figure") -> str:
    """A figure as the data URI of an SVG picture."""
    buffer = io.StringIO()
    with any_script():  # the text is drawn by the reader's own fonts
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    text = re.sub(r"'DejaVu Sans'[^;\"]*", FONT.replace("'", "&apos;"), buffer.getvalue())
    return data_uri(text.encode(), "image/svg+xml")


@contextmanager
def any_script() -> Iterator[None]:
    """No warning of letters that Matplotlib's own font lacks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
