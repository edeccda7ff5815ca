"""What a trained network gets, says and is asked for, as evidence: rows of a run's end."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fitwell.data.batches import Batch
from fitwell.models import is_own
from fitwell.nn.modes import evaluating
from fitwell.probes import describe_inputs, describe_outputs, linearity, mixing
from fitwell.probes.loss_graph import last_function
from fitwell.record import Row
from fitwell.train.job import Job

_OF_THE_END = ("outputs", "targets")  # rows that say what the network ends with
_FEW, _MANY = 64, 512  # examples: images and the like, and rows of tables


def describe(job: Job) -> list[Row]:
    """Rows "linearity", "mixing", "inputs", "outputs" and "targets" of a few training examples, and the
    targets of the validation part."""
    batch = _sample(job, "train")
    model, x = job.evaluated, batch.x
    found = [linearity(model, x), describe_inputs(x.cpu().numpy())]
    name = str(job.recipe["model.name"])
    if is_own(name) or name == "sequential":  # ours take each example by itself
        found.append(mixing(_runner(model), x))
    rows = [row for row in found if row is not None] + _said(job, batch, "train")
    if "validation" in job.parts and batch.y.is_floating_point():
        other = _said(job, _sample(job, "validation"), "validation")
        rows += [row for row in other if row["experiment"] == "targets"]
    before = _last_function(job, batch)
    return [row | {"before": before} if row["experiment"] in _OF_THE_END else row for row in rows]


def _runner(model: nn.Module) -> Callable[[Tensor, int], Tensor]:
    def run(x: Tensor, seed: int) -> Tensor:
        with torch.random.fork_rng(), evaluating(model), torch.inference_mode():
            torch.manual_seed(seed)
            return model(x)

    return run


def _sample(job: Job, part: str) -> Batch:
    few = job.parts[part].first(_FEW)
    return few if few.x.dim() > 2 else job.parts[part].first(_MANY)


def _said(job: Job, batch: Batch, part: str) -> list[Row]:
    with evaluating(job.evaluated), torch.inference_mode():
        outputs = job.evaluated(batch.x).float().cpu().numpy()
    loss = str(job.recipe["loss.name"])
    return [{**row, "part": part} for row in describe_outputs(outputs, batch.y.cpu().numpy(), loss)]


def _last_function(job: Job, batch: Batch) -> str | None:
    """What the network ends with, of two examples; None where it cannot be told, as of one that is frozen
    as a whole."""
    with evaluating(job.evaluated), torch.enable_grad():
        output = job.evaluated(batch.x[:2])
    return last_function(output) if output.grad_fn is not None else None
