"""What is wrong in files of COCO, as problems. No torch."""

from dataclasses import dataclass, field

from fitwell.data.annotated import listed, unreadable, without_annotation, without_image
from fitwell.data.types import Problem


@dataclass
class Flaws:
    """What is wrong in the files, place -> why."""

    broken: dict[str, str] = field(default_factory=dict)  # files
    bad: dict[str, str] = field(default_factory=dict)  # annotations
    absent: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    crowds: list[str] = field(default_factory=list)


def problems_of(flaws: Flaws, twice: dict[str, str], unlisted: list[str]) -> list[Problem]:
    """A problem a kind.

    Args:
        twice: pictures in two files, with the parts of both.
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
        twice,
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
