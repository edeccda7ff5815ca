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
from fitwell.augment.geometry import GEOMETRY, Matrices, matrices
from fitwell.augment.images import Images, laid_out_as
from fitwell.augment.mixing import MIXING, mix
from fitwell.augment.options import CHANGELESS, augment_settings
from fitwell.augment.resizing import multi_scale
from fitwell.augment.sharpness import blur, noise
from fitwell.data.batches import Mixture

IN_RANGE = (*COLOUR, "noise")  # need to know what black and white are
# Part these random numbers from those of the order, and from each other.
_CHANGES, _MIXING, _SIZES = 101, 102, 103


class Augment:
    """Changes training batches as the settings say: colours, place, blur, noise, then erasing and the
    size of all; `mix` mixes what came of it in pairs.

    Args:
        settings: of the section `augment`, complete.
        empty: [channel] value of a black pixel in normalised images: what comes in at the sides.
        full: [channel] value of a white pixel; needed for what `IN_RANGE` names.
        seed: with epoch and step, decides what happens to whom; nothing else does.
        size: (height, width) of what comes out, where it is less than the images: the part that `crop`
            cuts out at this size, or else a random place of it; None: their own.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        empty: np.ndarray,
        seed: int,
        full: np.ndarray | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        usual = augment_settings()
        changed = {name: value for name, value in settings.items() if value != usual[name]}
        self.used = {name: value for name, value in changed.items() if name not in CHANGELESS}
        self.geometry = {
            name: {k: settings[k] for k in getfullargspec(change).kwonlyargs}
            for name, change in GEOMETRY.items()
            if name in self.used
        }
        self.empty = _by_channel(empty)
        self.full = _by_channel(empty if full is None else full)
        self.seed = seed
        self.size = size

    def __bool__(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.used) or self.size is not None

    def __call__(self, x: Images, epoch: int, step: int) -> Images:
        return self._resized(self._changed(x, epoch, step)[0], epoch, step)

    def with_boxes(self, x: Images, boxes: Boxes, epoch: int, step: int) -> tuple[Images, Boxes]:
        """The images as `augment(x, epoch, step)` gives them, and their boxes where they are then; those
        that are mostly out of the picture become rows of nan."""
        assert self.size is None, "of pictures with boxes all is seen"
        x, moved = self._changed(x, epoch, step)
        height, width = x.shape[2:]
        if moved is not None:
            boxes = move_boxes(boxes, torch.from_numpy(moved), height, width)
        x = self._resized(x, epoch, step)
        high, wide = x.shape[2:]
        return x, boxes * boxes.new_tensor([wide / width, high / height] * 2)

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
        elif self.size is not None:
            x = cut_out(rng, x, self.size)
        if "blur" in self.used:
            x = blur(rng, x, blur=self.used["blur"])
        if "noise" in self.used:
            x = noise(rng, x, empty, full, noise=self.used["noise"])
        if "erase" in self.used:
            x = erase(rng, x, erase=self.used["erase"])
        return x, moved

    def _resized(self, x: Images, epoch: int, step: int) -> Images:
        """All of them at the size of this step."""
        if "multi_scale" not in self.used:
            return x
        rng = np.random.default_rng([self.seed % 2**63, _SIZES, epoch, step])
        return multi_scale(rng, x, multi_scale=self.used["multi_scale"])

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
        moved = reduce(lambda before, after: after @ before, drawn)
        return moved if self.size is None else self._into(rng, self.size, x) @ moved

    def _moved(self, x: Images, moved: Matrices, empty: Tensor) -> Images:
        if self.size is not None:
            return resample(x, moved, empty, self.size)
        if self.geometry.keys() == {"hflip"}:
            flipped = torch.from_numpy(moved[:, 0, 0] < 0).to(x.device)
            return torch.where(flipped[:, None, None, None], x.flip(-1), x)
        return resample(x, moved, empty)

    def _into(self, rng: np.random.Generator, size: tuple[int, int], x: Images) -> Matrices:
        """From the whole image to what comes out: shrunk where a part was cut out, or a random place."""
        height, width = x.shape[2:]
        if "crop" in self.geometry:
            return matrices(len(x), a=size[1] / width, d=size[0] / height)
        rooms = (height - size[0], width - size[1])
        down, across = (rng.integers(0, room + 1, len(x)) - room / 2 for room in rooms)
        return matrices(len(x), x=across, y=down)


def _by_channel(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32)).view(-1, 1, 1)


def cut_out(rng: np.random.Generator, x: Images, size: tuple[int, int]) -> Images:
    """A random place of each image, of that size.

    >>> cut_out(np.random.default_rng(0), torch.arange(6.0).view(1, 1, 2, 3), (2, 2)).tolist()
    [[[[1.0, 2.0], [4.0, 5.0]]]]
    """
    tops, lefts = (
        rng.integers(0, whole - part + 1, len(x)).tolist()
        for whole, part in zip(x.shape[2:], size, strict=True)
    )
    out = x.new_empty(*x.shape[:2], *size)
    for image, to, top, left in zip(x, out, tops, lefts, strict=True):
        to.copy_(image[:, top : top + size[0], left : left + size[1]])
    return laid_out_as(out, x)


def resample(
    x: Images, moved: Matrices, empty: Tensor, size: tuple[int, int] | None = None
) -> Images:
    """Each image moved by its matrix, between pixels by bilinear interpolation.

    Args:
        size: (height, width) of what comes out: so much of the middle; None: all of it.

    >>> image = torch.arange(4.0).view(1, 1, 2, 2)
    >>> flip = np.diag([-1.0, 1.0, 1.0])[None]
    >>> resample(image, flip, torch.zeros(1, 1, 1)).tolist()
    [[[[1.0, 0.0], [3.0, 2.0]]]]
    """
    height, width = x.shape[2:]
    # Where each pixel of the result comes from; grid_sample counts from -1 to 1.
    high, wide = size or (height, width)
    half, out_half = np.diag([width / 2, height / 2, 1.0]), np.diag([wide / 2, high / 2, 1.0])
    back = np.linalg.inv(half) @ np.linalg.inv(moved) @ out_half
    theta = torch.from_numpy(back[:, :2].astype(np.float32)).to(x.device)
    grid = F.affine_grid(theta, [*x.shape[:2], high, wide], align_corners=False)
    out = F.grid_sample(x - empty, grid, mode="bilinear", align_corners=False) + empty
    return laid_out_as(out, x)
