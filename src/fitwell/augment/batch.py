"""The augmentation of a recipe, applied to whole batches on their device."""

from collections.abc import Mapping, Sequence
from functools import reduce
from inspect import getfullargspec
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fitwell.augment.boxes import Boxes, move_boxes
from fitwell.augment.colour import COLOUR, recolour
from fitwell.augment.erasing import erase
from fitwell.augment.geometry import GEOMETRY, Matrices
from fitwell.augment.images import Images, laid_out_as
from fitwell.augment.mixing import MIXING, mix
from fitwell.augment.options import augment_settings
from fitwell.augment.sharpness import blur, noise
from fitwell.data.batches import Mixture

IN_RANGE = (*COLOUR, "noise")  # need to know what black and white are
# Part these random numbers from those of the order, and from each other.
_CHANGES, _MIXING = 101, 102


class Augment:
    """Changes training batches as the settings say: colours, place, blur, noise, then erasing; `mix`
    mixes what came of it in pairs.

    Args:
        settings: of the section `augment`, complete.
        empty: [channel] value of a black pixel in normalised images: what comes in at the sides.
        full: [channel] value of a white pixel; needed for what `IN_RANGE` names.
        seed: with epoch and step, decides what happens to whom; nothing else does.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        empty: np.ndarray,
        seed: int,
        full: np.ndarray | None = None,
    ) -> None:
        usual = augment_settings()
        changed = {name: value for name, value in settings.items() if value != usual[name]}
        self.used = {name: value for name, value in changed.items() if name != "policy"}
        self.geometry = {
            name: {k: settings[k] for k in getfullargspec(change).kwonlyargs}
            for name, change in GEOMETRY.items()
            if name in self.used
        }
        self.empty = _by_channel(empty)
        self.full = _by_channel(empty if full is None else full)
        self.seed = seed

    def __bool__(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.used)

    def __call__(self, x: Images, epoch: int, step: int) -> Images:
        return self._changed(x, epoch, step)[0]

    def with_boxes(self, x: Images, boxes: Boxes, epoch: int, step: int) -> tuple[Images, Boxes]:
        """The images as `augment(x, epoch, step)` gives them, and their boxes where they are then; those
        that are mostly out of the picture become rows of nan."""
        x, moved = self._changed(x, epoch, step)
        if moved is None:
            return x, boxes
        height, width = x.shape[2:]
        return x, move_boxes(boxes, torch.from_numpy(moved), height, width)

    def _changed(self, x: Images, epoch: int, step: int) -> tuple[Images, Matrices | None]:
        """The changed images, and the matrix by which each was moved; None where none was."""
        rng = np.random.default_rng([self.seed % 2**63, _CHANGES, epoch, step])
        empty, full = self.empty.to(x.device), self.full.to(x.device)
        colours = [name for name in COLOUR if name in self.used]
        if colours:
            x = self._recoloured(rng, x, colours, empty, full)
        moved = None
        if self.geometry:
            moved = self._matrices(rng, x)
            x = self._moved(x, moved, empty)
        if "blur" in self.used:
            x = blur(rng, x, blur=self.used["blur"])
        if "noise" in self.used:
            x = noise(rng, x, empty, full, noise=self.used["noise"])
        if "erase" in self.used:
            x = erase(rng, x, erase=self.used["erase"])
        return x, moved

    def mix(self, x: Images, epoch: int, step: int) -> tuple[Images, Mixture | None]:
        """The images mixed in pairs, and whom each was mixed with; None where nothing is mixed."""
        strengths = {name: self.used[name] for name in MIXING if name in self.used}
        if not strengths:
            return x, None
        return mix(np.random.default_rng([self.seed % 2**63, _MIXING, epoch, step]), x, strengths)

    def _recoloured(
        self, rng: np.random.Generator, x: Images, names: Sequence[str], empty: Tensor, full: Tensor
    ) -> Images:
        mean = (x.mean((2, 3)) - empty.flatten()) / (full - empty).flatten()
        before = torch.cat([mean, mean.new_ones(len(x), 1)], 1)[:, :, None]
        matrix = torch.eye(before.shape[1], device=x.device).expand(len(x), -1, -1)
        for name in names:
            now = (matrix @ before)[:, :-1, 0]
            matrix = COLOUR[name](rng, now, **{name: self.used[name]}) @ matrix
        return recolour(x, matrix, empty, full)

    def _matrices(self, rng: np.random.Generator, x: Images) -> Matrices:
        drawn = (
            GEOMETRY[name](rng, len(x), *x.shape[2:], **settings)
            for name, settings in self.geometry.items()
        )
        return reduce(lambda before, after: after @ before, drawn)

    def _moved(self, x: Images, moved: Matrices, empty: Tensor) -> Images:
        if self.geometry.keys() == {"hflip"}:
            flipped = torch.from_numpy(moved[:, 0, 0] < 0).to(x.device)
            return torch.where(flipped[:, None, None, None], x.flip(-1), x)
        return resample(x, moved, empty)


def _by_channel(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32)).view(-1, 1, 1)


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
    out = F.grid_sample(x - empty, grid, mode="bilinear", align_corners=False) + empty
    return laid_out_as(out, x)
