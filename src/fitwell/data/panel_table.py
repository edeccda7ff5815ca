"""Tables with a series of one channel in each row, as the `.tsv` files of the UCR archive. No torch."""

from typing import Any

import numpy as np

from fitwell.data.apart import apart_of, groups_of
from fitwell.data.columns import as_numbers, clean_text, mistakes_of
from fitwell.data.frames import Table
from fitwell.data.labelled import Labelled
from fitwell.data.long_columns import dated_columns
from fitwell.data.options import target_and_task
from fitwell.data.panel_arrays import as_float32
from fitwell.data.panels import refuse_other_channels, series_data
from fitwell.data.target_columns import part_column, parts_of, target_columns, values_of
from fitwell.data.types import Data, Problem, many, refuse, some
from fitwell.errors import SettingError
from fitwell.spec import Spec


def is_panel_table(table: Table, options: dict[str, Any], like: Spec | None) -> bool:
    """Whether each row is a series: where a model of series reads it, or where `data.kind=series`, a target
    is named and no column holds times."""
    if like is not None:
        return like.kind == "series" and not like.is_whole
    wanted = options["kind"] == "series" and options["target"] and not options["time"]
    return bool(wanted) and not dated_columns(table)


def read_panel_table(
    table: Table, options: dict[str, Any], like: Spec | None = None, part: np.ndarray | None = None
) -> Data:
    """`Data` of a series a row: all columns but those of target, group and part are steps, in their order;
    a column called split, part, set or subset says the source's own parts, as for texts.

    Raises:
        BadData: a column that is no numbers.
    """
    refuse_other_channels(1, table.where, like)
    if options["time"]:
        raise SettingError(
            f"data.time = {options['time']}: series of one table are not parted by time. Leave it out, or "
            "say the parts in a column split with train and test.",
            setting="data.time",
        )
    given, task = target_and_task(options, like)
    apart = apart_of(table, options)
    named, notes = target_columns(table, given, apart)
    split = part_column(table.frame) if part is None else ""
    if split and split not in (*named, *apart.values()):
        part = parts_of(table.frame[split], table.keys)
    array, steps, more = rows_as_series(table, (*named, *apart.values()))
    if like is None:
        text = (
            f"Each row of {table.where} is read as a series of {many(len(steps), 'step')}: the columns "
            f"{steps[0]} to {steps[-1]}."
        )
        mend = "If its columns stand for other things than steps in time, leave data.kind out."
        more.append(Problem("rows_are_series", "note", (table.where,), text, mend))
    labelled = Labelled(
        table.name,
        values_of(table, named, task),
        table.keys,
        target=",".join(named),
        targets=named if len(named) > 1 else (),
        part=part,
        groups=groups_of(table, apart),
        problems=[*notes, *more],
    )
    return series_data(array, labelled, options, where=table.where, like=like)


def rows_as_series(
    table: Table, apart: tuple[str, ...]
) -> tuple[np.ndarray, list[str], list[Problem]]:
    """([row, 1, step] float32, NaN where missing; the columns that are steps; notes).

    Args:
        apart: columns that are no steps.
    """
    frame = table.frame
    unused = {*apart, part_column(frame)}
    steps = [name for name in frame.columns if name not in unused]
    columns, problems, text = [], [], []
    for name in steps:
        numbers, mistakes = as_numbers(frame[name], table.decimal_comma)
        if numbers is None:
            cell = next(iter(clean_text(frame[name]).drop_nulls().to_list()), "")
            text.append(f"{name} (holds {cell!r})")
            continue
        problems += mistakes_of(frame[name], mistakes, table.keys)
        columns.append(numbers)
    if text or not columns:
        raise refuse(
            "steps_not_numeric",
            f"{table.where}: the rows are to be series, and "
            + (
                f"{some(text)} is no column of numbers."
                if text
                else "there is no column of numbers."
            ),
            "Take it out, or name it as data.target or data.group.",
            [each.partition(" (")[0] for each in text] or table.where,
        )
    return as_float32(np.stack(columns, axis=1)[:, None]), steps, problems
