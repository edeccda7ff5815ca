"""Tables with a target: CSV, Parquet, DataFrames of polars and pandas. No torch.

Numbers become float32 with nan where missing, text becomes category codes; columns of identifiers
are left out, and that is said.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.arrays import to_numpy
from fitwell.data.assemble import assemble
from fitwell.data.columns import as_numbers, as_times, convert, convert_like
from fitwell.data.csv_file import read_text_table
from fitwell.data.types import Data, Problem, refuse, some
from fitwell.errors import SettingError, did_you_mean
from fitwell.spec import Column, Spec

TARGET_NAMES = ("target", "label", "labels", "class", "y")


@dataclass(frozen=True)
class Table:
    """A polars DataFrame, names for its rows, and how to read its text."""

    frame: Any
    keys: list[str]
    name: str
    where: str
    decimal_comma: bool = False


def read_table(path: Path, options: dict[str, Any], *, like: Spec | None = None) -> Data:
    """`Data` of a CSV, TSV or Parquet file. Rows are counted from 1, the header not counted.

    Where a column names image files that are there, these are the data (see `fitwell.data.listed`).
    """
    table = load_table(path)
    if like is None or like.kind == "images":
        from fitwell.data.listed import image_column, read_listed

        column = image_column(table, path.parent)
        if column:
            return read_listed(table, column, path.parent, options, like=like)
    return table_data(table, options, like)


def read_frame(
    frame: Any,
    options: dict[str, Any],
    *,
    targets: Any = None,
    like: Spec | None = None,
) -> Data:
    """`Data` of a DataFrame. Rows are counted from 0, as the DataFrame does.

    Args:
        frame: of polars or pandas.
        targets: [example] targets beside the frame; otherwise `data.target` names a column.
    """
    return table_data(load_frame(frame), options, like, targets)


def load_table(path: Path) -> Table:
    """The file as a polars DataFrame, blank lines dropped."""
    import polars as pl

    if path.suffix.lower() == ".parquet":
        try:
            frame, comma = pl.read_parquet(path), False
        except (pl.exceptions.PolarsError, OSError) as error:
            raise refuse(
                "unreadable_file",
                f"{path.name} is not a Parquet file: {str(error).splitlines()[0]}.",
                "Save it again.",
                path.name,
            ) from None
    else:
        frame, comma = read_text_table(path)
    keys = [f"row {i + 1}" for i in range(frame.height)]
    blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series().to_list()
    if any(blank):
        keys = [k for k, b in zip(keys, blank, strict=True) if not b]
        frame = frame.filter(~pl.Series(blank))
    return Table(frame, keys, path.stem, path.name, comma)


def load_frame(frame: Any) -> Table:
    """A polars DataFrame of a polars or pandas one."""
    import polars as pl

    if not isinstance(frame, pl.DataFrame):
        frame = pl.DataFrame([_series(str(name), frame[name]) for name in frame.columns])
    keys = [f"row {i}" for i in range(frame.height)]
    return Table(frame, keys, "table", "the DataFrame")


def _series(name: str, column: Any) -> Any:
    """A pandas column as a polars one; pyarrow, which polars would ask for, is not needed."""
    import polars as pl

    values = column.to_numpy()
    if values.dtype.kind in "biufM":
        return pl.Series(name, values)
    missing = column.isna().tolist()
    plain = [None if m else v for v, m in zip(column.tolist(), missing, strict=True)]
    if all(isinstance(v, int | float) for v in plain if v is not None):
        return pl.Series(name, plain, dtype=pl.Float64, strict=False)
    return pl.Series(name, [None if v is None else str(v) for v in plain], dtype=pl.String)


def table_data(
    table: Table, options: dict[str, Any], like: Spec | None = None, targets: Any = None
) -> Data:
    """`Data` of a table; the arguments are those of `read_frame`."""
    frame, problems = table.frame, []
    if not frame.height or not frame.width:
        raise refuse(
            "empty",
            f"{table.where} has {frame.height} rows and {frame.width} columns.",
            "Give at least one row and two columns.",
            table.where,
        )
    group = named_column(table, options["group"], "group") if options["group"] else ""
    if targets is None:
        target, notes = target_column(
            table, options["target"] or (like.target if like else ""), group
        )
        problems += notes
        values = target_values(frame[target], table)
    else:
        target = getattr(targets, "name", None) or options["target"] or "target"
        values = to_numpy(targets)
        if len(values) != frame.height:
            raise refuse(
                "lengths_differ",
                f"{table.where} has {frame.height} rows but there are {len(values)} targets.",
                "Give one target a row.",
                table.where,
            )
    time = named_column(table, options["time"], "time") if options["time"] else ""
    apart = (target if targets is None else None, group, time)
    names = [n for n in frame.columns if n not in apart]
    if like:
        inputs, more = read_like(table, like)
        columns = like.columns
    else:
        columns, inputs, more = _inputs(table, names, options["dates"])
    groups = np.array([str(v) for v in frame[group].to_list()]) if group else None
    times = _times(table, time, options) if time else None
    return assemble(
        table.name,
        inputs,
        values,
        options=options,
        keys=table.keys,
        columns=columns,
        target=str(target),
        groups=groups,
        times=times,
        problems=[*problems, *more],
        like=like,
    )


def _inputs(
    table: Table, names: list[str], order: str
) -> tuple[tuple[Column, ...], np.ndarray, list[Problem]]:
    """(columns, [row, column] float32, notes) of the input columns."""
    columns, arrays, problems, left_out = [], [], [], []
    for name in names:
        found = convert(table.frame[name], table.keys, table.decimal_comma, order)
        if isinstance(found, str):
            left_out.append((name, found))
            continue
        column, values, more = found
        columns.append(column)
        arrays.append(values)
        problems += more
    if left_out:
        text = f"{some(f'{n} ({why})' for n, why in left_out)} identifies rows and was left out."
        mend = "Nothing to do; group rows by it with data.group, or encode it as numbers."
        problems.append(Problem("id_column", "note", tuple(n for n, _ in left_out), text, mend))
    if not columns:
        raise refuse(
            "no_inputs",
            f"{table.where} has no input column beside the target"
            + (f"; {some(n for n, _ in left_out)} identifies rows." if left_out else "."),
            "Add columns of numbers or categories.",
            table.where,
        )
    return tuple(columns), np.stack(arrays, axis=1), problems


def _times(table: Table, name: str, options: dict[str, Any]) -> np.ndarray:
    """[row] float64 of the column that says when each row was: numbers, or days of its dates."""
    if options["group"]:
        raise SettingError(
            f"data.time = {name}: beside data.group = {options['group']} nothing says which of them is to "
            "part the examples. Leave one of them out.",
            setting="data.time",
        )
    times = as_times(table.frame[name], table.keys, table.decimal_comma, options["dates"])
    if times is None or np.isnan(times).all():
        raise refuse(
            "no_times",
            f"data.time = {name}: its cells are neither numbers nor dates.",
            "Name a column that says when each row was.",
            name,
            setting="data.time",
        )
    missing = np.isnan(times)
    if missing.any():
        rows = [key for key, gone in zip(table.keys, missing, strict=True) if gone]
        raise refuse(
            "missing_time",
            f"data.time = {name}: {len(rows)} of {len(times)} rows say no time ({some(rows)}).",
            "Fill them in, or remove those rows.",
            rows,
            setting="data.time",
        )
    return times


def read_like(table: Table, like: Spec) -> tuple[np.ndarray, list[Problem]]:
    """[row, column] float32 with the columns and categories of a known spec."""
    arrays, problems = [], []
    for column in like.columns:
        if column.name not in table.frame.columns:
            raise refuse(
                "no_such_column",
                f"{table.where} has no column {column.name}, which the model reads."
                f"{did_you_mean(column.name, table.frame.columns)}",
                f"It has: {some(table.frame.columns, 20)}.",
                column.name,
            )
        series = table.frame[column.name]
        values, more = convert_like(series, column, table.keys, table.decimal_comma)
        arrays.append(values)
        problems += more
    return np.stack(arrays, axis=1), problems


def named_column(table: Table, name: str, setting: str) -> str:
    if name not in table.frame.columns:
        raise refuse(
            "no_such_column",
            f"data.{setting} = {name}: {table.where} has no such column."
            f"{did_you_mean(name, table.frame.columns)}",
            f"It has: {some(table.frame.columns, 20)}.",
            name,
            setting=f"data.{setting}",
        )
    return name


def target_column(
    table: Table, given: str, group: str, *, inputs: bool = True
) -> tuple[str, list[Problem]]:
    """The target column, and a note where it was guessed.

    Args:
        inputs: whether another column than the target is needed.
    """
    columns = [c for c in table.frame.columns if c != group]
    if given:
        if given == group:
            raise refuse(
                "target_is_group",
                f"data.target and data.group are both {given}.",
                "Name two different columns.",
                given,
                setting="data.group",
            )
        return named_column(table, given, "target"), []
    named = [c for c in columns if c.lower().strip() in TARGET_NAMES]
    if len(named) > 1:
        raise refuse(
            "target_ambiguous",
            f"{table.where}: {some(named)} could each be the target.",
            f"Name it: data.target={named[0]}.",
            named,
            setting="data.target",
        )
    if len(columns) < 1 + inputs:
        raise refuse(
            "no_inputs",
            f"{table.where} has {table.frame.width} column; inputs and a target are needed.",
            "Check the separator: comma, semicolon, tab, | and blanks are understood.",
            table.where,
        )
    guess = named[0] if named else columns[-1]
    why = "by its name" if named else "because it is the last column"
    text = f"{guess} is taken as the target {why}."
    note = Problem("target_guessed", "note", (guess,), text, "Name another with data.target.")
    return guess, [note]


def target_values(series: Any, table: Table) -> np.ndarray:
    """Numbers where the target is numeric, otherwise text with None where missing."""
    import polars as pl

    if series.dtype == pl.Boolean and not series.null_count():
        return series.to_numpy()
    numbers, mistakes = as_numbers(series, table.decimal_comma)
    if mistakes.any():
        cells = [(k, v) for k, v, m in zip(table.keys, series, mistakes, strict=True) if m]
        raise refuse(
            "target_not_numeric",
            f"{series.name}: {len(cells)} of {len(series)} values to predict are no numbers "
            f"({some(f'{value} in {key}' for key, value in cells)}).",
            "Correct them, or remove those rows.",
            [key for key, _ in cells],
        )
    if numbers is not None:
        return numbers
    return np.array(_text(series), dtype=object)


def _text(series: Any) -> list[str | None]:
    from fitwell.data.columns import clean_text

    return clean_text(series).to_list()
