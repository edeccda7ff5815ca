"""Plain-text tables: which separator, whether there is a header; cells stay text. No torch."""

import csv
import io
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from fitwell.data.csv_text import (
    duplicate_columns,
    in_utf8,
    other_widths,
    refuse_longer,
    said_shorter,
)
from fitwell.data.header import is_header
from fitwell.data.types import BadData, Problem, refuse

SEPARATORS = (";", "\t", "|", ",")
SNIFFED_LINES = 20
FIRST_LINES, FIRST_BYTES = 300, 1 << 17  # that a header is looked for in
# Cells between tabs, of which those that open with a quote close with one.
_CELL = r'(?:"[^"]*(?:""[^"]*)*"|[^"\t][^\t]*|)'
_QUOTED_LINE = re.compile(rf"{_CELL}(?:\t{_CELL})*")


def read_text_table(path: Path) -> tuple[Any, bool, list[Problem]]:
    """(polars DataFrame of text columns, whether numbers may have a decimal comma, what lines lack).

    The first line is the header unless one of its cells is a number, or it reads like the lines below it
    (`fitwell.data.header`). Blank lines keep their number. Tab-separated text has quoted cells only where
    each `"` that opens one is followed by one that closes it.

    Raises:
        BadData: empty, no text, or lines with more cells than the first.
    """
    import polars as pl

    raw = path.read_bytes()
    if not raw or raw.isspace():
        raise _empty(path)
    raw, problems = in_utf8(raw, path)
    if b"\n" not in raw:  # lines of old Macs
        raw = raw.replace(b"\r", b"\n")
    if b"\0" in raw[:4096]:
        raise refuse(
            "unreadable_file",
            f"{path.name} is not a text file.",
            "Save it as CSV in UTF-8.",
            path.name,
        )
    lines = raw[:65536].decode("utf-8-sig", errors="replace").splitlines()[:SNIFFED_LINES]
    lines = [line for line in lines if line.strip()]
    if not lines:
        raise _empty(path)
    separator = _separator(lines)
    if separator == " ":
        text = _decoded(raw)
        raw = "\n".join(",".join(line.split()) for line in text.splitlines()).encode()
    comma = separator == ";"
    separator = "," if separator == " " else separator
    quoted = separator != "\t" or b'"' not in raw or is_quoted(_decoded(raw))
    first, *below = _first_rows(raw, separator, quoted)
    header = is_header(first, below, comma=comma)
    twice = [name for name in dict.fromkeys(first) if name and first.count(name) > 1]
    if header and twice:
        raise duplicate_columns(path.name, twice)
    widths, usual = other_widths(raw, separator, quoted=quoted)
    if any(count > usual for count in widths.values()):
        refuse_open_quote(raw, path, separator, quoted)
    refuse_longer(widths, usual, path)
    problems += said_shorter(widths, usual)
    try:
        frame = pl.read_csv(
            io.BytesIO(raw),
            separator=separator,
            quote_char='"' if quoted else None,
            has_header=header,
            infer_schema=False,
        )
    except pl.exceptions.PolarsError as error:
        refuse_open_quote(raw, path, separator, quoted)
        raise _unreadable(path, str(error)) from None
    if not frame.height:
        raise refuse(
            "empty_file",
            f"{path.name} has a header but no rows.",
            "Add one line an example.",
            path.name,
        )
    if not header:
        frame.columns = [f"column_{i + 1}" for i in range(frame.width)]
    elif blank := [i for i, name in enumerate(first[: frame.width]) if not name.strip()]:
        called = {i: f"Unnamed: {i}" for i in blank}
        frame.columns = [called.get(i, name) for i, name in enumerate(frame.columns)]
        if 2 * len(blank) > frame.width:
            problems.append(_mostly_unnamed(len(blank), frame.width))
    return frame, comma, problems


def _mostly_unnamed(blank: int, width: int) -> Problem:
    said = (
        f"The first line names {width - blank} of {width} columns; it may be a title, not a header."
    )
    mend = "Remove the lines above the header, or name the columns."
    return Problem("unnamed_columns", "warning", ("line 1",), said, mend)


def _separator(lines: list[str]) -> str:
    """The first separator that stands equally often in every line; a space where there is none.

    The comma comes last: beside semicolons it is a decimal comma.
    """
    for separator in SEPARATORS:
        counts = {len(next(csv.reader([line], delimiter=separator))) for line in lines}
        if separator == "\t" and len(counts) > 1:  # where a quote may be a letter like any other
            counts = {line.count(separator) + 1 for line in lines}
        if counts and min(counts) > 1 and len(counts) == 1:
            return separator
    present = [s for s in SEPARATORS if lines and s in lines[0]]
    if present:
        return max(present, key=lines[0].count)
    return (
        " "
        if lines
        and len(lines[0].split()) > 1
        and all(len(line.split()) == len(lines[0].split()) for line in lines)
        else ","
    )


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8-sig", errors="replace")


def _first_rows(raw: bytes, separator: str, quoted: bool) -> list[list[str]]:
    """Cells of the first few hundred lines that are not blank; a row that may be cut is left out."""
    start = raw[:FIRST_BYTES]
    reader = csv.reader(
        io.StringIO(_decoded(start), newline=""),
        delimiter=separator,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
    )
    rows = [row for row in islice(reader, FIRST_LINES) if len(row) > 1 or "".join(row).strip()]
    return rows[:-1] if len(rows) > 1 and len(raw) > len(start) else rows


def is_quoted(text: str) -> bool:
    """Whether the quotes of tab-separated text part cells, not what people say: each cell that opens
    with one closes on its line, or else only so do all rows have equally many cells.

    >>> is_quoted('"a"\\t"b, c"\\n'), is_quoted('"No," she said\\tbad\\n')
    (True, False)
    """
    lines = [line.rstrip("\r") for line in text.split("\n") if line.strip()]
    if all(_QUOTED_LINE.fullmatch(line) for line in lines if '"' in line):
        return True
    if len({line.count("\t") for line in lines}) == 1:
        return False
    return not open_quote(text, "\t") and _one_width(
        csv.reader(io.StringIO(text, newline=""), delimiter="\t")
    )


def _one_width(rows: Iterable[list[str]]) -> bool:
    try:
        return len({len(row) for row in rows if row}) == 1
    except csv.Error:  # a cell beyond what the reader takes
        return False


def open_quote(text: str, separator: str) -> int:
    """The number of the line in which a cell opens with a quote that does not close it; 0: none does.

    >>> open_quote('a,b\\n1,"x, y"\\n2,"z\\n3,w\\n', ",")
    3
    """
    closed = re.compile(rf'"[^"]*(?:""[^"]*)*"(?=[{re.escape(separator)}\r\n]|\Z)')
    before = {separator, "\r", "\n"}  # a quote within a cell opens nothing
    place = text.find('"')
    while place >= 0:
        if place == 0 or text[place - 1] in before:
            found = closed.match(text, place)
            if found is None:
                return text.count("\n", 0, place) + 1
            place = found.end() - 1
        place = text.find('"', place + 1)
    return 0


def refuse_open_quote(raw: bytes, path: Path, separator: str, quoted: bool) -> None:
    """Refuse a cell that opens with a quote which does not close it: it swallows what follows.

    Raises:
        BadData: there is one.
    """
    if quoted and b'"' in raw and (line := open_quote(_decoded(raw), separator)):
        raise refuse(
            "unreadable_file",
            f'{path.name}: in line {line} a cell opens with a quote (") that does not close it.',
            "Put a quote at the end of that cell, and write each quote within a cell that is quoted twice; "
            "or save the file with tabs between the cells, where a quote may stand alone.",
            path.name,
        )


def _empty(path: Path) -> BadData:
    return refuse(
        "empty_file",
        f"{path.name} is empty.",
        "Give a table: one line an example, one column a value.",
        path.name,
    )


def _unreadable(path: Path, reason: str) -> BadData:
    return refuse(
        "unreadable_file",
        f"{path.name} cannot be read as a table: {reason.strip().splitlines()[0]}.",
        "Give every line the same number of cells, and quote cells that hold the separator.",
        path.name,
    )
