"""What a detector says of its data: things that nobody annotated, and things too small to be seen."""

from collections.abc import Sequence

from fitwell.findings.classes import wilson
from fitwell.findings.reading import confidence, evidence_of, folds_of, rounded
from fitwell.record import Finding, NotAssessed, Run

_FEWEST = 20  # boxes said surely
_SEVERAL = 3  # of them in one picture where nothing is annotated
_PICTURES = 2
_TRUSTED = 0.7  # share of those of the other pictures that are right
_LISTED = 50
_SHARE = 0.05  # of the boxes
_SHORT = 0.2  # of recall


def missing_boxes(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Pictures in which things are surely found that nobody annotated: annotations are missing.

    Symptom: in a few held-out pictures the network finds several things where no box is, surely, and
        elsewhere such boxes are right; the score stays low however well it finds.
    Mechanism: whatever no box says is background, so a thing that was left out teaches the network not
        to find its like, and counts as a mistake where it is found.
    Threshold: of the boxes with a score of 0.5 and more on held-out pictures (at least 20): at least 2
        pictures have 3 or more that touch no annotated box of their class, and more of these than right
        ones; of the other pictures' boxes 70 % are right. A detector that errs by itself errs everywhere.
    Source: Northcutt, Athalye and Mueller 2021, NeurIPS (errors in test sets); Bolya et al. 2020, ECCV
        (TIDE, which finds them among the mistakes of background)
    """
    folds = folds_of(runs)
    if any(run.spec is not None and run.spec.task != "detection" for run in folds):
        return None
    tables = [row for row in evidence_of(folds, "boxes") if "sure" in row]
    if not tables:
        return NotAssessed("missing_boxes", "held-out boxes of a detector")
    # Further repeats hold the same pictures again.
    rows = list({row["key"]: row for each in tables for row in each["sure"]}.values())
    if sum(row["right"] + row["background"] for row in rows) < _FEWEST:
        return NotAssessed("missing_boxes", f"at least {_FEWEST} boxes that are said surely")
    odd = [row for row in rows if row["background"] >= max(_SEVERAL, row["right"] + 1)]
    others = [row for row in rows if row not in odd]
    right = sum(row["right"] for row in others)
    said = right + sum(row["background"] for row in others)
    if len(odd) < _PICTURES or not said or right / said < _TRUSTED:
        return None
    odd.sort(key=lambda row: -row["background"])
    missing = sum(row["background"] for row in odd)
    evidence = rounded(
        {
            "runs": len(folds),
            "pictures": len(odd),
            "boxes": missing,
            "annotated": sum(row["annotated"] for row in odd),
            "right_elsewhere": right / said,
            "keys": [row["key"] for row in odd[:_LISTED]],
        }
    )
    sentence = (
        f"In {len(odd)} held-out pictures {missing} things are found surely where nothing is annotated "
        f"({evidence['annotated']} boxes are); in the others {right / said:.0%} of such boxes are right. "
        "Annotations seem to be missing."
    )
    level = confidence(folds, len(folds))
    return Finding("missing_boxes", level, evidence, sentence, ("data.annotations",))


def objects_too_small(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Things of a few pixels are overlooked, and others are found: the pictures are seen too small.

    Symptom: of annotated boxes of fewer than 16 pixels (of the resized picture, on the shorter side) far
        fewer are found than of larger ones.
    Mechanism: the finest map has a place every 8 pixels; what lies between a few places has hardly a trace,
        and a box that is off by two pixels no longer overlaps it by a half.
    Threshold: at least 20 such held-out boxes, and 5 % of all; of them fewer are found (score of 0.25 and
        more, overlap of a half) than of the others by more than 0.2, with 95 % confidence (Wilson
        intervals).
    Source: Singh and Davis 2018, CVPR (an analysis of scale invariance in object detection); Wilson 1927,
        JASA 22
    """
    folds = folds_of(runs)
    if any(run.spec is not None and run.spec.task != "detection" for run in folds):
        return None
    tables = [row["tiny"] for row in evidence_of(folds, "boxes") if "tiny" in row]
    if not tables:
        return NotAssessed("objects_too_small", "held-out boxes of a detector")
    counts = {name: sum(row[name] for row in tables) for name in tables[0]}
    tiny, larger = counts["tiny"], counts["larger"]
    if tiny < max(_FEWEST, _SHARE * (tiny + larger)) or larger < _FEWEST:
        return None
    _, high = wilson(counts["tiny_found"], tiny, 0.05)
    low, _ = wilson(counts["larger_found"], larger, 0.05)
    if high >= low - _SHORT:
        return None
    recalls = counts["tiny_found"] / tiny, counts["larger_found"] / larger
    facts = {"tiny_recall": recalls[0], "larger_recall": recalls[1]}
    sentence = (
        f"Of {tiny} held-out things of fewer than 16 pixels {recalls[0]:.0%} are found, of {larger} larger "
        f"ones {recalls[1]:.0%}."
    )
    evidence = rounded({"runs": len(folds), **counts, **facts})
    level = confidence(folds, len(folds))
    return Finding("objects_too_small", level, evidence, sentence, ("data.image_size",))
