"""Data sets of Hugging Face's package `datasets`: a Dataset, or a DatasetDict with its parts.

A column of images and what they show becomes images; anything else a table. The package is not
imported: what it makes is known by its columns and features. No torch.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fitwell.data.apart import apart_of, groups_of, times_of
from fitwell.data.assemble import assemble
from fitwell.data.columns import aside
from fitwell.data.frames import Table
from fitwell.data.hugging_face_images import decoded
from fitwell.data.hugging_face_parts import (
    class_names,
    images_among,
    joined,
    not_read,
    only_one,
    parts_of,
    plain_columns,
    table_of,
    target_of,
    with_targets,
)
from fitwell.data.labelled import Labelled
from fitwell.data.listed import columns_ignored, image_labels
from fitwell.data.options import target_and_task
from fitwell.data.table import table_data
from fitwell.data.target_columns import target_columns, values_of
from fitwell.data.types import Data, Problem, refuse
from fitwell.spec import Spec


def is_hugging_face(source: Any) -> bool:
    """Whether this is a Dataset, a DatasetDict, or a streamed one of either."""
    if isinstance(source, dict):
        return bool(source) and all(_is_one(each) for each in source.values())
    return _is_one(source)


def _is_one(source: Any) -> bool:
    return hasattr(source, "column_names") and hasattr(source, "features")


def read_hugging_face(source: Any, options: dict[str, Any], *, like: Spec | None = None) -> Data:
    """`Data` of a Dataset, or of a DatasetDict; its train, validation and test are the source's own split.

    Rows are called "row 3", of a DatasetDict "train row 3". Where there is one column of images they are
    the data, with the class names of the target's ClassLabel; anything else is a table.

    Raises:
        BadData: streamed; several columns of images; several that could be the target; nothing to learn
            from.
    """
    parts, problems = parts_of(source)
    features = parts[0].rows.features
    other = options["text"] or options["kind"] in ("text", "table")
    other = other or (like is not None and like.kind != "images")
    images = [] if other else images_among(features)
    given, notes = target_of(features, options, like, bool(images))
    names, left_out = plain_columns(features, images)
    if left_out and not images:
        problems.append(not_read(left_out))
    tables = [table_of(part, names, source) for part in parts]
    apart = apart_of(tables[0], options)
    targets, guessed = target_columns(tables[0], given, apart, inputs=not images)
    parts, tables, unlabelled = with_targets(parts, tables, targets)
    problems += [*notes, *guessed, *unlabelled]
    table = joined(tables)
    own = np.repeat([part.own for part in parts], [len(part.rows) for part in parts])
    own = own.astype("<U10") if len({part.own for part in parts}) > 1 else None
    labels = class_names(features, targets)
    if not images:
        chosen = {**options, "target": ",".join(targets)}
        if labels and options["task"] == "auto":
            chosen["task"] = "classification"
        data = table_data(table, chosen, like, part=own)
        return data.with_problems([*problems, *data.problems])
    column = only_one(images)
    found, kept, more = decoded(parts, column, options, like)
    unused = [
        name for name in [*names, *left_out] if name not in (*targets, *apart.values(), column)
    ]
    more += columns_ignored(unused, "images", "remove that of the images")
    table = Table(
        table.frame[kept.tolist()], [table.keys[i] for i in kept], table.name, table.where
    )
    values, classes = _values(table, targets, labels, target_and_task(options, like)[1])
    labelled = Labelled(
        table.name,
        values,
        table.keys,
        target=",".join(targets),
        targets=targets if len(targets) > 1 else (),
        classes=classes,
        part=None if own is None else own[kept],
        groups=groups_of(table, apart),
        times=times_of(table, apart, options["dates"]),
        problems=[*problems, *more],
    )
    data = assemble(found, labelled, {**options, "image_size": 0}, like=like)
    others = [name for name in unused if name in table.frame.columns]
    hidden = {name: aside(table.frame[name], table.decimal_comma) for name in others}
    return replace(data, aside={n: values for n, values in hidden.items() if values is not None})


def inputs_of(source: Any, spec: Spec) -> Table | tuple[np.ndarray, list[str], tuple[Problem, ...]]:
    """What a model predicts from, of every part: images with their keys and problems; otherwise a table."""
    parts, _ = parts_of(source, every=True)
    if spec.kind != "images":
        names = [column.name for column in spec.columns]
        return joined(
            [
                table_of(p, [n for n in p.rows.column_names if n in names or not names], source)
                for p in parts
            ]
        )
    images = images_among(parts[0].rows.features)
    if not images:
        raise refuse(
            "wrong_kind",
            f"The data set has no column of images, and this model reads images {list(spec.input_shape)}.",
            "Give one with a column of type Image (dataset.cast_column(NAME, datasets.Image())).",
            parts[0].rows.column_names,
        )
    found, kept, problems = decoded(parts, only_one(images), {}, spec)
    keys = [key for part in parts for key in part.keys]
    return found, [keys[i] for i in kept], tuple(problems)


def _values(
    table: Table, targets: list[str], labels: list[str], task: str
) -> tuple[np.ndarray, Sequence[str]]:
    """([row] raw targets, names of the classes that they index or none)."""
    if len(targets) > 1 or task == "multilabel":
        return values_of(table, targets, task), ()
    series = table.frame[targets[0]]
    if not labels:
        return image_labels(series, table), ()
    names = series.to_list()
    if task == "regression" or series.null_count():  # what is missing is said where it is read
        return np.array(names, dtype=object), ()
    place = {name: i for i, name in enumerate(labels)}
    return np.array([place[name] for name in names]), labels
