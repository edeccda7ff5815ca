"""Files decoded once, to arrays of one shape and type in the cache, mapped into memory. No torch.

An entry is known by the content of the files and by how they were decoded. To compare contents all files
would have to be read each time; so a manifest of names, sizes and times of change leads to the entry, as
in git's index, and only where it is unknown the files are read and hashed.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fitwell import caching
from fitwell.data.changed import State, refuse_changed, state_of
from fitwell.data.images import Unreadable, decode, in_threads
from fitwell.data.types import Problem
from fitwell.spec import Resize

PIECE, PIECES = 1 << 16, 64  # bytes, and how many, that the checksum is of
VERSION = 2  # of what `decode` makes of an image
CHUNK_BYTES = 64 << 20  # decoded at once: bounds the memory
KIND, MANIFESTS = "decoded", "manifests"
FACTS, MANIFEST = "facts.json", "manifest.json"


class Decoding(Protocol):
    """How files are decoded."""

    @property
    def dtype(self) -> np.dtype: ...

    @property
    def file(self) -> str:
        """The name of the file that holds the arrays, in the cache."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is made of a file."""
        ...

    @property
    def how(self) -> list[Any]:
        """All that decides what is made of it, for JSON."""
        ...

    def read(self, path: Path) -> np.ndarray | Unreadable: ...


@dataclass(frozen=True)
class Way:
    """How images are decoded.

    Args:
        size: (height, width).
    """

    size: tuple[int, int]
    grey: bool
    resize: Resize = "crop"

    dtype = np.dtype(np.uint8)
    file = "images.u8"

    @property
    def shape(self) -> tuple[int, int, int]:
        return (1 if self.grey else 3, *self.size)

    @property
    def how(self) -> list[Any]:
        return [VERSION, *self.shape, self.resize]

    def read(self, path: Path) -> np.ndarray | Unreadable:
        return decode(path, self.size, self.grey, self.resize)


@dataclass(frozen=True)
class Decoded:
    """What became of the files.

    Args:
        images: [file that could be read, *shape]: uint8 [channel, height, width] of images.
        failed: place of a file that could not be read -> why.
        problems: a note where there was no room in the cache.
    """

    images: np.ndarray
    failed: dict[int, str]
    problems: tuple[Problem, ...] = ()


def decode_all(files: Sequence[Path], way: Decoding) -> Decoded:
    """What the files hold, from the cache where they stand there; else they are decoded into it.

    Where the cache has no room they are decoded into memory, and that is said.

    Raises:
        BadData: a file changed while it was read.
    """
    before = [state_of(path) for path in files]

    def build(folder: Path) -> None:
        with (folder / way.file).open("wb") as file:
            failed = _decode(files, way, file.write, whole=True)
            file.flush()
            os.fsync(file.fileno())  # the entry gets its name when all of it is on the disk
        refuse_changed(files, before)
        facts = {"images": len(files) - len(failed), "failed": failed}
        facts["sum"] = _sum(folder / way.file)
        (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")

    try:
        key = _key(files, before, way)
        for _ in range(2):
            place = caching.entry(KIND, key, len(files) * _bytes(way), build)
            found = _opened(place, way)
            if found is not None:
                return found
            caching.drop(KIND, key)  # damaged: once more
        raise OSError(f"{place} was damaged as soon as it was written")
    except OSError as error:
        out = np.empty((len(files), *way.shape), way.dtype)
        empty = iter(out)

        def put(values: memoryview) -> None:
            next(empty)[...] = np.frombuffer(values, way.dtype).reshape(way.shape)

        failed = _decode(files, way, put, whole=False)
        refuse_changed(files, before)
        return Decoded(out[: len(files) - len(failed)], failed, (_uncached(error),))


def _sum(path: Path) -> int:
    """A checksum of pieces spread evenly over a file, its beginning and end among them: what a disk loses,
    it loses by the block, and all of a large store would take seconds to read."""
    size, found = path.stat().st_size, 0
    step = max(PIECE, size // PIECES)
    with path.open("rb") as file:
        for start in [*range(0, size, step), max(0, size - PIECE)]:
            file.seek(start)
            found = zlib.crc32(file.read(PIECE), found)
    return found


def _bytes(way: Decoding) -> int:
    """Of what is made of a file."""
    return prod(way.shape) * way.dtype.itemsize


def _decode(
    files: Sequence[Path], way: Decoding, put: Callable[[memoryview], object], *, whole: bool
) -> dict[int, str]:
    """Give `put` what is made of each file that can be read, in order; place -> why not, of the others.

    Args:
        whole: what the machine is to blame for is an error, and not the file's failure.

    Raises:
        OSError: `put` could not write, or with `whole` the machine could not read.
    """
    failed = {}
    step = max(1, CHUNK_BYTES // _bytes(way))
    for start in range(0, len(files), step):
        chunk = files[start : start + step]
        found = in_threads(way.read, chunk)
        for i, values in enumerate(found, start):
            if not isinstance(values, Unreadable):
                put(np.ascontiguousarray(values).data)
            elif whole and values.passing:
                raise OSError(f"{files[i]}: {values.reason}")
            else:
                failed[i] = values.reason
    return failed


def _opened(place: Path, way: Decoding) -> Decoded | None:
    """An entry, mapped; None where it is damaged."""
    try:
        facts = json.loads((place / FACTS).read_text(encoding="utf-8"))
        shape = (int(facts["images"]), *way.shape)
        failed = {int(i): str(why) for i, why in facts["failed"].items()}
        if (place / way.file).stat().st_size != shape[0] * _bytes(way):
            return None
        if facts["sum"] != _sum(place / way.file):
            return None
        if not shape[0]:
            return Decoded(np.empty(shape, way.dtype), failed)
        # "c": a private writable mapping, since torch warns about arrays that cannot be written.
        return Decoded(np.memmap(place / way.file, way.dtype, "c", shape=shape), failed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _key(files: Sequence[Path], states: Sequence[State], way: Decoding) -> str:
    """What the entry is called: by the content of the files, or by a manifest that stands for it."""
    how = way.how
    named = [[str(path.resolve()), *state] for path, state in zip(files, states, strict=True)]
    manifest = _hashed([how, named])

    def build(folder: Path) -> None:
        contents = in_threads(_content, files)
        (folder / MANIFEST).write_text(json.dumps(_hashed([how, contents])), encoding="utf-8")

    for _ in range(2):
        place = caching.entry(MANIFESTS, manifest, 0, build)
        try:
            key = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
            if isinstance(key, str) and len(key) == len(manifest):
                return key
        except (OSError, ValueError):
            pass
        caching.drop(MANIFESTS, manifest)  # damaged: once more
    raise OSError(f"{place} was damaged as soon as it was written")


def _content(path: Path) -> str:
    """sha256 of a file, hexadecimal; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _hashed(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _uncached(error: OSError) -> Problem:
    return Problem(
        "not_cached",
        "note",
        (str(caching.cache_folder()),),
        f"The decoded files are kept in memory and not in the cache: {error}.",
        "Make room there, or name another place in FITWELL_CACHE; `fitwell cache` shows what it holds.",
    )
