"""Folders of IDX files, as MNIST and its kin are kept, gzipped or not. No torch.

Format: two zero bytes, a type code, the number of dimensions, their sizes as big-endian 32-bit
integers, then the values (LeCun, Cortes and Burges, the MNIST page).
"""

import gzip
import re
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from fitwell.data.assemble import assemble
from fitwell.data.labelled import Labelled
from fitwell.data.types import BadData, Data, Problem, refuse, some
from fitwell.spec import Spec

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
NAME = re.compile(
    r"(?P<part>.*?)[-_.]?(?P<what>images|labels)[-_.]?idx\d(?:[-_.]ubyte)?(?P<gz>\.gz)?$"
)
CHUNK_BYTES = 1 << 20


def is_idx_folder(folder: Path) -> bool:
    """Whether the folder holds IDX files, by their names."""
    return any(NAME.match(p.name) for p in folder.iterdir() if p.is_file())


def read_idx(
    folder: Path,
    options: dict[str, Any],
    *,
    name: str = "",
    classes: Sequence[str] = (),
    like: Spec | None = None,
) -> Data:
    """`Data` of every pair of image and label files in `folder`.

    A file called `t10k-...` or `test-...` is the test part, `train-...` the training part.

    Raises:
        BadData: a file without its partner, truncated, not IDX, or sizes that do not fit.
    """
    pairs = _pairs(folder)
    if not pairs:
        raise refuse(
            "no_images",
            f"{folder} holds no IDX files.",
            "Put them there as they are published: train-images-idx3-ubyte, train-labels-idx1-ubyte, "
            "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each with .gz or without.",
            str(folder),
        )
    jobs = [path for pair in pairs.values() for path in pair]
    heads = {path: _header(path) for path in jobs}
    images = [pair[0] for pair in pairs.values()]
    shapes = {heads[p][1][1:] for p in images}
    types = {heads[p][0] for p in images}
    if len(shapes) > 1 or len(types) > 1:
        raise refuse(
            "sizes_differ",
            f"The images of {some(p.name for p in images)} differ in size or type.",
            "Keep images of one size in a folder.",
            [p.name for p in images],
        )
    for image, label in pairs.values():
        if heads[image][1][:1] != heads[label][1]:
            raise refuse(
                "lengths_differ",
                f"{image.name} holds {heads[image][1][0]} images but {label.name} has shape "
                f"{list(heads[label][1])}.",
                "Use the label file that belongs to the images.",
                (image.name, label.name),
            )
    # One array for all parts, each file read straight into its slice: no second copy of the images.
    counts = [heads[p][1][0] for p in images]
    (shape,), (kind,) = shapes, types
    inputs = np.empty((sum(counts), *shape), np.dtype(kind))
    values = [np.empty(heads[p[1]][1], np.dtype(heads[p[1]][0])) for p in pairs.values()]
    starts = np.cumsum([0, *counts])
    outs = {p: inputs[starts[i] : starts[i + 1]] for i, p in enumerate(images)}
    outs |= {p[1]: v for p, v in zip(pairs.values(), values, strict=True)}
    with ThreadPoolExecutor() as threads:  # inflating and reading release the interpreter's lock
        list(threads.map(lambda path: _read_into(path, outs[path]), jobs))
    keys, parts = [], []
    for (part, _), count in zip(pairs.items(), counts, strict=True):
        keys += [f"{part or 'image'} {i}" for i in range(count)]
        parts.append(np.full(count, _part(part), "<U10"))
    problems = (
        [] if len(pairs) > 1 or _part(next(iter(pairs))) != "test" else [_only_test(images[0])]
    )
    labelled = Labelled(
        name or folder.resolve().name,
        np.concatenate(values).astype(np.int64),
        keys,
        target="label",
        classes=_names(classes, values, images[0]),
        part=np.concatenate(parts) if len(pairs) > 1 else None,
        problems=problems,
    )
    return assemble(_as_images(inputs), labelled, options, like=like)


def _names(classes: Sequence[str], values: list[np.ndarray], where: Path) -> Sequence[str]:
    if classes and max(int(v.max(initial=0)) for v in values) >= len(classes):
        raise refuse(
            "unknown_class",
            f"The labels beside {where.name} go beyond the {len(classes)} classes of this source.",
            "Give the folder itself as the source: it is another data set.",
            where.name,
        )
    return classes


def _only_test(path: Path) -> Problem:
    text = f"{path.name} is a test part without a training part; it is split like any other source."
    return Problem("only_test", "note", (path.name,), text, "Add the training files.")


def _pairs(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Image and label file by part, training first; a gzipped copy (it has a checksum) wins."""
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.iterdir(), key=lambda p: (p.suffix == ".gz", p.name)):
        match = NAME.match(path.name)
        if path.is_file() and match:
            found[match["part"], match["what"]] = path
    parts = sorted({part for part, _ in found}, key=lambda p: (_part(p) == "test", p))
    pairs = {}
    for part in parts:
        lone = [found[part, w] for w in ("images", "labels") if (part, w) in found]
        if len(lone) < 2:
            missing = "labels" if "images" in lone[0].name else "images"
            raise refuse(
                "missing_partner",
                f"{lone[0].name} has no {missing} file beside it in {folder}.",
                f"Add {lone[0].name.replace('images', 'labels').replace('idx3', 'idx1')}."
                if missing == "labels"
                else f"Add {lone[0].name.replace('labels', 'images').replace('idx1', 'idx3')}.",
                lone[0].name,
            )
        pairs[part] = (lone[0], lone[1])
    return pairs


def _part(name: str) -> str:
    low = name.lower()
    if low.startswith(("t10k", "test")):
        return "test"
    return "validation" if low.startswith("val") else "train"


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb"))


def _header(path: Path) -> tuple[str, tuple[int, ...]]:
    """(numpy type, shape) of an IDX file."""
    try:
        with _open(path) as file:
            head = file.read(4)
            if len(head) < 4:
                raise _bad(path, "is empty" if not head else "ends within its header")
            if head[:2] != b"\0\0" or head[2] not in TYPES or not 1 <= head[3] <= 4:
                raise _bad(path, f"is not an IDX file: it begins with the bytes {head.hex(' ')}")
            sizes = file.read(4 * head[3])
            if len(sizes) < 4 * head[3]:
                raise _bad(path, "ends within its header")
            return TYPES[head[2]], struct.unpack(f">{head[3]}I", sizes)
    except (OSError, EOFError, zlib.error) as error:
        raise _bad(path, f"cannot be read: {error}") from None


def _read_into(path: Path, out: np.ndarray) -> None:
    """Fill `out` with the values of the file, in order."""
    view = out.reshape(-1).view(np.uint8).data
    done = 0
    try:
        with _open(path) as file:
            file.read(4 + 4 * out.ndim)
            while done < len(view):
                chunk = file.read(min(CHUNK_BYTES, len(view) - done))
                if not chunk:
                    raise _bad(
                        path, f"is truncated: {done} of {len(view)} bytes of values are there"
                    )
                view[done : done + len(chunk)] = chunk
                done += len(chunk)
            if file.read(1):  # also makes gzip compare its checksum
                raise _bad(path, "holds more values than its header says")
    except (OSError, EOFError, zlib.error) as error:
        raise _bad(path, f"is damaged: {error}") from None


def _bad(path: Path, what: str) -> BadData:
    return refuse("unreadable_file", f"{path.name} {what}.", "Fetch the file again.", path.name)


def _as_images(inputs: np.ndarray) -> np.ndarray:
    """[example, channel, height, width], uint8 as it is, other types as float32."""
    if inputs.ndim not in (3, 4):
        raise refuse(
            "wrong_shape",
            f"The images have shape {list(inputs.shape)}; 3 or 4 dimensions are needed.",
            "Save such values as .npz or .csv.",
            "images",
        )
    if inputs.dtype.itemsize > 1:
        inputs = inputs.astype(np.float32)
    else:
        inputs = (
            inputs.view(np.uint8) if inputs.dtype == np.dtype(">u1") else inputs.astype(np.float32)
        )
    if inputs.ndim == 3:
        return inputs[:, None]
    last = inputs.shape[3] in (1, 3, 4) and inputs.shape[1] not in (1, 3, 4)
    return inputs.transpose(0, 3, 1, 2) if last else inputs
