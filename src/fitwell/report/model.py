"""What was run: parameters, recipe, commands, environment, as rows for a table."""

import json
import math
import shlex
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fitwell import store
from fitwell.recipe import Recipe
from fitwell.report.wording import setting

Row = Mapping[str, Any]


def parameters(weights: Path) -> list[dict[str, Any]]:
    """Name, shape, count and type of each tensor of a safetensors file, first layer first, without
    reading a weight.

    The format is an 8-byte little-endian length and then so many bytes of JSON. An unreadable file
    has no rows: a report of a broken run should still open.
    """
    try:
        with weights.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, weights.stat().st_size)))
        order = json.loads(header.get("__metadata__", {}).get(store.ORDER, "[]"))
    except (OSError, ValueError, struct.error):
        return []
    rows = [
        {"name": n, "shape": t["shape"], "count": math.prod(t["shape"]), "type": t["dtype"]}
        for n, t in header.items()
        if n != "__metadata__"
    ]
    place = {name: i for i, name in enumerate(order)}
    return sorted(rows, key=lambda row: place.get(row["name"], len(place)))


def commands(
    source: str,
    recipe: Recipe | None,
    baseline: Recipe | None,
    *,
    verb: str,
    options: Sequence[str] = (),
) -> list[tuple[str, str]]:
    """(what for, command) that make this result again, every setting spelled out.

    Args:
        options: of the command line, that the result was asked for with.
    """
    found = []
    if baseline is not None and source:
        line = _line(verb, source, baseline, options)
        found.append(("The same again, every setting spelled out", line))
    if recipe is not None and source and recipe != baseline:
        found.append(("Train the better recipe", _line("fit", source, recipe)))
    return found


def options_of(folder: Path | None) -> list[str]:
    """The options beside the recipe that a run folder keeps of its call."""
    path = folder / store.CALL if folder is not None else None
    call = store.read_json(path) if path is not None and path.is_file() else {}
    asked = ["--budget", call["budget"]] if call.get("budget") else []
    for name, text in call.get("space", {}).items():
        asked += ["--space", f"{name}={text}"]
    for name in ("trials", "sampler", "pruner"):
        asked += [f"--{name}", str(call[name])] if call.get(name) else []
    return [*asked, *(["--no-examples"] if call.get("examples") is False else [])]


def _line(verb: str, source: str, recipe: Recipe, options: Sequence[str] = ()) -> str:
    pairs = [
        f"{name}={_typed(value)}"
        for name, value in recipe.items()
        if name != "source" and value != ""
    ]
    return shlex.join(["fitwell", verb, source, *options, *pairs])


def _typed(value: Any) -> str:
    # repr gives every digit of a float: the same command, the same weights.
    return repr(value) if isinstance(value, float) else setting(value)


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as (name, value) rows.

    >>> flat({"versions": {"torch": "2.11"}, "threads": 2})
    [('versions torch', '2.11'), ('threads', '2')]
    """
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        rows += flat(value, f"{name} ") if isinstance(value, Mapping) else [(name, setting(value))]
    return rows


def shapes(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Parameter rows ready to print: the shape as text."""
    return [{**row, "shape": " × ".join(str(n) for n in row["shape"]) or "1"} for row in rows]
