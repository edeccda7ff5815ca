"""Boxes moved with their pictures: by the same matrix an image, as `fitwell.augment.geometry` gives it.

Coordinates of boxes are pixels from the upper left corner of the picture, those of matrices from its
centre. What a box becomes is the upright box around its moved corners: exact for flips, crops, shifts
and changes of size, larger than the object after a turn or a slant.
"""

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Boxes: TypeAlias = Float[Tensor, "batch box 4"]  # x1, y1, x2, y2; a row of nan is no box


def move_boxes(
    boxes: Boxes,
    moved: Float[Tensor, "batch 3 3"],
    height: int,
    width: int,
    least: float = 0.25,
) -> Boxes:
    """Where the boxes are after each picture was moved by its matrix, within the picture.

    Formula: corners M (x - W / 2, y - H / 2, 1); their least and largest x and y; cut at 0, W and 0, H

    Args:
        moved: a matrix an image, of pixels from its centre.
        height, width: of the pictures.
        least: share of a moved box that must remain in the picture, by area; below it becomes nan, since
            what is left of the object hardly shows what it is.

    >>> box = torch.tensor([[[1.0, 2.0, 3.0, 8.0]]])
    >>> flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))[None]
    >>> move_boxes(box, flip, 10, 10).tolist()
    [[[7.0, 2.0, 9.0, 8.0]]]
    """
    # In float64: products of matrices would cost single precision its last pixels' hundredths.
    exact, matrices = boxes.double(), moved.to(boxes.device).double()
    centre = exact.new_tensor([width / 2, height / 2])
    corners = exact[..., [0, 1, 2, 1, 2, 3, 0, 3]].unflatten(-1, (4, 2)) - centre
    turned = torch.einsum("nij,nbcj->nbci", matrices[:, :2, :2], corners)
    turned = turned + matrices[:, None, None, :2, 2] + centre
    around = torch.cat([turned.amin(2), turned.amax(2)], -1)
    return within(around, exact.new_tensor([0, 0, width, height]), least).to(boxes.dtype)


def within(
    boxes: Float[Tensor, "*batch 4"], ends: Float[Tensor, "4"], least: float = 0.25
) -> Float[Tensor, "*batch 4"]:
    """Boxes cut at the ends (x1, y1, x2, y2) of what is seen; nan where less than a share of one is left.

    >>> seen = torch.tensor([0.0, 0.0, 8.0, 8.0])
    >>> within(torch.tensor([[4.0, 0.0, 12.0, 4.0], [7.0, 0.0, 12.0, 4.0]]), seen).tolist()
    [[4.0, 0.0, 8.0, 4.0], [nan, nan, nan, nan]]
    """
    low, high = ends[:2].repeat(2), ends[2:].repeat(2)
    cut = boxes.clamp(min=low, max=high)
    kept = areas(cut)
    gone = (kept <= 0) | (kept < least * areas(boxes))
    return cut.masked_fill(gone[..., None], torch.nan)


def areas(boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
    """Width times height; nan where there is no box.

    >>> areas(torch.tensor([[1.0, 2.0, 3.0, 8.0]])).tolist()
    [12.0]
    """
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
