"""Boxes of COCO: JSON files with images, annotations and categories. No torch."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

from fitwell.data.annotated import (
    MOST_JSON_BYTES,
    Annotated,
    Picture,
    Unclear,
    background_of,
    corners_of,
    part_in,
    part_of_folders,
    pictures_below,
)
from fitwell.data.coco_flaws import Flaws, problems_of, together
from fitwell.data.files import is_hidden, key_of, seen_from
from fitwell.data.names import IMAGE_SUFFIXES, PARTS

KEYS = (b'"images"', b'"annotations"', b'"categories"')  # of captions there are no categories
IDS = ("id", "image_id", "category_id")
CALLED = ("annotations", "instances", "_annotations")
BOX = b'"bbox"'  # lists of classes of images have none
CHUNK = 1 << 24


class _Around:
    """The pictures that a file of COCO may mean.

    Args:
        folder: what their keys are seen from.
        anywhere: they may lie outside it; then it is searched only for what is not where its name says,
            since a file may lie in the midst of other things.
    """

    def __init__(self, folder: Path, *, anywhere: bool) -> None:
        self.folder, self.anywhere = folder, anywhere

    @cached_property
    def images(self) -> list[Path]:
        return pictures_below(self.folder)

    @cached_property
    def by_name(self) -> dict[str, dict[str, Path]]:
        """name of a file -> key -> path of each that is called so."""
        found: dict[str, dict[str, Path]] = defaultdict(dict)
        for image in self.images:
            found[image.name][key_of(image, self.folder)] = image
        return found

    def image_of(self, name: str, where: str, part: str) -> Path | None:
        """The file that `file_name` means: seen from that of the JSON file, from the folder, or the only
        one below whose path ends so; where several do, that of the part."""
        plain = name.replace("\\", "/")
        places = [
            f"{before}/{plain}".lstrip("/") for before in (where.rpartition("/")[0], "", "images")
        ]
        if self.anywhere:
            paths = (self.folder / place for place in (places[0], plain, places[2]))
            named = (p for p in paths if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            if path := next(named, None):
                return path
        keys = self.by_name.get(plain.rpartition("/")[2], {})
        for place in places:
            if place in keys:
                return keys[place]
        ending = {k: p for k, p in keys.items() if f"/{k}".endswith(f"/{plain.lstrip('./')}")}
        if len(ending) > 1:
            ending = {k: p for k, p in ending.items() if part_of_folders(k) == part}
        return next(iter(ending.values())) if len(ending) == 1 else None


def is_coco(folder: Path) -> bool:
    """Whether it holds a file of COCO, at its top, in annotations or in a folder of a part."""
    return any(True for _ in coco_files(folder))


def coco_files(folder: Path) -> Iterator[Path]:
    """JSON files with boxes; where some are called instances, those alone."""
    below = [p for p in folder.iterdir() if p.is_dir() and not is_hidden(p)]
    near = [p for p in below if p.name.lower() == "annotations" or part_of_folders(f"{p.name}/")]
    files = [
        path
        for place in (folder, *sorted(near))
        for path in sorted(place.iterdir())
        if path.suffix.lower() == ".json" and path.is_file() and not is_hidden(path)
    ]
    named = [path for path in files if path.name.startswith("instances")]
    yield from (path for path in named or files if _has_keys(path) or _is_broken(path))


def is_coco_file(path: Path) -> bool:
    """Whether a file is one of COCO with boxes."""
    named = path.suffix.lower() == ".json" and path.is_file()
    return named and (_has_keys(path) or _is_broken(path))


def read_coco(source: Path, *, background: bool = False) -> Annotated:
    """The pictures of a folder with annotations of COCO, or of one file of it; a file is of the part that
    its name or its folder says, if its pictures do not (`split`).

    Classes are the names of the categories in the order of their ids. Of a single file the pictures stand
    beside it, or beside the folder `annotations` that it is in, or where their names say.

    Args:
        background: pictures of a folder that no file names are taken as ones with nothing in them.
    """
    folder, files = source, list(coco_files(source)) if source.is_dir() else [source]
    if source.is_file():
        folder = source.parent
        folder = folder.parent if folder.name.lower() == "annotations" else folder
    around = _Around(folder, anywhere=source.is_file())
    flaws = Flaws()
    classes: dict[str, None] = {}
    found: dict[str, Picture] = {}
    bad: set[str] = set()
    for path in files:
        where = key_of(path, folder)
        part = part_of_folders(where) or part_in(path.stem)
        try:
            document = _document(path)
        except Unclear as error:
            flaws.broken[where] = str(error)
            continue
        names = _categories(document, where, flaws)
        classes |= dict.fromkeys(names.values())
        for picture, good in _pictures(document, names, where, around, part, flaws):
            key = picture.key
            if not good:
                bad.add(key)
            new = replace(picture, part=picture.part or part_of_folders(key))
            try:
                found[key] = together(found[key], new, flaws) if key in found else new
            except Unclear as error:
                bad.add(key)
                flaws.bad[key] = str(error)
    # One file need not name what lies around it.
    keys = list(found) if source.is_file() else [key_of(image, folder) for image in around.images]
    unlisted = [key for key in keys if key not in found] if not flaws.broken else []
    # What a name may mean, and what of it is not known, is not taken for nothing.
    clear = [key for key in unlisted if background and key.rpartition("/")[2] not in flaws.sought]
    empty, more = background_of((folder / key for key in clear), folder)
    found |= {picture.key: picture for picture in empty}
    pictures = [found[key] for key in keys if key in found and key not in bad]
    unlisted = [key for key in unlisted if key not in found]
    return Annotated(pictures, tuple(classes), more + problems_of(flaws, unlisted))


def _has_keys(path: Path) -> bool:
    """Whether the words of COCO stand in a file, looked for without reading it as JSON."""
    missing, last = {*KEYS, *(() if path.name.startswith("instances") else (BOX,))}, b""
    with path.open("rb") as file:
        while missing and (chunk := file.read(CHUNK)):
            missing -= {key for key in missing if key in last + chunk}
            last = chunk[-20:]
    return not missing


def _is_broken(path: Path) -> bool:
    """Whether it is called or kept as annotations are, and is no JSON: cut off, or nested too deep."""
    if not (path.stem.lower().startswith(CALLED) or path.parent.name.lower() == "annotations"):
        return False
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return True
    return False


def _document(path: Path) -> dict[str, Any]:
    """A file with its three lists.

    Raises:
        Unclear: no JSON, or other than COCO's.
    """
    if path.stat().st_size > MOST_JSON_BYTES:
        raise Unclear(f"larger than {MOST_JSON_BYTES:,} bytes")
    try:
        document = json.loads(path.read_bytes())
    except RecursionError:
        raise Unclear("nested too deep") from None
    except (ValueError, OSError) as error:
        raise Unclear(str(error).split("\n")[0]) from None
    for key, needed in (
        ("images", "file_name"),
        ("annotations", "image_id"),
        ("categories", "name"),
    ):
        rows = document.get(key) if isinstance(document, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise Unclear(f"`{key}` is no list of objects")
        for i, row in enumerate(rows):
            # pandas writes whole numbers as 1.0 where one in the column is missing.
            whole = ((name, row.get(name)) for name in IDS)
            row |= {n: int(v) for n, v in whole if isinstance(v, float) and v.is_integer()}
            ids = [row.get("id", 0 if key == "annotations" else None), row.get("image_id", 0)]
            if needed not in row or not all(isinstance(v, int | str) for v in ids):
                raise Unclear(
                    f"`{key}` entry {i} has no {needed} or no id that is a number or text"
                )
    return document


def _categories(document: dict[str, Any], where: str, flaws: Flaws) -> dict[Any, str]:
    """id -> name, in the order of the ids."""
    names: dict[Any, str] = {}
    for row in document["categories"]:
        number, name = row["id"], str(row["name"]).strip()
        if names.get(number, name) != name:
            what = f"{names[number]} and {name}"
            flaws.unknown[f"{where} category {number}"] = f"it is {what}"
        elif number in names or name in names.values():
            flaws.ids[f"{where} category {number}"] = f"{name} once more"
        names.setdefault(number, name)
    return dict(sorted(names.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _pictures(
    document: dict[str, Any],
    names: dict[Any, str],
    where: str,
    around: "_Around",
    part: str,
    flaws: Flaws,
) -> Iterator[tuple[Picture, bool]]:
    """The pictures of a file, each with its boxes, and whether it can be used."""
    rows: dict[Any, dict[str, Any]] = {}
    confused: set[Any] = set()
    for row in document["images"]:
        number = row["id"]
        if number in rows:
            same = rows[number]["file_name"] == row["file_name"]
            said = "" if same else f" and {row['file_name']}: both are left out"
            flaws.ids[f"{where} image {number}"] = f"{rows[number]['file_name']}{said}"
            if not same:
                confused.add(number)
                rows[(number, row["file_name"])] = row
                confused.add((number, row["file_name"]))
        else:
            rows[number] = row
    boxes: dict[Any, list[tuple[str, list[float], str]]] = defaultdict(list)
    unread: set[Any] = set()
    lacking: set[Any] = set()
    seen: set[Any] = set()
    for i, row in enumerate(document["annotations"]):
        place = f"{where} annotation {row.get('id', f'number {i}')}"
        if row.get("id") in seen and "id" in row:
            flaws.ids[place] = "of two boxes"
        seen.add(row.get("id"))
        number = row["image_id"]
        if number not in rows:
            flaws.orphans.append(place)
            continue
        if row.get("iscrowd"):
            flaws.crowds.append(place)
            continue
        try:
            corners = _corners(row.get("bbox"))
        except Unclear as error:
            flaws.bad[place] = str(error)
            unread.add(number)
            continue
        category = row.get("category_id")
        if not isinstance(category, int | str) or category not in names:
            flaws.unknown[place] = f"category_id {category}"
            lacking.add(number)
            continue
        boxes[number].append((names[category], corners, place))
    for number, row in rows.items():
        path = around.image_of(str(row["file_name"]), where, part)
        if path is None:
            flaws.absent.append(f"{where} image {row['id']} ({row['file_name']})")
            flaws.sought.add(str(row["file_name"]).replace("\\", "/").rpartition("/")[2])
            continue
        found = boxes[number]
        size = [row.get("height"), row.get("width")]
        known = all(isinstance(v, int | float) and isfinite(v) and v > 0 for v in size)
        picture = Picture(
            path,
            seen_from(around.folder, path),
            tuple(label for label, _, _ in found),
            corners_of([corners for _, corners, _ in found]),
            tuple(place for _, _, place in found),
            PARTS.get(str(row.get("split", "")).lower(), part),
            (round(float(size[0])), round(float(size[1]))) if known else None,  # type: ignore[arg-type]
            lacking=number in lacking,
        )
        yield picture, number not in unread and number not in confused


def _corners(box: Any) -> list[float]:
    """(x1, y1, x2, y2) of COCO's (x, y, width, height).

    Raises:
        Unclear: not four numbers.
    """
    numbers = isinstance(box, list) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and isfinite(v) for v in box
    )
    if not numbers or len(box) != 4:
        raise Unclear(f"bbox is {str(box)[:40]}, not [x, y, width, height]")
    x, y, width, height = (float(v) for v in box)
    return [x, y, x + width, y + height]
