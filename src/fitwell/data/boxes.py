"""Folders of pictures with boxes: which annotations they have, and from these to `Data`. No torch.

Targets are float32 [example, most boxes, 5]: class index and corners x1, y1, x2, y2 in pixels of the
resized picture; rows that a picture does not need are NaN.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.annotated import Annotated, Picture
from fitwell.data.assemble import slug
from fitwell.data.box_flaws import Flaws, sound
from fitwell.data.coco import is_coco, read_coco
from fitwell.data.decoded import Way, decode_all
from fitwell.data.files import Item, add_unreadable, shape_for, with_headers
from fitwell.data.images import Header
from fitwell.data.letterbox import letterbox
from fitwell.data.pattern import groups_by_pattern
from fitwell.data.types import BadData, Data, Problem, fingerprint, listed, refuse, some
from fitwell.data.voc import is_voc, read_voc
from fitwell.data.yolo import is_yolo, read_yolo
from fitwell.errors import SettingError
from fitwell.spec import Spec

SIDE = 320  # pixels that `image_size` = 0 means: boxes of a tenth of a picture keep 32
LAYOUTS = {
    "voc": "Annotations/1.xml beside JPEGImages/1.jpg",
    "coco": "annotations/instances_train.json beside images/1.jpg",
    "yolo": "labels/1.txt beside images/1.jpg",
}
Reader = tuple[Callable[[Path], bool], Callable[..., Annotated]]
READERS: dict[str, Reader] = {
    "voc": (is_voc, read_voc),
    "coco": (is_coco, read_coco),
    "yolo": (is_yolo, read_yolo),
}


def annotations_in(folder: Path, options: dict[str, Any]) -> str:
    """The kind of annotations to read a folder by; "" where it has none.

    Raises:
        BadData: several kinds, and `data.annotations` chooses none, or one that is not there.
    """
    there = [name for name, (found, _) in READERS.items() if found(folder)]
    asked = options["annotations"]
    if asked != "auto":
        if asked not in there:
            raise refuse(
                "no_annotations",
                f"data.annotations = {asked}: {folder} has no such annotations"
                + (f", only {some(there)}." if there else "."),
                f"They are laid out as {LAYOUTS[asked]}.",
                str(folder),
                setting="data.annotations",
            )
        return asked
    if len(there) > 1:
        raise refuse(
            "several_annotations",
            f"{folder} has annotations of {some(there)}, which need not say the same.",
            f"Choose: {' or '.join(f'data.annotations={name}' for name in there)}.",
            str(folder),
            setting="data.annotations",
        )
    return there[0] if there else ""


def annotated_in(source: Path, kind: str, options: Mapping[str, Any]) -> Annotated:
    """What the reader of a kind finds; pictures without annotation as `data.unannotated` says."""
    return READERS[kind][1](source, background=options["unannotated"] == "background")


def read_boxes(
    folder: Path,
    kind: str,
    options: dict[str, Any],
    *,
    name: str = "",
    like: Spec | None = None,
) -> Data:
    """`Data` of pictures with boxes; what cannot be used is left out and listed.

    Args:
        kind: of the annotations: "voc", "coco" or "yolo".
        options: `image_size` is the side of the square that pictures are fitted into, 320 by default.
        like: the spec of a model that exists: its size, channels and classes are used.

    Raises:
        BadData: no picture with a usable annotation, or a class that the model does not know.
        SettingError: a setting that does not go with boxes.
    """
    _suits(options)
    annotated = annotated_in(folder, kind, options)
    classes = like.classes if like else annotated.classes
    _refuse_unknown(annotated.pictures, classes, like)
    pictures, heads, problems = _with_pictures(annotated)
    if not pictures:
        raise _nothing(folder, kind, problems)
    size, grey = shape_for(heads, options["image_size"] or SIDE, like)
    found = decode_all([p.path for p in pictures], Way(size, grey, "letterbox"))
    failed = [(pictures[i].key, why) for i, why in sorted(found.failed.items())]
    problems = add_unreadable(problems, failed) + list(found.problems)
    flaws = Flaws()
    rows: list[np.ndarray] = []
    counts = np.zeros(len(classes), np.int64)
    kept: list[Picture] = []
    place = {label: i for i, label in enumerate(classes)}
    for i, (picture, head) in enumerate(zip(pictures, heads, strict=True)):
        if i in found.failed:
            continue
        numbers = np.array([place[label] for label in picture.labels], np.int64)
        counts += np.bincount(numbers, minlength=len(classes))
        good, corners = sound(picture, head.size, flaws)
        corners = letterbox(head.size, size).boxes(corners)
        flaws.look_at(picture, good, corners)
        rows.append(np.column_stack([numbers[good], corners]))
        kept.append(picture)
    if not kept:
        raise _nothing(folder, kind, problems)
    targets = _padded(rows)
    parts = np.array([picture.part for picture in kept], dtype="<U10")
    keys, pattern = [picture.key for picture in kept], options["pattern"] if like is None else ""
    spec = Spec(
        kind="boxes",
        task="detection",
        input_shape=tuple(found.images.shape[1:]),
        classes=classes,
        target="boxes",
        num_examples=len(kept),
        class_counts=tuple(int(count) for count in counts),
        resize="letterbox",
    )
    return Data(
        name=slug(name or folder.resolve().name),
        spec=spec,
        inputs=found.images,
        targets=targets,
        keys=np.array(keys),
        groups=groups_by_pattern(keys, pattern) if pattern else None,
        part=parts if len(set(parts.tolist())) > 1 else np.full(len(kept), "", dtype="<U10"),
        problems=(*problems, *flaws.problems()),
        fingerprint=fingerprint(found.images, targets),
    )


def _with_pictures(
    annotated: Annotated,
) -> tuple[list[Picture], list[Header], list[Problem]]:
    """The pictures that are images and as large as their annotation says, with their headers."""
    items = [Item(picture.path, picture.key, i) for i, picture in enumerate(annotated.pictures)]
    items, heads, problems = with_headers(items, annotated.problems)
    pictures, kept, differ = [], [], {}
    for item, head in zip(items, heads, strict=True):
        picture = annotated.pictures[item.label]
        if picture.size and picture.size != head.size:
            (high, wide), (height, width) = picture.size, head.size
            turned = ", on its side" if picture.size == head.size[::-1] else ""
            differ[picture.key] = f"{width}x{height}{turned}; its annotation says {wide}x{high}"
            continue
        pictures.append(picture)
        kept.append(head)
    what = (
        "picture of another size than its annotation says left out",
        "pictures of other sizes than their annotations say left out",
    )
    mend = (
        "Their boxes would lie elsewhere: bring the pictures that were annotated, or correct sizes and "
        "boxes in the annotations."
    )
    return pictures, kept, problems + listed("size_differs", "warning", what, mend, differ)


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    """[example, most boxes, 5] float32 of a list [example] of [box, 5]; NaN where there is none."""
    targets = np.full((len(rows), max(map(len, rows)), 5), np.nan, np.float32)
    for target, boxes in zip(targets, rows, strict=True):
        target[: len(boxes)] = boxes
    return targets


def _suits(options: dict[str, Any]) -> None:
    """Refuse what says something else of pictures with boxes."""
    usual = {"task": "auto", "resize": "crop"}
    why = {
        "task": "boxes are found by detection alone. Leave it out, or give a folder without annotations",
        "resize": "pictures with boxes are fitted in as a whole, with grey beside them. Leave it out",
    }
    for name, value in usual.items():
        if options[name] != value:
            raise SettingError(
                f"data.{name} = {options[name]}: {why[name]}.", setting=f"data.{name}"
            )


def _refuse_unknown(pictures: list[Picture], classes: tuple[str, ...], like: Spec | None) -> None:
    if like is None:
        return
    unknown = {
        row: label
        for picture in pictures
        for label, row in zip(picture.labels, picture.rows, strict=True)
        if label not in classes
    }
    if unknown:
        names = sorted(set(unknown.values()))
        raise refuse(
            "unknown_class",
            f"{len(unknown):,} boxes are of {some(names)}, and the model knows {some(classes, 10)}.",
            "Rename the classes, or leave those boxes out.",
            tuple(unknown),
        )


def _nothing(folder: Path, kind: str, problems: list[Problem]) -> BadData:
    text = f"{folder} holds no picture that can be read and is annotated ({kind})."
    mend = f"Lay them out as {LAYOUTS[kind]}."
    nothing = Problem("no_images", "error", (str(folder),), text, mend)
    causes = [p for p in problems if p.severity == "error"]  # said first
    return BadData([*causes, nothing, *(p for p in problems if p not in causes)])
