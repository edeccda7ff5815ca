"""Augmentation: training examples changed at random, each by itself, a whole batch at once.

`AUGMENTATIONS` has the textbook entries; each is a setting `augment.NAME` of the recipe. What happens
to an example depends on the seed, the epoch and the step alone, so a resumed run sees the same ones.
"""

from fitwell.augment.batch import IN_RANGE, Augment
from fitwell.augment.boxes import move_boxes
from fitwell.augment.colour import COLOUR, OF_COLOURS
from fitwell.augment.erasing import erase
from fitwell.augment.geometry import GEOMETRY
from fitwell.augment.mixing import MIXING
from fitwell.augment.mosaic import AugmentBoxes, mosaic
from fitwell.augment.options import augment_settings, multi_scale_of, views_of
from fitwell.augment.resizing import multi_scale
from fitwell.augment.sharpness import blur, noise
from fitwell.augment.sounds import SOUNDS, AugmentSounds
from fitwell.augment.tta import tta
from fitwell.augment.words import WORDS, AugmentWords

AUGMENTATIONS = {
    **GEOMETRY,
    **COLOUR,
    "blur": blur,
    "noise": noise,
    "erase": erase,
    "multi_scale": multi_scale,
    **MIXING,
    "mosaic": mosaic,
    **WORDS,
    **SOUNDS,
    "tta": tta,
}
# What each setting is for, where that is not images.
KIND_OF: dict[str, str] = {
    **dict.fromkeys(WORDS, "text"),
    **dict.fromkeys(SOUNDS, "audio"),
    "mosaic": "boxes",
}

__all__ = [
    "AUGMENTATIONS",
    "IN_RANGE",
    "KIND_OF",
    "MIXING",
    "OF_COLOURS",
    "SOUNDS",
    "WORDS",
    "Augment",
    "AugmentBoxes",
    "AugmentSounds",
    "AugmentWords",
    "augment_settings",
    "move_boxes",
    "multi_scale_of",
    "tta",
    "views_of",
]
