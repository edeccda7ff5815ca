"""The loss of boxes: which place answers for which box, and what its answer costs.

Outputs are [batch, place, 7 + class], as `fitwell.nn.boxes.places_of` parts them; targets [batch, box, 5]
class and corners in pixels, rows of nan where there is no box.
"""

from typing import Annotated, Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from fitwell.nn.boxes import OVERLAPS, iou, places_of
from fitwell.nn.losses.parts import BoxLoss, Values, wide

Outputs: TypeAlias = Float[Tensor, "batch place told"]
Targets: TypeAlias = Float[Tensor, "batch box 5"]

TOP = 10  # places that answer for a box, at most
# Of the alignment: p^ALPHA u^BETA.
ALPHA, BETA = 1.0, 6.0
_TINY = 1e-30


class Assigned(NamedTuple):
    """Which places answer.

    Args:
        answers: [batch, place] whether it answers for a box.
        box: [batch, place] for which one.
        strength: [batch, place] the score that its class should have: 0 where it does not answer.
    """

    answers: Bool[Tensor, "batch place"]
    box: Int[Tensor, "batch place"]
    strength: Float[Tensor, "batch place"]


@torch.no_grad()
def aligned(
    centres: Float[Tensor, "place 2"],
    finest: float,
    corners: Float[Tensor, "batch place 4"],
    scores: Float[Tensor, "batch place class"],
    target: Targets,
) -> Assigned:
    """The places that are best for each box by their class's score and their own box: task-aligned.

    Formula: t = p^a u^b at each place within the box, p the score of its class there and u the IoU of what
        is said there with it; the 10 best answer, and what two boxes want answers for the one that it
        overlaps more; strength = t / max t * max u over the places that answer for the box
    Source: Feng, Zhong, Gao, Scott and Huang 2021, ICCV, section 3.2 (TOOD; a = 1, b = 6, 13 places)

    Ours differs: a box smaller than the finest stride reaches one stride about its centre, so that it has a
    place at all.

    Args:
        centres: of the places, in pixels.
        finest: the least stride.
        corners: what is said at each place.
        scores: likewise, in [0, 1].
    """
    there = ~target[..., 0].isnan()
    kind = torch.where(there, target[..., 0], 0).long()
    boxes = target[..., 1:].nan_to_num()
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    reach = ((boxes[..., 2:] - boxes[..., :2]) / 2).clamp(min=finest / 2 + 1e-3)
    within = there[..., None]
    for axis in range(2):
        apart = (centres[:, axis] - middle[..., axis, None]).abs()
        within = within & (apart < reach[..., axis, None])
    overlap = iou(boxes[:, :, None], corners[:, None]).masked_fill(
        ~within, 0
    )  # [batch, box, place]
    score = scores.mT.gather(1, kind[..., None].expand_as(overlap))
    alignment = (score**ALPHA * overlap**BETA).masked_fill(~within, -1)
    best = alignment.topk(min(TOP, alignment.shape[2]), dim=2).indices
    chosen = torch.zeros_like(within).scatter(2, best, True) & within
    owner = overlap.masked_fill(~chosen, -1).argmax(1)
    chosen &= torch.zeros_like(chosen).scatter(1, owner[:, None], True)
    alignment = alignment * chosen
    most, well = alignment.amax(2, keepdim=True), (overlap * chosen).amax(2, keepdim=True)
    strength = alignment / most.clamp(min=_TINY) * well
    return Assigned(chosen.any(1), owner, strength.sum(1))


def boxes(
    *,
    overlap: Annotated[
        Literal["iou", "giou", "ciou"],
        Field(description="by which boxes are compared with those that they answer for"),
    ] = "ciou",
    box_weight: Annotated[
        float, Field(ge=0, le=100, description="how much places count beside classes")
    ] = 2.0,
    gamma: Annotated[
        float,
        Field(
            ge=0, le=10, description="how much places fade whose score is right; 0: cross-entropy"
        ),
    ] = 0.0,
) -> BoxLoss:
    """Where the boxes are and what is in them: an IoU loss, and a cross-entropy of scores that say both.

    Formula: (sum_places sum_k |q - p|^g H(q, p) + w (sum_places s (1 - CIoU) + r)) / max(1, sum_places s),
        with p = sigmoid(z_k), q = s for the class of the box that the place answers for, else 0, s its
        strength (see `aligned`; 0 where it does not answer), H the binary cross-entropy; r = max(0, 1 - sum
        s) times the mean of 1 - CIoU over the places that answer, without a gradient
    Use: detection
    Weakness: early on, when no box overlaps any, all strengths are small and it learns slowly
    Source: Feng et al. 2021, ICCV (TOOD, equations 3 to 6); Li et al. 2020, NeurIPS (|q - p|^g, generalised
        focal loss); Zheng et al. 2020, AAAI (CIoU)

    The sums are of a picture, which counts as often as it has boxes, and once without any.

    Ours differs: the strengths are added up over a picture, where theirs are over the batch, so that a
    picture's loss does not depend on the others. And r: a network that throws its boxes away, so that no
    place has any strength, would have no loss. It is learned from as theirs is, and so r has no gradient.

    >>> said = torch.tensor([[[4.0, 4.0, 8.0, 0.5, 0.5, 0.5, 0.5, 6.0]]])  # a box of 8x8, surely
    >>> right, off = torch.tensor([[[0.0, 0, 0, 8, 8]]]), torch.tensor([[[0.0, 0, 0, 8, 4.1]]])
    >>> loss = boxes()
    >>> bool(loss(said, right) < 0.01), bool(loss(said, off) > 0.1)
    (True, True)
    """
    measure = OVERLAPS[overlap]

    def values(outputs: Outputs, target: Targets) -> Values:
        places = places_of(wide(outputs))
        scores = places.logits.sigmoid()
        finest = float(places.strides.detach().min())
        answers, box, strength = aligned(
            places.centres, finest, places.corners, scores.detach(), target
        )
        own = target.nan_to_num().gather(1, box[..., None].expand(-1, -1, 5))  # [batch, place, 5]
        asked = torch.zeros_like(scores).scatter(2, own[..., :1].long(), strength[..., None])
        surprise = F.binary_cross_entropy_with_logits(places.logits, asked, reduction="none")
        if gamma:
            surprise = surprise * (asked - scores).abs() ** gamma
        apart = 1 - measure(places.corners[answers], own[answers][:, 1:])
        off = torch.zeros_like(strength).masked_scatter(answers, apart)
        sure = strength.sum(1)
        usual = off.detach().sum(1) / answers.sum(1).clamp(min=1)
        placed = (off * strength).sum(1) + (1 - sure).clamp(min=0) * usual
        return (surprise.sum((1, 2)) + box_weight * placed) / sure.clamp(min=1)

    return BoxLoss(values)
