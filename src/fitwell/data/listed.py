"""Tables that list files: a column of paths, one of what each shows or says, perhaps part and group.

No torch.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.apart import apart_of, groups_of, times_of
from fitwell.data.columns import aside, clean_text
from fitwell.data.files import Found, Item
from fitwell.data.frames import Table
from fitwell.data.items import read_items
from fitwell.data.names import SUFFIXES
from fitwell.data.options import target_and_task
from fitwell.data.target_columns import (
    part_column,
    parts_of,
    target_columns,
    target_values,
    values_of,
)
from fitwell.data.types import BadData, Data, Problem, listed, refuse, some
from fitwell.spec import Spec

LOOKED_AT = 200  # rows that say whether a column names files
MOSTLY = 0.9
LONGEST_NAME, MOST_WORDS = 255, 8  # of a file's name; longer ones are texts


def file_column(table: Table, folder: Path) -> str:
    """The first column that names files of images or texts, of which some are there; "" where there is
    none.

    Raises:
        BadData: a column names such files and there is nothing else to learn from, but none of the files
            is there.
    """
    named = [name for name in table.frame.columns if _names_files(table.frame[name], folder)]
    for name in named:
        if any(_is_there(folder, value) for value in _first(table.frame[name])):
            return name
    others = [name for name in table.frame.columns if name not in named]
    if named and len(others) < 2:
        first = str(_first(table.frame[named[0]])[0])
        raise refuse(
            "missing_files",
            f"{table.where} names files in {named[0]}, such as {first}, and none of them is in {folder}.",
            "Write the paths as they are seen from the folder of the table, or in full.",
            (table.where, first),
        )
    return ""


def read_listed(
    table: Table, column: str, folder: Path, options: dict[str, Any], *, like: Spec | None = None
) -> Data:
    """`Data` of the files that a column names; paths are relative to `folder`, or absolute.

    A column called split, part, set or subset whose values are train, val and test is the source's
    own split.

    Raises:
        BadData: no such target or group, a missing target, or no readable file.
    """
    frame = table.frame
    apart = apart_of(table, options)
    part = part_column(frame)
    given, task = target_and_task(options, like)
    used = [column, *([part] if part and part not in (given, *apart.values()) else [])]
    rest = Table(frame.drop(used), table.keys, table.name, table.where, table.decimal_comma)
    targets, problems = target_columns(rest, given, apart, inputs=False)
    if len(targets) == 1 and task != "multilabel":
        values = image_labels(frame[targets[0]], table)
    else:
        values = values_of(rest, targets, task)
    groups, times = groups_of(table, apart), times_of(table, apart, options["dates"])
    rows = zip(
        frame[column].to_list(),
        values.tolist(),
        parts_of(frame[part], table.keys).tolist() if part in used else [""] * frame.height,
        [""] * frame.height if groups is None else groups.tolist(),
        [None] * frame.height if times is None else times.tolist(),
        table.keys,
        strict=True,
    )
    items, unnamed = [], []
    for path, value, own, group, time, key in rows:
        if path is None or not could_be_a_path(str(path)):
            unnamed.append(key)
            continue
        items.append(Item(folder / path, str(path), value, own, group, time))
    unused = [n for n in rest.frame.columns if n not in (*targets, *apart.values())]
    problems += unnamed_files(unnamed)
    problems += columns_ignored(unused, "files", "leave out that of the files")

    def nothing(found: list[Problem]) -> BadData:
        text = f"None of the {len(items)} files that {table.where} names can be read."
        first = Problem("no_images", "error", (table.where,), text, "See what is wrong with each.")
        return BadData([first, *found])

    several = targets if len(targets) > 1 else ()
    files = Found(table.name, items, ",".join(targets), nothing, several, problems, named=True)
    data = read_items(files, options, like)
    return replace(
        data, aside=_aside(rest.frame.select(unused), frame[column].to_list(), data.keys)
    )


def _aside(frame: Any, paths: list[str | None], keys: np.ndarray) -> dict[str, np.ndarray]:
    """The columns that are not used, of the rows whose files were read, which are in the same order."""
    rows, at = [], 0
    for row, path in enumerate(paths):
        if at < len(keys) and path is not None and str(path) == keys[at]:
            rows.append(row)
            at += 1
    found = {name: aside(frame[name]) for name in frame.columns}
    return {name: values[rows] for name, values in found.items() if values is not None}


def image_labels(series: Any, table: Table) -> np.ndarray:
    """[row] what the files show: whole numbers stay whole, since beside images they are classes, and 007
    keeps its zeros."""
    import polars as pl

    text = series.dtype == pl.String
    if text and series.str.contains(r"^\s*0\d").any():
        return np.array(clean_text(series).to_list(), dtype=object)
    values = target_values(series, table)
    whole = series.str.contains(r"^\s*[+-]?\d+\s*$").all() if text else series.dtype.is_integer()
    return values.astype(np.int64) if whole and values.dtype.kind == "f" else values


def unnamed_files(rows: Iterable[str]) -> list[Problem]:
    """The problem of rows that name no file."""
    what = ("row that names no file left out", "rows that name no file left out")
    mend = "Fill in the paths, or remove the rows."
    return listed("unnamed_file", "warning", what, mend, rows)


def columns_ignored(columns: Sequence[str], what: str, mend: str) -> list[Problem]:
    """The note that examples of another kind are learnt from alone."""
    if not columns:
        return []
    text = f"Learning is from the {what} alone; not used: {some(columns)}."
    mend = f"Nothing to do; to learn from the columns instead, {mend}."
    return [Problem("columns_ignored", "note", tuple(columns), text, mend)]


def _names_files(series: Any, folder: Path) -> bool:
    values = _first(series)
    if len({*values}) > 1 and sum(_is_there(folder, v) for v in values) >= len(values) / 2:
        return True  # whatever they are called
    known = {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}
    named = [v for v in values if could_be_a_path(v) and Path(v).suffix.lower() in known]
    return bool(values) and len(named) >= MOSTLY * len(values)


def could_be_a_path(text: str) -> bool:
    """Whether a text is short enough for the path of a file.

    >>> could_be_a_path("photos/cat 1.jpg"), could_be_a_path("for more of this kind of film see readme.txt")
    (True, False)
    """
    parts = re.split(r"[/\\]", text)
    return len(text.split()) < MOST_WORDS and all(len(part) <= LONGEST_NAME for part in parts)


def _is_there(folder: Path, name: str) -> bool:
    try:
        return could_be_a_path(name) and (folder / name).is_file()
    except (OSError, ValueError):  # no name that a file could have
        return False


def _first(series: Any) -> list[str]:
    """The first values of a column of text, without the missing ones."""
    import polars as pl

    return series.head(LOOKED_AT).drop_nulls().to_list() if series.dtype == pl.String else []
