"""The size that a whole batch is seen at."""

import numpy as np
import torch.nn.functional as F
from numpy.random import Generator

from fitwell.augment.images import Images, laid_out_as

STEPS = 8  # sizes are eighths of the images' own: few, since each new shape costs a first time


def multi_scale(rng: Generator, x: Images, *, multi_scale: float) -> Images:
    """Trains each batch at a size of its own, all images of it at the same: multi-scale training.

    Formula: H' = k H / 8, W' = k W / 8 with the whole number k uniform in 8 (1 - m) ... 8 (1 + m); bilinear
    Use: fine-tuning and detection: a network that reads any size learns objects of several, and then
        predicts better from several (augment.tta=scales)
    Weakness: the network has to read images of any size; larger batches take longer
    Source: Redmon and Farhadi 2017, CVPR, section 3 (YOLOv2; every 10 batches, multiples of 32 pixels)

    >>> import torch
    >>> x = torch.zeros(2, 3, 64, 32)
    >>> seen = [multi_scale(np.random.default_rng(i), x, multi_scale=0.25) for i in range(3)]
    >>> [tuple(images.shape[2:]) for images in seen]
    [(80, 40), (64, 32), (80, 40)]
    """
    height, width = x.shape[2:]
    size = sizes(height, width, multi_scale)[rng.integers(2 * reach(multi_scale) + 1)]
    if size == (height, width):
        return x
    out = F.interpolate(x, size, mode="bilinear", align_corners=False)
    return laid_out_as(out, x)


def reach(multi_scale: float) -> int:
    """How many eighths of the size at most are added or taken."""
    return int(STEPS * multi_scale)


def sizes(height: int, width: int, multi_scale: float) -> list[tuple[int, int]]:
    """The sizes at which images of this one are seen, the least first.

    >>> sizes(224, 112, 0.125)
    [(196, 98), (224, 112), (252, 126)]
    """
    steps = np.arange(STEPS - reach(multi_scale), STEPS + reach(multi_scale) + 1)
    return [(max(1, round(height * k / STEPS)), max(1, round(width * k / STEPS))) for k in steps]
