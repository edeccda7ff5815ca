"""Where downloads stand, and the one source that is fetched. No torch until it is fetched."""

import os
from pathlib import Path

from fitwell.caching import cache_folder
from fitwell.data.types import refuse


def offline() -> bool:
    """Whether `FITWELL_OFFLINE` forbids downloads."""
    return os.environ.get("FITWELL_OFFLINE", "") not in ("", "0")


def fashion_folder(root: str) -> Path:
    """The folder with the four IDX files of Fashion-MNIST, downloaded once where need be.

    torchvision fetches them and compares each with its MD5 sum.

    Raises:
        BadData: no such `root`; not in the cache and no download allowed, or it failed.
    """
    if root:
        folder = Path(root).expanduser()
        if not folder.is_dir():
            raise refuse(
                "missing_path",
                f"data.root = {root}: there is no such folder.",
                "Name the folder that holds train-images-idx3-ubyte.gz and its three companions.",
                root,
                setting="data.root",
            )
        return folder
    cache = cache_folder() / "downloads"
    folder = cache / "FashionMNIST" / "raw"
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    if all((folder / f"{n}-ubyte.gz").is_file() for n in names) and _is_whole(folder):
        return folder
    if offline():
        raise refuse(
            "offline",
            "fashion-mnist is not in the cache, and FITWELL_OFFLINE=1 forbids downloads.",
            "Unset FITWELL_OFFLINE once, or set data.root=DIR to a folder with its IDX files.",
            "fashion-mnist",
        )
    from torchvision.datasets import FashionMNIST

    try:
        FashionMNIST(str(cache), train=True, download=True)
    except (OSError, RuntimeError) as error:
        raise refuse(
            "download_failed",
            f"fashion-mnist could not be downloaded: {error}.",
            "Check the connection, or set data.root=DIR to a folder with its IDX files.",
            "fashion-mnist",
        ) from None
    (folder / "checked").write_text("MD5 sums compared after the download\n", encoding="utf-8")
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether an earlier download came to its end (a killed one is done again)."""
    return (folder / "checked").is_file()
