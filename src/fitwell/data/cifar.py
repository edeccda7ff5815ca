"""CIFAR-10 in its binary version: records of a label and 32x32 colours. No torch."""

from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.archive import unpacked
from fitwell.data.assemble import assemble
from fitwell.data.labelled import Labelled
from fitwell.data.types import Data, refuse, some
from fitwell.spec import Spec

ARCHIVE = "cifar-10-binary.tar.gz"
BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32


def is_cifar_folder(folder: Path) -> bool:
    """Whether the folder holds the batches, or the archive of them."""
    return _batches(folder) != []


def read_cifar(
    folder: Path, options: dict[str, Any], *, name: str = "cifar10", like: Spec | None = None
) -> Data:
    """`Data` of the batches in a folder, or in the archive in it; `test_batch` is the test part.

    Raises:
        BadData: no batches, or one that is no whole number of records, or holds another label.
    """
    files = _batches(folder)
    if files == [folder / ARCHIVE]:
        folder = unpacked(folder / ARCHIVE)
        files = _batches(folder)
    if not files:
        raise refuse(
            "missing_files",
            f"{folder} holds none of {some(BATCHES)}.",
            f"Name the folder with the files of {ARCHIVE}, or leave data.root out.",
            str(folder),
        )
    records, parts, keys = [], [], []
    for file in files:
        raw = np.fromfile(file, np.uint8)
        if not len(raw) or len(raw) % RECORD:
            raise refuse(
                "unreadable_file",
                f"{file.name} has {len(raw):,} bytes, which is no whole number of records of {RECORD:,}.",
                "Copy or download it once more.",
                str(file),
            )
        block = raw.reshape(-1, RECORD)
        if block[:, 0].max() >= len(CLASSES):
            raise refuse(
                "unknown_class",
                f"{file.name} holds the label {block[:, 0].max()}, and CIFAR-10 has 0 to 9.",
                "Give the files of CIFAR-10: those of CIFAR-100 have another format.",
                str(file),
            )
        records.append(block)
        parts += ["test" if file.name == BATCHES[-1] else "train"] * len(block)
        keys += [f"{file.stem} {i}" for i in range(len(block))]
    whole = np.concatenate(records)
    labelled = Labelled(
        name,
        whole[:, 0].astype(np.int64),
        keys,
        target="label",
        classes=CLASSES,
        part=np.array(parts, dtype="<U10") if len(set(parts)) > 1 else None,
    )
    inputs = np.ascontiguousarray(whole[:, 1:]).reshape(-1, *SHAPE)
    return assemble(inputs, labelled, options, like=like)


def _batches(folder: Path) -> list[Path]:
    """The batch files in a folder, or in the folder of the archive in it; else the archive."""
    for place in (folder, folder / "cifar-10-batches-bin"):
        found = [place / name for name in BATCHES if (place / name).is_file()]
        if found:
            return found
    return [folder / ARCHIVE] if (folder / ARCHIVE).is_file() else []
