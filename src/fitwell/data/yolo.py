"""Boxes of YOLO: a text file a picture with a row `class cx cy width height` a box. No torch."""

from math import isfinite
from pathlib import Path

from fitwell.data.annotated import (
    MOST_TEXT_BYTES,
    Annotated,
    Picture,
    Unclear,
    background_of,
    corners_of,
    lists_of,
    part_of_folders,
    pictures_below,
    unreadable,
    without_annotation,
    without_image,
)
from fitwell.data.files import files_below, key_of
from fitwell.data.images import in_threads
from fitwell.data.names import IMAGE_SUFFIXES, PARTS
from fitwell.data.types import Problem, listed
from fitwell.data.voc import by_lists
from fitwell.data.yolo_names import LISTS, names_of

Rows = list[tuple[int, list[float], str]]  # class id, corners as fractions, where


def is_yolo(folder: Path) -> bool:
    """Whether it holds labels of YOLO: images and labels side by side, or rows beside pictures and a file
    that names the classes."""
    below = [p for p in folder.iterdir() if p.is_dir()]
    for place in (folder, *(p for p in below if p.name.lower() in PARTS)):
        labels = place / "labels"
        if labels.is_dir() and (place / "images").is_dir():
            return any(p.suffix == ".txt" for p in files_below(labels))
    if not any((folder / name).is_file() for name in LISTS):
        return False
    return any(_beside(place) for place in (folder, *below))


def read_yolo(folder: Path, *, background: bool = False) -> Annotated:
    """The pictures of a folder with labels of YOLO, in the parts that folders or lists of files say.

    Classes are those of data.yaml, classes.txt or obj.names, in the order of their ids.

    Args:
        background: pictures without a file of rows are taken as ones with nothing in them.

    Raises:
        BadData: names of classes that cannot be read.
    """
    names, source = names_of(folder)
    images = pictures_below(folder)
    labels = {image: _label_of(image, folder) for image in images}
    wanted = [image for image in images if labels[image].is_file()]
    read = in_threads(lambda image: _rows(labels[image], key_of(labels[image], folder)), wanted)
    bad = {}
    found: list[tuple[Path, Rows]] = []
    for image, rows in zip(wanted, read, strict=True):
        if isinstance(rows, Unclear):
            bad[key_of(labels[image], folder)] = str(rows)
        else:
            found.append((image, rows))
    ids = sorted({number for _, rows in found for number, _, _ in rows})
    problems: list[Problem] = []
    if names is None:
        names = {number: str(number) for number in ids}
        problems += listed(
            "no_class_names",
            "warning",
            (
                "class without a name, called by its number",
                "classes without names, called by their numbers",
            ),
            "Write the names into classes.txt, one a line from class 0 on.",
            names.values(),
        )
    pictures, unknown = [], {}
    for image, rows in found:
        known = [row for row in rows if row[0] in names]
        unknown |= {row[2]: f"class {row[0]}" for row in rows if row[0] not in names}
        key = key_of(image, folder)
        pictures.append(
            Picture(
                image,
                key,
                tuple(names[number] for number, _, _ in known),
                corners_of([corners for _, corners, _ in known]),
                tuple(where for _, _, where in known),
                part_of_folders(key),
                fractions=True,
                lacking=len(known) < len(rows),
            )
        )
    problems += _unknown(unknown, ids, names, source)
    used = {labels[image] for image in images}
    left = [p for p in _label_files(folder) if p not in used]
    problems += unreadable(bad) + without_image(key_of(p, folder) for p in left)
    bare = [image for image in images if not labels[image].is_file()]
    if background:
        empty, more = background_of(bare, folder)
        pictures = sorted(pictures + empty, key=lambda picture: picture.path)
        problems += more
    else:
        problems += without_annotation(
            (key_of(image, folder) for image in bare),
            "Annotate them; for a picture with nothing in it, write an empty text file.",
        )
    lists = {k: v for k, v in lists_of(folder).items() if k != "trainval"}
    pictures, more = by_lists(pictures, lists, folder, folder)
    return Annotated(pictures, tuple(dict.fromkeys(names.values())), problems + more)


def _unknown(
    unknown: dict[str, str], ids: list[int], names: dict[int, str], source: str
) -> list[Problem]:
    shifted = ids and names and ids[0] == 1 and ids[-1] == max(names) + 1
    hint = " The numbers seem to begin at 1, and the first class is 0." if shifted else ""
    return listed(
        "unknown_class",
        "error",
        (
            f"row of a class that {source} does not name",
            f"rows of classes that {source} does not name",
        ),
        f"Add the name to {source}, or correct the number.{hint}",
        unknown,
    )


def _label_of(image: Path, folder: Path) -> Path:
    """Where its rows are: beside it, or in labels where it is in images."""
    below = list(image.relative_to(folder).parts)
    places = [i for i, name in enumerate(below[:-1]) if name == "images"]
    if places and (folder / Path(*below[: places[-1]]) / "labels").is_dir():
        below[places[-1]] = "labels"
    return (folder / Path(*below)).with_suffix(".txt")


def _label_files(folder: Path) -> list[Path]:
    """Text files in folders of labels, or in folders of pictures where rows stand beside them."""
    files = [p for p in files_below(folder) if p.suffix == ".txt" and p.name not in LISTS]
    inside = [p for p in files if "labels" in p.relative_to(folder).parts[:-1]]
    return inside or [p for p in files if p.parent != folder and _beside(p.parent)]


def _rows(path: Path, where: str) -> Rows | Unclear:
    """The rows of a file, or why one of them cannot be read."""
    try:
        if path.stat().st_size > MOST_TEXT_BYTES:
            return Unclear(f"larger than {MOST_TEXT_BYTES >> 20} MiB")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        return Unclear(str(error).split("\n")[0])
    out: Rows = []
    for i, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            numbers = [float(word) for word in line.split()]
        except ValueError:
            return Unclear(f"line {i} holds {line.strip()[:40]}, not numbers")
        if len(numbers) != 5:
            outline = "; outlines are not read" if len(numbers) > 6 else ""
            return Unclear(f"line {i} has {len(numbers)} numbers, not class cx cy w h{outline}")
        if not all(map(isfinite, numbers)) or numbers[0] != int(numbers[0]):
            return Unclear(f"line {i} holds {line.strip()[:40]}")
        number, x, y, width, height = numbers
        corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        out.append((int(number), corners, f"{where} line {i}"))
    return out


def _beside(place: Path) -> bool:
    """Whether a text file stands beside a picture of its name."""
    names = {p.stem for p in place.iterdir() if p.suffix == ".txt"}
    return bool(names) and any(
        p.stem in names for p in place.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES
    )
