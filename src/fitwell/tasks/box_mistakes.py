"""What a trained detector finds and what it loses, as evidence: by class, by size, by kind of mistake."""

from collections.abc import Sequence

import numpy as np

from fitwell.box_matching import KINDS, SURE, Matched, match
from fitwell.box_scores import SHOWN, mean, precisions, table
from fitwell.record import Predictions, Row
from fitwell.spec import Spec

TINY = 16.0  # pixels of the shorter side: two places of the finest map


def box_rows(predictions: Predictions | None, spec: Spec) -> list[Row]:
    """An evidence row "boxes": `table` of `fitwell.box_scores`, and what a detector's mistakes are.

    None for other tasks than detection.

    Returns:
        `classes` of `table`, with how many of a class are `said` with a score of 0.25 and more, and how
        many of its boxes are `found` so. `map50`, and `trivial`: that of the mean box of the commonest
        class in every picture. `lost`: what map50 would gain if all mistakes of a kind were mended. `tiny`:
        how many annotated boxes have fewer than 16 pixels on their shorter side, and how many are larger,
        with those that are found with a score of 0.25 and more: `tiny`, `tiny_found`, `larger`,
        `larger_found`. `sure`: a row a picture that has boxes with a score of 0.5 and more: `key`, and of
        these `right` and `background` (where nothing is annotated); `annotated`.

    Source: Bolya, Foley, Hays and Hoffman 2020, ECCV (TIDE, sections 2.2 and 2.3)

    Ours differs: its sixth kind, wrong in class and place, counts as background.
    """
    if predictions is None or spec.task != "detection" or not len(predictions.target):
        return []
    target, said = predictions.target, predictions.prediction
    found = table(target, said, spec.classes)
    matches = [match(one, other) for one, other in zip(target, said, strict=True)]
    for row, counts in zip(found["classes"], _found(target, said, matches, spec), strict=True):
        row |= counts
    facts = {
        "map50": _score(target, said),
        "trivial": _score(target, trivial(target)),
        "lost": lost(target, said, matches),
        "tiny": _tiny(target, said, matches),
        "sure": _sure(predictions, matches),
    }
    return [{"experiment": "boxes", **found, **facts}]


def _found(
    target: np.ndarray, said: np.ndarray, matches: Sequence[Matched], spec: Spec
) -> list[dict[str, int]]:
    """By class, how many boxes are shown, and how many annotated ones are found by them."""
    counts = np.zeros((len(spec.classes), 2), int)
    for asked, boxes, matched in zip(target, said, matches, strict=True):
        shown = np.nan_to_num(boxes[:, 5]) >= SHOWN
        np.add.at(counts[:, 0], boxes[shown, 0].astype(int), 1)
        right = matched.object[shown & (matched.kind == "")]
        np.add.at(counts[:, 1], asked[right, 0].astype(int), 1)
    return [{"said": int(shown), "found": int(found)} for shown, found in counts]


def trivial(target: np.ndarray) -> np.ndarray:
    """[example, 1, 6] the mean box of the commonest class, in every picture.

    >>> boxes = np.array([[[0.0, 0, 0, 4, 4], [1, 9, 9, 9, 9]], [[0, 2, 2, 6, 6], [np.nan] * 5]])
    >>> trivial(boxes)[1].tolist()
    [[0.0, 1.0, 1.0, 5.0, 5.0, 1.0]]
    """
    boxes = target[~np.isnan(target[..., 0])]
    if not len(boxes):
        return np.full((len(target), 1, 6), np.nan)
    kind = np.bincount(boxes[:, 0].astype(int)).argmax()
    usual = np.append(boxes[boxes[:, 0] == kind].mean(0), 1.0)
    return np.tile(usual, (len(target), 1, 1))


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
