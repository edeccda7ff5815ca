"""Detection: boxes with their classes and scores, any number a picture."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from fitwell.box_scores import needed
from fitwell.nn.boxes import num_boxes, places_of
from fitwell.record import studied
from fitwell.spec import Spec
from fitwell.tasks.box_mistakes import box_rows
from fitwell.tasks.kind import Decoded, Task

MOST = 300  # boxes kept of a picture
LEAST = 0.001  # score: what is measured wants the whole curve of precision over recall
SAME = 0.6  # IoU from which on two boxes of a class are of one thing
CANDIDATES = 1000  # of a picture, with the highest scores


def decode(
    outputs: np.ndarray, target: object, restore: Callable[[np.ndarray], np.ndarray]
) -> Decoded:
    """Boxes whose class has a score, of those that overlap the one with the highest: [example, 300, 6]
    class, corners in pixels of what the model saw and score; rows of nan where there are fewer.

    Source: non-maximum suppression as in Girshick 2015, ICCV; class by class

    >>> said = np.array([[[8.0, 8, 8, 1, 1, 1, 1, 5], [8.0, 8, 8, 1, 1, 1, 0.9, 2]]], np.float32)
    >>> found = decode(said, None, lambda numbers: numbers).prediction
    >>> found.shape, found[0, 0, :5].tolist(), bool(np.isnan(found[0, 1:]).all())
    ((1, 300, 6), [0.0, 0.0, 0.0, 16.0, 16.0], True)
    """
    places = places_of(torch.from_numpy(np.asarray(outputs, np.float32)))
    scores = places.logits.sigmoid()
    out = np.full((len(outputs), MOST, 6), np.nan, np.float32)
    for boxes, corners, chances in zip(out, places.corners, scores, strict=True):
        said = found(corners, chances)
        boxes[: len(said)] = said.numpy()
    return Decoded(out, None)


def found(corners: Tensor, chances: Tensor) -> Tensor:
    """[box, 6] of one picture, the highest score first.

    Args:
        corners: [place, 4].
        chances: [place, class].
    """
    from torchvision.ops import batched_nms

    flat = chances.flatten()
    best = flat.topk(min(CANDIDATES, len(flat)))
    at = best.indices[best.values > LEAST]
    place, kind = at // chances.shape[1], at % chances.shape[1]
    boxes, score = corners[place], flat[at]
    kept = batched_nms(boxes, score, kind, SAME)[:MOST]
    columns = kind[kept, None].float(), boxes[kept], score[kept, None]
    return torch.cat(columns, 1)


def trivial(seen: np.ndarray, examples: int) -> np.ndarray:
    """No boxes.

    >>> trivial(np.zeros((1, 2, 5)), 3).shape
    (3, 1, 6)
    """
    return np.full((examples, 1, 6), np.nan, np.float32)


def metric(spec: Spec) -> str:
    """Mean average precision at an overlap of a half.

    Raises:
        SettingError: faster-coco-eval is not installed.
    """
    needed()
    return "map50"


DETECTION = Task(
    name="detection",
    losses=("boxes",),
    head=lambda spec, loss: len(spec.classes),
    metric=metric,
    decode=decode,
    trivial=trivial,
    normaliser=lambda values, target: float(num_boxes(target).sum()),
    measure=lambda data, predictions, _: box_rows(studied(predictions), data.spec),
    evaluated=32,  # pictures are large
    weight=lambda target: np.maximum((~np.isnan(target[..., 0])).sum(1), 1),
)
