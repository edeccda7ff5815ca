"""Which columns of a table are to be predicted, and their values. No torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fitwell.data.columns import as_numbers, clean_text
from fitwell.data.frames import Table, named_column
from fitwell.data.names import PART_NAMES, PARTS, TARGET_NAMES
from fitwell.data.types import BadData, Problem, brief, many, refuse, some

MOSTLY = (
    0.9  # of the values of a column that is called so are names of parts: the rest are mistakes
)


def target_columns(
    table: Table, given: str, apart: Mapping[str, str], *, inputs: bool = True
) -> tuple[list[str], list[Problem]]:
    """The target column or columns, and a note where it was guessed.

    Args:
        given: the name of a column, or several with commas between.
        apart: "group" and "time" -> the columns of these settings, which are no targets.
        inputs: whether another column than the target is needed.
    """
    columns = [c for c in table.frame.columns if c not in apart.values()]
    if given:
        several = [part.strip() for part in given.split(",") if part.strip()]
        names = [given] if given in table.frame.columns or len(several) < 2 else several
        refuse_as_target(names, apart)
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise refuse(
                "target_twice",
                f"data.target = {given} names {twice[0]} twice.",
                "Name different columns.",
                twice,
                setting="data.target",
            )
        return [named_column(table, name, "target") for name in names], []
    named = [c for c in table.frame.columns if c.lower().strip() in TARGET_NAMES]
    if len(named) == 1:
        refuse_as_target(named, apart)
    named = [c for c in named if c in columns]
    if len(named) > 1:
        raise refuse(
            "target_ambiguous",
            f"{table.where}: {some(named)} could each be the target.",
            f"Name it: data.target={named[0]}.",
            named,
            setting="data.target",
        )
    if len(columns) < 1 + inputs:
        raise _no_inputs(table, columns, apart, inputs)
    guess = named[0] if named else columns[-1]
    why = "by its name" if named else "because it is the last column"
    if not named and guess != table.frame.columns[-1]:
        why += f" but {some(apart.values())}"
    text = f"{guess} is taken as the target {why}."
    note = Problem("target_guessed", "note", (guess,), text, "Name another with data.target.")
    return [guess], [note]


def _no_inputs(
    table: Table, columns: Sequence[str], apart: Mapping[str, str], inputs: bool
) -> BadData:
    """Of a table without enough columns."""
    said = f"{table.where} has {many(table.frame.width, 'column')}"
    mend = "Check the separator: comma, semicolon, tab, | and blanks are understood."
    if apart and columns:
        settings = some(f"data.{what}" for what in apart)
        said += f", and beside {settings} only {some(columns)}"
        mend = "Add columns of numbers or categories."
        if "time" in apart and inputs:
            mend = f"To forecast {columns[0]} from its own past, set data.kind=series."
    return refuse("no_inputs", f"{said}; inputs and a target are needed.", mend, table.where)


def refuse_as_target(targets: Sequence[str], apart: Mapping[str, str]) -> None:
    """Refuse a column that is the target and says how the examples are parted, too.

    Raises:
        BadData: there is one.
    """
    for setting, column in apart.items():
        if column in targets:
            raise refuse(
                f"target_is_{setting}",
                f"data.{setting} = {column}: what is named is the target, too.",
                f"Name another with data.{setting}, or with data.target.",
                column,
                setting=f"data.{setting}",
            )


def part_column(frame: Any) -> str:
    """The column that says which part of the source's own split a row is of; "" where there is none."""
    return next((name for name in frame.columns if _is_part(name, frame[name])), "")


def parts_of(series: Any, keys: list[str]) -> np.ndarray:
    """[row] the parts that such a column says; "" where it says none.

    Args:
        keys: names of the rows.

    Raises:
        BadData: a value is the name of no part.
    """
    said = ["" if v is None else str(v).strip() for v in series.to_list()]
    odd = {key: v for key, v in zip(keys, said, strict=True) if v and v.lower() not in PARTS}
    if odd:
        rows = some(f"{brief(value)!r} in {key}" for key, value in odd.items())
        raise refuse(
            "unknown_part",
            f"{series.name}: {many(len(odd), 'row')} of {len(said):,} in no known part ({rows}), and all "
            "others say which part of the split they are of.",
            f"Write one of {some(PARTS, len(PARTS))}, or leave the cell empty; rename the column "
            "if it is no split.",
            tuple(odd),
        )
    return np.array([PARTS[v.lower()] if v else "" for v in said], dtype="<U10")


def _is_part(name: str, series: Any) -> bool:
    if name.lower() not in PART_NAMES:
        return False
    said, counts = series.drop_nulls().value_counts()
    known = [str(value).strip().lower() in PARTS for value in said.to_list()]
    return any(known) and counts.filter(known).sum() >= MOSTLY * counts.sum()


def values_of(table: Table, names: list[str], task: str) -> np.ndarray:
    """[row] values of the target column, or [row, column] of several."""
    if len(names) == 1 and task == "multilabel":
        return np.array(clean_text(table.frame[names[0]]).to_list(), dtype=object)
    values = [target_values(table.frame[name], table) for name in names]
    if len(names) == 1:
        return values[0]
    return np.stack(values, axis=1)


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
            f"({some(f'{brief(str(value))} in {key}' for key, value in cells)}).",
            "Correct them, or remove those rows.",
            [key for key, _ in cells],
        )
    if numbers is not None:
        return numbers
    return np.array(clean_text(series).to_list(), dtype=object)
