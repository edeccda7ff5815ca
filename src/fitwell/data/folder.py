"""Folders of class folders with images or texts, with or without train, val and test folders. No torch."""

from pathlib import Path
from typing import Any

from fitwell.data.files import (
    IMAGE_SUFFIXES,
    PARTS,
    Item,
    files_below,
    is_hidden,
    key_of,
)
from fitwell.data.items import read_items
from fitwell.data.types import BadData, Data, Problem, many, some
from fitwell.spec import Spec


def read_folder(
    folder: Path, options: dict[str, Any], *, name: str = "", like: Spec | None = None
) -> Data:
    """`Data` of a folder of class folders; files that cannot be used are left out and listed.

    Args:
        folder: holds a folder a class, or `train`, `val`, `test` with a folder a class each.
        name: of the data; by default the folder's.
        options, like: as `read_items` has them.

    Raises:
        BadData: nothing in it, no class folders, or no readable file.
    """

    def nothing(problems: list[Problem]) -> BadData:
        return _nothing(folder, problems)

    items, problems = scan(folder)
    if not items:
        raise nothing(problems)
    return read_items(
        items,
        problems,
        {**options, "task": "classification"},
        name=name or folder.resolve().name,
        target="folder",
        nothing=nothing,
        like=like,
    )


def scan(folder: Path) -> tuple[list[Item], list[Problem]]:
    """Every file of every class folder, sorted, and problems of the layout."""
    problems: list[Problem] = []
    below = _folders(folder)
    named = {p: PARTS[p.name.lower()] for p in below if p.name.lower() in PARTS}
    split = "train" in named.values() and len(set(named.values())) > 1
    if not split and len(below) == 1 and set(named.values()) == {"train"}:
        split = True
    roots = sorted(named.items()) if split else [(folder, "")]
    loose = [p for root in ([folder] if split else []) for p in _files(root)]
    if split and len(below) > len(named):
        others = [p.name for p in below if p not in named]
        text = f"{some(others)} beside the parts {some(p.name for p in named)} was not read."
        problems.append(
            Problem("folder_ignored", "note", tuple(others), text, "Move it into a part.")
        )
    items = []
    for root, part in roots:
        loose += _files(root)
        for label in _folders(root):
            files = list(files_below(label))
            if not files:
                text = f"The class folder {label.relative_to(folder).as_posix()} holds no file."
                where = (label.relative_to(folder).as_posix(),)
                problems.append(
                    Problem("empty_class", "warning", where, text, "Fill it, or remove it.")
                )
            items += [Item(p, key_of(p, folder), label.name, part) for p in files]
    stray = [p.relative_to(folder).as_posix() for p in loose if p.suffix.lower() in IMAGE_SUFFIXES]
    if stray:
        text = f"{many(len(stray), 'image')} outside any class folder left out: {some(stray)}."
        mend = "Move each into a folder named after its class."
        problems.append(Problem("images_without_class", "warning", tuple(stray), text, mend))
    return items, problems


def _nothing(folder: Path, problems: list[Problem]) -> BadData:
    """Why there is no image, with the layout that is needed."""
    layout = (
        f"Put the images into a folder a class: {folder.name}/cat/1.jpg, {folder.name}/dog/2.jpg; texts "
        f"likewise: {folder.name}/good/1.txt."
    )
    inner = _folders(folder)
    if not any(folder.iterdir()):
        first = Problem("empty_folder", "error", (str(folder),), f"{folder} is empty.", layout)
    elif any(p.name in ("images_without_class",) for p in problems):
        text = f"{folder} holds images but no class folders, so nothing says what they show."
        first = Problem("images_without_class", "error", (str(folder),), text, layout)
        problems = [p for p in problems if p.name != first.name]
    else:
        text = f"{folder} holds no image that can be read" + (
            f" in its folders {some(p.name for p in inner)}." if inner else "."
        )
        first = Problem("no_images", "error", (str(folder),), text, layout)
    return BadData([first, *problems])


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not is_hidden(p))


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and not is_hidden(p))
