"""Tables with a target: CSV, Parquet, DataFrames of polars and pandas. No torch.

Numbers become float32 with nan where missing (see `fitwell.data.digits`), text becomes category codes;
columns of identifiers are left out, and that is said.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.apart import apart_of, groups_of, times_of
from fitwell.data.arrays import targets_array
from fitwell.data.assemble import assemble
from fitwell.data.columns import as_numbers, aside, convert, convert_like
from fitwell.data.dates import SPELLING
from fitwell.data.digits import single
from fitwell.data.forecasting import read_long
from fitwell.data.frames import Table, load_frame, load_table
from fitwell.data.labelled import Labelled
from fitwell.data.long_columns import dated_columns, perhaps_series, seems_dated, time_column
from fitwell.data.options import target_and_task
from fitwell.data.panel_table import is_panel_table, read_panel_table
from fitwell.data.prose import read_prose, text_column
from fitwell.data.target_columns import part_column, parts_of, target_columns, values_of
from fitwell.data.types import BadData, Data, Problem, refuse, some
from fitwell.errors import SettingError, did_you_mean
from fitwell.spec import Column, Spec

EXACT = 2**24  # float32 holds whole numbers up to here


def read_table(path: Path, options: dict[str, Any], *, like: Spec | None = None) -> Data:
    """`Data` of a CSV, TSV or Parquet file. Rows are counted from 1, the header not counted.

    Where a column names files that are there, these are the data (see `fitwell.data.listed`); where
    one holds texts and no other can be learnt from, these are (see `fitwell.data.prose`).
    """
    table = load_table(path)
    try:
        data = _of_file(table, path, options, like)
    except BadData as error:  # what is wrong with lines may be the cause
        raise BadData((*error.problems, *table.problems), setting=error.setting) from None
    return replace(data, problems=(*table.problems, *data.problems))


def _of_file(table: Table, path: Path, options: dict[str, Any], like: Spec | None) -> Data:
    if (
        options["kind"] != "table"
        and not options["text"]
        and (like is None or like.kind != "table")
    ):
        from fitwell.data.listed import file_column, read_listed

        column = file_column(table, path.parent)
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


def table_data(
    table: Table,
    options: dict[str, Any],
    like: Spec | None = None,
    targets: Any = None,
    part: np.ndarray | None = None,
) -> Data:
    """`Data` of a table; the arguments are those of `read_frame`, and the source's own split."""
    frame, problems = table.frame, []
    if targets is None and is_panel_table(table, options, like):
        return read_panel_table(table, options, like, part)
    if targets is None:
        if column := time_column(table, options, like):
            return read_long(table, column, options, like)
        problems = perhaps_series(table, options, like)
    beside = None if targets is None else _beside(table, targets, options, like)
    column = text_column(table, options, like, beside=beside is not None)
    if column:
        return read_prose(table, column, options, like=like, part=part, beside=beside)
    if options["kind"] not in ("auto", "table"):
        raise SettingError(
            f"data.kind = {options['kind']}: {table.where} is a table without such files. Leave it out.",
            setting="data.kind",
        )
    if not frame.height or not frame.width:
        raise refuse(
            "empty",
            f"{table.where} has {frame.height} rows and {frame.width} columns.",
            "Give at least one row and two columns.",
            table.where,
        )
    beside_targets = apart_of(table, options)
    said = "" if like or part is not None else part_column(frame)
    if said and said not in (*beside_targets.values(), *options["target"].split(",")):
        part = parts_of(frame[said], table.keys)
        table = replace(table, frame=frame.drop(said))
        frame = table.frame
    wanted, task = target_and_task(options, like)
    if beside is None:
        named, notes = target_columns(table, wanted, beside_targets)
        values = values_of(table, named, task)
    else:
        named, values, notes = beside
    problems += notes
    apart = (*(named if targets is None else ()), *beside_targets.values())
    names = [n for n in frame.columns if n not in apart]
    if like:
        inputs, more = read_like(table, like)
        columns = like.columns
    else:
        columns, inputs, more = _inputs(table, names, options["dates"])
    hidden = {} if like else _aside(table, names, columns, inputs)
    labelled = Labelled(
        table.name,
        values,
        table.keys,
        target=",".join(named),
        targets=named if len(named) > 1 else (),
        part=part,
        groups=groups_of(table, beside_targets),
        times=times_of(table, beside_targets, options["dates"]),
        problems=[*problems, *more],
    )
    data = assemble(inputs, labelled, options, columns=columns, like=like)
    return replace(data, aside=hidden)


def _beside(
    table: Table, targets: Any, options: dict[str, Any], like: Spec | None
) -> tuple[list[str], np.ndarray, list[Problem]]:
    """(names, [row] or [row, target] values, notes) of targets that stand beside the table."""
    given = getattr(targets, "name", None) or options["target"] or "target"
    named = [str(n) for n in getattr(targets, "columns", (given,))]
    values, notes = targets_array(targets, table.where, target_and_task(options, like)[1])
    if len(values) != table.frame.height:
        raise refuse(
            "lengths_differ",
            f"{table.where} has {table.frame.height} rows but there are {len(values)} targets.",
            "Give one target a row.",
            table.where,
        )
    return named, values, notes


def _aside(
    table: Table, names: list[str], columns: tuple[Column, ...], inputs: np.ndarray
) -> dict[str, np.ndarray]:
    """What groups may be found in and the inputs do not hold: columns that were left out, and numbers with
    more digits than float32 has."""
    place = {column.name: i for i, column in enumerate(columns)}
    large = [n for n, i in place.items() if np.nanmax(inputs[:, i], initial=0) >= EXACT]
    found = {}
    for name in names:
        if (
            name not in place
            and (values := aside(table.frame[name], table.decimal_comma)) is not None
        ):
            found[name] = values
        elif name in large and columns[place[name]].kind == "numeric":
            numbers, _ = as_numbers(table.frame[name], table.decimal_comma, force=True)
            assert numbers is not None
            found[name] = numbers
    return found


def _inputs(
    table: Table, names: list[str], order: str
) -> tuple[tuple[Column, ...], np.ndarray, list[Problem]]:
    """(columns, [row, column] numbers, notes) of the input columns."""
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
        verbs = "identify rows and were" if len(left_out) > 1 else "identifies rows and was"
        text = f"{some(f'{n} ({why})' for n, why in left_out)} {verbs} left out."
        mend = "Nothing to do; group rows by it with data.group, or encode it as numbers."
        problems.append(Problem("id_column", "note", tuple(n for n, _ in left_out), text, mend))
    if not columns:
        mend = "Add columns of numbers or categories."
        if dates := [n for n in dated_columns(table) if n in names and seems_dated(table.frame[n])]:
            verb = "seems" if len(dates) == 1 else "seem"
            mend = (
                f"{some(dates)} {verb} to hold dates in a spelling that is not read: write them as "
                f"{SPELLING}. Or add columns of numbers or categories."
            )
        raise refuse(
            "no_inputs",
            f"{table.where} has no input column beside the target"
            + (
                f"; what identifies rows was left out: {some(n for n, _ in left_out)}."
                if left_out
                else "."
            ),
            mend,
            table.where,
        )
    if any(column.fine for column in columns):  # all in full then, read once more
        arrays = [
            convert_like(table.frame[c.name], c, table.keys, table.decimal_comma)[0]
            for c in columns
        ]
    return tuple(columns), np.stack(arrays, axis=1), problems


def read_like(table: Table, like: Spec) -> tuple[np.ndarray, list[Problem]]:
    """[row, column] numbers with the columns and categories of a known spec, as many digits as it has."""
    arrays, problems = [], []
    fine = any(column.fine for column in like.columns)
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
        arrays.append(values if fine else single(values))
        problems += more
    return np.stack(arrays, axis=1), problems
