"""Data as files that workers map into memory: handed over once, never pickled, never copied.

Decoded images are such a file already, in the cache, and get a second name.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from fitwell.data.types import Data, Problem
from fitwell.data.views import is_view, under, view_of
from fitwell.spec import Spec

ARRAYS = ("inputs", "targets", "keys", "part", "groups", "times")


def is_whole_file(array: np.ndarray | None) -> TypeGuard[np.memmap]:
    """Whether the array is a file mapped from its first byte to its last."""
    return (
        isinstance(array, np.memmap)
        and array.filename is not None
        and array.flags.c_contiguous
        and Path(array.filename).is_file()  # which another process may have cleaned away
        and array.nbytes == Path(array.filename).stat().st_size
    )


def linked(source: Path, place: Path) -> bool:
    """Another name for the file, so that it stays when the cache is cleaned; False on another disk."""
    try:
        os.link(source, place)
    except OSError:
        return False
    return True


def data_bytes(data: Data) -> int:
    """Of all arrays that are handed over."""
    arrays = (getattr(data, name) for name in ARRAYS)
    return sum((under(a) if is_view(a) else a).nbytes for a in arrays if a is not None)


def write_data(data: Data, folder: Path) -> None:
    """Write `data` into `folder` as one .npy file an array, and JSON for the rest."""
    mapped, views = {}, {}
    for name in ARRAYS:
        array = getattr(data, name)
        if is_whole_file(array) and linked(Path(str(array.filename)), folder / f"{name}.raw"):
            mapped[name] = [f"{name}.raw", array.dtype.str, list(array.shape)]
        elif array is not None and is_view(array):
            views[name] = [list(array.shape), list(array.strides)]
            np.save(folder / f"{name}.npy", under(array), allow_pickle=False)
        elif array is not None:
            array = array.astype(str) if array.dtype == object else array
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
    rest = {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "spec": data.spec.to_json(),
        "problems": [asdict(p) for p in data.problems],
        "mapped": mapped,
        "views": views,
    }
    (folder / "data.json").write_text(json.dumps(rest), encoding="utf-8")


def read_data(folder: Path) -> Data:
    """Open what `write_data` wrote; the arrays are mapped, not read."""
    # "c": a private writable mapping, since torch warns about arrays that cannot be written.
    rest = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    arrays: dict[str, Any] = {}
    for name in ARRAYS:
        path = folder / f"{name}.npy"
        if name in rest["mapped"]:
            file, dtype, shape = rest["mapped"][name]
            arrays[name] = np.memmap(folder / file, dtype, "c", shape=tuple(shape))
            continue
        arrays[name] = np.load(path, mmap_mode="c", allow_pickle=False) if path.exists() else None
        if name in rest["views"]:
            arrays[name] = view_of(arrays[name], *rest["views"][name])
    flaws: list[dict[str, Any]] = [{**p, "where": tuple(p["where"])} for p in rest["problems"]]
    problems = tuple(Problem(**flaw) for flaw in flaws)
    return Data(
        name=rest["name"],
        spec=Spec.from_json(rest["spec"]),
        problems=problems,
        fingerprint=rest["fingerprint"],
        **arrays,
    )
