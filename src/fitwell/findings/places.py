"""Boxes that are annotated beside the things that they are of."""

from collections.abc import Sequence

import numpy as np

from fitwell.findings.labels import fewer_where_sure, said_at_boxes, steady
from fitwell.findings.reading import confidence, folds_of, rounded
from fitwell.record import Finding, NotAssessed, Run

_FEWEST = 100  # boxes that are said surely
_FITS = 0.7  # overlap of the usual box, at least
_OFF = 0.6  # overlap of one that is out of place, at most
_OUTSIDE = 6.0  # standard deviations of the others' sides
_OFFSET = 0.1  # of the boxes' own sides
_BEYOND = 2.0  # standard deviations of one box
_NORMAL = 1.4826  # standard deviation of normal numbers over their median absolute deviation
_CLEAR = 0.04  # share of wrong ones among the surest quarter
_LEAST = 0.01  # of a box's side: where all fit to the pixel
_SIDES = ("left", "top", "right", "bottom")


def shifted_boxes(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """A part of the boxes, or all of a part of the data, is annotated beside the things.

    Symptom: however sure the network is of a held-out box, a steady share of them is annotated elsewhere
        than it says, while the others fit; or all of them are, by the same distance.
    Mechanism: a box that somebody drew askew is no property of the picture, so such differences do not
        become fewer where things are easy, as a network's own errors do. A network that is taught from
        boxes out of place puts its own nowhere well, and finds what is scored as not found.
    Threshold: of at least 100 held-out boxes at which one of their class is said surely (a score of 0.5 and
        more), and whose median overlap is 0.7 and more: among the quarter said most surely more than 2 %
        overlap by less than 0.6 and have a side that is 6 standard deviations from where the others' are
        (robust, of the boxes' own widths and heights), with 95 % confidence (Wilson), and among the next
        quarter at most twice as many and no fewer (beyond what chance explains), of both at most 40 %; and
        within the surer half they are no less sure (Mann-Whitney, 1 %). Or the median of a side is more
        than 0.1 of the boxes' widths or heights away, and more than 2 standard deviations of one box:
        pictures held out are annotated otherwise than those trained on.
    Source: Northcutt, Jiang and Chuang 2021, JAIR 70 (of classes), here of places; Murrugarra-Llerena,
        Kirsten and Jung 2022, CVPR workshops (how exact annotated boxes are); Rousseeuw and Croux 1993,
        JASA 88 (median absolute deviation)
    """
    found = said_at_boxes(runs)
    if found is None:
        if any(run.spec is not None and run.spec.task != "detection" for run in folds_of(runs)):
            return None
        return NotAssessed("shifted_boxes", "held-out boxes of a detector")
    folds, said, names = found
    placed = np.flatnonzero(said.share > 0)
    if len(placed) < _FEWEST:
        return NotAssessed("shifted_boxes", f"at least {_FEWEST} boxes that are said surely")
    place, share = said.place[placed], said.share[placed]
    middle = np.median(place, 0)
    spread = np.maximum(_NORMAL * np.median(np.abs(place - middle), 0), _LEAST)
    apart = (np.abs(place - middle) / spread).max(1)
    moved = (np.abs(middle) > _OFFSET) & (np.abs(middle) > _BEYOND * spread)
    facts = {
        "runs": len(folds),
        "boxes": len(placed),
        "usual_overlap": float(np.median(share)),
        **{f"offset_{side}": float(-by) for side, by in zip(_SIDES, middle, strict=True)},
    }
    if moved.any():
        by = ", ".join(f"{side} {v:+.0%}" for side, v in zip(_SIDES, -middle, strict=True))
        sentence = (
            f"The {len(placed):,} held-out boxes that are said surely are all annotated beside what is "
            f"said, by the same distance ({by} of their widths and heights, in the median)."
        )
        level = confidence(folds, len(folds))
        return Finding("shifted_boxes", level, rounded(facts), sentence, ("data.annotations",))
    off = (share < _OFF) & (apart > _OUTSIDE)
    shares = steady(off, said.sure[placed]) if np.median(share) >= _FITS else None
    if shares is None or fewer_where_sure(off, said.sure[placed]):
        return None
    worst = placed[np.flatnonzero(off)[np.argsort(share[off], kind="stable")]]
    evidence = rounded(
        {
            **facts,
            **shares,
            "doubtful": len(worst),
            "keys": [names[i] for i in worst],
        }
    )
    sentence = (
        f"Of {len(placed):,} held-out boxes that are said surely {len(worst)} ({off.mean():.1%}) are "
        f"annotated elsewhere than the network says, and those of which it is surest no less often; the "
        f"others overlap by {np.median(share[~off]):.2f} in the median. The {len(worst)} are listed."
    )
    level = confidence(folds, len(folds), strong=shares["wrong_where_surest_low"] > _CLEAR)
    return Finding("shifted_boxes", level, evidence, sentence, ("data.annotations",))
