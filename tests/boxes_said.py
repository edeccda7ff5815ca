"""Held-out predictions of detectors on annotated boxes, written by hand, for the rules to read."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from findings_rows import a_run

from fitwell.record import Predictions, Row, Run
from fitwell.spec import Spec
from fitwell.tasks.box_mistakes import box_rows

CLASSES = ("cat", "dog", "owl")
SPEC = Spec("boxes", "detection", (3, 100, 100), CLASSES)
SIDE = 24.0


def a_detector(seed: int = 0, *, train: float = 0.95, blind: bool = False, **flaws: Any) -> Run:
    """A run of a detector that fits well to its training pictures, with its held-out boxes.

    Args:
        train: map50 of the training pictures.
        blind: what it says has nothing to do with the pictures.
        flaws: of `said`.
    """
    run = a_run(seed, metric="map50", train=train, validation=train - 0.02)
    part, _ = said(seed, **flaws)
    if blind:
        elsewhere = part.prediction[::-1] + np.array([0, 30, 30, -30, -30, 0])
        part = replace(part, prediction=elsewhere)
    run.predictions = {"held_out": part, "validation": part}
    return replace(run, spec=SPEC, evidence=box_rows(part, SPEC))


def said(
    seed: int = 0,
    *,
    pictures: int = 100,
    swapped: float = 0.0,
    shifted: float = 0.0,
    by: float = 1 / 3,
    offset: float = 0.0,
    jitter: float = 0.03,
    confused: float = 0.0,
    askew: float = 0.0,
) -> tuple[Predictions, set[str]]:
    """Four things a picture, what a good detector says of them, and the names of the boxes that are wrong.

    Args:
        swapped: share of the boxes that are annotated as another class.
        shifted: share annotated elsewhere, along both axes.
        by: how far, in their size.
        offset: how far all are annotated away, in their size.
        jitter: how exactly the detector places a box, in its size: one standard deviation.
        confused: share of things that the detector itself takes for another class, the less sure the more.
        askew: the same of their place.
    """
    random = np.random.default_rng([seed, 8])
    target = np.full((pictures, 5, 5), np.nan)  # one row more than there are boxes
    boxes = np.full((pictures, 8, 6), np.nan)
    wrong = set()
    keys = np.array([f"{seed}/{i}.png" for i in range(pictures)])
    for i in range(pictures):
        for j in range(4):
            corner = np.array([50.0 * (j % 2) + 8, 50.0 * (j // 2) + 8]) + random.uniform(0, 10, 2)
            there = np.concatenate([corner, corner + SIDE])
            kind = int(random.integers(3))
            sure = random.uniform(0.55, 0.95)
            err = 2 * (0.95 - sure) / 0.4  # from 0 where it is surest, with a mean of 1
            named = (kind + 1) % 3 if random.random() < confused * err else kind
            place = there + jitter * SIDE * random.normal(size=4)
            if random.random() < askew * err:
                place = place + SIDE / 3
            boxes[i, j] = [named, *place, sure]
            other = (named + 1) % 3, *(place + 1), 0.02  # what is kept for the curve alone
            boxes[i, 4 + j] = other
            annotated = there + offset * SIDE
            if random.random() < swapped:
                kind = (kind + int(random.integers(1, 3))) % 3
                wrong.add(f"{keys[i]} box {j + 1}")
            elif random.random() < shifted:
                annotated = annotated + SIDE * by * np.tile(random.choice([-1, 1], 2), 2)
                wrong.add(f"{keys[i]} box {j + 1}")
            target[i, j] = [kind, *annotated]
    part = Predictions(
        keys, np.arange(pictures), target, boxes, None, random.exponential(1, pictures)
    )
    return part, wrong


def by_class(runs: list[Run], counts: Mapping[str, tuple[int, int, int]]) -> list[Run]:
    """Detectors with so many boxes annotated, found and said of each class."""
    spec = replace(SPEC, classes=tuple(counts))
    rows = [
        {"name": name, "boxes": boxes, "found": found, "said": told, "map50": found / boxes}
        for name, (boxes, found, told) in counts.items()
    ]
    row: Row = {"experiment": "boxes", "classes": rows}
    return [replace(run, spec=spec, predictions={}, evidence=[row]) for run in runs]
