"""Boxes of Pascal VOC: an XML file a picture, in Annotations or beside the pictures. No torch.

XML is read without any document type definition, so nothing in a file can be expanded or fetched.
Corners are taken as they are, as labelImg and most tools write them; the VOC challenge itself counted
pixels from 1, which is half a pixel at each side of a box.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from fitwell.data.annotated import (
    MOST_TEXT_BYTES,
    Annotated,
    Picture,
    Unclear,
    background_of,
    corners_of,
    listed_parts,
    lists_of,
    part_of_folders,
    pictures_below,
    unreadable,
    without_annotation,
    without_image,
)
from fitwell.data.files import files_below, is_hidden, key_of
from fitwell.data.images import in_threads
from fitwell.data.names import IMAGE_SUFFIXES, PARTS
from fitwell.data.types import Problem, listed

CORNERS = ("xmin", "ymin", "xmax", "ymax")
PICTURES = ("jpegimages", "images", "imgs")


class Unsafe(Exception):
    """XML that defines entities or names other files."""


def is_voc(folder: Path) -> bool:
    """Whether it holds annotations of VOC: Annotations with XML files, or XML files beside pictures."""
    place = _child(folder, ("annotations",))
    if place is not None and any(p.suffix.lower() == ".xml" for p in place.iterdir()):
        return True
    places = [folder, *(p for p in folder.iterdir() if p.is_dir() and p.name.lower() in PARTS)]
    places += [p for p in [_child(folder, PICTURES)] if p is not None]
    return any(_beside(place) for place in places)


def read_voc(folder: Path, *, background: bool = False) -> Annotated:
    """The pictures of a folder with annotations of VOC, those of ImageSets/Main in their parts.

    Classes are the names that occur, sorted.

    Args:
        background: pictures without annotation are taken as ones with nothing in them.
    """
    place = _child(folder, ("annotations",))
    inside = [p for p in files_below(place or folder) if p.suffix.lower() == ".xml"]
    if not inside and place is not None:
        place, inside = None, [p for p in files_below(folder) if p.suffix.lower() == ".xml"]
    root = folder if place is None else _child(folder, PICTURES) or folder
    images = pictures_below(root)
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        by_stem[image.stem].append(image)
    read = in_threads(_parsed, inside)
    found: dict[Path, Picture] = {}
    bad, unsafe, lost = {}, {}, {}
    spoken_for: set[Path] = set()
    either: set[str] = set()  # names of pictures of which an annotation may mean one
    for xml, parsed in zip(inside, read, strict=True):
        where = key_of(xml, folder)
        image = _image_of(xml, parsed, by_stem[xml.stem], place, root)
        if isinstance(image, Path):
            if image in spoken_for:
                bad[where] = f"another one is of {key_of(image, folder)} too"
                found.pop(image, None)
                continue
            spoken_for.add(image)
        if isinstance(parsed, Unsafe):
            unsafe[where] = str(parsed)
        elif isinstance(parsed, Unclear):
            bad[where] = str(parsed)
        elif isinstance(image, Unclear):
            bad[where] = str(image)
            either.add(xml.stem)
        elif image is None:
            lost[where] = ""
        else:
            try:
                found[image] = _picture(image, parsed, where, folder)
            except Unclear as error:
                bad[where] = str(error)
    problems = listed(
        "unsafe_xml",
        "error",
        (
            "XML file that defines entities or names other files, refused and not expanded",
            "XML files that define entities or name other files, refused and not expanded",
        ),
        "Annotations need none of that: remove <!DOCTYPE ...> from them, or do not trust this source.",
        unsafe,
    )
    problems += unreadable(bad) + without_image(lost)
    bare = [p for p in images if p not in spoken_for]
    empty, more = background_of((p for p in bare if background and p.stem not in either), folder)
    left = {key_of(p, folder) for p in bare} - {picture.key for picture in empty}
    problems += more + without_annotation(
        sorted(left),
        "Annotate them; for a picture with nothing in it, write an XML file without <object>.",
    )
    found |= {picture.path: picture for picture in empty}
    pictures = [found[image] for image in sorted(found)]
    sets = folder / "ImageSets" / "Main"
    pictures, more = by_lists(pictures, lists_of(sets), folder, sets)
    classes = tuple(sorted({label for p in pictures for label in p.labels}))
    return Annotated(pictures, classes, problems + more)


def by_lists(
    pictures: Sequence[Picture], lists: Mapping[str, Sequence[str]], folder: Path, place: Path
) -> tuple[list[Picture], list[Problem]]:
    """(the pictures in the parts that the lists say, problems of the lists); who is in no list stays in the
    part of its folders.

    Args:
        lists, folder, place: as `listed_parts` takes them.
    """
    parts, problems = listed_parts(lists, [p.key for p in pictures], folder, place)
    pictures = [replace(p, part=parts.get(p.key, p.part)) for p in pictures]
    # `listed_parts` knows no folders: only who is in no part by them either is free.
    free = [p.key for p in pictures if not p.part]
    problems = [p for p in problems if p.name != "in_no_part"]
    return pictures, problems + listed_parts(dict.fromkeys(lists, ()), free, folder, place)[1]


def _parsed(path: Path) -> Any:
    """The root element of an XML file, or why there is none."""
    from defusedxml import DefusedXmlException, ElementTree

    try:
        if path.stat().st_size > MOST_TEXT_BYTES:
            return Unclear(f"larger than {MOST_TEXT_BYTES >> 20} MiB")
        return ElementTree.parse(path, forbid_dtd=True).getroot()
    except DefusedXmlException as error:
        return Unsafe(type(error).__name__)
    except (ElementTree.ParseError, ValueError, LookupError, OSError, RecursionError) as error:
        return Unclear(str(error).split("\n")[0] or type(error).__name__)


def _image_of(
    xml: Path, parsed: Any, same_stem: list[Path], place: Path | None, root: Path
) -> Path | Unclear | None:
    """The picture that an annotation is of: of the same name, in the same folder below; where several
    are, the one that <filename> says."""
    within = xml.parent.relative_to(place) if place is not None else None
    near = [p for p in same_stem if p.parent == (root / within if within else xml.parent)]
    candidates = near or (same_stem if place is not None else [])
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    named = "" if isinstance(parsed, Exception) else (parsed.findtext("filename") or "").strip()
    chosen = [p for p in candidates if p.name == named]
    if len(chosen) == 1:
        return chosen[0]
    return Unclear(f"{candidates[0].name} and {candidates[1].name} may both be meant")


def _picture(image: Path, root: Any, where: str, folder: Path) -> Picture:
    """What the elements say.

    Raises:
        Unclear: an object without name or corners.
    """
    if root.tag != "annotation":
        raise Unclear(f"it is <{root.tag[:40]}>, not <annotation>")
    labels, corners, rows = [], [], []
    for i, thing in enumerate(root.findall("object"), 1):
        name = (thing.findtext("name") or "").strip()
        if not name:
            raise Unclear(f"object {i} has no name")
        labels.append(name)
        corners.append([_number(thing.findtext(f"bndbox/{key}"), i, key) for key in CORNERS])
        rows.append(f"{where} object {i}")
    size = tuple(_whole(root.findtext(f"size/{key}")) for key in ("height", "width"))
    key = key_of(image, folder)
    return Picture(
        image,
        key,
        tuple(labels),
        corners_of(corners),
        tuple(rows),
        part_of_folders(key),
        (size[0], size[1]) if all(size) else None,
    )


def _number(text: str | None, number: int, key: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise Unclear(f"object {number} has no number in {key}") from None
    if not isfinite(value):
        raise Unclear(f"object {number}: {key} is {text}")
    return value


def _whole(text: str | None) -> int:
    """A size; 0 where it is not said, as some tools write it."""
    try:
        return max(0, round(float(text or "0")))
    except (ValueError, OverflowError):
        return 0


def _child(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The folder in it of the first of the names, in any case."""
    below = {p.name.lower(): p for p in folder.iterdir() if p.is_dir() and not is_hidden(p)}
    return next((below[name] for name in names if name in below), None)


def _beside(place: Path) -> bool:
    """Whether an XML file of VOC stands beside a picture of its name."""
    files = [p for p in place.iterdir() if p.suffix.lower() == ".xml"][:20]
    pictures = (
        {p.stem for p in place.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES} if files else set()
    )
    for path in files:
        if path.stem in pictures and path.is_file():
            with path.open("rb") as file:
                if re.search(rb"<annotation[\s>]", file.read(2000)):
                    return True
    return False
