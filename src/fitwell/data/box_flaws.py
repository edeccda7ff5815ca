"""What is wrong with single boxes, found while they are read. No torch."""

from dataclasses import dataclass, field

import numpy as np

from fitwell.data.annotated import Picture
from fitwell.data.letterbox import overlaps
from fitwell.data.types import Problem, listed

ROUNDING = 0.01  # pixels: fractions of six digits are not exact
EDGE = 1.0  # pixels that a box may stick out without more than a note
TINY = 2.0  # pixels of a side after resizing: less is hardly there
ALMOST = 0.95  # overlap of boxes of one class that are of one object, drawn twice


@dataclass
class Flaws:
    """Places of the boxes that are not as they should be, each with why."""

    no_area: dict[str, str] = field(default_factory=dict)
    outside: dict[str, str] = field(default_factory=dict)
    clipped: dict[str, str] = field(default_factory=dict)
    sticks_out: bool = False  # one of those clipped by more than an edge
    twice: dict[str, str] = field(default_factory=dict)
    almost: dict[str, str] = field(default_factory=dict)
    other_class: dict[str, str] = field(default_factory=dict)
    tiny: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    partners: dict[str, str] = field(default_factory=dict)  # of a pair the later -> the earlier

    def look_at(self, picture: Picture, good: np.ndarray, corners: np.ndarray) -> None:
        """Note boxes [box, 4] that became tiny as the picture was resized, and pictures without any."""
        sides = corners[:, 2:] - corners[:, :2]
        for i, (width, height) in zip(good.tolist(), sides.tolist(), strict=True):
            if min(width, height) < TINY:
                self.tiny[picture.rows[i]] = f"{width:.1f}x{height:.1f}"
        if not len(picture.labels) and not picture.lacking and picture.annotated:
            self.empty.append(picture.key)

    def problems(self) -> list[Problem]:
        """What was found, a problem a kind."""
        return [
            *listed(
                "box_without_area",
                "warning",
                ("box without area left out", "boxes without area left out"),
                "Draw them again, or remove them.",
                self.no_area,
            ),
            *listed(
                "box_outside",
                "warning",
                ("box outside its picture left out", "boxes outside their pictures left out"),
                "Correct them; corners of VOC and COCO are in pixels, rows of YOLO in fractions of the "
                "picture.",
                self.outside,
            ),
            *listed(
                "box_clipped",
                "warning" if self.sticks_out else "note",
                (
                    "box partly outside its picture, cut at the edge",
                    "boxes partly outside their pictures, cut at the edge",
                ),
                "Look at them: where many stick out far, sizes or units are wrong.",
                self.clipped,
            ),
            *listed(
                "duplicate_boxes",
                "warning",
                (
                    "box that stands twice in its picture, left out once",
                    "boxes that stand twice in their pictures, left out once",
                ),
                "Remove one of each.",
                self.twice,
                map(self.partners.__getitem__, self.twice),
            ),
            *listed(
                "near_duplicate_boxes",
                "warning",
                (
                    "box that is almost another of its class",
                    "boxes that are almost another of their class",
                ),
                "Remove one of each where they are of one object; both are kept.",
                self.almost,
                map(self.partners.__getitem__, self.almost),
            ),
            *listed(
                "conflicting_boxes",
                "warning",
                (
                    "box in the place of one of another class",
                    "boxes in the places of ones of another class",
                ),
                "Keep the right class; both are kept until then.",
                self.other_class,
                map(self.partners.__getitem__, self.other_class),
            ),
            *listed(
                "tiny_boxes",
                "warning",
                (
                    f"box of less than {TINY:g} pixels after resizing",
                    f"boxes of less than {TINY:g} pixels after resizing",
                ),
                "Set a larger data.image_size, cut the pictures into parts, or leave such boxes out.",
                self.tiny,
            ),
            *listed(
                "images_without_boxes",
                "note",
                ("picture annotated as without any box", "pictures annotated as without any box"),
                "Nothing to do where nothing is in them: they teach what is background.",
                self.empty,
            ),
        ]


def sound(picture: Picture, size: tuple[int, int], flaws: Flaws) -> tuple[np.ndarray, np.ndarray]:
    """(rows of the boxes that can be used, [box, 4] their corners in pixels, within the picture).

    Args:
        size: (height, width) of the picture.
        flaws: gets the places of the others, and of those that were cut.
    """
    full = np.array([size[1], size[0]] * 2, np.float64)
    corners = picture.corners * full if picture.fractions else picture.corners
    inside = corners.clip(0, full)
    sides, left = corners[:, 2:] - corners[:, :2], inside[:, 2:] - inside[:, :2]
    excess = np.abs(corners - inside).max(1, initial=0.0)
    good = []
    for i, where in enumerate(picture.rows):
        if not (sides[i] > 0).all():
            flaws.no_area[where] = f"{sides[i, 0]:g}x{sides[i, 1]:g}"
        elif not (left[i] > 0).all():
            said = " ".join(f"{v:g}" for v in corners[i])
            flaws.outside[where] = f"corners {said} of {size[1]}x{size[0]}"
        else:
            good.append(i)
            if excess[i] > ROUNDING:
                flaws.clipped[where] = f"by {excess[i]:.3g} pixels"
                flaws.sticks_out |= bool(excess[i] > EDGE)
    rows = _once(picture, np.array(good, np.int64), inside, flaws)
    return rows, inside[rows]


def _once(picture: Picture, rows: np.ndarray, corners: np.ndarray, flaws: Flaws) -> np.ndarray:
    """The rows without those that say the same as an earlier one."""
    if len(rows) < 2:
        return rows
    first, second = np.nonzero(np.triu(overlaps(corners[rows], corners[rows]) >= ALMOST, 1))
    gone: set[int] = set()
    for a, b in zip(rows[first].tolist(), rows[second].tolist(), strict=True):
        if a in gone or b in gone:
            continue
        flaws.partners[picture.rows[b]] = picture.rows[a]
        same_class = picture.labels[a] == picture.labels[b]
        if not same_class:
            labels = f"{picture.labels[a]} and {picture.labels[b]}"
            flaws.other_class[picture.rows[b]] = f"{labels}, as {picture.rows[a]}"
        elif np.array_equal(corners[a], corners[b]):
            gone.add(b)
            flaws.twice[picture.rows[b]] = f"as {picture.rows[a]}"
        else:
            flaws.almost[picture.rows[b]] = f"as {picture.rows[a]}"
    return np.array([row for row in rows.tolist() if row not in gone], np.int64)
