"""COCO's measure of boxes, by faster-coco-eval: precision by overlap, recall, class and size. No torch.

Targets are [example, box, 5] class and corners x1, y1, x2, y2; predictions [example, box, 6] with the score
behind them; rows of nan are no box. Sizes are areas in pixels of the picture as the model sees it.
"""

import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from fitwell.errors import SettingError

SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
SHOWN = 0.25  # score from which on a box is shown to people
MOST = 100  # boxes of a class in a picture that are looked at, those with the highest scores


def needed() -> ModuleType:
    """The library, or a sentence that says how to get it.

    Raises:
        SettingError: it is not installed.
    """
    try:
        import faster_coco_eval
    except ImportError:
        raise SettingError(
            "Boxes are scored by faster-coco-eval, which is not installed: pip install "
            '"fitwell[detection]".',
            setting="score.name",
        ) from None
    return faster_coco_eval


def precisions(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """[overlap, recall, class, size] precision, as COCO has it.

    Overlaps run from 0.5 to 0.95 in steps of 0.05, recalls from 0 to 1 in steps of 0.01; sizes are all, and
    those of `SIZES`. -1: no box of this class and size is annotated.

    >>> boxes = np.array([[[0.0, 10, 10, 50, 50]]])
    >>> found = precisions(boxes, np.append(boxes, [[[0.9]]], 2))
    >>> found.shape, round(float(found[:, :, 0, 0].mean()), 3)
    ((10, 101, 1, 4), 1.0)
    """
    library = needed()
    named = target[..., 0][~np.isnan(target[..., 0])]
    classes = int(named.max()) + 1 if len(named) else 1
    truth = library.COCO(_document(target, classes))
    said = truth.loadRes(_annotations(prediction, prediction[..., 0] < classes))
    ranges = {name: list(ends) for name, ends in SIZES.items()}
    found = library.COCOeval_faster(truth, said, "bbox", ranges=ranges)
    found.params.maxDets = [MOST]
    found.evaluate()
    return np.asarray(found.eval["precision"])[..., 0]


def mean(precision: np.ndarray) -> float:
    """Their mean over what is annotated; nan where nothing is."""
    known = precision[precision > -1]
    return float(known.mean()) if known.size else math.nan


def table(target: np.ndarray, prediction: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    """The scores by class and by size, and the curves of precision over recall.

    Returns:
        `classes`: a row each of `name`, `boxes` (annotated), `map50`, `map` and `curve` (the precision at
        recalls 0, 0.05 ... 1, at an overlap of 0.5); `sizes`: likewise of `SIZES`, without curves. Scores
        are None where nothing is annotated.
    """
    precision = precisions(target, prediction)
    named = target[..., 0][~np.isnan(target[..., 0])].astype(int)
    counts = np.bincount(named, minlength=len(classes))
    area = np.prod(target[..., 3:] - target[..., 1:3], axis=-1)
    found: dict[str, Any] = {"classes": [], "sizes": []}
    for i, name in enumerate(classes):
        own = precision[:, :, i, 0] if counts[i] else np.empty((0, 0))
        curve = own[0, ::5].round(4).tolist() if counts[i] else []
        row = {"name": name, "boxes": int(counts[i]), **_both(own), "curve": curve}
        found["classes"].append(row)
    for i, (name, (low, high)) in enumerate(SIZES.items(), 1):
        boxes = int(((area >= low) & (area < high)).sum())
        found["sizes"].append({"name": name, "boxes": boxes, **_both(precision[:, :, :, i])})
    return found


def _both(precision: np.ndarray) -> Mapping[str, float | None]:
    pair = {"map50": mean(precision[:1]), "map": mean(precision)}
    return {name: None if math.isnan(value) else value for name, value in pair.items()}


def _document(target: np.ndarray, classes: int) -> dict[str, Any]:
    """Targets as a file of COCO has them."""
    return {
        "images": [{"id": i} for i in range(len(target))],
        "categories": [{"id": k, "name": str(k)} for k in range(classes)],
        "annotations": [
            {**row, "id": number, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
            for number, row in enumerate(_annotations(target, ~np.isnan(target[..., 0])), 1)
        ],
    }


def _annotations(boxes: np.ndarray, used: np.ndarray) -> list[dict[str, Any]]:
    """The boxes of all pictures one after another: corners become x, y, width and height."""
    pictures, rows = np.nonzero(used)
    values = boxes[pictures, rows].astype(np.float64)
    values[:, 3:5] -= values[:, 1:3]
    return [
        {"image_id": picture, "category_id": int(row[0]), "bbox": row[1:5]}
        | ({"score": row[5]} if len(row) > 5 else {})
        for picture, row in zip(pictures.tolist(), values.tolist(), strict=True)
    ]
