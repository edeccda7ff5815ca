"""Boxes as tensors: how much two of them overlap, and boxes told by distances from a place within.

Boxes are corners x1, y1, x2, y2 in pixels; what broadcasts against each other is compared.
"""

from collections.abc import Callable
from math import pi
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Corners: TypeAlias = Float[Tensor, "*#boxes 4"]
Overlap: TypeAlias = Float[Tensor, "*boxes"]

GEOMETRY = (
    7  # numbers of a place before its logits: x, y, stride, and the distances to the four sides
)
_LEAST = 1e-7  # keeps what is divided by from 0: areas are in pixels


def iou(one: Corners, other: Corners) -> Overlap:
    """Intersection over union: 1 for equal boxes, 0 for those that do not touch.

    Formula: |A and B| / |A or B|
    Source: Everingham, Van Gool, Williams, Winn and Zisserman 2010, IJCV 88, section 4.2

    >>> iou(torch.tensor([0.0, 0, 2, 2]), torch.tensor([1.0, 0, 3, 2])).item().__round__(4)
    0.3333
    """
    return _common(one, other)[0]


def giou(one: Corners, other: Corners) -> Overlap:
    """IoU less the share of the box around both that neither fills: it falls with the distance, too.

    Formula: IoU - |C without (A or B)| / |C|, C the smallest box around both; from -1 to 1
    Source: Rezatofighi et al. 2019, CVPR, algorithm 1

    >>> giou(torch.tensor([0.0, 0, 1, 1]), torch.tensor([2.0, 0, 3, 1])).item().__round__(4)
    -0.3333
    """
    share, union = _common(one, other)
    width, height = _around(one, other)
    whole = width * height + _LEAST
    return share - (whole - union) / whole


def ciou(one: Corners, other: Corners) -> Overlap:
    """IoU less the distance of the centres and the difference of the proportions.

    Formula: IoU - d^2 / c^2 - a v, d between the centres, c the diagonal of the box around both,
        v = 4 / pi^2 (atan(w / h) - atan(w' / h'))^2, a = v / (1 - IoU + v), which has no gradient
    Source: Zheng et al. 2020, AAAI, equations 6 to 11

    >>> ciou(torch.tensor([0.0, 0, 1, 1]), torch.tensor([2.0, 0, 3, 1])).item().__round__(4)
    -0.4
    """
    share, _ = _common(one, other)
    width, height = _around(one, other)
    diagonal = width**2 + height**2 + _LEAST
    apart = (one[..., :2] + one[..., 2:] - other[..., :2] - other[..., 2:]) / 2
    distance = (apart**2).sum(-1) / diagonal
    angles = [torch.atan2(*(side + _LEAST for side in _sides(box))) for box in (one, other)]
    shape = 4 / pi**2 * (angles[0] - angles[1]) ** 2
    with torch.no_grad():
        weight = shape / (1 - share + shape + _LEAST)
    return share - distance - weight * shape


OVERLAPS: dict[str, Callable[[Corners, Corners], Overlap]] = {
    "iou": iou,
    "giou": giou,
    "ciou": ciou,
}


def corners_of(
    centres: Float[Tensor, "place 2"], distances: Float[Tensor, "*batch place 4"]
) -> Float[Tensor, "*batch place 4"]:
    """Boxes from a place within each and its distances to the left, upper, right and lower side.

    Formula: (x - l, y - t, x + r, y + b)
    Source: Tian, Shen, Chen and He 2019, ICCV, equation 1 (FCOS)

    >>> corners_of(torch.tensor([[8.0, 8.0]]), torch.tensor([[1.0, 2.0, 3.0, 4.0]])).tolist()
    [[7.0, 6.0, 11.0, 12.0]]
    """
    return torch.cat([centres - distances[..., :2], centres + distances[..., 2:]], -1)


class Places(NamedTuple):
    """What a detector says at every place of a batch of pictures.

    Args:
        centres: [place, 2] x and y of the places, in pixels.
        strides: [place] pixels from each to the next of its map.
        corners: [batch, place, 4] of the box there.
        logits: [batch, place, class].
    """

    centres: Tensor
    strides: Tensor
    corners: Tensor
    logits: Tensor


def places_of(outputs: Float[Tensor, "batch place told"]) -> Places:
    """The parts of a detector's raw output: x, y and stride of the place, the distances of the sides of the
    box from it in strides (left, upper, right, lower), and a logit a class.

    >>> places = places_of(torch.tensor([[[8.0, 8.0, 16.0, 0.5, 0.5, 1.0, 0.25, -3.0]]]))
    >>> places.corners.tolist(), places.logits.tolist()
    ([[[0.0, 0.0, 24.0, 12.0]]], [[[-3.0]]])
    """
    centres, strides = outputs[0, :, :2], outputs[0, :, 2]  # the same in all pictures
    corners = corners_of(centres, outputs[..., 3:GEOMETRY] * strides[:, None])
    return Places(centres, strides, corners, outputs[..., GEOMETRY:])


def num_boxes(target: Float[Tensor, "batch box 5"]) -> Float[Tensor, " batch"]:
    """How many boxes each picture has; one of none counts as one.

    >>> num_boxes(torch.tensor([[[0.0, 1, 1, 2, 2]] * 2, [[torch.nan] * 5] * 2])).tolist()
    [2.0, 1.0]
    """
    return (~target[..., 0].isnan()).sum(1).clamp(min=1).to(target.dtype)


def _sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(width, height), 0 where the corners are the wrong way round."""
    width, height = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).unbind(-1)
    return width, height


def _around(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """(width, height) of the smallest box around both."""
    low = torch.minimum(one[..., :2], other[..., :2])
    width, height = (torch.maximum(one[..., 2:], other[..., 2:]) - low).unbind(-1)
    return width, height


def _common(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """(intersection over union, area of the union)."""
    low = torch.maximum(one[..., :2], other[..., :2])
    wide, high = (torch.minimum(one[..., 2:], other[..., 2:]) - low).clamp(min=0).unbind(-1)
    (width, height), (width_2, height_2) = _sides(one), _sides(other)
    shared = wide * high
    union = width * height + width_2 * height_2 - shared
    return shared / (union + _LEAST), union
