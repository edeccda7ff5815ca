"""Archives as folders: .zip and .tar unpacked once into the cache, after a look at every name. No torch."""

import hashlib
import lzma
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

from fitwell import caching
from fitwell.data.types import BadData, many, refuse, some

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
ARCHIVES = (".zip", *TARS)
DAMAGES = (
    *(OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError),
    *(zipfile.BadZipFile, tarfile.TarError),
)
# A bomb unpacks to far more bytes than it has; data of so many bytes never shrinks that much.
LARGE, MOST_RATIO = 10**9, 200


def is_archive(path: Path) -> bool:
    """Whether the name says that this is an archive that can be read.

    >>> is_archive(Path("photos.tar.gz")), is_archive(Path("photos.gz"))
    (True, False)
    """
    return path.name.lower().endswith(ARCHIVES)


def stem_of(path: Path) -> str:
    """The name without the endings of archives.

    >>> stem_of(Path("a/photos.tar.gz"))
    'photos'
    """
    ending = max((e for e in ARCHIVES if path.name.lower().endswith(e)), key=len, default="")
    return path.name[: len(path.name) - len(ending)] or path.name


def unpacked(path: Path) -> Path:
    """The folder with the files of an archive; of one that holds a single folder of folders, or a single
    file, this.

    Raises:
        BadData: damaged, or with names that point out of it, links to elsewhere, or far more bytes
            than an archive of images has; nothing of such a one is written.
    """
    try:
        digest = _digest(path)
        size = sum(_sizes(path))
    except DAMAGES as error:
        raise _damaged(path, error) from None
    if size > max(LARGE, MOST_RATIO * path.stat().st_size):
        raise refuse(
            "archive_bomb",
            f"{path.name} has {path.stat().st_size:,} bytes and would unpack to {size:,}, as no archive of "
            "data does.",
            "Unpack it by hand where there is room, look at it, and give the folder.",
            str(path),
        )
    try:
        return _inner(caching.entry("unpacked", digest, size, lambda folder: _unpack(path, folder)))
    except caching.Unwritable as error:
        raise refuse(
            "no_cache",
            f"{path.name} cannot be unpacked: {error}.",
            "Name another folder in FITWELL_CACHE, or unpack it and give the folder.",
            str(path),
        ) from None
    except caching.NoRoom as error:
        raise refuse(
            "no_room",
            f"{path.name} cannot be unpacked: {error}.",
            "Make room (`fitwell cache`), raise FITWELL_CACHE_LIMIT, or unpack it and give the folder.",
            str(path),
        ) from None
    except DAMAGES as error:
        raise _damaged(path, error) from None


def _sizes(path: Path) -> Iterator[int]:
    """Unpacked bytes of each file, after its name was looked at."""
    files: list[str] = []
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                _refuse_outside(path, member.filename)
                files += [] if member.is_dir() else [member.filename]
                yield member.file_size
        _refuse_twice(path, files)
        return
    with tarfile.open(path) as archive:
        for entry in archive:
            _refuse_outside(path, entry.name)
            if entry.issym() or entry.islnk():
                inside = PurePosixPath(entry.name).parent if entry.issym() else PurePosixPath()
                _refuse_outside(path, str(inside / entry.linkname))
            elif not (entry.isfile() or entry.isdir()):
                raise _outside(path, f"{entry.name} (a device)")
            files += [] if entry.isdir() else [entry.name]
            yield entry.size
        _refuse_twice(path, files)
        # Python takes a file that is cut off before a name for one that ends there.
        assert archive.fileobj is not None
        archive.fileobj.seek(archive.offset)
        if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it is cut off, or damaged in the middle")
        while archive.fileobj.read(1 << 20):
            pass  # to the end, where a compressed file has its checksum


def _refuse_twice(path: Path, files: list[str]) -> None:
    """Refuse names that stand more than once: only the last file of each would be left."""
    counts = Counter(str(PurePosixPath(name)) for name in files)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise refuse(
            "name_twice",
            f"{path.name} holds {many(len(twice), 'name')} more than once ({some(twice)}), and of each "
            "only the last file would be left.",
            "Pack it anew with a name for each file, or unpack it by hand and give the folder.",
            [str(path), *twice],
        )


def _refuse_outside(path: Path, name: str) -> None:
    plain = name.replace("\\", "/")
    depth = 0
    for part in PurePosixPath(plain).parts:
        depth += -1 if part == ".." else 0 if part == "." else 1
        if depth < 0:
            raise _outside(path, name)
    if plain.startswith("/") or PureWindowsPath(name).drive:
        raise _outside(path, name)


def _outside(path: Path, name: str) -> BadData:
    return refuse(
        "path_traversal",
        f"{path.name} holds {name}, which would be written outside of its folder; nothing of it was "
        "unpacked.",
        "Do not trust this archive. If you know it to be good, unpack it by hand and give the folder.",
        (str(path), name),
    )


def _unpack(path: Path, folder: Path) -> None:
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    else:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")


def _inner(folder: Path) -> Path:
    """What the data is: archives often hold all of it in one folder, or are of a single file."""
    while True:
        names = [p for p in folder.iterdir() if not _is_ours(p)]
        if len(names) != 1:
            return folder
        if names[0].is_file():
            return names[0]
        if not any(p.is_dir() for p in names[0].iterdir()):
            return folder  # of one class
        folder = names[0]


def _is_ours(path: Path) -> bool:
    from fitwell.data.files import is_hidden

    return path.name == caching.USED or is_hidden(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(path: Path, error: Exception) -> BadData:
    reason = str(error).split("\n")[0].rstrip(":. ") or type(error).__name__
    return refuse(
        "unreadable_file",
        f"{path.name} cannot be unpacked: {reason}.",
        "Copy or download it once more, or unpack it and give the folder.",
        str(path),
    )
