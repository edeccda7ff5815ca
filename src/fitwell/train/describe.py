"""What a trained network gets, says and is asked for, as evidence: rows of a run's end."""

import torch

from fitwell.data.batches import Batch
from fitwell.probes import describe_inputs, describe_outputs, linearity
from fitwell.record import Row
from fitwell.train.job import Job

_LARGE = 64  # examples of more than one dimension


def describe(job: Job) -> list[Row]:
    """Rows "linearity", "inputs", "outputs" and "targets" of the first batch of the training sample, and
    the targets of the validation part."""
    batch = next(job.parts["train"].epoch(0))
    x = batch.x[:_LARGE] if batch.x.dim() > 2 else batch.x
    inputs = describe_inputs(x.cpu().numpy())
    found = [row for row in (linearity(job.evaluated, batch.x), inputs) if row is not None]
    found += _said(job, batch, "train")
    if "validation" in job.parts:
        other = _said(job, next(job.parts["validation"].epoch(0)), "validation")
        found += [row for row in other if row["experiment"] == "targets"]
    return found


def _said(job: Job, batch: Batch, part: str) -> list[Row]:
    job.evaluated.eval()
    with torch.inference_mode():
        outputs = job.evaluated(batch.x).float().cpu().numpy()
    loss = str(job.recipe["loss.name"])
    return [{**row, "part": part} for row in describe_outputs(outputs, batch.y.cpu().numpy(), loss)]
