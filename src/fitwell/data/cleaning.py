"""`check --fix`: a copy of a list of files, or of a table, without what should not be trained on.

The source itself is never written to. No torch.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.audio_checks import is_silent
from fitwell.data.checks import is_blank
from fitwell.data.cifar import is_cifar_folder
from fitwell.data.cleaning_boxes import has_boxes, write_boxes
from fitwell.data.duplicates import OF_COPIES, duplicate_groups, near_groups, same_target
from fitwell.data.files import seen_from
from fitwell.data.frames import Table, load_table
from fitwell.data.idx import is_idx_folder
from fitwell.data.listed import file_column, read_listed
from fitwell.data.names import TABLE_SUFFIXES
from fitwell.data.parquet_pictures import has_pictures, write_rows
from fitwell.data.pattern import GROUP, fields_of
from fitwell.data.table import table_data
from fitwell.data.types import BadData, Data, Problem, refuse
from fitwell.data.writing_boxes import WRITERS
from fitwell.errors import SettingError, did_you_mean
from fitwell.store import replacing

# Problems whose places are rows that cannot be used.
ROWS = ("missing_target", "target_not_numeric")
FILES = (
    "unreadable_files",
    "unnamed_file",
    "not_images",
    "images_without_class",
    "not_texts",
    "empty_text",
    "not_recordings",
    "recordings_without_class",
    "empty_recording",
    "name_without_label",
)


@dataclass(frozen=True)
class Cleaned:
    """The copy that was written.

    Args:
        kept: examples in it.
        left_out: why -> the names of examples.
    """

    path: Path
    kept: int
    left_out: dict[str, tuple[str, ...]]


def not_mended(problems: Iterable[Problem], left_out: Iterable[str]) -> list[str]:
    """Names of the errors and warnings of a source that its cleaned copy may still have.

    Args:
        left_out: why examples were left out.
    """
    mended = set(left_out)
    for prefix in ("", "near_"):
        if f"{prefix}duplicate_examples" in mended:  # wherever the copies stand
            mended |= {f"{prefix}{name}" for name in OF_COPIES}
    serious = [p.name for p in problems if p.severity != "note"]
    return [name for name in dict.fromkeys(serious) if name not in mended]


def place_of(
    source: Any, options: dict[str, Any], out: Path | None = None, written: str = ""
) -> Path:
    """What `clean` will write: `out`, or `<source>-clean.csv` in the current folder, of pictures with boxes
    `<source>-clean.json`, or as VOC and YOLO the folder `<source>-clean`.

    Args:
        options: settings `data.*`, complete.
        written: the format of pictures with boxes, one of `WRITERS`; "" is "coco".

    Raises:
        BadData: no folder or table of the user's, or the file is there already.
        SettingError: no such format, or one for what has no boxes.
    """
    if written and written not in WRITERS:
        raise SettingError(
            f"format = {written}: there is no such format of boxes.{did_you_mean(written, WRITERS)} "
            f"Choose one of: {', '.join(WRITERS)}.",
            setting="format",
        )
    path = Path(str(source)).expanduser()
    tabular = path.is_file() and path.suffix.lower() in TABLE_SUFFIXES
    images = path.is_dir() and not (
        is_idx_folder(path) or is_cifar_folder(path) or has_pictures(path)
    )
    boxes = isinstance(source, str | Path) and path.exists() and has_boxes(path, options)
    if not isinstance(source, str | Path) or not (tabular or images or boxes):
        raise refuse(
            "nothing_to_fix",
            "fix: a cleaned copy is written of a folder of images, texts, recordings or pictures with "
            "boxes, of a file of COCO, of a table, or of a table that lists files.",
            "Unpack an archive and give the folder; of a folder of Parquet files give each; arrays and "
            "data sets by name have no list of files.",
            str(source)[:80],
        )
    if written and not boxes:
        raise SettingError(
            f"format = {written}: formats are of pictures with boxes, and {path.name} has none. Leave it "
            "out.",
            setting="format",
        )
    suffix = ".parquet" if path.suffix.lower() == ".parquet" else ".csv"
    if boxes:
        suffix = ".json" if written in ("", "coco") else ""
    out = out or Path(f"{path.resolve().stem}-clean{suffix}")
    if boxes and suffix and out.suffix.lower() != suffix:
        raise refuse(
            "no_json",
            f"fix: pictures with boxes are written as a file of COCO, and {out} is none.",
            f"Name a file that ends in {suffix} with --out, or a folder with --format voc or yolo.",
            str(out),
        )
    if out.exists():
        raise refuse(
            "exists_already",
            f"fix: {out} is there already, and nothing is written over.",
            "Move it away, or name another file with --out.",
            str(out),
        )
    return out


def clean(
    source: str | Path,
    out: Path,
    data: Data | None,
    problems: Sequence[Problem],
    options: dict[str, Any],
    written: str = "",
) -> Cleaned:
    """Write a copy of the list of files, or of the table, without what should not be trained on.

    Of images, texts and recordings are left out files that cannot be read, blank or silent ones, all but
    one of exact and near duplicates (one in the test part stays), and all of those whose labels differ; the
    list names each file, its label and part, and is a source itself. Of pictures with boxes the copy is a
    file of COCO, or a folder of VOC or YOLO with the pictures in it, and the boxes are as they are read. Of
    a table are left out rows without a target, and all but one of rows that are equal in every cell; those
    with equal inputs and other targets stay, for they may be honest measurements (`not_mended` says so).

    Args:
        out: see `place_of`.
        data, problems: what `check` gave of the source.
        written: as for `place_of`.

    Raises:
        BadData: nothing can be kept.
    """
    if data is not None and (data.spec.kind == "series" or data.spec.tokens):
        what = "is one text" if data.spec.kind == "text" else "holds series"
        raise refuse(
            "nothing_to_fix",
            f"fix: {Path(source).name} {what}, of which no cleaned copy is written.",
            "`fitwell check` says what is wrong, and how to mend it.",
            str(source),
        )
    path = Path(source).expanduser()
    tabular = path.is_file() and path.suffix.lower() in TABLE_SUFFIXES
    if data is None and not tabular:
        raise BadData(problems)
    if data is not None and data.spec.kind == "boxes":
        rows, more = _kept(data)
        kept, left_out = write_boxes(path, out, data, rows, problems, options, written or "coco")
        return Cleaned(out, kept, left_out | more)
    if data is not None and not tabular:
        return _clean_files(path, None, out, data, problems, options)
    if data is not None and data.spec.kind == "images" and has_pictures(path):
        return _clean_pictures(path, out, data, problems)
    table = load_table(path)
    column = file_column(table, path.parent)
    if not column:
        return _clean_table(table, options, out)
    left_out = {}
    if data is None:
        data, table, left_out = _with_targets(
            table, lambda rest: read_listed(rest, column, path.parent, options), column
        )
        problems = data.problems
    found = _clean_files(path.parent, table, out, data, problems, options)
    return replace(found, left_out=left_out | found.left_out)


def _clean_files(
    base: Path,
    table: Table | None,
    out: Path,
    data: Data,
    problems: Sequence[Problem],
    options: dict[str, Any],
) -> Cleaned:
    import polars as pl

    left_out = {p.name: p.where for p in problems if p.name in FILES}
    rows, more = _kept(data)
    names = [seen_from(out.parent, base / str(data.keys[i])) for i in rows]
    columns: dict[str, Any] = {"file": names}
    if (data.part != "").any():
        columns["split"] = data.part[rows]
    if table is not None and data.groups is not None:
        group = str(options["group"])
        called = dict(zip(table.frame[file_column(table, base)], table.frame[group], strict=True))
        columns[group] = [str(called[str(data.keys[i])]) for i in rows]
    elif data.groups is not None and options["pattern"]:
        named = [fields_of(str(data.keys[i]), str(options["pattern"])) or {} for i in rows]
        columns[GROUP] = [fields[GROUP] for fields in named]
    columns |= _said_targets(data, rows)  # last, where a reader looks for it
    with replacing(out) as temporary:
        pl.DataFrame(columns).write_csv(temporary)
    return Cleaned(out, len(rows), left_out | more)


def _clean_pictures(path: Path, out: Path, data: Data, problems: Sequence[Problem]) -> Cleaned:
    """A Parquet file of pictures, without some of its rows."""
    rows, more = _kept(data)
    left_out = {p.name: p.where for p in problems if p.name in (*FILES, *ROWS, "missing_image")}
    left_out |= more
    gone = {name for where in left_out.values() for name in where}
    with replacing(out) as temporary:
        write_rows(path, temporary, lambda key: key not in gone)
    return Cleaned(out, len(rows), left_out)


def _said_targets(data: Data, rows: np.ndarray) -> dict[str, np.ndarray]:
    """name -> [row] of the target column, or of each of several, as `data.target` names them."""
    if data.targets.ndim == 2 and data.spec.target == ",".join(data.spec.several):
        return {name: values[rows] for name, values in data.each_target()}
    if data.targets.ndim == 2:  # labels that came as text
        names = np.array(data.spec.classes)
        return {data.spec.target: np.array([";".join(names[t == 1]) for t in data.targets[rows]])}
    labels = np.asarray(data.spec.classes)[data.targets] if data.spec.classes else data.targets
    return {data.spec.target: labels[rows]}


def _clean_table(table: Table, options: dict[str, Any], out: Path) -> Cleaned:
    data, table, left_out = _with_targets(table, lambda rest: table_data(rest, options))
    empty = {p.name: p.where for p in data.problems if p.name in FILES}
    table = _without(table, {key for where in empty.values() for key in where})
    left_out |= empty
    rows, more = _kept_rows(table)
    with replacing(out) as temporary:
        kept = table.frame[rows.tolist()]
        if out.suffix == ".parquet":
            kept.write_parquet(temporary)
        else:  # with a decimal comma as it was, which semicolons say
            kept.write_csv(temporary, separator=";" if table.decimal_comma else ",")
    return Cleaned(out, len(rows), left_out | more)


def _with_targets(
    table: Table, read: Callable[[Table], Data], column: str = ""
) -> tuple[Data, Table, dict[str, tuple[str, ...]]]:
    """(what is read of it, the table without rows whose target is missing or wrong, why -> their names).

    Args:
        column: whose cells name the examples; empty: the rows' own names.
    """
    left_out: dict[str, tuple[str, ...]] = {}
    while True:
        try:
            return read(table), table, left_out
        except BadData as error:
            bad = {p.name: p.where for p in error.problems if p.name in ROWS}
            if not bad:
                raise
            left_out |= bad
            table = _without(table, {key for where in bad.values() for key in where}, column)


def _kept_rows(table: Table) -> tuple[np.ndarray, dict[str, tuple[str, ...]]]:
    """(rows of a table that stay, why -> names of the others): of rows equal in every cell one."""
    first = (
        table.frame.with_row_index("__row")
        .unique(table.frame.columns, keep="first", maintain_order=True)["__row"]
        .to_numpy()
    )
    gone = np.setdiff1d(np.arange(table.frame.height), first)
    names = tuple(str(table.keys[i]) for i in gone)
    return first, {"duplicate_examples": names} if names else {}


def _without(table: Table, keys: set[str], column: str = "") -> Table:
    names = [str(cell) for cell in table.frame[column].to_list()] if column else table.keys
    stay = [i for i, key in enumerate(names) if key not in keys]
    left = [table.keys[i] for i in stay]
    return Table(table.frame[stay], left, table.name, table.where, table.decimal_comma)


def _kept(data: Data) -> tuple[np.ndarray, dict[str, tuple[str, ...]]]:
    """(images that stay, why -> names of the others)."""
    gone = np.zeros(len(data), bool)
    left_out: dict[str, tuple[str, ...]] = {}

    def leave_out(why: str, rows: Iterable[int]) -> None:
        new = [i for i in rows if not gone[i]]
        gone[new] = True
        if new:
            left_out[why] = (*left_out.get(why, ()), *(str(data.keys[i]) for i in new))

    if data.spec.kind == "images":
        leave_out("blank_image", np.flatnonzero(is_blank(data.inputs)).tolist())
    if data.spec.kind == "audio":
        leave_out("silent_recording", np.flatnonzero(is_silent(data.inputs)).tolist())
    for prefix, groups in (("", duplicate_groups(data.inputs)), ("near_", near_groups(data))):
        for group in groups:
            rows = [i for i in group.tolist() if not gone[i]]
            if not same_target(data, np.array(rows, np.int64)):
                leave_out(f"{prefix}conflicting_labels", rows)
            else:
                first = min(rows, key=lambda i: (data.part[i] != "test", i), default=-1)
                leave_out(f"{prefix}duplicate_examples", (i for i in rows if i != first))
    rows = np.flatnonzero(~gone)
    if not len(rows):
        raise refuse(
            "nothing_left",
            f"fix: of the {len(data)} examples of {data.name} none would be left.",
            "`fitwell check` says what is wrong with each.",
            data.name,
        )
    return rows, left_out
