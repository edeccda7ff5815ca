"""What detectors alone have: pictures made of several, and pictures shown larger."""

from typing import Any

from fitwell.recipe import Recipe
from fitwell.record import Finding
from fitwell.remedies.edits import Edit, is_count
from fitwell.spec import Spec

LARGEST = 1024  # pixels of a side
_COARSEST = 32  # of the picture, from one place of the coarsest map to the next


def larger_images(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Show the pictures 1.5 times as large, or twice.

    Use: objects_too_small, of detectors
    Weakness: a training takes longer by the square of it; nothing where the files are no larger
    Source: Singh and Davis 2018, CVPR (an analysis of scale invariance in object detection)
    """
    side: Any = recipe.get("data.image_size")
    if spec.task != "detection" or not is_count(side) or not recipe.get("source"):
        return []  # what is in memory is there at one size
    sides = (_COARSEST * round(factor * side / _COARSEST) for factor in (1.5, 2))
    return [{"data.image_size": larger} for larger in sides if side < larger <= LARGEST]


def mosaic(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Make more of the training pictures of four: half of them, or all.

    Use: overfitting, of detectors
    Weakness: learns more slowly; things are shown smaller than they will come
    Source: Bochkovskiy, Wang and Liao 2020, arXiv:2004.10934, section 3.3
    """
    share = recipe.get("augment.mosaic")
    if spec.task != "detection" or not isinstance(share, int | float) or share == 1:
        return []
    return [{"augment.mosaic": 0.5 if share < 0.5 else 1.0}]


def mixup(recipe: Recipe, spec: Spec, finding: Finding) -> list[Edit]:
    """Blend the training pictures in pairs, with the boxes of both.

    Use: overfitting, of detectors
    Weakness: learns more slowly; small networks may have no room for it
    Source: Zhang et al. 2019, arXiv:1902.04103 (both parameters 1.5); Ge et al. 2021, section 2.1
    """
    if spec.task != "detection" or recipe.get("augment.mixup") != 0:
        return []
    return [{"augment.mixup": 1.5}]
