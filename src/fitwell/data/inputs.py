"""Inputs without targets, for a model that exists: what `predict` reads. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.archive import is_archive, unpacked
from fitwell.data.arrays import as_texts, inputs_array, refuse_nonfinite
from fitwell.data.audio import read_recordings
from fitwell.data.digits import single
from fitwell.data.files import files_below, key_of
from fitwell.data.frames import Table, load_frame, load_table
from fitwell.data.hugging_face import inputs_of, is_hugging_face
from fitwell.data.idx import is_idx_folder, read_idx
from fitwell.data.images import Header, Unreadable, decode, header, in_threads, resize_array
from fitwell.data.items import other_kind
from fitwell.data.listed import could_be_a_path, file_column, unnamed_files
from fitwell.data.names import NOUNS, SUFFIXES, TABLE_SUFFIXES, TEXT_SUFFIXES
from fitwell.data.npz import inputs_names, load_npz
from fitwell.data.options import fill
from fitwell.data.panel_inputs import series_inputs, table_inputs, ts_inputs
from fitwell.data.panel_npz import npz_panels
from fitwell.data.parquet_pictures import has_pictures, parquet_pictures
from fitwell.data.prose import cells_of, text_column
from fitwell.data.source import is_frame, missing
from fitwell.data.sources import SOURCES
from fitwell.data.table import read_like
from fitwell.data.texts import as_objects, read_text, unreadable_texts, whole
from fitwell.data.ts import SUFFIX, is_ts_folder
from fitwell.data.types import BadData, Problem, both, listed, many, refuse, some
from fitwell.data.waves import wave_inputs
from fitwell.data.words import words_of
from fitwell.spec import Spec

PICTURES = ("images", "boxes")  # kinds whose inputs are pictures


@dataclass(frozen=True, eq=False)
class Inputs:
    """Raw inputs as `Data.inputs` has them, what to call each (its path, or its row), what was wrong or
    left out; and of pictures for boxes the (height, width) that each had."""

    inputs: np.ndarray
    keys: list[str]
    problems: tuple[Problem, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()


def read_inputs(source: Any, spec: Spec) -> Inputs:
    """The inputs of a source, in the shape, columns and categories that `spec` says.

    Args:
        source: a file of an image, text or recording, a folder of such (however deep), a table (no target
            needed; of the model's columns, or of paths of such files), .npz, an archive of one of these, a
            named source, or several of these; an array, a DataFrame or a data set of Hugging Face's
            `datasets`.
        spec: of the data the model was trained on.

    Raises:
        BadData: missing, unreadable, of another shape or with other columns than the model reads.
    """
    if isinstance(source, str | Path):
        return _from_paths([source], spec)
    if isinstance(source, list | tuple) and all(isinstance(s, str | Path) for s in source):
        if not source:
            raise refuse("no_input", "No input was named.", "Give files or folders.", "predict")
        if spec.kind == "text" and not any(map(_is_source, source)):
            return _from_array([str(text) for text in source], spec, "X")
        return _from_paths(source, spec)
    if is_hugging_face(source):
        return _of_data_set(source, spec)
    if is_frame(source) and spec.kind in ("table", "text", "series"):
        return _from_table(load_frame(source), spec)
    return _from_array(source, spec, "X")


def _from_paths(sources: Sequence[str | Path], spec: Spec) -> Inputs:
    """All of them, in their order; image files that follow each other are decoded side by side."""
    found: list[Inputs] = []
    files: list[tuple[Path, str]] = []  # with what to call each
    lost: list[Problem] = []
    readers = {"text": _from_texts, "audio": _from_recordings}

    def add(*more: Inputs) -> None:
        if files:
            found.append(readers.get(spec.kind, _from_images)(files, spec))
            files.clear()
        found.extend(more)

    for source in sources:
        path = Path(source).expanduser()
        if not path.exists():
            if str(source) not in SOURCES:
                raise missing(str(source))
            data = SOURCES[str(source)](fill({}))
            add(_fitting(data.inputs, [str(k) for k in data.keys], spec, str(source)))
            continue
        if path.is_file() and is_archive(path):
            path = unpacked(path)
        suffix = path.suffix.lower()
        if suffix == SUFFIX or (path.is_dir() and is_ts_folder(path)):
            if spec.kind != "series":
                raise other_kind(str(source), "series", spec)
            add(Inputs(*ts_inputs(path, spec, before=f"{source} ")))
        elif path.is_dir() and is_idx_folder(path):
            data = read_idx(path, fill({}), like=spec)
            add(_fitting(data.inputs, [f"{source} {k}" for k in data.keys], spec, str(source)))
        elif spec.kind in PICTURES and has_pictures(path):
            add(_of_data_set(parquet_pictures(path, path.stem), spec, before=f"{source} "))
        elif path.is_dir():
            called = Path(source).as_posix()
            files += [(p, f"{called}/{key_of(p, path)}") for p in _files_in(path, spec)]
        elif suffix == ".npz":
            arrays = load_npz(path)
            parts = {part: arrays[name] for part, name in inputs_names(arrays, path).items()}
            read = npz_panels(arrays, parts, {}, spec, path.name) or list(parts.values())
            for part, array in zip(parts, read, strict=True):
                before = f"{source} {part} " if part else f"{source} "
                add(_from_array(array, spec, path.name, before=before))
        elif suffix in TABLE_SUFFIXES and not (spec.kind == "text" and suffix in TEXT_SUFFIXES):
            table = load_table(path)
            column = file_column(table, path.parent) if spec.kind != "table" else ""
            if column:
                cells = zip(table.frame[column].to_list(), table.keys, strict=True)
                named = {key: name for name, key in cells if name and could_be_a_path(name)}
                files += [(path.parent / name, name) for name in named.values()]
                unnamed = tuple(f"{source} {key}" for key in table.keys if key not in named)
                lost += unnamed_files(unnamed)
            else:
                add(_from_table(table, spec, before=f"{source} "))
            lost += table.problems
        else:
            files.append((path, str(source)))
    add()
    return Inputs(
        np.concatenate([each.inputs for each in found]),
        [key for each in found for key in each.keys],
        (*lost, *(problem for each in found for problem in each.problems)),
        tuple(size for each in found for size in each.sizes),
    )


def _of_data_set(source: Any, spec: Spec, *, before: str = "") -> Inputs:
    """Of a data set of Hugging Face, or of what looks like one."""
    found = inputs_of(source, spec)
    if isinstance(found, Table):
        return _from_table(found, spec, before=before)
    images, keys, problems = found
    return Inputs(images, [f"{before}{key}" for key in keys], problems)


def _is_source(text: str | Path) -> bool:
    """Whether it is the path of something that is there, or a source by name; nothing is neither, though it
    is a path of the current folder."""
    try:
        return str(text) in SOURCES or (text != "" and Path(text).expanduser().exists())
    except (OSError, ValueError):  # no name that a file could have
        return False


def _files_in(folder: Path, spec: Spec) -> list[Path]:
    """The files in it that are of the model's kind."""
    kind = spec.kind if spec.kind in SUFFIXES else "images"
    files = [path for path in files_below(folder) if path.suffix.lower() in SUFFIXES[kind]]
    if not files:
        raise refuse(
            f"no_{NOUNS[kind]}s",
            f"{folder} holds no {NOUNS[kind]} file.",
            f"Put some into it ({', '.join(SUFFIXES[kind][:6])} ...).",
            str(folder),
        )
    return files


def _from_texts(files: Sequence[tuple[Path, str]], spec: Spec) -> Inputs:
    """A text a file; files that hold none are listed."""
    read = [(key, read_text(path)) for path, key in files]
    problems = unreadable_texts(key for key, found in read if found is None)
    kept = [(key, found[0]) for key, found in read if found is not None]
    if not kept:
        raise BadData([replace(problem, severity="error") for problem in problems])
    return _texts([text for _, text in kept], [key for key, _ in kept], problems)


def _texts(texts: Sequence[str], keys: list[str], problems: Sequence[Problem] = ()) -> Inputs:
    """Texts to predict from; of those without a word that is said."""
    formed, halves = whole(texts, keys)
    empty = tuple(key for key, text in zip(keys, formed, strict=True) if not words_of(text))
    mend = "What is predicted of them is what is predicted of nothing."
    said = listed("empty_text", "warning", both("text", "without a word"), mend, empty)
    return Inputs(as_objects(formed), keys, (*problems, *halves, *said))


def _from_recordings(files: Sequence[tuple[Path, str]], spec: Spec) -> Inputs:
    """Recordings that can be read; the others are listed."""
    inputs, keys, problems = read_recordings(files, spec)
    return Inputs(inputs, keys, tuple(problems))


def _from_images(images: Sequence[tuple[Path, str]], spec: Spec) -> Inputs:
    """Images that can be decoded; the others are listed."""
    if spec.kind not in PICTURES:
        series = spec.kind == "series"
        reads = spec.examples if series else f"a table of {len(spec.columns)} columns"
        files = ".ts or .npz file" if series else "CSV, Parquet or .npz file with the columns"
        raise refuse(
            "wrong_kind",
            f"{images[0][1]} is {_what(images[0][0])}, and this model reads {reads}.",
            f"Give a {files} {'like those ' * series}it was trained on.",
            [key for _, key in images],
        )
    size, grey = spec.kept_size, spec.input_shape[0] == 1
    found = in_threads(lambda each: decode(each[0], size, grey, spec.resize), images)
    read = [(k, f) for (_, k), f in zip(images, found, strict=True) if isinstance(f, np.ndarray)]
    bad = [
        (k, f.reason) for (_, k), f in zip(images, found, strict=True) if isinstance(f, Unreadable)
    ]
    what = both("image", "that cannot be read left out")
    mend = "Replace them, or leave them out."
    problems = listed("unreadable_files", "warning", what, mend, dict(bad))
    if not read:
        raise BadData([replace(each, name="no_images", severity="error") for each in problems])
    sizes: tuple[tuple[int, int], ...] = ()
    if spec.kind == "boxes":
        heads = (header(path) for path, key in images if key not in dict(bad))
        sizes = tuple(head.size for head in heads if isinstance(head, Header))
    return Inputs(np.stack([f for _, f in read]), [k for k, _ in read], tuple(problems), sizes)


def _what(path: Path) -> str:
    """What a file is by its name."""
    found = (kind for kind, endings in SUFFIXES.items() if path.suffix.lower() in endings)
    noun = NOUNS.get(next(found, ""), "file of another kind")
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _from_table(table: Table, spec: Spec, *, before: str = "") -> Inputs:
    """A table's rows; `before` stands before the name of each: of which file it is."""
    if spec.kind == "text":
        column = text_column(table, fill({}), spec)
        return _texts(cells_of(table, column), [f"{before}{key}" for key in table.keys])
    if spec.kind == "series":
        return Inputs(*table_inputs(table, spec, before=before))
    if spec.kind != "table":
        raise refuse(
            "wrong_kind",
            f"{table.where} is a table, and this model reads {spec.examples}.",
            "Give data like that which it was trained on.",
            table.where,
        )
    inputs, problems = read_like(table, spec)
    keys = [f"{before}{key}" for key in table.keys]
    return Inputs(inputs, keys, (*problems, *_without_infinite(inputs, keys, spec)))


def _without_infinite(inputs: np.ndarray, keys: list[str], spec: Spec) -> list[Problem]:
    """Make infinite cells of a table missing, in place, as others that cannot be read are, and say so."""
    bad = np.isinf(single(inputs))
    if not bad.any():
        return []
    inputs[bad] = np.nan
    rows = [keys[i] for i in np.flatnonzero(bad.any(1))]
    columns = [column.name for i, column in enumerate(spec.columns) if bad[:, i].any()]
    said = (
        f"{many(len(rows), 'row')} with infinite values, or numbers too large for float32, in "
        f"{some(columns)}: {some(rows)}."
    )
    mend = "They count as missing; correct them."
    return [Problem("nonfinite_inputs", "warning", tuple(rows), said, mend)]


def _from_array(source: Any, spec: Spec, where: str, *, before: str = "") -> Inputs:
    texts = as_texts(source, numbers=True) if spec.kind == "text" else None
    if texts is not None:
        return _texts(texts.tolist(), [f"{before}row {i}" for i in range(len(texts))])
    if spec.kind == "series":
        return Inputs(*series_inputs(source, spec, where, before=before))
    if spec.kind == "audio":
        return Inputs(*wave_inputs(source, spec, where, before=before))
    array, problems = inputs_array(source, where, spec)
    keys = [f"{before}row {i}" for i in range(len(array))]
    refuse_nonfinite(array, keys, where)
    return _fitting(array, keys, spec, where, tuple(problems))


def _fitting(
    array: np.ndarray,
    keys: list[str],
    spec: Spec,
    where: str,
    problems: tuple[Problem, ...] = (),
) -> Inputs:
    """Inputs of an array, images resized; or a sentence that says which shape the model reads."""
    sizes: tuple[tuple[int, int], ...] = ()
    if spec.kind in PICTURES and array.ndim == 4 and array.shape[1] == spec.input_shape[0]:
        if spec.kind == "boxes":
            sizes = ((array.shape[2], array.shape[3]),) * len(array)
        size = spec.kept_size
        if array.shape[2:] != size:
            array = resize_array(array, size, spec.resize)
    wanted: tuple[int, ...] = (len(spec.columns),)
    if spec.kind in PICTURES:
        wanted = (spec.input_shape[0], *spec.kept_size)
    if array.shape[1:] != wanted or spec.kind == "text":
        what = {
            **dict.fromkeys(PICTURES, f"images of shape {list(wanted)}"),
            "text": "texts",
        }.get(spec.kind, f"tables of {wanted[0]} columns")
        raise refuse(
            "wrong_shape",
            f"{where} has shape {list(array.shape)}, and this model reads {what}.",
            "Give it as the training data was.",
            where,
        )
    return Inputs(np.ascontiguousarray(array), keys, problems, sizes)
