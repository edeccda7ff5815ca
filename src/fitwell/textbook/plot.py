"""Curves drawn with braille dots, eight a letter, for a terminal or a page of text. No torch."""

from collections.abc import Sequence

# The bits of a braille letter, by column and row of its dots.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_MARGIN = 7  # for the numbers on the left


def panel(
    x: Sequence[float],
    y: Sequence[float],
    title: str,
    *,
    across: str = "",
    width: int = 38,
    height: int = 7,
) -> list[str]:
    """One curve as lines of text, each `width` wide.

    Args:
        across: what x is, written under it.

    >>> print("\\n".join(line.rstrip() for line in panel([0, 1], [0, 1], "y", width=14, height=2)))
            y
          1│   ⣀⠔⠊
          0│⡠⠔⠉
           └──────
            0    1
    """
    columns = width - _MARGIN - 1
    low, high = min(y), max(y)
    if low == high:  # a flat line in the middle
        low, high = low - 1, high + 1
    rows = [[0] * columns for _ in range(height)]
    last = None
    for dot in range(2 * columns):
        value = _between(x, y, x[0] + (x[-1] - x[0]) * dot / (2 * columns - 1))
        level = round((value - low) / (high - low) * (4 * height - 1))
        # A steep curve is filled up from the dot before it.
        start = level if last is None else last + (level > last) - (level < last)
        for filled in range(min(start, level), max(start, level) + 1):
            row, bit = divmod(4 * height - 1 - filled, 4)
            rows[row][dot // 2] |= _DOTS[dot % 2][bit]
        last = level
    labels = {height - 1: _number(low), 0: _number(high)}
    zero = height - 1 - round((0 - low) / (high - low) * (height - 1))
    if low < 0 < high and zero not in labels:
        labels[zero] = "0"
    lines = [f"{'':{_MARGIN + 1}}{title}"]
    lines += [
        f"{labels.get(i, ''):>{_MARGIN}}│"
        + "".join(chr(0x2800 + bits) if bits else " " for bits in row)
        for i, row in enumerate(rows)
    ]
    left, right = _number(x[0]), _number(x[-1])
    lines.append(f"{'':{_MARGIN}}└{'─' * columns}")
    lines.append(f"{'':{_MARGIN + 1}}{left}{across:^{columns - len(left) - len(right)}}{right}")
    return [line.ljust(width) for line in lines]


def beside(*panels: Sequence[str], gap: int = 2) -> list[str]:
    """Panels of equal height next to one another.

    >>> beside(["ab", "c "], ["d", "e"])
    ['ab  d', 'c   e']
    """
    return [(" " * gap).join(lines).rstrip() for lines in zip(*panels, strict=True)]


def _between(x: Sequence[float], y: Sequence[float], at: float) -> float:
    """The curve at a point, straight between those that are known; x rises in equal steps."""
    place = (at - x[0]) / (x[-1] - x[0]) * (len(x) - 1)
    left = min(int(place), len(x) - 2)
    return y[left] + (y[left + 1] - y[left]) * (place - left)


def _number(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 1e4 else f"{value:.0e}"
