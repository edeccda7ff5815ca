"""What `explain` shows beside an entry: curves, and pictures of windows. Drawn as text."""

from collections.abc import Mapping
from typing import Any

from fitwell.textbook.plot import beside, panel
from fitwell.textbook.windows import picture


def sketch(entry: Mapping[str, Any]) -> list[str]:
    """The lines that are drawn for an entry of `explain`: a curve, what a layer does to a shape, or
    nothing.

    >>> from fitwell.api.naming import explain
    >>> print(sketch(explain("linear", {"input": [4], "out_features": 3}))[0])
    input [4] -> output [3], 15 parameters, 12 multiply-adds
    """
    if "curve" in entry:
        return _curve(entry["name"], entry["curve"])
    if "output" not in entry:
        return []
    said = (
        f"input {entry['input']} -> output {entry['output']}, {entry['parameters']:,} parameters, "
        f"{entry['multiply_adds']:,} multiply-adds"
    )
    if "kernel" not in entry["values"]:
        return [said]
    return [said, "", *picture(entry["input"], entry["values"])]


def _curve(name: str, curve: Mapping[str, Any]) -> list[str]:
    x, across = curve["x"], curve["across"]
    if "derivative" not in curve:
        return panel(x, curve["y"], name, across=across, width=60)
    lines = beside(
        panel(x, curve["y"], name, across=across),
        panel(x, curve["derivative"], "its derivative", across=across),
    )
    dead = curve.get("dead", [])
    if dead:
        lines.append(f"Dead {_where(dead, x)}: not a millionth of its largest gradient.")
    if nearly := [stretch for stretch in curve.get("saturated", []) if stretch not in dead]:
        lines.append(f"Saturated {_where(nearly, x)}: less than 5 % of its largest gradient.")
    return lines


def _where(stretches: list[list[float]], x: list[float]) -> str:
    parts = [f"up to {b:g}" if a == x[0] else f"from {a:g} on" for a, b in stretches]
    return " and ".join(parts)
