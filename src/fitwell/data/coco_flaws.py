"""What is wrong in files of COCO, as problems, and what stands in them twice. No torch."""

from dataclasses import dataclass, field, replace

import numpy as np

from fitwell.data.annotated import (
    RANK,
    Picture,
    Unclear,
    unreadable,
    without_annotation,
    without_image,
)
from fitwell.data.types import Problem, listed


@dataclass
class Flaws:
    """What is wrong in the files, place -> why."""

    broken: dict[str, str] = field(default_factory=dict)  # files
    bad: dict[str, str] = field(default_factory=dict)  # annotations
    absent: list[str] = field(default_factory=list)
    sought: set[str] = field(default_factory=set)  # names of files of these
    orphans: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    crowds: list[str] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)  # pictures in files of two parts
    joined: dict[str, str] = field(default_factory=dict)  # pictures that stand twice in one part


def together(before: Picture, after: Picture, flaws: Flaws) -> Picture:
    """A picture that stands in two entries: with the boxes of both where they are of one part, else that of
    the later part.

    Raises:
        Unclear: the entries say different sizes, so that the boxes of one would lie elsewhere.
    """
    key = before.key
    if before.part != after.part:
        flaws.parts[key] = f"{before.part or 'no part'} and {after.part or 'no part'}"
        return max(before, after, key=lambda p: RANK.index(p.part) if p.part else -1)
    if before.size and after.size and before.size != after.size:
        (high, wide), (height, width) = before.size, after.size
        raise Unclear(f"one entry says {wide}x{high}, another {width}x{height}")
    flaws.joined[key] = f"{len(before.labels) + len(after.labels)} boxes"
    return replace(
        before,
        labels=before.labels + after.labels,
        corners=np.concatenate([before.corners, after.corners]),
        rows=before.rows + after.rows,
        size=before.size or after.size,
        lacking=before.lacking or after.lacking,
    )


def problems_of(flaws: Flaws, unlisted: list[str]) -> list[Problem]:
    """A problem a kind.

    Args:
        unlisted: pictures that no file names.
    """
    problems = listed(
        "broken_annotations",
        "error",
        ("file of annotations that cannot be read", "files of annotations that cannot be read"),
        "Write or copy it once more; it must be JSON with images, annotations and categories.",
        flaws.broken,
    )
    problems += listed(
        "unknown_class",
        "error",
        (
            "box of a category that is not in the list",
            "boxes of categories that are not in the list",
        ),
        "Add the category to `categories`, or correct category_id.",
        flaws.unknown,
    )
    problems += unreadable(flaws.bad)
    problems += without_image(flaws.absent)
    problems += listed(
        "annotation_without_image",
        "warning",
        ("box of an image that is not in `images`", "boxes of images that are not in `images`"),
        "Add the image to `images`, or correct image_id.",
        flaws.orphans,
    )
    problems += listed(
        "duplicate_ids",
        "warning",
        ("id that stands twice", "ids that stand twice"),
        "Give each image, annotation and category an id of its own.",
        flaws.ids,
    )
    problems += listed(
        "in_two_parts",
        "warning",
        (
            "picture in two files of annotations, taken from that of the later part",
            "pictures in two files of annotations, taken from that of the later part",
        ),
        "Take each out of one of them.",
        flaws.parts,
    )
    problems += listed(
        "several_entries",
        "note",
        (
            "picture in several entries of `images` of one part, taken with the boxes of all",
            "pictures in several entries of `images` of one part, each taken with the boxes of all",
        ),
        "Nothing to do where each entry has boxes of its own; take out what only says the same again.",
        flaws.joined,
    )
    problems += listed(
        "crowd_boxes",
        "note",
        ("box around a crowd (iscrowd) left out", "boxes around crowds (iscrowd) left out"),
        "Nothing to do: they are of no single object; draw boxes of each to learn from them.",
        flaws.crowds,
    )
    mend = "Add them to `images`; one without annotations is taken as a picture with nothing in it."
    return problems + without_annotation(unlisted, mend)
