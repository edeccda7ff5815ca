"""Boxes of a detector in an exported network, with or without non-maximum suppression. Imports torch.

The thresholds are those of `fitwell.tasks.detection`, of which this is the same in operators that ONNX has.
"""

from typing import Any

import torch
from torch import Tensor, nn

from fitwell.nn.boxes import places_of
from fitwell.tasks.detection import CANDIDATES, LEAST, MOST, SAME, found


class Decoded(nn.Module):
    """A detector's output as corners [batch, place, 4] in pixels and scores [batch, place, class]."""

    def forward(self, told: Tensor) -> tuple[Tensor, Tensor]:
        places = places_of(told)
        return places.corners, places.logits.sigmoid()


class Suppressed(nn.Module):
    """The boxes that are left of those that overlap: [batch, 300, 6] class, corners and score, the highest
    score first.

    Rows behind the last box have class -1 and zeros. Corners and scores of all places are given beside
    them, to compare by.
    """

    def __init__(self) -> None:
        super().__init__()
        self.decoded = Decoded()

    def forward(self, told: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        corners, scores = self.decoded(told)
        kinds = scores.shape[2]
        value, at = scores.flatten(1).topk(min(CANDIDATES, scores.shape[1] * kinds))
        kind, boxes = at % kinds, _rows(corners, at // kinds)
        # A class sees its own boxes alone: those of others have the score 0 there, below the least.
        own = kind[:, None] == torch.arange(kinds, device=kind.device)[:, None]
        kept = kept_boxes(boxes, torch.where(own, value[:, None], 0.0))
        score, best = torch.where(kept, value, 0.0).topk(min(MOST, value.shape[1]))
        there = score > 0
        columns = [kind.gather(1, best)[..., None].float(), _rows(boxes, best), score[..., None]]
        rows = torch.cat(columns, 2)
        nothing = torch.tensor([-1.0, *[0.0] * 5], device=rows.device)
        return torch.where(there[..., None], rows, nothing), corners, scores


def _rows(boxes: Tensor, at: Tensor) -> Tensor:
    """[batch, box, 4] of these places [batch, box]."""
    return boxes.gather(1, at[..., None].expand(-1, -1, 4))


@torch.library.custom_op("fitwell::kept_boxes", mutates_args=())
def kept_boxes(corners: Tensor, scores: Tensor) -> Tensor:
    """[batch, box] whether a box is kept, suppressed class by class.

    An operator of its own, since ONNX's is for a batch and names boxes by place, as many as are kept: as a
    mask its shape is known.

    Args:
        corners: [batch, box, 4].
        scores: [batch, class, box], 0 where a box is of another class.
    """
    from torchvision.ops import nms

    kept = torch.zeros_like(scores[:, 0], dtype=torch.bool)
    for mask, boxes, classes in zip(kept, corners, scores, strict=True):
        for score in classes:
            own = (score > LEAST).nonzero().flatten()
            mask[own[nms(boxes[own], score[own], SAME)[:MOST]]] = True
    return kept


@kept_boxes.register_fake
def _(corners: Tensor, scores: Tensor) -> Tensor:
    return torch.empty_like(scores[:, 0], dtype=torch.bool)


def translations() -> dict[Any, Any]:
    """What `torch.onnx.export` makes of `kept_boxes`."""
    import onnx_ir
    from onnxscript import opset18

    op: Any = opset18  # its types are those of scripts

    def kept(corners: Any, scores: Any) -> Any:
        limits = (op.Constant(value_float=value) for value in (SAME, LEAST))
        most = op.Constant(value_ints=[MOST])
        chosen = op.NonMaxSuppression(
            corners, scores, most, *limits
        )  # [box, 3] batch, class, place
        places = op.Gather(chosen, op.Constant(value_ints=[0, 2]), axis=1)
        none = op.Mul(op.ReduceMax(scores, op.Constant(value_ints=[1]), keepdims=0), 0.0)
        ones = op.Expand(op.Constant(value_float=1.0), op.Shape(places, start=0, end=1))
        return op.Cast(op.ScatterND(none, places, ones), to=onnx_ir.DataType.BOOL)

    return {torch.ops.fitwell.kept_boxes.default: kept}


def suppressed(corners: Tensor, scores: Tensor) -> list[Tensor]:
    """[box, 6] of each picture, by what `predict` does: to compare an exported network with."""
    return [found(own, chances) for own, chances in zip(corners, scores, strict=True)]
