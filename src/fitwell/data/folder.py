"""Folders of class folders with images, with or without train, val and test folders. No torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.assemble import assemble
from fitwell.data.images import Header, Unreadable, choose_size, decode, header, in_threads
from fitwell.data.types import BadData, Data, Problem, many, some
from fitwell.spec import Spec

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
IMAGE_SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **dict.fromkeys((".pgm", ".ppm", ".pbm", ".pnm"), "PPM"),
    ".png": "PNG",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".jp2": "JPEG2000",
    ".avif": "AVIF",
    ".ico": "ICO",
}
ALIASES = {"MPO": "JPEG", "DIB": "BMP", "APNG": "PNG"}


@dataclass(frozen=True)
class Item:
    """One file: its path, its key (relative path), class and part."""

    path: Path
    key: str
    label: str
    part: str


def read_folder(folder: Path, options: dict[str, Any], *, like: Spec | None = None) -> Data:
    """`Data` of a folder of class folders; files that cannot be used are left out and listed.

    Args:
        folder: holds a folder a class, or `train`, `val`, `test` with a folder a class each.
        options: `image_size` 0 chooses (see `choose_size`); RGB unless every image is grey.
        like: take size and channels from this spec.

    Raises:
        BadData: nothing in it, no class folders, or no readable image.
    """
    items, problems = scan(folder)
    if not items:
        raise _nothing(folder, problems)
    items, heads, problems = _with_headers(items, problems)
    if not items:
        raise _nothing(folder, problems)
    size, grey = shape_for(heads, options["image_size"], like)
    resize = like.resize if like else options["resize"]
    inputs = np.empty((len(items), 1 if grey else 3, *size), np.uint8)
    failed: dict[int, str] = {}

    def load(i: int) -> None:
        found = decode(items[i].path, size, grey, resize)
        if isinstance(found, Unreadable):
            failed[i] = found.reason
        else:
            inputs[i] = found

    in_threads(load, range(len(items)))
    problems = _add_unreadable(problems, [(items[i].key, failed[i]) for i in sorted(failed)])
    kept = np.array([i for i in range(len(items)) if i not in failed], dtype=np.int64)
    if not len(kept):
        raise _nothing(folder, problems)
    inputs = inputs[kept] if failed else inputs
    labels = [items[i].label for i in kept]
    parts = np.array([items[i].part for i in kept], dtype="<U10")
    problems += _lost_classes(items, labels)
    return assemble(
        folder.resolve().name,
        inputs,
        np.array(labels),
        options={**options, "image_size": 0, "task": "classification"},
        keys=[items[i].key for i in kept],
        part=parts if len(set(parts.tolist())) > 1 else None,
        target="folder",
        problems=problems,
        like=like,
    )


def shape_for(
    heads: list[Header], image_size: int, like: Spec | None
) -> tuple[tuple[int, int], bool]:
    """((height, width), grey) to decode to."""
    if like:
        channels, height, width = like.input_shape
        return (height, width), channels == 1
    size = (image_size, image_size) if image_size else choose_size([h.size for h in heads])
    return size, all(h.grey for h in heads)


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
            files = list(_walk(label))
            if not files:
                text = f"The class folder {label.relative_to(folder).as_posix()} holds no file."
                where = (label.relative_to(folder).as_posix(),)
                problems.append(
                    Problem("empty_class", "warning", where, text, "Fill it, or remove it.")
                )
            items += [Item(p, p.relative_to(folder).as_posix(), label.name, part) for p in files]
    stray = [p.relative_to(folder).as_posix() for p in loose if p.suffix.lower() in IMAGE_SUFFIXES]
    if stray:
        text = f"{many(len(stray), 'image')} outside any class folder left out: {some(stray)}."
        mend = "Move each into a folder named after its class."
        problems.append(Problem("images_without_class", "warning", tuple(stray), text, mend))
    return items, problems


def _with_headers(
    items: list[Item], problems: list[Problem]
) -> tuple[list[Item], list[Header], list[Problem]]:
    """Items that look like images, their headers, and problems of the others."""
    found = in_threads(header, [i.path for i in items])
    kept, heads, bad, other, misnamed = [], [], [], [], []
    for item, head in zip(items, found, strict=True):
        expected = IMAGE_SUFFIXES.get(item.path.suffix.lower())
        if isinstance(head, Header):
            kept.append(item)
            heads.append(head)
            if expected != ALIASES.get(head.format, head.format) and (
                expected or item.path.suffix.lower() not in _known_suffixes()
            ):
                misnamed.append((item.key, head.format))
        elif expected:
            bad.append((item.key, head.reason))
        else:
            other.append(item.key)
    problems = _add_unreadable(problems, bad)
    if misnamed:
        said = [f"{key} (is {kind})" for key, kind in misnamed]
        text = f"{many(len(said), 'file')} with a name that does not fit the content: {some(said)}."
        where = tuple(key for key, _ in misnamed)
        problems.append(
            Problem("wrongly_named", "note", where, text, "They are used; rename them.")
        )
    if other:
        text = (
            f"{many(len(other), 'file')} in class folders left out, being no image: {some(other)}."
        )
        problems.append(
            Problem(
                "not_images", "note", tuple(other), text, "Move them elsewhere, or ignore this."
            )
        )
    return kept, heads, problems


def _add_unreadable(problems: list[Problem], bad: list[tuple[str, str]]) -> list[Problem]:
    """One problem for all unreadable files, those already listed included."""
    if not bad:
        return problems
    earlier = [p for p in problems if p.name == "unreadable_files"]
    where = [*(w for p in earlier for w in p.where), *(key for key, _ in bad)]
    reasons = [f"{key} ({why})" for key, why in bad]
    reasons = [*(p.message.split(": ", 1)[1].rstrip(".") for p in earlier), some(reasons, 5)]
    what = "1 image file that cannot be read was" if len(where) == 1 else ""
    what = what or f"{len(where)} image files that cannot be read were"
    text = f"{what} left out: {', '.join(reasons)}."
    problem = Problem(
        "unreadable_files", "warning", tuple(where), text, "Replace them, or remove them."
    )
    return [*(p for p in problems if p.name != "unreadable_files"), problem]


def _lost_classes(items: list[Item], labels: list[str]) -> list[Problem]:
    lost = sorted({i.label for i in items} - set(labels))
    if not lost:
        return []
    text = f"No image of the class {some(lost)} can be read; the class is left out."
    return [Problem("empty_class", "warning", tuple(lost), text, "Replace its files.")]


def _nothing(folder: Path, problems: list[Problem]) -> BadData:
    """Why there is no image, with the layout that is needed."""
    layout = (
        f"Put the images into a folder a class: {folder.name}/cat/1.jpg, {folder.name}/dog/2.jpg."
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


def _known_suffixes() -> set[str]:
    """Suffixes that Pillow reads beyond IMAGE_SUFFIXES; such names are taken as right."""
    from PIL import Image

    return set(Image.registered_extensions())


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not is_hidden(p))


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and not is_hidden(p))


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        lost = path.is_symlink() and not path.exists()  # listed, not left out in silence
        if (path.is_file() or lost) and not any(map(is_hidden, [path, *_between(path, folder)])):
            yield path


def _between(path: Path, folder: Path) -> list[Path]:
    return [p for p in path.parents if p.is_relative_to(folder) and p != folder]


def is_hidden(path: Path) -> bool:
    """Files that systems leave behind."""
    return path.name.startswith(".") or path.name in ("__MACOSX", "Thumbs.db", "desktop.ini")
