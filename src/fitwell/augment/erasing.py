"""Random erasing: a rectangle painted over."""

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from fitwell.augment.geometry import log_uniform
from fitwell.augment.images import Images

_AREA = (0.02, 0.4)  # of the image: the paper's
_RATIO = (0.3, 1 / 0.3)  # height / width


def erase(rng: Generator, x: Images, *, erase: float) -> Images:
    """Paints a rectangle over, with the mean colour.

    Formula: with probability p: a rectangle of 2 to 40 % of the area, height / width from 0.3 to 3.3,
        at a random place, becomes 0, which is the mean of normalised images
    Use: objects that are seen partly covered; beside flips and crops, as it changes something else
    Weakness: may cover all there is to see; lengthens training
    Source: Zhong, Zheng, Kang, Li and Yang 2020, AAAI

    Ours differs: zeros rather than random numbers, and the ratio is log-uniform, so that tall and
    wide rectangles are equally frequent.

    >>> x = erase(np.random.default_rng(0), torch.ones(1, 1, 8, 8), erase=1.0)
    >>> 0 < (x == 0).float().mean().item() < 0.6
    True
    """
    n, _, height, width = x.shape
    area = height * width * rng.uniform(_AREA[0], _AREA[1], n)
    ratio = log_uniform(rng, n, _RATIO)
    high = np.minimum(np.rint(np.sqrt(area * ratio)), height)
    wide = np.minimum(np.rint(np.sqrt(area / ratio)), width)
    top = np.floor(rng.random(n) * (height - high + 1))
    left = np.floor(rng.random(n) * (width - wide + 1))
    high = np.where(rng.random(n) < erase, high, 0)
    rows, columns = (
        _between(torch.from_numpy(start), torch.from_numpy(start + length), side).to(x.device)
        for start, length, side in ((top, high, height), (left, wide, width))
    )
    covered = rows[:, :, None] & columns[:, None, :]
    return x.clone().masked_fill_(covered[:, None], 0.0)  # in place: the layout stays


def _between(start: Tensor, stop: Tensor, side: int) -> Tensor:
    """[image, side]: which pixels lie from start to before stop."""
    at = torch.arange(side)
    return (at >= start[:, None]) & (at < stop[:, None])
