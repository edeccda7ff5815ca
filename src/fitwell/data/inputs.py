"""Inputs without targets, for a model that exists: what `predict` reads. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.arrays import inputs_array, refuse_nonfinite
from fitwell.data.folder import IMAGE_SUFFIXES, is_hidden
from fitwell.data.idx import is_idx_folder, read_idx
from fitwell.data.images import Unreadable, decode, in_threads, resize_array
from fitwell.data.npz import inputs_name, load_npz
from fitwell.data.options import fill
from fitwell.data.source import TABLE_SUFFIXES, is_frame, missing
from fitwell.data.sources import SOURCES
from fitwell.data.table import Table, load_frame, load_table, read_like
from fitwell.data.types import BadData, Options, Problem, many, refuse, some
from fitwell.spec import Spec


@dataclass(frozen=True, eq=False)
class Inputs:
    """Raw inputs as `Data.inputs` has them, their names, and what was wrong or left out."""

    inputs: np.ndarray
    keys: np.ndarray
    problems: tuple[Problem, ...] = ()


def read_inputs(source: Any, spec: Spec, options: Options | None = None) -> Inputs:
    """The inputs of a source, in the shape, columns and categories that `spec` says.

    Args:
        source: an image file, a folder of images (however deep), a list of image files, a table
            (no target needed), .npz, a named source, an array or DataFrame.
        spec: of the data the model was trained on.

    Raises:
        BadData: missing, unreadable, of another shape or with other columns than the model reads.
    """
    if isinstance(source, str | Path):
        found = _from_path(source, spec, fill(options or {}))
    elif is_frame(source):
        found = _from_table(load_frame(source), spec)
    elif (
        isinstance(source, list | tuple)
        and source
        and all(isinstance(s, str | Path) for s in source)
    ):
        found = _from_files([Path(s) for s in source], [str(s) for s in source], spec)
    else:
        found = _from_array(source, spec, "X")
    raw = found.inputs.shape[1:]
    wanted = spec.input_shape if spec.kind == "images" else (len(spec.columns),)
    if tuple(raw) != tuple(wanted):
        raise _wrong_shape(tuple(raw), tuple(wanted), str(source)[:60])
    return found


def _from_path(source: str | Path, spec: Spec, options: dict[str, Any]) -> Inputs:
    path = Path(source).expanduser()
    if not path.exists():
        if str(source) in SOURCES:
            data = SOURCES[str(source)](options)
            return Inputs(data.inputs, data.keys, data.problems)
        raise missing(str(source))
    if path.is_dir():
        if is_idx_folder(path):
            data = read_idx(path, options, like=spec)
            return Inputs(data.inputs, data.keys, data.problems)
        files = [
            p
            for p in sorted(path.rglob("*"))
            if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file() and not is_hidden(p)
        ]
        if not files:
            raise refuse(
                "no_images",
                f"{path} holds no image file.",
                f"Put images into it ({', '.join(list(IMAGE_SUFFIXES)[:6])} ...).",
                str(path),
            )
        return _from_files(files, [p.relative_to(path).as_posix() for p in files], spec)
    if path.suffix.lower() == ".npz":
        arrays = load_npz(path)
        return _from_array(arrays[inputs_name(arrays, path)], spec, path.name)
    if path.suffix.lower() in TABLE_SUFFIXES:
        return _from_table(load_table(path), spec)
    return _from_files([path], [path.name], spec)


def _from_files(files: Sequence[Path], keys: Sequence[str], spec: Spec) -> Inputs:
    """Images that can be decoded; the others are listed."""
    if spec.kind != "images":
        raise refuse(
            "wrong_kind",
            f"{keys[0]} is an image, but the model reads a table of {len(spec.columns)} columns.",
            "Give a CSV or DataFrame with the columns it was trained on.",
            keys,
        )
    for path in files:
        if not path.is_file():
            raise missing(str(path))
    channels, height, width = spec.input_shape
    found = in_threads(lambda p: decode(p, (height, width), channels == 1, spec.resize), files)
    bad = [(key, f.reason) for key, f in zip(keys, found, strict=True) if isinstance(f, Unreadable)]
    problems: list[Problem] = []
    if bad:
        names = tuple(key for key, _ in bad)
        text = f"{many(len(bad), 'file')} that cannot be read: {some([f'{k} ({why})' for k, why in bad])}."
        mend = "Replace them, or leave them out."
        problems = [Problem("unreadable_files", "warning", names, text, mend)]
        if len(bad) == len(found):
            raise BadData([Problem("no_images", "error", names, text, mend)])
    kept = [(k, f) for k, f in zip(keys, found, strict=True) if not isinstance(f, Unreadable)]
    return Inputs(np.stack([f for _, f in kept]), np.array([k for k, _ in kept]), tuple(problems))


def _from_table(table: Table, spec: Spec) -> Inputs:
    if spec.kind != "table":
        raise refuse(
            "wrong_kind",
            f"{table.where} is a table, but the model reads images {list(spec.input_shape)}.",
            "Give images.",
            table.where,
        )
    inputs, problems = read_like(table, spec)
    return Inputs(inputs, np.array(table.keys), tuple(problems))


def _from_array(source: Any, spec: Spec, where: str) -> Inputs:
    array, problems = inputs_array(source, where)
    keys = [f"row {i}" for i in range(len(array))]
    refuse_nonfinite(array, keys, where)
    if spec.kind == "images" and array.ndim == 4 and array.shape[1] == spec.input_shape[0]:
        size = (spec.input_shape[1], spec.input_shape[2])
        if array.shape[2:] != size:
            array = resize_array(array, size, spec.resize)
    return Inputs(np.ascontiguousarray(array), np.array(keys), tuple(problems))


def _wrong_shape(raw: tuple[int, ...], wanted: tuple[int, ...], where: str) -> BadData:
    return refuse(
        "wrong_shape",
        f"One example has shape {list(raw)}, but the model reads {list(wanted)}.",
        "Give inputs like those it was trained on.",
        where,
    )
