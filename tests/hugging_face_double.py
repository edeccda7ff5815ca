"""A stand-in for Hugging Face's package `datasets`, for machines without it.

It copies these properties of version 5.2, which fitwell relies on: a Dataset has a length, `features`
(name -> feature with `_type`; a list of features is a plain object without), `column_names`, `format`,
`info`; `dataset[i]` is a dict; `select_columns`, `with_format(None)` (which drops a transform) and
`cast_column` give new ones; `cast_column(name, type(feature)(decode=False))` gives images as
{"bytes", "path"} or None; `to_polars` gives the columns as they are stored, classes as -1, 0, 1 ...; a
DatasetDict is a dict; a streamed Dataset has features and column_names and no length.
"""

from dataclasses import dataclass, field, replace
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Image:
    mode: Any = None
    decode: bool = True
    _type: str = "Image"


@dataclass(frozen=True)
class ClassLabel:
    num_classes: Any = None
    names: Any = None
    _type: str = "ClassLabel"


@dataclass(frozen=True)
class Value:
    dtype: str
    _type: str = "Value"


@dataclass(frozen=True)
class List:
    feature: Any
    _type: str = "List"


Features = dict
DatasetDict = dict


@dataclass(frozen=True, eq=False)
class Dataset:
    columns: dict[str, list]
    features: dict[str, Any]
    format: dict[str, Any] = field(default_factory=lambda: {"type": None})
    info: Any = field(default_factory=lambda: SimpleNamespace(dataset_name=None, builder_name=None))

    @classmethod
    def from_dict(cls, columns: dict[str, list], features: dict[str, Any]) -> "Dataset":
        return cls(
            {
                name: [_stored(value) for value in values] if _image(features[name]) else values
                for name, values in columns.items()
            },
            features,
        )

    @property
    def column_names(self) -> list[str]:
        return list(self.columns)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, row: int) -> dict[str, Any]:
        if self.format["type"] == "custom":
            raise AssertionError("the transform is not to be called")
        if any(_image(f) and f.decode for f in self.features.values()):
            raise AssertionError("images are read as they are stored")
        return {name: values[row] for name, values in self.columns.items()}

    def select_columns(self, names: list[str]) -> "Dataset":
        kept = {name: self.columns[name] for name in names}
        return replace(self, columns=kept, features={name: self.features[name] for name in names})

    def remove_columns(self, names: list[str]) -> "Dataset":
        return self.select_columns([name for name in self.columns if name not in names])

    def cast_column(self, name: str, feature: Any) -> "Dataset":
        return replace(self, features={**self.features, name: feature})

    def with_format(self, kind: None) -> "Dataset":
        return replace(self, format={"type": kind})

    def with_transform(self, transform: Any) -> "Dataset":
        return replace(self, format={"type": "custom"})

    def to_polars(self) -> pl.DataFrame:
        return pl.DataFrame(self.columns)

    def to_iterable_dataset(self) -> "IterableDataset":
        return IterableDataset(self)


class IterableDataset:
    def __init__(self, rows: Dataset) -> None:
        self.features, self.column_names = rows.features, rows.column_names


def _image(feature: Any) -> bool:
    return isinstance(feature, Image)


def _stored(value: Any) -> Any:
    """As `datasets` stores an image: what is given as bytes as they are, a picture as PNG."""
    if value is None or isinstance(value, dict):
        return value
    file = BytesIO()
    value.save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}
