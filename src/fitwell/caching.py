"""The cache: what is kept to save time and can be made again, below `FITWELL_CACHE`. No torch.

Decoded images and unpacked archives are entries: folders that are built aside and moved into place, so
that two processes may build the same one, and a kill leaves none that is half. Together they stay below
a limit: what was not used for the longest time goes first. Downloads and weights stay until they are
asked to go; the ledger of test looks and the list of trusted code stand there too, and are no cache.
"""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from fitwell.errors import SettingError

MADE = ("decoded", "manifests", "unpacked")  # by this machine: bounded
FETCHED = ("downloads", "weights")
LIMIT_GB = 20.0
SPARE = 2e9  # bytes of the disk that stay free
ABANDONED = 24 * 3600.0  # seconds after which an unfinished entry is a leftover of a kill
USED = "used"  # whose time of change says when the entry was last asked for


_asked_for: set[Path] = set()  # by this process, which may be reading them


class NoRoom(OSError):
    """What is to be kept does not fit below the limit, or on the disk."""


class Unwritable(OSError):
    """The folder of the cache cannot be written to."""


@dataclass(frozen=True)
class Entry:
    """One folder of the cache.

    Args:
        kind: one of `MADE` or `FETCHED`.
        used: seconds since 1970 when it was last asked for.
    """

    kind: str
    path: Path
    bytes: int
    used: float


def cache_folder() -> Path:
    """`FITWELL_CACHE`, or the platform's folder for caches."""
    from platformdirs import user_cache_path

    named = os.environ.get("FITWELL_CACHE")
    return Path(named) if named else user_cache_path("fitwell", appauthor=False)


def limit() -> int:
    """Bytes that entries may take: `FITWELL_CACHE_LIMIT` in GB.

    Raises:
        SettingError: it is no number, or below 0.
    """
    given = os.environ.get("FITWELL_CACHE_LIMIT", "") or str(LIMIT_GB)
    try:
        found = float(given)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise SettingError(
            f"FITWELL_CACHE_LIMIT = {given}: must be a number of GB, at least 0, such as "
            f"{LIMIT_GB:g}.",
            setting="FITWELL_CACHE_LIMIT",
        )
    return int(found * 1e9)


def entry(kind: str, key: str, size: int, build: Callable[[Path], None]) -> Path:
    """The folder of an entry; where there is none, `build` fills an empty one first.

    Args:
        key: says what is in it; another content has another key.
        size: bytes that it will take, about.

    Raises:
        NoRoom: it would not fit; nothing was built.
        Unwritable: the cache's folder cannot be written to.
    """
    place = cache_folder() / kind / key
    if not place.is_dir():
        temporary = place.with_name(f".{key[:32]}.{uuid4().hex[:12]}")
        try:
            temporary.mkdir(parents=True)
        except OSError as error:
            raise Unwritable(
                f"the cache {place.parent} cannot be written to ({error.strerror})"
            ) from None
        try:
            if size:
                _make_room(size)
            build(temporary)
            try:
                temporary.rename(place)
            except OSError:
                if not place.is_dir():  # otherwise another process was faster, and its one is used
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    _asked_for.add(place)
    with suppress(OSError):  # of another user, perhaps: it can be read all the same
        (place / USED).touch()
    return place


def drop(kind: str, key: str) -> None:
    """Take an entry away that turned out to be damaged."""
    _remove(cache_folder() / kind / key)


def entries() -> list[Entry]:
    """Everything that is kept, what was used last at the end."""
    found = []
    for kind in MADE + FETCHED:
        folder = cache_folder() / kind
        below = sorted(folder.iterdir()) if folder.is_dir() else []
        for path in below:
            stamp = path / USED
            with suppress(OSError):  # taken away meanwhile
                used = (stamp if stamp.exists() else path).stat().st_mtime
                found.append(Entry(kind, path, _size(path), used))
    return sorted(found, key=lambda e: e.used)


def clean(*, fetched: bool = False) -> list[Entry]:
    """Take away what this machine made, and with `fetched` downloads and weights; returns it."""
    gone = [e for e in entries() if fetched or e.kind in MADE]
    for each in gone:
        _remove(each.path)
    return gone


def _make_room(size: int) -> None:
    """Take away old entries until `size` bytes more fit below the limit and on the disk."""
    folder = cache_folder()
    now = time.time()
    found = []
    for each in entries():
        if _unfinished(each) and now - each.used > ABANDONED:
            _remove(each.path)
        elif each.kind in MADE:
            found.append(each)
    most, taken = limit(), sum(e.bytes for e in found)
    leaving = [e for e in found if not _unfinished(e) and e.path not in _asked_for]

    def fits() -> bool:
        disk = shutil.disk_usage(folder)
        return taken + size <= most and size <= disk.free - SPARE

    # Nothing leaves in vain: not where all of it together would not make room.
    could = sum(e.bytes for e in leaving)
    if taken - could + size <= most and size <= shutil.disk_usage(folder).free - SPARE + could:
        while leaving and not fits():
            oldest = leaving.pop(0)
            _remove(oldest.path)
            taken -= oldest.bytes
    if not fits():
        free = shutil.disk_usage(folder).free / 1e9
        raise NoRoom(
            f"{size / 1e9:.1f} GB do not fit into the cache {folder} (limit {most / 1e9:g} GB, "
            f"{free:.1f} GB free on the disk, of which {SPARE / 1e9:g} stay)"
        )


def _unfinished(each: Entry) -> bool:
    return each.path.name.startswith(".")


def _remove(path: Path) -> None:
    # Renamed first: whoever looks for the entry meanwhile finds all of it or nothing.
    aside = path.with_name(f".{path.name[:32].lstrip('.')}.{uuid4().hex[:12]}")
    with suppress(OSError):
        path = path.rename(aside)
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    total = 0
    for file in path.rglob("*"):
        with suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total
