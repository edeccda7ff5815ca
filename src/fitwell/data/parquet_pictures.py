"""Pictures kept as bytes in Parquet files, alone or in parts, as Hugging Face publishes them. No torch.

What is read looks like a data set of Hugging Face's package, which is not needed, and is read as one.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fitwell.data.frames import read_parquet
from fitwell.data.images import Header, header_of
from fitwell.data.names import PARTS
from fitwell.data.types import refuse, some

_LOOKED_AT = 5  # cells that have bytes
_BESIDE = (".parquet", ".md", ".json", ".txt", "")  # of a published data set


@dataclass(frozen=True)
class Feature:
    """What a column holds: "Image", "ClassLabel" with its names, "Value" of a type."""

    _type: str = "Image"
    dtype: str = ""
    names: tuple[str, ...] = ()
    decode: bool = True


class Rows:
    """The rows of Parquet files, with what is asked of a Dataset of Hugging Face.

    Args:
        frame: polars, a column of pictures as records of bytes and path.
        features: column -> what it holds.
        name: of the data.
    """

    first_row = 1  # rows of files are counted from it

    def __init__(self, frame: Any, features: dict[str, Feature], name: str) -> None:
        self.frame, self.features = frame, features
        self.info = SimpleNamespace(dataset_name=name)
        self.column_names = list(frame.columns)

    def __len__(self) -> int:
        return self.frame.height

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.frame.row(row, named=True)

    def select_columns(self, names: list[str]) -> "Rows":
        chosen = {name: self.features[name] for name in names}
        return Rows(self.frame.select(names), chosen, self.info.dataset_name)

    def cast_column(self, name: str, feature: Feature) -> "Rows":
        return self  # pictures are kept as they are stored

    def with_format(self, kind: None) -> "Rows":
        return self

    def to_polars(self) -> Any:
        return self.frame


def has_pictures(path: Path) -> bool:
    """Whether a Parquet file, or the first one of a folder of such, has a column of pictures."""
    files = _files(path)
    return bool(files) and bool(_columns(files[0]))


def parquet_pictures(path: Path, name: str) -> "Rows | dict[str, Rows]":
    """The rows of a file, or of the files of a folder, by the part that their names begin with."""
    files = _files(path)
    if path.is_file():
        return _rows(files, name)
    parts: dict[str, list[Path]] = {}
    for file in files:
        parts.setdefault(_part(file, path), []).append(file)
    if len(parts) == 1:
        return _rows(files, name)
    return {part: _rows(found, name) for part, found in parts.items()}


def write_rows(path: Path, out: Path, stays: Callable[[str], bool]) -> None:
    """A copy of a Parquet file with some of its rows, and what it says of its columns.

    Args:
        stays: of a row's name, as `Rows` counts them.
    """
    import polars as pl

    frame = read_parquet(path)
    rows = [i for i in range(frame.height) if stays(f"row {Rows.first_row + i}")]
    told = pl.read_parquet_metadata(path)
    kept = {name: told[name] for name in ("huggingface",) if name in told}
    frame[rows].write_parquet(out, metadata=kept)


def _files(path: Path) -> list[Path]:
    """The file, or those of a folder that has no others but notes."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".parquet" else []
    found = []
    for folder, inner, names in os.walk(path):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        files = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        if any(file.suffix.lower() not in _BESIDE for file in files):
            return []  # at the first image of a folder of many
        found += [file for file in files if file.suffix.lower() == ".parquet"]
    return found


def _part(file: Path, folder: Path) -> str:
    """`train` of data/train-00000-of-00002.parquet, and of train/0000.parquet."""
    *folders, own = file.relative_to(folder).with_suffix("").as_posix().lower().split("/")
    words = [own.split("-")[0], *folders]
    return next((word for word in words if word in PARTS), words[0])


def _columns(path: Path) -> list[str]:
    """Columns whose first cells are pictures, or of records of bytes and path."""
    import polars as pl

    try:
        schema = pl.read_parquet_schema(path)
    except (pl.exceptions.PolarsError, OSError):
        return []  # said where it is read
    found = []
    for name, kind in schema.items():
        if isinstance(kind, pl.Struct):
            if {field.name: field.dtype for field in kind.fields}.get("bytes") == pl.Binary:
                found.append(name)
        elif kind == pl.Binary:
            cells = pl.scan_parquet(path).select(name).drop_nulls().head(_LOOKED_AT).collect()
            heads = [header_of(BytesIO(cell)) for cell in cells[name].to_list()]
            if any(isinstance(head, Header) for head in heads):
                found.append(name)
    return found


def _rows(files: list[Path], name: str) -> Rows:
    import polars as pl

    frames = [read_parquet(file) for file in files]
    odd = sorted({n for frame in frames for n in set(frame.columns) ^ set(frames[0].columns)})
    if odd:
        raise refuse(
            "columns_differ",
            f"The files of {name} have other columns than {files[0].name}: {some(odd)} in some only.",
            "Give every file the same columns.",
            odd,
        )
    frame = pl.concat([f.select(frames[0].columns) for f in frames], how="vertical_relaxed")
    pictures = _columns(files[0])
    features = {column: Feature("Value", str(frame[column].dtype)) for column in frame.columns}
    for column in frame.columns:
        if frame[column].dtype.is_nested() or frame[column].dtype == pl.Binary:
            features[column] = Feature("", "binary")
    for column, classes in _class_names(files[0]).items():
        if column in features and frame[column].dtype.is_integer():
            features[column] = Feature("ClassLabel", "int64", tuple(classes))
    for column in pictures:
        features[column] = Feature("Image")
        if frame[column].dtype == pl.Binary:
            record = pl.struct(pl.col(column).alias("bytes"), pl.lit(None, pl.String).alias("path"))
            frame = frame.with_columns(record.alias(column))
    return Rows(frame, features, name)


def _class_names(path: Path) -> dict[str, list[str]]:
    """The names of classes that Hugging Face's package writes into the file."""
    import polars as pl

    try:
        told = json.loads(pl.read_parquet_metadata(path).get("huggingface", "{}"))
        features = told.get("info", {}).get("features", {})
        return {
            column: [str(name) for name in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict)
            and feature.get("_type") == "ClassLabel"
            and feature["names"]
        }
    except (ValueError, AttributeError, KeyError, TypeError):
        return {}  # numbers are classes by themselves
