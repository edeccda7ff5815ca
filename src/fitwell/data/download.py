"""Data sets that are fetched by name, once, each file compared with its checksum. No torch until then."""

import os
from pathlib import Path
from typing import Any

from fitwell.caching import cache_folder
from fitwell.data.cifar import ARCHIVE
from fitwell.data.types import refuse

WHOLE = "checked"  # stands beside files that have all come, and were compared


# Source -> its folder below `downloads` in the cache.
PUBLISHED = {"fashion-mnist": "FashionMNIST/raw", "mnist": "MNIST/raw", "cifar10": "cifar10"}


def files_of(name: str) -> tuple[list[str], dict[str, str]]:
    """(addresses before the names of files, the first to be tried first; name -> MD5 sum)."""
    if name == "cifar10":  # the binary version: torchvision's is pickled
        return ["https://www.cs.toronto.edu/~kriz/"], {ARCHIVE: "c32a1d4ab5d03f1284b67883e8d87530"}
    from torchvision import datasets

    known: Any = getattr(datasets, PUBLISHED[name].partition("/")[0])
    return list(known.mirrors), dict(known.resources)


def offline() -> bool:
    """Whether `FITWELL_OFFLINE` forbids downloads."""
    return os.environ.get("FITWELL_OFFLINE", "") not in ("", "0")


def published_folder(name: str, root: str) -> Path:
    """The folder with the files of a data set: `root`, or the cache, fetched there first.

    Raises:
        BadData: no such `root`; not in the cache and no download allowed, or it failed.
    """
    otherwise = "or set data.root=DIR to a folder with its files"
    if root:
        folder = Path(root).expanduser()
        if not folder.is_dir():
            raise refuse(
                "missing_path",
                f"data.root = {root}: there is no such folder.",
                f"Name the folder that holds the files of {name}, or leave data.root out.",
                root,
                setting="data.root",
            )
        return folder
    folder = cache_folder() / "downloads" / PUBLISHED[name]
    if (folder / WHOLE).is_file():
        return folder
    if offline():
        raise refuse(
            "offline",
            f"{name} is not in the cache, and FITWELL_OFFLINE=1 forbids downloads.",
            f"Unset FITWELL_OFFLINE once, {otherwise}.",
            name,
        )
    mirrors, files = files_of(name)
    for file, checksum in files.items():
        failures = []
        for mirror in mirrors:
            failure = _fetch(mirror + file, folder, checksum)
            if not failure:
                break
            failures.append(failure)
        else:
            raise refuse(
                "download_failed",
                f"{name} could not be downloaded: {failures[0].rstrip('.')}.",
                f"Check the connection, {otherwise}: {', '.join(files)}.",
                name,
            )
    (folder / WHOLE).write_text("MD5 sums compared after the download\n", encoding="utf-8")
    return folder


def _fetch(url: str, folder: Path, checksum: str) -> str:
    """Fetch a file where it is not there already; what went wrong, or ""."""
    from torchvision.datasets.utils import download_url

    try:
        download_url(url, str(folder), md5=checksum)
    except (OSError, RuntimeError) as error:
        return str(error) or type(error).__name__
    return ""
