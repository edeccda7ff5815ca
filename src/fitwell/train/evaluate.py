"""A part, evaluated: evaluation mode, no augmentation, no gradient."""

import numpy as np
import torch
from torch import nn

from fitwell.augment import tta
from fitwell.augment.options import Views
from fitwell.data.batches import Batches
from fitwell.record import Predictions
from fitwell.tasks import Evaluated, score
from fitwell.train.job import Job
from fitwell.train.machine import autocast


@torch.no_grad()
def outputs_of(
    model: nn.Module, batches: Batches, precision: str, views: Views = "none"
) -> torch.Tensor:
    """[example, output] float32 raw outputs in the order of the rows; the mode is put back.

    Args:
        views: `augment.tta` of the recipe.
    """
    was_training = model.training
    model.eval()
    try:
        with autocast(precision, batches.device):
            return torch.cat([tta(model, batch.x, tta=views) for batch in batches.epoch(0)])
    finally:
        model.train(was_training)


def evaluate_part(job: Job, part: str, views: Views = "none") -> Evaluated:
    """Scores and every example's own loss and prediction, with the job's evaluated weights.

    Args:
        views: see `outputs_of`.
    """
    batches = job.parts[part]
    outputs = outputs_of(job.evaluated, batches, job.precision, views)
    y = torch.cat([batch.y for batch in batches.epoch(0)])
    losses = job.loss(outputs, y).cpu().numpy()
    decoded = job.task.decode(outputs.cpu().numpy(), job.preprocess.restore)
    target = job.preprocess.restore(y.cpu().numpy()) if y.is_floating_point() else y.cpu().numpy()
    return Evaluated(
        score(job.task, target, decoded, losses, job.preprocess.targets), decoded, target, losses
    )


def as_predictions(evaluated: Evaluated, rows: np.ndarray, keys: np.ndarray) -> Predictions:
    return Predictions(
        keys=keys[rows],
        index=rows,
        target=evaluated.target,
        prediction=evaluated.decoded.prediction,
        probabilities=evaluated.decoded.probabilities,
        loss=evaluated.loss,
    )
