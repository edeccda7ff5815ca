"""`.npz` archives of NumPy: `X, y`, or `x_train, y_train, x_test, y_test`. No torch, no pickles."""

import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.apart import SETTINGS, apart_of, groups_of, times_of
from fitwell.data.arrays import read_arrays
from fitwell.data.frames import Table
from fitwell.data.names import PARTS
from fitwell.data.panel_arrays import read_as_series
from fitwell.data.panel_npz import npz_panels
from fitwell.data.target_columns import refuse_as_target
from fitwell.data.types import BadData, Data, refuse
from fitwell.errors import did_you_mean
from fitwell.spec import Spec

INPUTS = {"x", "images", "image", "data", "inputs", "features"}
TARGETS = {"y", "labels", "label", "targets", "target"}
CLASSES = ("classes", "class_names", "label_names", "target_names")


def read_npz(path: Path, options: dict[str, Any], *, like: Spec | None = None) -> Data:
    """`Data` of an archive; parts in the names of the arrays become the source's own split.

    Args:
        options: `target` names the array of targets, `group` one of groups, `time` one of times.

    Raises:
        BadData: not an archive, damaged, Python objects in it, or no inputs and targets.
    """
    arrays = load_npz(path)
    pairs = _pairs(arrays, path, options)
    inputs, targets, keys, part = [], [], [], []
    for name, (x, y) in pairs.items():
        if len(arrays[x]) != len(arrays[y]):
            raise refuse(
                "lengths_differ",
                f"{path.name}: {x} has {len(arrays[x])} examples, {y} {len(arrays[y])} targets.",
                "Save one target an example.",
                (x, y),
            )
        inputs.append(arrays[x])
        targets.append(arrays[y])
        keys += [f"{name} row {i}".strip() for i in range(len(arrays[x]))]
        part.append(np.full(len(arrays[x]), name, "<U10"))
    groups, times = _apart(arrays, pairs, path, options, keys)
    named = dict(zip(pairs, inputs, strict=True))
    panels = npz_panels(arrays, named, options, like, path.name)
    guessed = panels is not None and like is None and options["kind"] == "auto"
    if panels is not None:
        inputs, options = panels, {**options, "kind": "series"}
    shapes = {a.shape[1:] for a in inputs}
    if len(shapes) > 1:
        raise refuse(
            "sizes_differ",
            f"{path.name}: the inputs of its parts have shapes {sorted(map(list, shapes))}.",
            "Save examples of equal shape.",
            [x for x, _ in pairs.values()],
        )
    if {t.ndim for t in targets} == {2}:
        targets = [t[:, 0] if t.shape[1] == 1 else t for t in targets]
    classes = _classes(arrays, targets) if options["task"] in ("auto", "classification") else ()
    data = read_arrays(
        np.concatenate(inputs) if len(inputs) > 1 else inputs[0],
        np.concatenate(targets) if len(targets) > 1 else targets[0],
        options,
        name=path.stem,
        where=path.name,
        keys=keys,
        part=np.concatenate(part) if len(pairs) > 1 else None,
        groups=groups,
        times=times,
        target=next(iter(pairs.values()))[1],
        classes=classes,
        like=like,
    )
    if not guessed:
        return data
    return data.with_problems([*data.problems, read_as_series(path.name, data.inputs)])


def _apart(
    arrays: dict[str, np.ndarray],
    pairs: dict[str, tuple[str, str]],
    path: Path,
    options: dict[str, Any],
    keys: list[str],
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The arrays of groups and of times, one an example of all parts."""
    named = {setting: options[setting] for setting in SETTINGS if options[setting]}
    if not named:
        return None, None
    refuse_as_target([y for _, y in pairs.values()], named)
    import polars as pl

    columns = {}
    for setting, name in named.items():
        found = _named(arrays, name, path, setting)
        if found.shape != (len(keys),):
            raise refuse(
                "lengths_differ",
                f"data.{setting} = {name}: {path.name} has {len(keys):,} examples, and this array has "
                f"shape {list(found.shape)}.",
                f"Save one {setting} an example, those of all parts in one array: train, validation, test.",
                name,
                setting=f"data.{setting}",
            )
        columns[name] = found.astype("M8[us]") if found.dtype.kind == "M" else found
    table = Table(pl.DataFrame(columns), keys, path.stem, path.name, typed=True)
    apart = apart_of(table, options)
    groups = None if groups_of(table, apart) is None else columns[apart["group"]]
    return groups, times_of(table, apart, options["dates"])


def _classes(arrays: dict[str, np.ndarray], targets: list[np.ndarray]) -> tuple[str, ...]:
    """The names of an array `classes` where the targets are places in it; none otherwise."""
    names = next((a for name, a in arrays.items() if name.lower() in CLASSES), np.empty(0))
    codes = [t for t in targets if t.ndim == 1 and t.dtype.kind in "iu" and len(t)]
    if names.ndim != 1 or len(codes) < len(targets) or len(set(names.tolist())) < len(names):
        return ()
    inside = all(t.min() >= 0 and t.max() < len(names) for t in codes)
    return tuple(str(name) for name in names.tolist()) if inside else ()


def load_npz(path: Path) -> dict[str, np.ndarray]:
    """Every array of the archive, by name; pickled objects are refused, for they could run code."""
    if not path.stat().st_size:
        raise refuse("empty_file", f"{path.name} is empty.", "Save it again.", path.name)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, ValueError) as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            what = "is not an .npz archive, or holds Python objects, which could run code"
        else:
            what = f"cannot be read: {error}"
        raise refuse(
            "unreadable_file",
            f"{path.name} {what}.",
            "Save plain arrays: np.savez(path, X=X, y=y).",
            path.name,
        ) from None


def inputs_names(arrays: dict[str, np.ndarray], path: Path) -> dict[str, str]:
    """The array of inputs, for prediction; of several parts each by the name of its part."""
    names = [n for n in arrays if _role(n)[0] == "x"]
    if len(names) == 1 or len(arrays) == 1:
        return {"": names[0] if names else next(iter(arrays))}
    parts = {_role(name)[1]: name for name in names}
    if names and len(parts) == len(names) and "" not in parts:
        return parts
    raise _no_pair(arrays, path)


def _pairs(
    arrays: dict[str, np.ndarray], path: Path, options: dict[str, Any]
) -> dict[str, tuple[str, str]]:
    """(inputs, targets) array names by part."""
    found: dict[tuple[str, str], str] = {}
    for name in arrays:
        role, part = _role(name)
        if role:
            found.setdefault((part, role), name)
    if options["target"]:
        _named(arrays, options["target"], path, "target")
        found = {key: name for key, name in found.items() if key[1] == "x" and key[0] == ""}
        found["", "y"] = options["target"]
    elif set(arrays) == {"arr_0", "arr_1"}:  # np.savez(path, X, y)
        found = {("", "x"): "arr_0", ("", "y"): "arr_1"}
    parts = [
        p for p in ("", "train", "validation", "test") if (p, "x") in found and (p, "y") in found
    ]
    if "train" in parts or "test" in parts:
        parts = [p for p in parts if p]
    if not parts:
        raise _no_pair(arrays, path)
    for part in parts:
        for role in ("x", "y"):
            if arrays[found[part, role]].ndim == 0:
                raise _no_pair(arrays, path)
    return {part: (found[part, "x"], found[part, "y"]) for part in parts}


def _role(name: str) -> tuple[str, str]:
    """("x", "y" or "", part) of an array, from its name.

    >>> _role("x_train"), _role("test_labels"), _role("Y"), _role("Xtest"), _role("notes")
    (('x', 'train'), ('y', 'test'), ('y', ''), ('x', 'test'), ('', ''))
    """
    words = [w for chunk in re.split(r"[^a-z]+", name.lower()) for w in _split_word(chunk)]
    part, role = "", ""
    for word in words:
        if word in PARTS:
            part = PARTS[word]
        elif word in INPUTS:
            role = "x"
        elif word in TARGETS:
            role = "y"
        else:
            return "", ""
    return role, part


def _split_word(word: str) -> list[str]:
    """`xtrain` as `x`, `train`; other words as they are."""
    match = re.fullmatch(r"(x|y)(train|test|val|valid)", word)
    return list(match.groups()) if match else ([word] if word else [])


def _named(arrays: dict[str, np.ndarray], name: str, path: Path, setting: str) -> np.ndarray:
    if name not in arrays:
        raise refuse(
            "no_such_column",
            f"data.{setting} = {name}: {path.name} has no such array.{did_you_mean(name, arrays)}",
            f"It has: {', '.join(arrays)}.",
            name,
            setting=f"data.{setting}",
        )
    return arrays[name]


def _no_pair(arrays: dict[str, np.ndarray], path: Path) -> BadData:
    return refuse(
        "no_inputs_or_targets",
        f"{path.name} holds {', '.join(arrays) or 'no array'}; inputs and targets are looked for "
        "as X and y, or x_train, y_train, x_test, y_test.",
        "Save it so: np.savez(path, X=X, y=y).",
        path.name,
    )
