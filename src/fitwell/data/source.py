"""From what the user named to `Data`: `read` raises on bad data, `check` lists what is wrong."""

import sys
from pathlib import Path
from typing import Any

from fitwell.data.archive import is_archive, stem_of, unpacked
from fitwell.data.arrays import read_arrays
from fitwell.data.checks import problems_of
from fitwell.data.corpus import is_corpus, read_corpus
from fitwell.data.download import PUBLISHED
from fitwell.data.hugging_face import is_hugging_face, read_hugging_face
from fitwell.data.items import other_kind
from fitwell.data.names import TABLE_SUFFIXES
from fitwell.data.options import fill, refuse_of_other_kinds
from fitwell.data.parquet_pictures import has_pictures, parquet_pictures
from fitwell.data.sources import SOURCES
from fitwell.data.ts import SUFFIX, is_ts_folder
from fitwell.data.types import BadData, Data, Options, Problem, refuse
from fitwell.errors import SettingError, did_you_mean
from fitwell.spec import PLURAL, Spec

# Wrong for data to train on, not for data to evaluate a model with.
TRAINING_ONLY = {
    "too_few_examples",
    "few_examples",
    "one_class",
    "single_example_class",
    "small_class",
    "fewer_than_folds",
    "class_imbalance",
    "labels_differ",
    "no_validation_part",
    "no_training_part",
    "constant_target",
    "constant_inputs",
    "constant_column",
    "constant_series",
    "constant_channel",
    "repeated_column",
    "target_in_features",
    "capped_target",
    "duplicate_across_split",
    "group_across_split",
    "time_across_split",
    "files_across_split",
    "future_in_inputs",
}
OTHER_ARCHIVES = (".gz", ".bz2", ".xz", ".zst", ".7z", ".rar")  # or of a single file


def read(source: Any, options: Options | None = None, *, like: Spec | None = None) -> Data:
    """The data of a source, checked.

    Args:
        source: a path, a name of `SOURCES`, `(X, y)`, a DataFrame, a torch Dataset, or a Dataset or
            DatasetDict of Hugging Face's `datasets`.
        options: settings `data.*` without the prefix, and `seed`.
        like: the spec of a model that exists: its image size, columns and classes are used.

    Raises:
        BadData: it cannot be trained on; `.problems` lists everything.
        SettingError: a setting that does not exist, or does not go with this source.
    """
    data, problems = _read(source, fill(options or {}), like)
    if like is not None:
        problems = tuple(p for p in problems if p.name not in TRAINING_ONLY)
    if any(p.severity == "error" for p in problems):
        raise BadData(problems)
    return data.with_problems(problems)


def check(source: Any, options: Options | None = None) -> tuple[Data | None, tuple[Problem, ...]]:
    """The data, where it can be read at all, and everything wrong with it.

    Raises:
        SettingError: a setting is wrong (the data is not to blame).
    """
    try:
        data, problems = _read(source, fill(options or {}), None, thorough=True)
    except BadData as error:
        return None, error.problems
    return data.with_problems(problems), problems


def _read(
    source: Any, options: dict[str, Any], like: Spec | None, *, thorough: bool = False
) -> tuple[Data, tuple[Problem, ...]]:
    try:
        data = _open(source, options, like)
    except PermissionError as error:
        where = str(error.filename or source)
        raise refuse(
            "not_permitted",
            f"{where} cannot be read: permission denied.",
            f"Give yourself the right to read it (chmod -R u+rX {where}), or copy it.",
            where,
        ) from None
    if like is not None and data.spec.kind != like.kind:
        raise other_kind(data.name, data.spec.kind, like)
    if options["kind"] not in ("auto", data.spec.kind):
        raise SettingError(
            f"data.kind = {options['kind']}: {data.name} holds {PLURAL[data.spec.kind]}. Leave it out.",
            setting="data.kind",
        )
    refuse_of_other_kinds(options, data.spec)
    problems = problems_of(data, options, thorough=thorough)
    if isinstance(source, str) and source in SOURCES and Path(source).exists():
        note = Problem(
            "path_beats_name",
            "note",
            (source,),
            f"{source} is both a path here and the name of a source; the path is read.",
            "Rename the path, or run elsewhere, for the named source.",
        )
        problems = (*problems, note)
    return data, problems


def _open(source: Any, options: dict[str, Any], like: Spec | None) -> Data:
    if isinstance(source, str | Path):
        return _open_named(source, options, like)
    _refuse_root(options)
    _refuse_pattern(options, "a source in memory")
    if is_hugging_face(source):
        return read_hugging_face(source, options, like=like)
    if is_frame(source):
        from fitwell.data.table import read_frame

        return read_frame(source, options, like=like)
    if isinstance(source, tuple | list) and len(source) == 2:
        x, y = source
        if is_frame(x) and (like.kind if like else options["kind"]) == "series":
            _refuse_columns(options, "a DataFrame of series, one a row,")
            return read_arrays(x.to_numpy(), y, options, where="the DataFrame", like=like)
        if is_frame(x):
            from fitwell.data.table import read_frame

            return read_frame(x, options, targets=y, like=like)
        _refuse_columns(options, "arrays (X, y)")
        return read_arrays(x, y, options, like=like)
    if hasattr(source, "__getitem__") and not isinstance(source, dict | list | tuple | bytes):
        from fitwell.data.dataset import read_dataset

        _refuse_columns(options, "a Dataset")
        return read_dataset(source, options, like=like)
    raise refuse(
        "unknown_source",
        f"A source of type {type(source).__name__} is not known.",
        "Give a path, a name, (X, y), a DataFrame, or a Dataset of torch or Hugging Face with a length.",
        type(source).__name__,
    )


def _open_named(source: str | Path, options: dict[str, Any], like: Spec | None) -> Data:
    if not str(source).strip():
        raise refuse("no_source", "No source was named.", "Name a path or a source.", "source")
    path = Path(source).expanduser()
    if not path.exists():
        if str(source) in SOURCES:
            _refuse_columns(options, f"the source {source}")
            _refuse_pattern(options, f"the source {source}")
            if str(source) not in PUBLISHED:
                _refuse_root(options)
            return SOURCES[str(source)](options)
        raise missing(str(source))
    _refuse_root(options)
    if not path.is_file() and not path.is_dir():
        raise refuse(
            "unknown_file",
            f"{path} is neither a file nor a folder.",
            "Save what comes out of it as a file, and name that.",
            str(path),
        )
    name = ""
    if path.is_file() and is_archive(path):
        path, name = unpacked(path), stem_of(path)
    if path.suffix.lower() == SUFFIX or (path.is_dir() and is_ts_folder(path)):
        from fitwell.data.ts_source import read_ts

        _refuse_columns(options, "a file of series")
        _refuse_pattern(options, f"{path.name}, series in .ts files,")
        return read_ts(path, options, name=name, like=like)
    if path.is_dir():
        from fitwell.data.boxes import annotations_in, read_boxes
        from fitwell.data.cifar import is_cifar_folder, read_cifar
        from fitwell.data.folder import read_folder
        from fitwell.data.idx import is_idx_folder, read_idx

        _refuse_columns(options, "a folder")
        wanted = options["kind"] in ("auto", "boxes")
        if wanted and (kind := annotations_in(path, options)):
            if like is not None and like.kind != "boxes":
                raise other_kind(str(path), "boxes", like)
            called = name or path.resolve().name
            return read_boxes(path, kind, options, name=called, like=like)
        if has_pictures(path):
            _refuse_pattern(options, f"{path.name}, Parquet files,")
            pictures = parquet_pictures(path, name or path.resolve().name)
            return read_hugging_face(pictures, options, like=like)
        reader = read_idx if is_idx_folder(path) else read_folder
        reader = read_cifar if is_cifar_folder(path) else reader
        if reader is not read_folder:
            _refuse_pattern(options, f"{path.name}, a published data set,")
        if reader is not read_folder and like is not None and like.kind != "images":
            raise other_kind(str(path), "images", like)
        return reader(path, options, name=name or path.resolve().name, like=like)
    suffix = path.suffix.lower()
    if suffix == ".json":
        from fitwell.data.boxes import read_boxes
        from fitwell.data.coco import is_coco_file

        if is_coco_file(path):
            if like is not None and like.kind != "boxes":
                raise other_kind(str(path), "boxes", like)
            _refuse_columns(options, f"{path.name}, pictures with boxes,")
            return read_boxes(path, "coco", options, name=path.stem, like=like)
    _refuse_pattern(options, path.name)
    if suffix == ".npz":
        from fitwell.data.npz import read_npz

        return read_npz(path, options, like=like)
    if (like is None or like.task == "language") and is_corpus(path, options):
        return read_corpus(path, options, like)
    if has_pictures(path):
        return read_hugging_face(parquet_pictures(path, path.stem), options, like=like)
    if suffix in TABLE_SUFFIXES:
        from fitwell.data.table import read_table

        return read_table(path, options, like=like)
    unpack = "Unpack it and give the folder." if suffix in OTHER_ARCHIVES else ""
    raise refuse(
        "unknown_file",
        f"{path.name} is of no kind that fitwell reads.",
        unpack
        or f"It reads {', '.join(TABLE_SUFFIXES)}, .npz, .ts, one text (.txt, .md), .json of COCO, "
        "folders of IDX files, of class folders with images, texts or recordings and of images with "
        "boxes, and .zip and .tar of such.",
        str(path),
    )


def missing(source: str) -> BadData:
    """The error for a source that is neither there nor known, with the nearest name."""
    looks_like_path = any(c in source for c in "/\\.")
    if looks_like_path:
        near = Path(source).expanduser().parent
        names = [p.name for p in near.iterdir()] if near.is_dir() else []
        hint = did_you_mean(Path(source).name, names)
        return refuse(
            "missing_path",
            f"There is no file or folder {source}.{hint}",
            "Check the path and the current folder.",
            source,
        )
    return refuse(
        "unknown_source",
        f"There is no file, folder or source called {source}.{did_you_mean(source, SOURCES)}",
        f"Sources by name: {', '.join(SOURCES)}.",
        source,
    )


def is_frame(source: Any) -> bool:
    """Whether this is a DataFrame of polars or pandas, without importing either."""
    for module in ("polars", "pandas"):
        frame = getattr(sys.modules.get(module), "DataFrame", None)
        if frame is not None and isinstance(source, frame):
            return True
    return False


def _refuse_columns(options: dict[str, Any], what: str) -> None:
    for name in ("target", "group", "time", "text"):
        if options[name]:
            raise SettingError(
                f"data.{name} = {options[name]}: {what} has no columns to name. "
                f"Leave data.{name} out" + (", or pass a DataFrame." if "arrays" in what else "."),
                setting=f"data.{name}",
            )


def _refuse_pattern(options: dict[str, Any], what: str) -> None:
    if options["pattern"]:
        raise SettingError(
            f"data.pattern = {options['pattern']}: {what} is no folder of files whose names hold the "
            "label. Leave it out.",
            setting="data.pattern",
        )


def _refuse_root(options: dict[str, Any]) -> None:
    if options["root"]:
        raise SettingError(
            f"data.root = {options['root']}: only {', '.join(PUBLISHED)} read it. Leave it out, "
            "or give that folder as the source.",
            setting="data.root",
        )
