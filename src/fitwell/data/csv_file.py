"""Plain-text tables: which separator, whether there is a header; cells stay text. No torch."""

import codecs
import csv
import io
from pathlib import Path
from typing import Any

from fitwell.data.types import BadData, refuse, some
from fitwell.settings import is_number

SEPARATORS = (";", "\t", "|", ",")
SNIFFED_LINES = 20
PIECE_BYTES = 1 << 20


def read_text_table(path: Path) -> tuple[Any, bool]:
    """(polars DataFrame of text columns, whether numbers may have a decimal comma).

    The first line is the header unless one of its cells is a number. Blank lines keep their number.

    Raises:
        BadData: empty, no text, or lines of different lengths.
    """
    import polars as pl

    raw = path.read_bytes()
    if not raw or raw.isspace():
        raise refuse(
            "empty_file",
            f"{path.name} is empty.",
            "Give a table: one line an example, one column a value.",
            path.name,
        )
    if b"\0" in raw[:4096]:
        raise refuse(
            "unreadable_file",
            f"{path.name} is not a text file.",
            "Save it as CSV in UTF-8.",
            path.name,
        )
    lines = raw[:65536].decode("utf-8-sig", errors="replace").splitlines()[:SNIFFED_LINES]
    lines = [line for line in lines if line.strip()]
    separator = _separator(lines)
    if separator == " ":
        text = raw.decode("utf-8-sig", errors="replace")
        raw = "\n".join(",".join(line.split()) for line in text.splitlines()).encode()
        lines = [",".join(line.split()) for line in lines]
    first = next(csv.reader(lines[:1], delimiter="," if separator == " " else separator))
    comma = separator == ";"
    header = not any(is_number(c.replace(",", ".") if comma else c) for c in first)
    twice = [name for name in dict.fromkeys(first) if name and first.count(name) > 1]
    if header and twice:
        raise refuse(
            "duplicate_columns",
            f"{path.name}: more than one column is called {some(twice)}, so a name does not say which.",
            "Rename or remove all but one of each.",
            twice,
        )
    try:
        frame = pl.read_csv(
            io.BytesIO(raw),
            separator="," if separator == " " else separator,
            has_header=header,
            infer_schema=False,
            encoding="utf8" if is_utf8(raw) else "utf8-lossy",
        )
    except pl.exceptions.PolarsError as error:
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
    return frame, comma


def _separator(lines: list[str]) -> str:
    """The first separator that stands equally often in every line; a space where there is none.

    The comma comes last: beside semicolons it is a decimal comma.
    """
    for separator in SEPARATORS:
        counts = {len(next(csv.reader([line], delimiter=separator))) for line in lines}
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


def is_utf8(raw: bytes) -> bool:
    """Whether the bytes are text in UTF-8; read in pieces, which keeps large files in memory once."""
    if raw.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(raw)
    try:
        for start in range(0, len(raw), PIECE_BYTES):
            decoder.decode(view[start : start + PIECE_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _unreadable(path: Path, reason: str) -> BadData:
    return refuse(
        "unreadable_file",
        f"{path.name} cannot be read as a table: {reason.strip().splitlines()[0]}.",
        "Give every line the same number of cells, and quote cells that hold the separator.",
        path.name,
    )
