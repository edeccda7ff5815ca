"""The tables of `show`: a line a layer, a line a parameter; of equal blocks the first one alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from fitwell.report.wording import cut, setting

Row: TypeAlias = Mapping[str, Any]
# Cells of a line, or one text that goes across.
Line: TypeAlias = list[str] | str

WIDTH = 80
_NARROWEST = 18  # so much is left of the second column, whatever the first one takes


def layers(rows: Sequence[Row]) -> str:
    """The layers in the order of computation, with their work, their signal and its gradient."""

    def cells(name: str, row: Row) -> list[str]:
        functions = ", ".join(row["functions"])
        return [
            name,
            row["kind"] + (f": {functions}" if functions else ""),
            "×".join(str(n) for n in row["output"] or ()),
            _short(row["parameters"]),
            _short(row["multiply_adds"]),
            *_variances(row),
        ]

    def ending(row: Row) -> str:
        signal, gradient = _variances(row)
        return f" (signal {signal}, gradient {gradient})" if signal else ""

    same = ("kind", "output", "parameters", "multiply_adds")
    lines = _folded(rows, [row["name"] for row in rows], same, cells, ending)
    head = ["layer", "kind", "output", "weights", "mul-adds", "signal", "gradient"]
    return _table(head, lines, left=3)


def parameters(rows: Sequence[Row]) -> str:
    """The parameters with their shapes; of a column that says nothing new, nothing."""
    extra = [k for k in ("trainable", "tied_to", "init") if any(row.get(k) for row in rows)]

    def cells(name: str, row: Row) -> list[str]:
        rest = [setting(row.get(k)) if row.get(k) is not None else "" for k in extra]
        shape = "×".join(str(n) for n in row["shape"]) or "1"
        return [name, shape, *rest, f"{row['count']:,}"]

    owners = [row["name"].rpartition(".")[0] for row in rows]
    lines = _folded(rows, owners, ("shape", "count", *extra), cells, lambda row: "")
    lines.append(["all", "", *("" for _ in extra), f"{sum(row['count'] for row in rows):,}"])
    head = ["parameter", "shape", *(k.replace("_", " ") for k in extra), "count"]
    return _table(head, lines, left=len(head) - 1)


def _folded(
    rows: Sequence[Row],
    owners: Sequence[str],
    same: Sequence[str],
    cells: Callable[[str, Row], list[str]],
    ending: Callable[[Row], str],
) -> list[Line]:
    """A line a row, each block under its name; blocks that are as the one before them, in words.

    Args:
        owners: the layer of each row, which tells its block.
        same: what makes two rows alike, beside the name within the block.
        ending: what is said of the last row of a block that is not shown.
    """
    groups: list[tuple[str, list[Row]]] = []
    for row, owner in zip(rows, owners, strict=True):
        block = groups[-1][0] if groups and groups[-1][0] == owner else _block(owner)
        if not groups or groups[-1][0] != block:
            groups.append((block, []))
        groups[-1][1].append(row)

    lines: list[Line] = []
    like, more = None, 0
    for block, members in groups:
        names = [row["name"].removeprefix(block).lstrip(".") or "(all of it)" for row in members]
        kept = [
            (name, [row.get(k) for k in same]) for name, row in zip(names, members, strict=True)
        ]
        if block and kept == like:
            if more:  # the line before says less of the same
                lines.pop()
            more += 1
            to = "to " if more > 1 else ""
            lines.append(f"  {more} more like it, {to}{block}{ending(members[-1])}")
            continue
        like, more = kept, 0
        indent = "  " if block else ""
        lines += [block] if block else []
        lines += [cells(indent + name, row) for name, row in zip(names, members, strict=True)]
    return lines


def _block(owner: str) -> str:
    """The innermost numbered module that a layer is part of; empty for none.

    >>> _block("layer1.0.downsample.1"), _block("conv1"), _block("features.denseblock1.layer2.norm1")
    ('layer1.0', '', 'features.denseblock1.layer2')
    """
    parts = owner.split(".")[:-1]
    numbered = [i for i, part in enumerate(parts) if part[-1].isdigit()]
    return ".".join(parts[: numbered[-1] + 1]) if numbered else ""


def _table(head: list[str], lines: Sequence[Line], *, left: int) -> str:
    """At most 80 columns; what is too long loses its beginning (names) or its end (the second).

    Args:
        left: so many columns are flush left, the others flush right.
    """
    rows = [head, *(line for line in lines if isinstance(line, list))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    gap = 2 if sum(widths) + 2 * (len(head) - 1) <= WIDTH else 1
    spare = WIDTH - gap * (len(head) - 1) - sum(widths[2:])
    widths[1] = min(widths[1], max(_NARROWEST, spare - widths[0]))
    widths[0] = min(widths[0], spare - widths[1])

    def line(row: list[str]) -> str:
        cells = [cut(row[0], widths[0], end=True), cut(row[1], widths[1]), *row[2:]]
        padded = [
            f"{c:<{w}}" if i < left else f"{c:>{w}}"
            for i, (c, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return (" " * gap).join(padded).rstrip()

    rule = "─" * (sum(widths) + gap * (len(head) - 1))
    body = [line(each) if isinstance(each, list) else cut(each, WIDTH, end=True) for each in lines]
    return "\n".join([line(head), rule, *body])


def _short(value: int) -> str:
    """At most five letters; nothing for 0.

    >>> _short(0), _short(850), _short(61706), _short(3_858_000_000)
    ('', '850', '61.7k', '3.86G')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return str(value or "")


def _variances(row: Row) -> list[str]:
    seen = row.get("variance") or {}
    values = [seen.get("forward"), seen.get("gradient")]
    return ["" if value is None else f"{value:.2g}" for value in values]
