"""Which boxes said of a picture are of which annotated box, and what kinds of mistakes they are. No torch.

Targets are [box, 5] class and corners x1, y1, x2, y2; what is said [box, 6] with the score behind them;
rows of nan are no box.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fitwell.box_scores import MOST
from fitwell.data.letterbox import overlaps
from fitwell.record import Predictions

FOUND, TOUCHED = 0.5, 0.1  # overlaps from which on a box is right, and is of that object at all
SURE = 0.5  # score from which on a box is said surely
KINDS = ("wrong class", "badly placed", "doubled", "background", "missed")


class Matched(NamedTuple):
    """What the boxes said of one picture are.

    Args:
        kind: [said] "" where it is right, else the kind of its mistake.
        object: [said] the annotated box that it is of, or would be if the mistake were mended; -1: none.
        missed: [annotated] whether no box is of it, however badly placed or named.
    """

    kind: np.ndarray
    object: np.ndarray
    missed: np.ndarray


def match(target: np.ndarray, said: np.ndarray) -> Matched:
    """What each box said of a picture [said, 6] is beside those annotated [annotated, 5].

    As COCO has it, boxes take objects in the order of their scores, each the free one of its class that it
    overlaps most, from a half on.
    """
    there, shown = ~np.isnan(target[:, 0]), ~np.isnan(said[:, 0])
    share = shares(target, said)
    alike = (said[:, :1] == target[None, :, 0]) & there
    kind = np.full(len(said), "", dtype="<U12")
    object_of = np.full(len(said), -1)
    taken = np.zeros(len(target), bool)
    for i in np.argsort(-np.nan_to_num(said[:, 5]), kind="stable"):
        if not shown[i]:
            continue
        own = np.where(alike[i], share[i], 0)
        free = np.where(taken, 0, own)
        other = np.where(alike[i], 0, share[i])
        if free.max(initial=0) >= FOUND:
            object_of[i] = free.argmax()
            taken[object_of[i]] = True
        elif own.max(initial=0) >= FOUND:
            kind[i] = "doubled"
        elif own.max(initial=0) >= TOUCHED:
            kind[i], object_of[i] = "badly placed", own.argmax()
        elif other.max(initial=0) >= FOUND:
            kind[i], object_of[i] = "wrong class", other.argmax()
        else:
            kind[i] = "background"
    of_some = np.isin(np.arange(len(target)), object_of)
    return Matched(kind, object_of, there & ~of_some)


def shares(target: np.ndarray, said: np.ndarray) -> np.ndarray:
    """[said, annotated] intersection over union; 0 where there is no box."""
    there, shown = ~np.isnan(target[:, 0]), ~np.isnan(said[:, 0])
    share = np.zeros((len(said), len(target)))
    share[np.ix_(shown, there)] = overlaps(said[shown, 1:5], target[there, 1:5])
    return share


class Said(NamedTuple):
    """What is said at the annotated boxes of some pictures, a row a box.

    Args:
        picture: [box] the row of its picture.
        box: [box] its number in its picture, from 0.
        target: [box] its class.
        scores: [box, class] the highest score of a box of that class that overlaps it by a half.
        place: [box, 4] corners of the box of its class that overlaps it most and is said surely, in its own
            widths and heights from where it was annotated; nan where there is none that touches it.
        sure: [box] the score of that box.
        share: [box] its overlap.
    """

    picture: np.ndarray
    box: np.ndarray
    target: np.ndarray
    scores: np.ndarray
    place: np.ndarray
    sure: np.ndarray
    share: np.ndarray


def said_of(parts: Sequence[Predictions], classes: int) -> Said:
    """What is said at each annotated box; each box said is of the annotated one that it overlaps most.

    >>> box = np.array([[[0.0, 10, 10, 50, 50]]])
    >>> off = np.append(box + [0, 10, 0, 10, 0], [[[0.9]]], 2)
    >>> part = Predictions(np.array(["a"]), np.array([0]), box, off, None, np.zeros(1))
    >>> found = said_of([part], 2)
    >>> found.scores.round(1).tolist(), found.place.tolist()
    ([[0.9, 0.0]], [[0.25, 0.0, 0.25, 0.0]])
    """
    rows: list[tuple[np.ndarray, ...]] = []
    number = 0
    for part in parts:
        for target, said in zip(part.target, part.prediction[:, :MOST], strict=True):
            rows.append(_of_picture(number, target, said[~np.isnan(said[:, 0])], classes))
            number += 1
    return Said(*map(np.concatenate, zip(*rows, strict=True)))


def _of_picture(
    number: int, target: np.ndarray, said: np.ndarray, classes: int
) -> tuple[np.ndarray, ...]:
    """The rows of `Said` of one picture."""
    boxes = np.flatnonzero(~np.isnan(target[:, 0]))
    kind, corners = target[boxes, 0].astype(int), target[boxes, 1:].astype(float)
    scores = np.zeros((len(boxes), classes))
    place, sure, share = (
        np.full((len(boxes), 4), np.nan),
        np.zeros(len(boxes)),
        np.zeros(len(boxes)),
    )
    if len(boxes) and len(said):
        common = overlaps(said[:, 1:5], corners)
        owner = common.argmax(1)
        for i in range(len(boxes)):
            own = said[(owner == i) & (common[:, i] >= FOUND)]
            np.maximum.at(scores[i], own[:, 0].astype(int), own[:, 5])
            alike = (owner == i) & (said[:, 0] == kind[i]) & (said[:, 5] >= SURE)
            best = np.where(alike, common[:, i], 0)
            if best.max() >= TOUCHED:
                share[i], sure[i] = best.max(), said[best.argmax(), 5]
                sides = np.tile(corners[i, 2:] - corners[i, :2], 2)
                place[i] = (said[best.argmax(), 1:5] - corners[i]) / np.maximum(sides, 1e-9)
    return np.full(len(boxes), number), boxes, kind, scores, place, sure, share
