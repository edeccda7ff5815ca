"""`check --fix` of pictures with boxes: a copy without what should not be trained on. No torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.box_flaws import Flaws, sound
from fitwell.data.boxes import annotated_in, annotations_in
from fitwell.data.coco import is_coco_file
from fitwell.data.images import Header, header
from fitwell.data.types import Data, Problem
from fitwell.data.writing_boxes import WRITERS, Boxed

# Problems whose places are pictures or boxes that are not used.
LEFT_OUT = (
    "unreadable_files",
    "unreadable_annotations",
    "image_without_annotation",
    "annotation_without_image",
    "size_differs",
    "box_without_area",
    "box_outside",
    "duplicate_boxes",
)


def has_boxes(path: Path, options: dict[str, Any]) -> bool:
    """Whether a source holds pictures with boxes."""
    if options["kind"] not in ("auto", "boxes"):
        return False
    return is_coco_file(path) if path.is_file() else bool(annotations_in(path, options))


def write_boxes(
    source: Path,
    out: Path,
    data: Data,
    rows: np.ndarray,
    problems: Sequence[Problem],
    options: dict[str, Any],
    written: str = "coco",
) -> tuple[int, dict[str, tuple[str, ...]]]:
    """Write these pictures with their boxes, as they are read, in pixels of the whole picture.

    A picture of whose boxes one has no class, or none is left, is left out: it would be taught to be
    background there.

    Args:
        rows: of `data`, the pictures that stay.
        written: the format, one of `WRITERS`.

    Returns:
        (how many stay, why -> places of what was left out).
    """
    kind = "coco" if source.is_file() else annotations_in(source, options)
    annotated = annotated_in(source, kind, options)
    pictures = {picture.key: picture for picture in annotated.pictures}
    kept: list[Boxed] = []
    bare: dict[str, list[str]] = {"box_without_class": [], "no_box_left": []}
    for row in rows.tolist():
        picture = pictures[str(data.keys[row])]
        head = header(picture.path)
        assert isinstance(head, Header), "it was read a moment ago"
        good, corners = sound(picture, head.size, Flaws())
        if picture.lacking or (len(picture.labels) and not len(good)):
            bare["box_without_class" if picture.lacking else "no_box_left"].append(picture.key)
            continue
        labels, part = tuple(picture.labels[i] for i in good), str(data.part[row])
        kept.append(Boxed(picture.path, picture.key, head.size, labels, corners, part))
    WRITERS[written](kept, data.spec.classes, out)
    left_out = {p.name: p.where for p in problems if p.name in LEFT_OUT}
    return len(kept), left_out | {why: tuple(keys) for why, keys in bare.items() if keys}
