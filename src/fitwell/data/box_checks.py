"""What is wrong with pictures and their boxes: pure functions from `Data` to problems. No torch."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from fitwell.data.letterbox import inner_parts
from fitwell.data.types import Data, Options, Problem, some

FEW_PICTURES = 10  # of a class
IMBALANCE = 5.0  # boxes of the largest over those of the smallest class


def pictures_with(data: Data, rows: np.ndarray | None = None) -> np.ndarray:
    """[class] of how many pictures (of `rows`) a box is of each class."""
    targets = data.targets if rows is None else data.targets[rows]
    return np.array(
        [(targets[..., 0] == c).any(1).sum() for c in range(len(data.spec.classes))], int
    )


def box_classes(data: Data, options: Options) -> Iterator[Problem]:
    """Classes without boxes, with few pictures, or written in two ways."""
    if data.spec.kind != "boxes" or not len(data):
        return
    names, counts = data.spec.classes, pictures_with(data)
    if not counts.any():
        yield Problem(
            "no_boxes",
            "error",
            (data.name,),
            f"None of the {len(data)} pictures has a box; nothing to learn.",
            "Draw boxes around what is to be found.",
        )
        return
    empty = [n for n, c in zip(names, counts, strict=True) if not c]
    if empty:
        yield Problem(
            "empty_class",
            "warning",
            tuple(empty),
            f"{len(empty)} of {len(names)} classes have no box: {some(empty)}.",
            "Draw some, or leave the classes out of the list.",
        )
    few = [f"{n} ({c})" for n, c in zip(names, counts, strict=True) if 0 < c < FEW_PICTURES]
    if few:
        yield Problem(
            "small_class",
            "warning",
            tuple(f.rsplit(" (", 1)[0] for f in few),
            f"{len(few)} of {len(names)} classes stand in fewer than {FEW_PICTURES} pictures: {some(few)}.",
            "Add pictures, or merge classes.",
        )
    boxes = {n: c for n, c in zip(names, data.spec.class_counts, strict=True) if c}
    small, large = min(boxes, key=lambda n: boxes[n]), max(boxes, key=lambda n: boxes[n])
    if boxes[large] / boxes[small] >= IMBALANCE:
        yield Problem(
            "class_imbalance",
            "note",
            (large, small),
            f"The largest class, {large}, has {boxes[large]:,} boxes, the smallest, {small}, "
            f"{boxes[small]:,}.",
            "Judge by the average precision of each class, and not by a number over all boxes.",
        )
    written: dict[str, list[str]] = defaultdict(list)
    for name in names:
        written["".join(filter(str.isalnum, name.lower())) or name].append(name)
    alike = [group for group in written.values() if len(group) > 1]
    if alike:
        yield Problem(
            "classes_alike",
            "warning",
            tuple(name for group in alike for name in group),
            f"Classes whose names differ in case or signs only: {some(' = '.join(g) for g in alike)}.",
            "If they are the same, give them one name in all annotations.",
        )


def box_parts(data: Data, options: Options) -> Iterator[Problem]:
    """Classes that stand in one part of the source's own split only."""
    if data.spec.kind != "boxes":
        return
    train = np.flatnonzero((data.part != "test") & (data.part != "validation"))
    learnt = pictures_with(data, train) > 0
    for part in ("validation", "test"):
        rows = np.flatnonzero(data.part == part)
        there = pictures_with(data, rows) > 0
        if not len(rows) or not len(train) or (there == learnt).all():
            continue
        extra = [n for n, is_new in zip(data.spec.classes, there & ~learnt, strict=True) if is_new]
        lacking = [
            n for n, is_gone in zip(data.spec.classes, learnt & ~there, strict=True) if is_gone
        ]
        said = [f"only in {part}: {some(extra)}"] if extra else []
        said += [f"only in train: {some(lacking)}"] if lacking else []
        yield Problem(
            "labels_differ",
            "error" if extra else "warning",  # what is not learnt cannot be found
            (*extra, *lacking),
            f"The classes of train and {part} differ; {'; '.join(said)}.",
            "Give the classes the same names in both (case and spelling count), or part the pictures "
            "afresh.",
        )


def box_folds(data: Data, options: Options) -> Iterator[Problem]:
    """Classes in too few pictures for every fold to hold one."""
    if data.spec.kind != "boxes":
        return
    few = [
        name
        for name, count in zip(data.spec.classes, pictures_with(data), strict=True)
        if 0 < count < options["folds"]
    ]
    if few:
        yield Problem(
            "fewer_than_folds",
            "warning",
            tuple(few),
            f"{len(few)} of them stand in fewer pictures than data.folds = {options['folds']}: "
            f"{some(few)}; some folds will lack them.",
            "Add pictures, or set a smaller data.folds.",
        )


def blank_pictures(data: Data, options: Options) -> Iterator[Problem]:
    """Pictures of one colour, without the grey beside them."""
    if data.spec.kind != "boxes":
        return
    blank = [
        str(key)
        for key, picture in zip(data.keys, inner_parts(data.inputs), strict=True)
        if (picture.max((1, 2)) == picture.min((1, 2))).all()
    ]
    if blank:
        yield Problem(
            "constant_inputs" if len(blank) == len(data) else "blank_image",
            "error" if len(blank) == len(data) else "warning",
            tuple(blank),
            f"{len(blank)} of {len(data)} pictures are of one single colour ({some(blank)}).",
            "Look at them and leave them out.",
        )


BOX_CHECKS = (box_classes, box_parts, box_folds, blank_pictures)
