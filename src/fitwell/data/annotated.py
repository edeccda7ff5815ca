"""Pictures and the boxes that a person drew in them, as each reader of annotations gives them. No torch."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fitwell.data.files import files_below, key_of
from fitwell.data.names import IMAGE_SUFFIXES, PARTS
from fitwell.data.types import Problem, listed

# Of one file; an annotation is far smaller. What is larger is another thing, or meant to exhaust memory.
MOST_TEXT_BYTES, MOST_JSON_BYTES = 16 << 20, 2 << 30
RANK = (
    "train",
    "validation",
    "test",
)  # who is in two parts is in the later one: a test part stays clean


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture, with its boxes as the annotation has them.

    Args:
        key: relative path of the picture.
        labels: [box] names of the classes.
        corners: [box, 4] float64 (x1, y1, x2, y2) in pixels of the whole picture, upright.
        rows: [box] where each stands, such as "Annotations/1.xml object 3".
        part: the source's own: "train", "validation", "test"; "" is free.
        size: (height, width) as the annotation says; None: it does not say.
        fractions: the corners are fractions of width and height instead.
        lacking: a box of it is not here, since its class has no name.
        annotated: an annotation says what is in it; else it is taken as background.
    """

    path: Path
    key: str
    labels: tuple[str, ...] = ()
    corners: np.ndarray = field(default_factory=lambda: np.empty((0, 4)))
    rows: tuple[str, ...] = ()
    part: str = ""
    size: tuple[int, int] | None = None
    fractions: bool = False
    lacking: bool = False
    annotated: bool = True


@dataclass(frozen=True)
class Annotated:
    """What a reader of annotations found; `classes` in the order of their indices."""

    pictures: list[Picture]
    classes: tuple[str, ...]
    problems: list[Problem]


class Unclear(ValueError):
    """Why an annotation cannot be used."""


def pictures_below(folder: Path) -> list[Path]:
    """Every file in it with the name of an image, however deep, sorted."""
    return [p for p in files_below(folder) if p.suffix.lower() in IMAGE_SUFFIXES]


def part_in(name: str) -> str:
    """The part that a name of a file says, or "".

    >>> part_in("instances_val2017"), part_in("train"), part_in("trainer")
    ('validation', 'train', '')
    """
    words = re.findall("[a-z]+", name.lower())
    return next((PARTS[word] for word in words if word in PARTS), "")


def part_of_folders(key: str) -> str:
    """The part that the folders on the way to a file say, or "".

    >>> part_of_folders("images/train2017/1.jpg"), part_of_folders("my test/images/test.jpg")
    ('train', '')
    """
    names = (re.sub(r"[-_ ]?\d+$", "", name.lower()) for name in key.split("/")[:-1])
    return next((PARTS[name] for name in names if name in PARTS), "")


def unreadable(found: Mapping[str, str]) -> list[Problem]:
    """The problem of annotations that cannot be read in full: file -> why."""
    what = "that cannot be read in full; its picture is left out"
    several = "that cannot be read in full; their pictures are left out"
    mend = "Correct them: what is left unread in a picture would be taught to be background."
    return listed(
        "unreadable_annotations",
        "warning",
        (f"annotation {what}", f"annotations {several}"),
        mend,
        found,
    )


def without_annotation(keys: Iterable[str], mend: str) -> list[Problem]:
    """The problem of pictures of which nothing says what is in them."""
    what = ("picture without annotation left out", "pictures without annotation left out")
    mend += " Where nothing is in any of them, set data.unannotated=background."
    return listed("image_without_annotation", "warning", what, mend, keys)


def background_of(images: Iterable[Path], folder: Path) -> tuple[list[Picture], list[Problem]]:
    """(pictures without annotation, as ones with nothing in them, the problem that says so).

    Args:
        folder: what their keys are seen from.
    """
    pictures = [
        Picture(path, key, part=part_of_folders(key), annotated=False)
        for path, key in ((path, key_of(path, folder)) for path in images)
    ]
    what = (
        "picture without annotation taken as background",
        "pictures without annotation taken as background",
    )
    mend = (
        "Nothing to do where nothing is in them; else annotate them, or leave data.unannotated out."
    )
    keys = [picture.key for picture in pictures]
    return pictures, listed("background_images", "note", what, mend, keys)


def without_image(found: Iterable[str]) -> list[Problem]:
    """The problem of annotations whose picture is not there."""
    what = (
        "annotation of a picture that is not there",
        "annotations of pictures that are not there",
    )
    mend = "Bring the pictures, named as in the annotations, or remove the annotations."
    return listed("annotation_without_image", "warning", what, mend, found)


def corners_of(values: Sequence[Sequence[float]]) -> np.ndarray:
    """[box, 4] float64, also of none."""
    return np.array(values, np.float64).reshape(-1, 4)


def lists_of(folder: Path) -> dict[str, list[str]]:
    """part -> names of pictures, without ending, that train.txt, val.txt, test.txt ... in a folder list.

    trainval.txt is read where neither train.txt nor val.txt is there, or for who is in neither.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.txt")) if folder.is_dir() else []:
        part = PARTS.get(path.stem.lower(), "trainval" if path.stem.lower() == "trainval" else "")
        if part and path.stat().st_size <= MOST_TEXT_BYTES:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            names = [line.split("\t")[0].strip() for line in lines if line.strip()]
            found.setdefault(part, []).extend(names)
    return found


def listed_parts(
    lists: Mapping[str, Sequence[str]], keys: Sequence[str], folder: Path, place: Path
) -> tuple[dict[str, str], list[Problem]]:
    """(key of a picture -> its part by the lists, problems of the lists).

    Args:
        lists: as `lists_of` gives them.
        folder, place: the source and the folder of the lists, for the names of places.
    """
    if not lists:
        return {}, []
    by_name: dict[str, list[str]] = {}
    for key in keys:
        by_name.setdefault(_name(key), []).append(key)
    parts: dict[str, str] = {}
    twice: dict[str, str] = {}
    absent: dict[str, str] = {}
    shown = place.relative_to(folder).as_posix() if place != folder else "the folder"
    for part in (*RANK, "trainval"):
        for line in lists.get(part, ()):
            found = by_name.get(_name(line), [])
            if len(found) > 1:  # of several folders: the whole path says which
                found = [k for k in found if _stem(k).endswith(_stem(line).lstrip("./"))]
            if not found:
                absent[line] = f"listed in {shown}"
            for key in found:
                before = parts.get(key)
                if part == "trainval":
                    parts.setdefault(key, "train")
                    continue
                if before and before != part:
                    twice[key] = f"{before} and {part}"
                parts[key] = part
    what = (
        f"picture in two lists of {shown}, taken into the later part",
        f"pictures in two lists of {shown}, taken into the later part",
    )
    mend = "Take each out of one list."
    problems = listed("in_two_parts", "warning", what, mend, twice)
    what = (
        "name listed of a picture that is not used",
        "names listed of pictures that are not used",
    )
    mend = "Bring the pictures and their annotations, or take the names out of the list."
    problems += listed("listed_but_absent", "warning", what, mend, absent)
    what = (
        "picture in no list, free for training or validation",
        "pictures in no list, free for training or validation",
    )
    free = [key for key in keys if key not in parts]
    problems += listed("in_no_part", "note", what, "Nothing to do, or list them.", free)
    return parts, problems


def _stem(key: str) -> str:
    path = key.replace("\\", "/")
    return path[: -len(Path(path).suffix)] if Path(path).suffix.lower() in IMAGE_SUFFIXES else path


def _name(key: str) -> str:
    return _stem(key).rpartition("/")[2]
