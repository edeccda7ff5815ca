"""What is wrong with pictures and their boxes: pure functions from `Data` to problems. No torch."""

from collections.abc import Iterator

import numpy as np

from fitwell.data.common_checks import (
    FEW_A_CLASS,
    fewer_than_folds,
    labels_differ,
    names_alike,
    small_classes,
    without_content,
)
from fitwell.data.letterbox import inner_parts
from fitwell.data.types import Data, Options, Problem, some

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
    what = f"classes stand in fewer than {FEW_A_CLASS} pictures"
    mend = "Add pictures, or merge classes."
    yield from small_classes(dict(zip(names, counts.tolist(), strict=True)), 1, what, mend)
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
    yield from names_alike(names)


def box_parts(data: Data, options: Options) -> Iterator[Problem]:
    """Classes that stand in one part of the source's own split only."""
    if data.spec.kind != "boxes":
        return
    train = np.flatnonzero((data.part != "test") & (data.part != "validation"))
    learnt = np.flatnonzero(pictures_with(data, train))
    for part in ("validation", "test"):
        rows = np.flatnonzero(data.part == part)
        if len(rows) and len(train):
            there = np.flatnonzero(pictures_with(data, rows))
            yield from labels_differ(
                data.spec.classes,
                learnt.tolist(),
                there.tolist(),
                part,
                lacking_is_wrong=False,
                mend="part the pictures afresh",
            )


def box_folds(data: Data, options: Options) -> Iterator[Problem]:
    """Classes in too few pictures for every fold to hold one."""
    if data.spec.kind != "boxes":
        return
    counts = dict(zip(data.spec.classes, pictures_with(data).tolist(), strict=True))
    mend = "Add pictures, or set a smaller data.folds."
    yield from fewer_than_folds(counts, 1, options["folds"], "stand in fewer pictures", mend)


def blank_pictures(data: Data, options: Options) -> Iterator[Problem]:
    """Pictures of one colour, without the grey beside them."""
    if data.spec.kind != "boxes":
        return
    one_colour = ((p.max((1, 2)) == p.min((1, 2))).all() for p in inner_parts(data.inputs))
    mend = "Look at them and leave them out."
    what = "pictures are of one single colour"
    blank = np.fromiter(one_colour, bool, len(data))
    yield from without_content(data, blank, "blank_image", what, mend)


BOX_CHECKS = (box_classes, box_parts, box_folds, blank_pictures)
