"""A part, evaluated: evaluation mode, no augmentation, no gradient."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn

from fitwell.augment import tta
from fitwell.augment.options import Views
from fitwell.data.batches import Batch, Batches
from fitwell.nn.losses import Loss
from fitwell.record import Predictions
from fitwell.tasks import Decoded, Evaluated, Task, score
from fitwell.train.job import Job
from fitwell.train.machine import autocast


def outputs_of(
    model: nn.Module, batches: Batches, precision: str, views: Views = "none"
) -> Iterator[tuple[Batch, torch.Tensor]]:
    """The batches in the order of the rows, each with its float32 raw outputs; the mode is put back.

    A batch at a time: of a text all outputs together would be larger than the memory.

    Args:
        views: `augment.tta` of the recipe.
    """
    was_training = model.training
    model.eval()
    try:
        for batch in batches.epoch(0):
            with torch.no_grad(), autocast(precision, batches.device):
                outputs = tta(model, batch.x, tta=views)
            yield batch, outputs.float()
    finally:
        model.train(was_training)


def evaluated(
    model: nn.Module,
    batches: Batches,
    task: Task,
    loss: Loss,
    precision: str,
    views: Views = "none",
) -> Evaluated:
    """Scores and every example's own loss and prediction.

    Args:
        views: see `outputs_of`.
    """
    losses, told = [], []
    for batch, outputs in outputs_of(model, batches, precision, views):
        losses.append(loss(outputs, batch.y).cpu().numpy())
        y = batch.y.cpu().numpy()
        told.append(task.decode(outputs.cpu().numpy(), y, batches.preprocess.restore))
    said, each = _joined(told), np.concatenate(losses)
    target = batches.recorded()
    scores = score(task, target, said, each, batches.preprocess.targets)
    return Evaluated(scores, said, target, each)


def decoded(
    model: nn.Module, batches: Batches, task: Task, precision: str, views: Views = "none"
) -> Decoded:
    """What a model says of inputs whose targets are not known."""
    restore = batches.preprocess.restore
    pairs = outputs_of(model, batches, precision, views)
    return _joined([task.decode(outputs.cpu().numpy(), None, restore) for _, outputs in pairs])


def _joined(told: Sequence[Decoded]) -> Decoded:
    """What was decoded batch by batch, as one."""
    shares = [one.probabilities for one in told if one.probabilities is not None]
    prediction = np.concatenate([one.prediction for one in told])
    return Decoded(prediction, np.concatenate(shares) if shares else None)


def evaluate_part(job: Job, part: str, views: Views = "none") -> Evaluated:
    """A part of a job, with its evaluated weights.

    Args:
        views: see `outputs_of`.
    """
    return evaluated(job.evaluated, job.parts[part], job.task, job.loss, job.precision, views)


def as_predictions(part: Evaluated, rows: np.ndarray, keys: np.ndarray) -> Predictions:
    return Predictions(
        keys=keys[rows],
        index=rows,
        target=part.target,
        prediction=part.decoded.prediction,
        probabilities=part.decoded.probabilities,
        loss=part.loss,
    )
