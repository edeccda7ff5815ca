"""`.ts` files of the UCR/UEA archive, as sktime writes them: one file, read line by line. No torch.

A line a series: its channels parted by `:`, their values by `,`, a missing one `?`, and last the class or
number.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fitwell.data.types import many, refuse

SUFFIX = ".ts"
_MISSING = ("?", "", "nan", "NaN", "NA")


@dataclass
class Panel:
    """The series of one file.

    Args:
        header: what the lines with @ say, in lower case.
        labels: the class or number of each, as it stands there; none where the file has none.
        bad: lines that cannot be read -> why.
    """

    where: str
    header: dict[str, str]
    series: list[np.ndarray] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)

    def says(self, tag: str) -> bool:
        """Whether the header says of this tag that it is so."""
        return self.header.get(tag.lower(), "").lower().split()[:1] == ["true"]

    def keys(self, several: bool) -> list[str]:
        """Names of the series; with that of the file where there are several."""
        return [self.key(line, several) for line in self.lines]

    def key(self, line: int, several: bool) -> str:
        return f"{self.where} line {line}" if several else f"line {line}"


def is_ts_folder(folder: Path) -> bool:
    """Whether the folder holds `.ts` files of series (TypeScript and video have that ending, too)."""
    return any(map(is_ts, sorted(folder.iterdir())))


def is_ts(path: Path) -> bool:
    if path.suffix.lower() != SUFFIX or not path.is_file():
        return False
    with path.open("rb") as file:
        first = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    return first.startswith((b"@", b"#")) and b"\0" not in first


def load_ts(path: Path, reads: int = 0) -> Panel:
    """The series of a file, read line by line; lines that cannot be read are listed in it.

    Args:
        reads: to predict from: the channels that the model reads, where the header does not say how many
            there are. Classes and numbers at the ends of lines are not kept then, and need not be there.

    Raises:
        BadData: it is no such file, or its values have time stamps.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        raise refuse(
            "unreadable_file", f"{path.name} cannot be read: {error}.", "Save it again.", path.name
        ) from None
    panel = Panel(path.name, {})
    lines = iter(enumerate(text.splitlines(), start=1))
    for _, line in lines:
        tag, value = [*line.split(maxsplit=1), "", ""][:2]
        if tag.lower() == "@data":
            break
        if tag.startswith("@"):
            panel.header[tag[1:].lower()] = value.strip()
    else:
        raise refuse(
            "unreadable_file",
            f"{path.name} has no line @data, so it holds no series as .ts files of the UCR/UEA archive do.",
            "Save it as sktime's write_dataframe_to_tsfile does, or as .npz.",
            path.name,
        )
    if panel.says("timestamps"):
        raise refuse(
            "time_stamps",
            f"{path.name} has a time stamp beside each value (@timeStamps true), which fitwell does not "
            "read.",
            "Save the values alone, at equal steps: @timeStamps false.",
            path.name,
        )
    labelled = bool(task_of(panel))
    rows = [(n, row) for n, line in lines if (row := line.strip()) and not row.startswith("#")]
    channels = _count(panel, "dimensions") or _count(panel, "dimension")
    known = channels or (1 if panel.says("univariate") else reads)
    bare = [bool(reads) and row.count(":") + 1 == known for _, row in rows]
    # Where nothing says how many channels there are, as many as most lines have.
    counts = Counter(
        row.count(":") + (not labelled or no_label)
        for (_, row), no_label in zip(rows, bare, strict=True)
    )
    channels = channels or max(counts, key=lambda count: (count > 0, counts[count]), default=0)
    for (number, row), no_label in zip(rows, bare, strict=True):
        _take(panel, number, row, channels, labelled=labelled and not no_label, keep=not reads)
    return panel


def _take(
    panel: Panel, number: int, line: str, channels: int, *, labelled: bool, keep: bool
) -> None:
    """Read one line into the panel.

    Args:
        labelled: its last field is a class or number.
        keep: which is kept, and must be there.
    """
    *fields, last = line.split(":")
    fields = fields if labelled else [*fields, last]
    if labelled and not fields:
        panel.bad[number] = "no class or number at its end"
        return
    if len(fields) != channels:
        panel.bad[number] = f"{many(len(fields), 'channel')}, not {channels}"
        return
    try:
        values = [[value_of(cell) for cell in each.split(",")] for each in fields]
    except ValueError as error:
        panel.bad[number] = str(error)
        return
    if labelled and keep and not last.strip():
        panel.bad[number] = "no class or number at its end"
        return
    length = max(map(len, values), default=0)
    series = np.full((len(values), length), np.nan)
    for row, known in zip(series, values, strict=True):
        row[: len(known)] = known
    panel.series.append(series)
    panel.lines.append(number)
    if labelled and keep:
        panel.labels.append(last.strip())


def value_of(cell: str) -> float:
    cell = cell.strip()
    if cell in _MISSING:
        return np.nan
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{cell[:20]} is no number") from None


def task_of(panel: Panel) -> str:
    if panel.says("targetlabel"):
        return "regression"
    return "classification" if panel.says("classlabel") else ""


def _count(panel: Panel, tag: str) -> int:
    value = panel.header.get(tag, "")
    return int(value) if value.isdigit() else 0
