"""The bytes of a plain-text table: their encoding, and how many cells each line has. No torch."""

import codecs
import csv
import io
from pathlib import Path

import numpy as np

from fitwell.data.types import BadData, Problem, listed, many, refuse, some

PIECE_BYTES = 1 << 20
COUNTED_BYTES = 1 << 24  # in which separators are counted at once: bounds the memory
MOST_LINES = 20  # named of those with other than the usual number of cells
Widths = dict[int, int]


def duplicate_columns(where: str, twice: list[str]) -> BadData:
    return refuse(
        "duplicate_columns",
        f"{where}: more than one column is called {some(twice)}, so a name does not say which.",
        "Rename or remove all but one of each.",
        twice,
    )


def in_utf8(raw: bytes, path: Path) -> tuple[bytes, list[Problem]]:
    """The text in UTF-8, and how it was read where it is not in it: whole, or some of its lines."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", "replace").encode(), []
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if is_utf8(raw):
        return raw, []
    lines = raw.split(b"\n")
    bad = {i for i, line in enumerate(lines) if not is_utf8(line)}
    good = [i for i, line in enumerate(lines) if i not in bad and not line.isascii()]
    for i in bad:
        lines[i] = lines[i].decode("cp1252", "replace").encode()
    text = b"\n".join(lines)
    if not good:
        return text, [western(path.name)]
    places = tuple(f"line {i + 1}" for i in sorted(bad))
    said = (
        f"{path.name} is in two encodings: {many(len(good), 'line')} in UTF-8, {many(len(bad), 'line')} "
        f"not ({some(places)}); what is not is read as Western (cp1252)."
    )
    mend = "See which files were joined; if letters come out wrong, save each as UTF-8 before."
    return text, [Problem("mixed_encodings", "warning", places, said, mend)]


def western(name: str) -> Problem:
    """The note on a file whose encoding had to be guessed."""
    said = f"{name} is not in UTF-8, and is read as Western (cp1252)."
    mend = "If letters come out wrong, save it as UTF-8."
    return Problem("not_utf8", "note", (name,), said, mend)


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


def refuse_longer(widths: Widths, usual: int, path: Path) -> None:
    """Refuse lines with more cells than the first: what each of them means is not known.

    Args:
        widths: see `other_widths`.
        usual: cells of the first line.

    Raises:
        BadData: there are some.
    """
    longer = {f"line {line}": count for line, count in widths.items() if count > usual}
    if longer:
        said = some(f"{line} ({count})" for line, count in longer.items())
        raise refuse(
            "broken_row",
            f"{path.name} cannot be read as a table: its first line has {many(usual, 'cell')}, and "
            f"{many(len(longer), 'line')} more: {said}.",
            "Give every line the same number of cells, and quote cells that hold the separator.",
            longer,
        )


def said_shorter(widths: Widths, usual: int) -> list[Problem]:
    """Lines with fewer cells than the first, whose last cells are missing."""
    shorter = {f"line {n}": str(count) for n, count in widths.items() if count < usual}
    what = f"with fewer cells than the {usual} of the first, whose last count as missing"
    mend = (
        "Look whether cells were lost in the middle: then all behind them are in the wrong column."
    )
    return listed("short_rows", "warning", (f"line {what}", f"lines {what}"), mend, shorter)


def other_widths(raw: bytes, separator: str, *, quoted: bool) -> tuple[Widths, int]:
    """(line -> its cells, where they are other than in the first line; the cells of the first line).

    Blank lines have none. Lines are counted from 1; one that a quoted cell goes over counts once, by its
    last.

    >>> other_widths(b"a,b\\n1,2\\n\\n3\\n4,5,6\\n", ",", quoted=True)
    ({4: 1, 5: 3}, 2)
    """
    if quoted and b'"' in raw:
        lines = io.TextIOWrapper(io.BytesIO(raw), "utf-8", errors="replace", newline="")
        reader = csv.reader(lines, delimiter=separator)
        counts, usual = {}, 0
        try:
            for row in reader:
                if len(row) > 1 or "".join(row).strip():
                    usual = usual or len(row)
                    if len(row) != usual:
                        counts[reader.line_num] = len(row)
        except csv.Error:  # a cell beyond what the reader takes: who parses it says so
            return {}, usual
        return counts, usual
    found: Widths = {}
    usual, line, start, mark = 0, 0, 0, ord(separator)
    while start < len(raw):
        stop = raw.rfind(b"\n", start, start + COUNTED_BYTES) + 1
        stop = stop or raw.find(b"\n", start) + 1 or len(raw)
        piece = np.frombuffer(raw, np.uint8, stop - start, start)
        ends = np.flatnonzero(piece == 10)
        ends = ends if len(ends) and ends[-1] == len(piece) - 1 else np.append(ends, len(piece))
        before = np.searchsorted(np.flatnonzero(piece == mark), ends)
        cells = 1 + np.diff(before, prepend=0)
        begins = start + np.concatenate([[0], ends[:-1] + 1])
        said = (i for i in range(len(ends)) if raw[begins[i] : start + ends[i]].strip())
        if not usual and (first := next(said, None)) is not None:
            usual = int(cells[first])
        for i in np.flatnonzero(cells != usual).tolist():
            if raw[begins[i] : start + ends[i]].strip():
                found[line + i + 1] = int(cells[i])
        line, start = line + len(ends), stop
    return found, usual
