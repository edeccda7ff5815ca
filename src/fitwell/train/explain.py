"""Why a trained network erred: Grad-CAM of its most confident mistakes, while it is at hand."""

import numpy as np
import torch
from torch.nn import functional

from fitwell.data.types import Data
from fitwell.probes import gradcam
from fitwell.record import Row, Run
from fitwell.train.job import Job

_BATCH = 8  # a graph is kept for each image: few at a time, or large images fill the memory
_FINEST = 32  # finer maps are averaged: they are only looked at, and every trial keeps its own


def explain_mistakes(job: Job, run: Run, data: Data) -> list[Row]:
    """Evidence rows of the mistakes that a report of this run shows (see `fitwell.record`).

    For images and recordings in classes, and networks with feature maps; no rows for others, nor where a
    network cannot be differentiated in evaluation mode: a picture is not worth a run.
    """
    predictions = run.studied
    seen = data.spec.kind in ("images", "audio") and data.spec.task == "classification"
    if predictions is None or not seen:
        return []
    found: list[Row] = []
    worst = predictions.worst()
    for start in range(0, len(worst), _BATCH):
        rows = worst[start : start + _BATCH]
        index, chosen = predictions.index[rows], predictions.prediction[rows].astype(np.int64)
        x = torch.from_numpy(job.preprocess.inputs(data.inputs[index])).to(job.device)
        try:
            maps = gradcam(job.evaluated, x, torch.from_numpy(chosen).to(job.device))
        except RuntimeError:  # such as recurrent layers on an accelerator
            return []
        if maps is None or not maps.maps.isfinite().all():
            return []
        for i, row in enumerate(rows):
            found.append(
                {
                    "experiment": "gradcam",
                    "key": str(predictions.keys[row]),
                    "index": int(index[i]),
                    "class": int(chosen[i]),
                    "layer": maps.layer,
                    "map": _shares(maps.maps[i]),
                }
            )
    return found


def _shares(places: torch.Tensor) -> list[list[float]]:
    """A map as shares of its largest value, to two places, at most `_FINEST` a side."""
    if max(places.shape) > _FINEST:
        height, width = (min(side, _FINEST) for side in places.shape)
        places = functional.adaptive_avg_pool2d(places[None], (height, width))[0]
    largest = places.max().clamp_min(torch.finfo(places.dtype).tiny)
    return [[round(value, 2) for value in row] for row in (places / largest).tolist()]
