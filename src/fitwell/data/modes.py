"""What image files hold before they are brought to 8 bits of grey or RGB. No torch."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from fitwell.data.images import DEEP_MODES, Header
from fitwell.data.types import Problem, some

# PIL's modes, by what is said of them.
CALLED = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with transparency",
    "P": "a palette",
    "RGB": "RGB",
    "RGBA": "RGB with transparency",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    "I": "integers of more than 8 bits",
    "F": "floats",
}
FEW_LEVELS = 64  # of 256: what is left of images that use a quarter of their range


def mixed_modes(heads: Sequence[Header]) -> Iterator[Problem]:
    """Images of several modes: each is converted, which says nothing of how they were taken."""
    counts = Counter(_called(head.mode) for head in heads)
    if len(counts) < 2:
        return
    said = ", ".join(f"{count:,} of {name}" for name, count in counts.most_common())
    wanted = "grey" if all(head.grey for head in heads) else "RGB"
    yield Problem(
        "mixed_modes",
        "note",
        tuple(counts),
        f"Images of several modes: {said}; all are read as {wanted}.",
        "Nothing to do, unless one class is mostly of one mode: then a network learns the mode.",
    )


def deep_images(heads: Sequence[Header], images: np.ndarray) -> Iterator[Problem]:
    """Images of more than 8 bits, and whether what is kept of them is enough to see anything.

    Args:
        images: [file] uint8, of the same files.
    """
    deep = [i for i, head in enumerate(heads) if head.mode.split(";")[0] in DEEP_MODES]
    if not deep:
        return
    top = max(int(images[i].max()) for i in deep)
    kinds = some(sorted({_called(heads[i].mode) for i in deep}))
    rule = "integers count from 0 to 65,535; floats from 0 to 1, or to 255 where one of a file is above 2"
    text = (
        f"{len(deep):,} of {len(heads):,} images hold {kinds}, of which 8 bits are kept ({rule})."
    )
    if top < FEW_LEVELS:
        yield Problem(
            "few_grey_levels",
            "warning",
            (_called(heads[deep[0]].mode),),
            f"{text} The brightest pixel is at {top} of 255, so at most {top + 1} grey levels are left.",
            "Scale all of them by one factor to the full range first (12 bits: times 16).",
        )
        return
    yield Problem("deep_images", "note", (_called(heads[deep[0]].mode),), text, "Nothing to do.")


def _called(mode: str) -> str:
    return CALLED.get(mode.split(";")[0], mode)
