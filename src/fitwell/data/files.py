"""Image files, each with what it shows, to `Data`; those that cannot be used are left out and listed.

No torch.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from errno import EACCES
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.assemble import assemble
from fitwell.data.decoded import Way, decode_all
from fitwell.data.images import Header, choose_size, header, in_threads
from fitwell.data.labelled import Labelled
from fitwell.data.modes import deep_images, mixed_modes
from fitwell.data.names import IMAGE_SUFFIXES
from fitwell.data.options import target_and_task
from fitwell.data.several import parted
from fitwell.data.types import BadData, Data, Options, Problem, both, listed, many, some
from fitwell.spec import Spec

ALIASES = {"MPO": "JPEG", "DIB": "BMP", "APNG": "PNG"}


@dataclass(frozen=True)
class Item:
    """One file: its path, its key (relative path), what it shows, part, group and time."""

    path: Path
    key: str
    label: Any
    part: str = ""
    group: str = ""
    time: float | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """The files of a source, before any of them is read.

    Args:
        name: of the data.
        target, targets: what the labels are called, all and each of several.
        nothing: the error to raise where no image can be read.
        problems: found so far.
        named: by a table, so that none may be there by the way.
    """

    name: str
    items: list[Item]
    target: str
    nothing: Callable[[list[Problem]], BadData]
    targets: Sequence[str] = ()
    problems: Sequence[Problem] = ()
    named: bool = False

    def labelled(self, kept: Sequence[Item], problems: Sequence[Problem]) -> Labelled:
        """What is known of the files that could be read."""
        parts = np.array([item.part for item in kept], dtype="<U10")
        groups = np.array([item.group for item in kept])
        times = [item.time for item in kept if item.time is not None]
        return Labelled(
            self.name,
            np.array([item.label for item in kept]),
            [item.key for item in kept],
            target=self.target,
            targets=self.targets,
            part=parts if len(set(parts.tolist())) > 1 else None,
            groups=groups if groups.any() else None,
            times=np.array(times) if times else None,
            problems=problems,
        )

    def lost(self, kept: Sequence[Item], noun: str, task: str) -> list[Problem]:
        """Classes, or labels of an example's several, of which no file could be read."""
        several = task == "multilabel"
        labels = [item.label for item in self.items]
        if not all(isinstance(label, str) or (several and label is None) for label in labels):
            return []
        stays = {item.key for item in kept}
        parts = parted(labels)[1] if several else [[label] for label in labels]
        found, left = set[str](), set[str]()
        for item, names in zip(self.items, parts, strict=True):
            found.update(names)
            left.update(names if item.key in stays else ())
        lost = sorted(found - left)
        if not lost:
            return []
        what = "label" if several else "class"
        text = f"No {noun} of the {what} {some(lost)} can be read; the {what} is left out."
        return [Problem("empty_class", "warning", tuple(lost), text, "Replace its files.")]


def read_files(found: Found, options: Options, like: Spec | None = None) -> Data:
    """`Data` of the images that can be read.

    Args:
        options: `image_size` 0 chooses (see `choose_size`); RGB unless every image is grey.
        like: take size and channels from this spec.
    """
    before = list(found.problems)
    items, heads, problems = with_headers(found.items, before, named=found.named)
    if not items:
        raise found.nothing(problems)
    size, grey = shape_for(heads, options["image_size"], like)
    way = Way(size, grey, like.resize if like else options["resize"])
    read = decode_all([item.path for item in items], way)
    failed = read.failed
    problems = add_unreadable(problems, [(items[i].key, failed[i]) for i in sorted(failed)])
    problems += read.problems
    heads = [head for i, head in enumerate(heads) if i not in failed]
    problems += [*mixed_modes(heads), *deep_images(heads, read.images)]
    kept = [item for i, item in enumerate(items) if i not in failed]
    if not kept:
        raise found.nothing(problems)
    problems += found.lost(kept, "image", target_and_task(options, like)[1])
    labelled = found.labelled(kept, problems)
    return assemble(read.images, labelled, {**options, "image_size": 0}, like=like)


def shape_for(
    heads: list[Header], image_size: int, like: Spec | None
) -> tuple[tuple[int, int], bool]:
    """((height, width), grey) to decode to."""
    if like:
        return like.kept_size, like.input_shape[0] == 1
    size = (image_size, image_size) if image_size else choose_size([h.size for h in heads])
    return size, all(h.grey for h in heads)


def with_headers(
    items: list[Item], problems: list[Problem], *, named: bool = False
) -> tuple[list[Item], list[Header], list[Problem]]:
    """Items that look like images, their headers, and problems of the others.

    Args:
        named: see `Found`.
    """
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
    problems = add_unreadable(problems, bad)
    problems += listed(
        "several_pictures",
        "note",
        both("file", "with several pictures (animated, or with pages), of which the first is read"),
        "Nothing to do; save the others as files of their own to learn from them, too.",
        [item.key for item, head in zip(kept, heads, strict=True) if head.several],
    )
    if misnamed:
        said = [f"{key} (is {kind})" for key, kind in misnamed]
        text = f"{many(len(said), 'file')} with a name that does not fit the content: {some(said)}."
        where = tuple(key for key, _ in misnamed)
        problems.append(
            Problem("wrongly_named", "note", where, text, "They are used; rename them.")
        )
    if other:
        where = "" if named else " in class folders"
        text = f"{many(len(other), 'file')}{where} left out, being no image: {some(other)}."
        mend = "Correct or remove these rows." if named else "Move them elsewhere, or ignore this."
        weight = "warning" if named else "note"
        problems.append(Problem("not_images", weight, tuple(other), text, mend))
    return kept, heads, problems


def add_unreadable(problems: list[Problem], bad: list[tuple[str, str]]) -> list[Problem]:
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


def _known_suffixes() -> set[str]:
    """Suffixes that Pillow reads beyond IMAGE_SUFFIXES; such names are taken as right."""
    from PIL import Image

    return set(Image.registered_extensions())


def is_hidden(path: Path) -> bool:
    """Files that systems leave behind."""
    return path.name.startswith(".") or path.name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def key_of(path: Path, folder: Path) -> str:
    """What a file is called in it: its relative path, bytes that are no UTF-8 written as such."""
    text = path.relative_to(folder).as_posix()
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def seen_from(folder: Path, file: Path) -> str:
    """The path of a file relative to a folder, which need not hold it; in full where they are on different
    drives."""
    if file.is_relative_to(folder):
        return key_of(file, folder)
    file = file.parent.resolve() / file.name
    try:
        return key_of(Path(os.path.relpath(file, folder.resolve())), Path())
    except ValueError:
        return file.as_posix()


def files_below(folder: Path) -> Iterator[Path]:
    """Every file in it, however deep, sorted, but hidden ones; links that lead nowhere too.

    Raises:
        PermissionError: a folder may not be looked into, so that its files would be lost unseen.
    """
    for path in [folder, *sorted(folder.rglob("*"))]:
        if path.is_dir() and not is_hidden(path) and not os.access(path, os.R_OK | os.X_OK):
            raise PermissionError(EACCES, os.strerror(EACCES), str(path))
        lost = path.is_symlink() and not path.exists()  # listed, not left out in silence
        inside = [path, *(p for p in path.parents if p != folder and p.is_relative_to(folder))]
        if (path.is_file() or lost) and not any(map(is_hidden, inside)):
            yield path
