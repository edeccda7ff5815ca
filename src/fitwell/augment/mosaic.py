"""Pictures with boxes, changed together: the changes of place and colour, four pictures made one, and two
blended."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from fitwell.augment.batch import Augment
from fitwell.augment.boxes import within
from fitwell.augment.geometry import log_uniform
from fitwell.augment.images import Images, laid_out_as
from fitwell.data.batches import Mixture

_MOSAIC = 104  # parts its random numbers from those of the other changes
_MIDDLE, _ZOOM = (0.3, 0.7), (0.5, 1.0)
FAINT = 0.1  # share of a blend: of a picture with less there is hardly anything to see


def mosaic(
    rng: Generator, x: Images, targets: Tensor, empty: Tensor, *, mosaic: float
) -> tuple[Images, Tensor]:
    """Four pictures of the batch about one point, each shrunk by the same and cut at the sides.

    Formula: with probability p; the point uniform in the middle 0.4 W x 0.4 H, the size log-uniform from a
        half to the whole; a picture touches the point with one of its corners
    Use: detection: objects in other surroundings, smaller ones, more of them a step
    Weakness: pictures that no camera takes; the last epochs go without it (augment.closing)
    Source: Bochkovskiy, Wang and Liao 2020, arXiv:2004.10934, section 3.3 (YOLOv4); Ge et al. 2021, section
        2.1 (the closing epochs)

    Ours differs: what is shrunk is the picture of its own size, where theirs is of twice as many pixels.

    Args:
        targets: [batch, box, 5] class and corners in pixels; rows of nan where there is no box.
        empty: [channel, 1, 1] value of a black pixel.

    >>> x, box = torch.ones(2, 1, 64, 64), torch.tensor([[[0.0, 8, 8, 24, 24]]]).repeat(2, 1, 1)
    >>> seen, boxes = mosaic(np.random.default_rng(0), x, box, torch.zeros(1, 1, 1), mosaic=1.0)
    >>> seen.shape, boxes.shape
    (torch.Size([2, 1, 64, 64]), torch.Size([2, 4, 5]))
    """
    n, _, height, width = x.shape
    chosen = np.flatnonzero(rng.random(n) < mosaic)
    points = rng.uniform(*_MIDDLE, (n, 2)) * (width, height)
    zooms = log_uniform(rng, n, _ZOOM)
    sources = rng.integers(0, n, (n, 4))
    sources[np.arange(n), rng.integers(0, 4, n)] = np.arange(n)  # each itself in one quarter
    out = x.clone()
    boxes = F.pad(targets, (0, 0, 0, 3 * targets.shape[1]), value=torch.nan)
    for i in chosen:
        high, wide = (max(1, round(side * zooms[i])) for side in (height, width))
        across, down = (round(float(v)) for v in points[i])
        quarters = []
        out[i] = empty
        for place, j in enumerate(sources[i]):
            # Upper left, upper right, lower left, lower right of the point.
            left, top = across - wide * (place % 2 == 0), down - high * (place < 2)
            ends = max(left, 0), max(top, 0), min(left + wide, width), min(top + high, height)
            small = F.interpolate(x[j : j + 1], (high, wide), mode="bilinear", align_corners=False)
            part = small[0, :, ends[1] - top : ends[3] - top, ends[0] - left : ends[2] - left]
            out[i, :, ends[1] : ends[3], ends[0] : ends[2]] = part
            shrunk = targets[j, :, 1:] * targets.new_tensor([wide / width, high / height] * 2)
            moved = within(shrunk + targets.new_tensor([left, top] * 2), targets.new_tensor(ends))
            quarters.append(torch.cat([targets[j, :, :1], moved], 1))
        boxes[i] = torch.cat(quarters)
    return laid_out_as(out, x), without_gaps(boxes)


def of_both(targets: Tensor, mixture: Mixture) -> Tensor:
    """The boxes of blended pictures, [batch, 2 box, 5]: those of both, where both can be seen.

    Formula: boxes of x where s >= 0.1, and those of x_j where 1 - s >= 0.1
    Source: Zhang, He, Zhang, Zhang, Xie and Li 2019, arXiv:1902.04103, section 3.1; Ge et al. 2021, section
        2.1 (YOLOX), which weighs no box by its share either

    >>> box = torch.tensor([[[0.0, 0, 0, 8, 8]], [[1.0, 4, 4, 9, 9]]])
    >>> mixture = Mixture(torch.tensor([1, 0]), torch.tensor([0.6, 0.95]))
    >>> without_gaps(of_both(box, mixture))[..., 0].tolist()  # classes
    [[0.0, 1.0], [1.0, nan]]
    """
    partner, share = mixture
    alone = partner == torch.arange(len(partner), device=partner.device)
    own = targets.masked_fill(((share < FAINT) & ~alone)[:, None, None], torch.nan)
    hidden = (share > 1 - FAINT) | alone
    return torch.cat([own, targets[partner].masked_fill(hidden[:, None, None], torch.nan)], 1)


def without_gaps(targets: Tensor) -> Tensor:
    """The boxes [batch, box, 5] of each picture first, and no more rows than the picture with most needs.

    >>> nothing, box = [torch.nan] * 5, [1.0, 0, 0, 4, 4]
    >>> without_gaps(torch.tensor([[nothing, box, nothing]])).tolist()
    [[[1.0, 0.0, 0.0, 4.0, 4.0]]]
    """
    gone = targets.isnan().any(2)
    most = max(1, int((~gone).sum(1).max()))
    order = gone.long().argsort(dim=1, stable=True)[:, :most]
    ordered = targets.gather(1, order[..., None].expand(-1, -1, 5))
    return ordered.masked_fill(gone.gather(1, order)[..., None], torch.nan)


class AugmentBoxes(Augment):
    """As `Augment`, of pictures whose targets are boxes, which are changed with them.

    Args:
        settings, empty, seed, full: as of `Augment`.
        epochs: of the whole training; the last of them, a share of `augment.closing`, have neither mosaic
            nor mixup.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        empty: np.ndarray,
        seed: int,
        full: np.ndarray | None = None,
        epochs: int,
    ) -> None:
        super().__init__(settings, empty=empty, seed=seed, full=full)
        self.until = epochs - round(settings["closing"] * epochs)

    def with_targets(
        self, x: Images, targets: Tensor, epoch: int, step: int
    ) -> tuple[Images, Tensor]:
        """The changed pictures, and their boxes [batch, box, 5]; of those that are hardly left in the
        picture none."""
        closing = epoch >= self.until
        if "mosaic" in self.used and not closing:
            rng = np.random.default_rng([self.seed % 2**63, _MOSAIC, epoch, step])
            x, targets = mosaic(
                rng, x, targets, self.empty.to(x.device), mosaic=self.used["mosaic"]
            )
        x, corners = self.with_boxes(x, targets[..., 1:], epoch, step)
        targets = torch.cat([targets[..., :1], corners], 2)
        x, mixture = (x, None) if closing else self.mix(x, epoch, step)
        return x, without_gaps(targets if mixture is None else of_both(targets, mixture))
