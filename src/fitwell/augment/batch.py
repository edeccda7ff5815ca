"""The augmentation of a recipe, applied to whole batches on their device."""

from collections.abc import Mapping
from functools import reduce
from inspect import getfullargspec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from fitwell.augment.erasing import erase
from fitwell.augment.geometry import GEOMETRY, Matrices
from fitwell.augment.options import augment_settings

Images = Float[Tensor, "batch channel height width"]
_STREAM = 101  # parts these random numbers from those of the order


class Augment:
    """Changes training batches as the settings say.

    Args:
        settings: of the section `augment`, complete.
        empty: [channel] value of a black pixel in normalised images: what comes in at the sides.
        seed: with epoch and step, decides what happens to whom; nothing else does.
    """

    def __init__(self, settings: Mapping[str, Any], *, empty: np.ndarray, seed: int) -> None:
        usual = augment_settings()
        self.geometry = {
            name: {k: settings[k] for k in getfullargspec(change).kwonlyargs}
            for name, change in GEOMETRY.items()
            if settings[name] != usual[name]
        }
        self.erase = float(settings["erase"])
        self.empty = torch.from_numpy(np.asarray(empty, np.float32)).view(-1, 1, 1)
        self.seed = seed

    def __bool__(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.geometry or self.erase)

    def __call__(self, x: Images, epoch: int, step: int) -> Images:
        rng = np.random.default_rng([self.seed % 2**63, _STREAM, epoch, step])
        if self.geometry:
            drawn = (
                GEOMETRY[name](rng, len(x), *x.shape[2:], **settings)
                for name, settings in self.geometry.items()
            )
            moved = reduce(lambda before, after: after @ before, drawn)
            if self.geometry.keys() == {"hflip"}:
                flipped = torch.from_numpy(moved[:, 0, 0] < 0).to(x.device)
                x = torch.where(flipped[:, None, None, None], x.flip(-1), x)
            else:
                x = resample(x, moved, self.empty.to(x.device))
        return erase(rng, x, erase=self.erase) if self.erase else x


def resample(x: Images, moved: Matrices, empty: Tensor) -> Images:
    """Each image moved by its matrix, between pixels by bilinear interpolation.

    >>> image = torch.arange(4.0).view(1, 1, 2, 2)
    >>> flip = np.diag([-1.0, 1.0, 1.0])[None]
    >>> resample(image, flip, torch.zeros(1, 1, 1)).tolist()
    [[[[1.0, 0.0], [3.0, 2.0]]]]
    """
    height, width = x.shape[2:]
    # Where each pixel of the result comes from; grid_sample counts from -1 to 1.
    half = np.diag([width / 2, height / 2, 1.0])
    back = np.linalg.inv(half) @ np.linalg.inv(moved) @ half
    theta = torch.from_numpy(back[:, :2].astype(np.float32)).to(x.device)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    layout = (
        torch.channels_last
        if x.is_contiguous(memory_format=torch.channels_last)
        else torch.contiguous_format
    )
    out = F.grid_sample(x - empty, grid, mode="bilinear", align_corners=False) + empty
    return out.contiguous(memory_format=layout)
