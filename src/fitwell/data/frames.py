"""Tables before anything is made of them: CSV, TSV, Parquet, DataFrames of polars and pandas. No torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fitwell.data.changed import refuse_changed, state_of
from fitwell.data.csv_file import read_text_table
from fitwell.data.csv_text import duplicate_columns
from fitwell.data.types import Problem, listed, refuse, some
from fitwell.errors import did_you_mean


@dataclass(frozen=True)
class Table:
    """A polars DataFrame.

    Args:
        keys: names of its rows.
        decimal_comma: numbers in its text may have one.
        typed: its columns have types of their own, as those of a CSV have not.
        problems: what is wrong with its lines.
    """

    frame: Any
    keys: list[str]
    name: str
    where: str
    decimal_comma: bool = False
    typed: bool = False
    problems: tuple[Problem, ...] = ()


def load_table(path: Path) -> Table:
    """The file as a polars DataFrame, blank lines dropped."""
    import polars as pl

    before = state_of(path)
    if path.suffix.lower() == ".parquet":
        frame, comma, problems = read_parquet(path), False, []
    else:
        frame, comma, problems = read_text_table(path)
        refuse_changed([path], [before])
    frame = _plain(frame, path.name)
    keys = [f"row {i + 1}" for i in range(frame.height)]
    blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
    if blank.any():
        gone = [k for k, b in zip(keys, blank.to_list(), strict=True) if b]
        what = ("row without any value left out", "rows without any value left out")
        mend = "Nothing to do, unless something belongs there."
        problems = [*problems, *listed("blank_rows", "note", what, mend, gone)]
        keys = [k for k, b in zip(keys, blank.to_list(), strict=True) if not b]
        frame = frame.filter(~blank)
    typed = path.suffix.lower() == ".parquet"
    return Table(frame, keys, path.stem, path.name, comma, typed, tuple(problems))


def read_parquet(path: Path) -> Any:
    """A polars DataFrame of a Parquet file, whatever its cells hold."""
    import polars as pl

    before = state_of(path)
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise refuse(
            "unreadable_file",
            f"{path.name} is not a Parquet file: {str(error).splitlines()[0]}.",
            "Save it again.",
            path.name,
        ) from None
    refuse_changed([path], [before])
    return frame


def load_frame(frame: Any) -> Table:
    """A polars DataFrame of a polars or pandas one."""
    import polars as pl

    if not isinstance(frame, pl.DataFrame):
        names = [str(name) for name in frame.columns]
        if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
            raise duplicate_columns("the DataFrame", twice)
        frame = pl.DataFrame([_series(str(name), frame[name]) for name in frame.columns])
    frame = _plain(frame, "the DataFrame")
    keys = [f"row {i}" for i in range(frame.height)]
    return Table(frame, keys, "table", "the DataFrame", typed=True)


def _plain(frame: Any, where: str) -> Any:
    """The frame, columns without a name called as pandas calls them, spans of time as seconds.

    Raises:
        BadData: a column holds lists, records or bytes.
    """
    import polars as pl

    nested = [n for n in frame.columns if frame[n].dtype.is_nested() or frame[n].dtype == pl.Binary]
    if nested:
        kinds = sorted({str(frame[name].dtype).partition("(")[0].lower() for name in nested})
        raise refuse(
            "nested_column",
            f"{where}: cells of {some(nested)} hold more than one value ({some(kinds)}).",
            "Spread them into columns of numbers or texts, or drop them; save pictures that are in a table "
            "as files, or read it with Hugging Face's datasets and give that.",
            nested,
        )
    blank = {n: f"Unnamed: {i}" for i, n in enumerate(frame.columns) if not n.strip()}
    spans = [n for n in frame.columns if frame[n].dtype == pl.Duration]
    frame = frame.with_columns(pl.col(n).dt.total_microseconds() / 1e6 for n in spans)
    return frame.rename(blank) if blank else frame


def _series(name: str, column: Any) -> Any:
    """A pandas column as a polars one; pyarrow, which polars would ask for, is not needed."""
    import polars as pl

    values = column.to_numpy()
    if values.dtype.kind in "biufMm":
        return pl.Series(name, values)
    missing = column.isna().tolist()
    plain = [None if m else v for v, m in zip(column.tolist(), missing, strict=True)]
    if all(isinstance(v, int | float) for v in plain if v is not None):
        return pl.Series(name, plain, dtype=pl.Float64, strict=False)
    return pl.Series(name, [None if v is None else str(v) for v in plain], dtype=pl.String)


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
