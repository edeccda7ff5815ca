"""The losses of the steps, read into the record; one that is not finite ends the training."""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fitwell.errors import TrainingError
from fitwell.probes import name_nonfinite
from fitwell.record import Run
from fitwell.train.job import Job

if TYPE_CHECKING:
    from fitwell.train.loop import State

# On an accelerator losses are read in blocks: reading one waits for the device.
READ_EVERY = 25


class StepLosses:
    """Losses on their way into the step rows: at once on a processor, in blocks elsewhere."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job, self.run = job, run
        self.every = 1 if job.device.type == "cpu" else READ_EVERY
        self.waiting: list[Tensor] = []
        self.norms: list[tuple[dict[str, Any], Tensor]] = []

    def add(self, loss: Tensor, state: "State", lr: float, examples: int, x: Tensor) -> None:
        self.run.steps.append(
            {
                "step": state.total_step,
                "epoch": state.epoch,
                "loss": None,
                "lr": lr,
                "grad_norm": None,
                "examples": examples,
            }
        )
        self.waiting.append(loss.detach())
        self.x = x
        if len(self.waiting) >= self.every:
            self.read()

    def add_norm(self, norm: Tensor) -> None:
        """The gradient's norm of the step that was added last."""
        self.norms.append((self.run.steps[-1], norm.detach()))

    def read(self) -> None:
        """Fill in the waiting numbers; stop at the first loss that is not finite."""
        for row, norm in self.norms:
            row["grad_norm"] = float(norm)
        self.norms.clear()
        if not self.waiting:
            return
        values = (
            [self.waiting[0].item()]
            if len(self.waiting) == 1
            else torch.stack(self.waiting).tolist()
        )
        rows = self.run.steps[-len(values) :]
        self.waiting.clear()
        for row, value in zip(rows, values, strict=True):
            row["loss"] = value if math.isfinite(value) else None
            if not math.isfinite(value):
                what = f"The loss is {value} at step {row['step']} of epoch {row['epoch'] + 1}"
                raise broken(self.job, what, row["lr"], self.x)


def refuse_nonfinite(job: Job, row: dict[str, Any]) -> None:
    """The last step of an epoch may break the weights, and only their scores show it.

    Raises:
        TrainingError: a loss is not finite; names the layer.
    """
    for part in ("train", "validation"):
        loss = (row[part] or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            what = f"The {part} loss is {loss} after epoch {row['epoch'] + 1}"
            raise broken(job, what, row["lr"], next(job.parts[part].epoch(0)).x)


def broken(job: Job, what: str, lr: float, x: Tensor) -> TrainingError:
    """The error of a training that is not finite any more."""
    layer = name_nonfinite(job.model, x)
    return TrainingError(
        f"{what} (learning rate {lr:.3g}); the first layer that is not finite: "
        f"{layer or 'none, the loss itself'}. "
        "What was saved before is whole. Try a lower optim.lr or train.clip_norm=1.",
        setting="optim.lr",
        where=layer,
    )
