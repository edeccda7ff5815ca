"""How a window slides over its input, drawn as text, and the sum that gives its positions. No torch."""

from collections.abc import Sequence
from typing import Any

from fitwell.nn.arithmetic import Window, windows

_MOST_ROWS, _MOST_COLUMNS = 12, 34
_LEGEND = "■ first window  □ the next  ▣ both  ░ padding  · input"


def picture(shape: Sequence[int], settings: dict[str, Any]) -> list[str]:
    """The padded input with the first window and the next one, then the sum of each axis.

    Args:
        shape: (channel, position) or (channel, height, width) of the input.
        settings: all settings of a convolution or pooling layer.

    >>> print("\\n".join(picture((1, 4), {"kernel": 3, "stride": 2, "padding": 1, "dilation": 1})))
    ■ ■ ▣ □ □ ░
    ■ first window  □ the next  ▣ both  ░ padding  · input
    position  floor((4 + 2*1 - 1*(3 - 1) - 1) / 2) + 1 = 2
    """
    sizes = shape[1:]
    sliding = windows(settings, len(sizes))
    names = ("height", "width") if len(sizes) == 2 else ("position",)
    width = len(names[0])
    sums = [
        f"{name:<{width}}  {_sum(n, w)}" for name, n, w in zip(names, sizes, sliding, strict=True)
    ]
    if len(sizes) == 1:  # one row that no window moves down from
        sizes, sliding = [1, *sizes], [Window(1, 1, 0, 1), *sliding]
    return [*_grid(sizes, sliding), _LEGEND, *sums]


def _sum(size: int, window: Window) -> str:
    """How many positions the window has, as it is computed.

    >>> _sum(2, Window(kernel=1, stride=2, padding=0, dilation=1, ceil=True))
    'ceil((2 + 2*0 - 1*(1 - 1) - 1) / 2) + 1 - 1 behind the input = 1'
    """
    w, found = window, window.positions(size)
    room = size + 2 * w.padding - w.dilation * (w.kernel - 1) - 1
    dropped = w.ceil and -(-room // w.stride) + 1 > found
    padded = f"{size} + 2*{w.padding}" + (f" + {w.behind}" if w.behind else "")
    return (
        f"{'ceil' if w.ceil else 'floor'}(({padded} - {w.dilation}*({w.kernel} - 1) - 1) "
        f"/ {w.stride}) + 1{' - 1 behind the input' if dropped else ''} = {found}"
    )


def _grid(sizes: Sequence[int], sliding: Sequence[Window]) -> list[str]:
    down, across = sliding
    first = {
        (i * down.dilation, j * across.dilation) for i, j in _pairs(down.kernel, across.kernel)
    }
    # The next window stands to the right, or below where there is no room.
    right = across.positions(sizes[1]) > 1
    shift = (0, across.stride) if right else (down.stride, 0)
    moves = right or down.positions(sizes[0]) > 1
    following = {(i + shift[0], j + shift[1]) for i, j in first} if moves else set()

    def cell(i: int, j: int) -> str:
        if (i, j) in first:
            return "▣" if (i, j) in following else "■"
        if (i, j) in following:
            return "□"
        inside = 0 <= i - down.padding < sizes[0] and 0 <= j - across.padding < sizes[1]
        return "·" if inside else "░"

    rows, columns = (n + 2 * w.padding + w.behind for n, w in zip(sizes, sliding, strict=True))
    # A little more than what the two windows read says it all.
    most = min(_MOST_ROWS, max(i for i, _ in first | following) + 3)
    lines = []
    for i in range(min(rows, most)):
        line = " ".join(cell(i, j) for j in range(min(columns, _MOST_COLUMNS)))
        lines.append(line + (" …" if columns > _MOST_COLUMNS else ""))
    return lines + ["⋮"] * (rows > most)


def _pairs(rows: int, columns: int) -> list[tuple[int, int]]:
    most = (min(rows, _MOST_ROWS), min(columns, _MOST_COLUMNS))  # no more is drawn
    return [(i, j) for i in range(most[0]) for j in range(most[1])]
