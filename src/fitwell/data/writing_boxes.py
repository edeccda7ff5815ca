"""Pictures with their boxes, written in each of the formats that are read. No torch."""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree import ElementTree

import numpy as np

from fitwell.data.files import seen_from
from fitwell.data.voc import CORNERS
from fitwell.store import replacing

SHORT = {"train": "train", "validation": "val", "test": "test"}  # a part, as both formats call it


@dataclass(frozen=True, eq=False)
class Boxed:
    """A picture and what is known to be in it.

    Args:
        path: of the file.
        key: its name in the source.
        size: (height, width) in pixels.
        labels: [box] names of the classes.
        corners: [box, 4] (x1, y1, x2, y2) in pixels of the whole picture.
        part: "train", "validation", "test"; "" is free.
    """

    path: Path
    key: str
    size: tuple[int, int]
    labels: tuple[str, ...]
    corners: np.ndarray
    part: str


Writer: TypeAlias = Callable[[Sequence[Boxed], Sequence[str], Path], None]


def write_coco(pictures: Sequence[Boxed], classes: Sequence[str], out: Path) -> None:
    """One JSON file; the pictures stay where they are, and are named as seen from it."""
    number = {name: i + 1 for i, name in enumerate(classes)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for picture in pictures:
        height, width = picture.size
        image: dict[str, Any] = {
            "id": len(images) + 1,
            "file_name": seen_from(out.parent, picture.path),
            "width": width,
            "height": height,
        }
        if picture.part:
            image["split"] = picture.part
        images.append(image)
        for label, (x1, y1, x2, y2) in zip(picture.labels, picture.corners.tolist(), strict=True):
            box = {"id": len(annotations) + 1, "image_id": image["id"], "iscrowd": 0}
            box |= {"category_id": number[label], "area": (x2 - x1) * (y2 - y1)}
            annotations.append(box | {"bbox": [x1, y1, x2 - x1, y2 - y1]})
    categories = [{"id": i, "name": name} for name, i in number.items()]
    document = {"images": images, "annotations": annotations, "categories": categories}
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(document), encoding="utf-8")


def write_voc(pictures: Sequence[Boxed], classes: Sequence[str], out: Path) -> None:
    """A folder: JPEGImages, Annotations with an XML file a picture, ImageSets/Main where there are parts.

    Classes are the names that occur: one without a box is not in it.
    """
    with _whole(out) as folder:
        places = [folder / name for name in ("JPEGImages", "Annotations")]
        for place in places:
            place.mkdir()
        stems = stems_of(pictures)
        for picture, stem in zip(pictures, stems, strict=True):
            name = stem + picture.path.suffix
            shutil.copyfile(picture.path, places[0] / name)
            tree = ElementTree.ElementTree(_element(picture, name))
            ElementTree.indent(tree)
            tree.write(places[1] / f"{stem}.xml", encoding="utf-8")
        for part in sorted({picture.part for picture in pictures} - {""}):
            there = [s for p, s in zip(pictures, stems, strict=True) if p.part == part]
            lists = folder / "ImageSets" / "Main"
            lists.mkdir(parents=True, exist_ok=True)
            (lists / f"{SHORT[part]}.txt").write_text(
                "".join(f"{stem}\n" for stem in there), encoding="utf-8"
            )


def write_yolo(pictures: Sequence[Boxed], classes: Sequence[str], out: Path) -> None:
    """A folder: images and labels, below them the parts, and data.yaml with the names of the classes."""
    number = {name: i for i, name in enumerate(classes)}
    with _whole(out) as folder:
        for picture, stem in zip(pictures, stems_of(pictures), strict=True):
            part = SHORT.get(picture.part, "")
            places = [folder / name / part for name in ("images", "labels")]
            for place in places:
                place.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture.path, places[0] / (stem + picture.path.suffix))
            height, width = picture.size
            scale = np.array([width, height, width, height])
            corners = picture.corners.reshape(-1, 4) / scale
            middle, sides = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
            rows = np.concatenate([middle, sides], 1).tolist()
            text = "".join(
                f"{number[label]} {' '.join(f'{value:.8f}' for value in row)}\n"
                for label, row in zip(picture.labels, rows, strict=True)
            )
            (places[1] / f"{stem}.txt").write_text(text, encoding="utf-8")
        parts = [SHORT[p] for p in SHORT if any(picture.part == p for picture in pictures)]
        lines = [f"{part}: images/{part}" for part in parts] or ["train: images", "val: images"]
        lines += ["names:", *(f"  {i}: {json.dumps(name)}" for name, i in number.items())]
        (folder / "data.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


WRITERS: dict[str, Writer] = {"coco": write_coco, "voc": write_voc, "yolo": write_yolo}


def stems_of(pictures: Sequence[Boxed]) -> list[str]:
    """A name for each, without its ending, that no other has: its own, or with its folders."""
    stems = [picture.path.stem for picture in pictures]
    for longer in (
        lambda p: p.key.rpartition(".")[0].replace("/", "_"),
        lambda p: p.key.replace("/", "_").replace(".", "_"),
    ):
        count = Counter(stem.lower() for stem in stems)
        stems = [
            longer(p) if count[stem.lower()] > 1 else stem
            for p, stem in zip(pictures, stems, strict=True)
        ]
    return stems


def _element(picture: Boxed, name: str) -> ElementTree.Element:
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = name
    size = ElementTree.SubElement(root, "size")
    for key, pixels in zip(("height", "width"), picture.size, strict=True):
        ElementTree.SubElement(size, key).text = str(pixels)
    for label, corners in zip(picture.labels, picture.corners.tolist(), strict=True):
        thing = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(thing, "name").text = label
        box = ElementTree.SubElement(thing, "bndbox")
        for key, value in zip(CORNERS, corners, strict=True):
            ElementTree.SubElement(box, key).text = f"{value:.4f}".rstrip("0").rstrip(".")
    return root


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A new folder that takes its name once it is whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as place:
        folder = Path(place) / out.name
        folder.mkdir()
        yield folder
        folder.rename(out)
