"""Augmentation: training images changed at random, each by itself, a whole batch at once.

`AUGMENTATIONS` has the textbook entries; each is a setting `augment.NAME` of the recipe. What happens
to an image depends on the seed, the epoch and the step alone, so a resumed run sees the same ones.
"""

from fitwell.augment.batch import Augment
from fitwell.augment.erasing import erase
from fitwell.augment.geometry import GEOMETRY
from fitwell.augment.options import augment_settings

AUGMENTATIONS = {**GEOMETRY, "erase": erase}

__all__ = ["AUGMENTATIONS", "Augment", "augment_settings"]
