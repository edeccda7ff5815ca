"""What a trained detector finds and what it loses, as evidence: by class, by size, by kind of mistake."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fitwell.box_scores import MOST, SHOWN, mean, precisions, table
from fitwell.data.letterbox import overlaps
from fitwell.record import Predictions, Row
from fitwell.spec import Spec

FOUND, TOUCHED = 0.5, 0.1  # overlaps from which on a box is right, and is of that object at all
TINY = 16.0  # pixels of the shorter side: two places of the finest map
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


def box_rows(predictions: Predictions | None, spec: Spec) -> list[Row]:
    """An evidence row "boxes": `table` of `fitwell.box_scores`, and what a detector's mistakes are.

    None for other tasks than detection.

    Returns:
        `lost`: what map50 would gain if all mistakes of a kind were mended. `tiny`: how many annotated
        boxes have fewer than 16 pixels on their shorter side, and how many are larger, with those that
        are found with a score of 0.25 and more: `tiny`, `tiny_found`, `larger`, `larger_found`. `sure`: a
        row a picture that has boxes with a score of 0.5 and more: `key`, and of these `right` and
        `background` (where nothing is annotated); `annotated`.

    Source: Bolya, Foley, Hays and Hoffman 2020, ECCV (TIDE, sections 2.2 and 2.3)

    Ours differs: its sixth kind, wrong in class and place, counts as background.
    """
    if predictions is None or spec.task != "detection" or not len(predictions.target):
        return []
    target, said = predictions.target, predictions.prediction[:, :MOST]
    found = table(target, said, spec.classes)
    matches = [match(one, other) for one, other in zip(target, said, strict=True)]
    facts = {
        "lost": lost(target, said, matches),
        "tiny": _tiny(target, said, matches),
        "sure": _sure(predictions, matches),
    }
    return [{"experiment": "boxes", **found, **facts}]


def _tiny(target: np.ndarray, said: np.ndarray, matches: Sequence[Matched]) -> dict[str, int]:
    """How many tiny and larger boxes there are, and how many of them are found."""
    side = np.minimum(target[..., 3] - target[..., 1], target[..., 4] - target[..., 2])
    found = np.zeros(side.shape, bool)
    for own, boxes, matched in zip(found, said, matches, strict=True):
        shown = (matched.kind == "") & (np.nan_to_num(boxes[:, 5]) >= SHOWN)
        own[matched.object[shown]] = True
    tiny, larger = side < TINY, side >= TINY  # neither where there is no box
    return {
        "tiny": int(tiny.sum()),
        "tiny_found": int((found & tiny).sum()),
        "larger": int(larger.sum()),
        "larger_found": int((found & larger).sum()),
    }


def _sure(predictions: Predictions, matches: Sequence[Matched]) -> list[Row]:
    """What the boxes said surely are, a row a picture that has some."""
    rows = []
    for i, matched in enumerate(matches):
        sure = np.nan_to_num(predictions.prediction[i, : len(matched.kind), 5]) >= SURE
        kinds = matched.kind[sure]
        if len(kinds):
            rows.append(
                {
                    "key": str(predictions.keys[i]),
                    "right": int((kinds == "").sum()),
                    "background": int((kinds == "background").sum()),
                    "annotated": int((~np.isnan(predictions.target[i, :, 0])).sum()),
                }
            )
    return rows


def lost(target: np.ndarray, said: np.ndarray, matches: Sequence[Matched]) -> dict[str, float]:
    """Kind of mistake -> gain of map50 if all of that kind were mended.

    A box of the wrong class gets the right one, a badly placed box the place of its object (unless another
    one has it by then); doubled ones and background are taken away, and so are objects that were missed.

    >>> box = np.array([[[0.0, 10, 10, 50, 50]]])
    >>> off = np.array([[[0.0, 10, 10, 50, 28, 0.9]]])
    >>> found = lost(box, off, [match(box[0], off[0])])
    >>> {kind: round(gain, 2) for kind, gain in found.items() if gain}
    {'badly placed': 1.0}
    """
    before = _score(target, said)
    gains = {}
    for kind in KINDS:
        asked, mended = target.copy(), said.copy()
        for i, matched in enumerate(matches):
            if kind == "missed":
                asked[i, np.flatnonzero(matched.missed)] = np.nan
            else:
                _mend(mended[i], asked[i], matched, kind)
        after = _score(asked, mended)
        gains[kind] = max(0.0, after - before)
    return gains


def match(target: np.ndarray, said: np.ndarray) -> Matched:
    """What each box said of a picture [said, 6] is beside those annotated [annotated, 5].

    As COCO has it, boxes take objects in the order of their scores, each the free one of its class that it
    overlaps most, from a half on.
    """
    there, shown = ~np.isnan(target[:, 0]), ~np.isnan(said[:, 0])
    share = np.zeros((len(said), len(target)))
    share[np.ix_(shown, there)] = overlaps(said[shown, 1:5], target[there, 1:5])
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


def _mend(said: np.ndarray, target: np.ndarray, matched: Matched, kind: str) -> None:
    """Mend the mistakes of a kind in the boxes said of one picture, in place."""
    taken = set(matched.object[matched.kind == ""].tolist())
    wrong = np.flatnonzero(matched.kind == kind)
    for i in wrong[np.argsort(-said[wrong, 5], kind="stable")]:
        thing = int(matched.object[i])
        if thing < 0 or thing in taken:
            said[i] = np.nan
            continue
        taken.add(thing)
        if kind == "wrong class":
            said[i, 0] = target[thing, 0]
        else:
            said[i, 1:5] = target[thing, 1:]


def _score(target: np.ndarray, said: np.ndarray) -> float:
    """map50; 0 where nothing is annotated."""
    score = mean(precisions(target, said)[:1, :, :, 0])
    return 0.0 if np.isnan(score) else score
