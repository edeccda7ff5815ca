"""What an exported network says: what `predict` says, computed within the network. Imports torch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fitwell.data.preprocess import FEW_DIGITS, Preprocess
from fitwell.export.boxes import Decoded, Suppressed
from fitwell.nn.boxes import places_of
from fitwell.spec import Spec
from fitwell.tasks import task_of

Axes = dict[str, tuple[str, ...]]
HIDDEN = ("boxes", "scores")  # outputs that are compared, and not in a file that suppresses boxes


@dataclass(frozen=True)
class Exit:
    """The way out of an exported network.

    Args:
        names: of the outputs, with the names of their axes behind the batch.
        module: from the model's raw outputs to these.
        expected: (raw outputs, in numpy) -> the same outputs by the task that decodes for `predict`.
        unit: what a difference is divided by before it is judged.
    """

    names: Axes
    module: nn.Module
    expected: Callable[[np.ndarray], list[np.ndarray]]
    unit: np.ndarray


def exit_of(spec: Spec, prepared: Preprocess, nms: str) -> Exit:
    """The way out for a run's task.

    Args:
        nms: of a detector: "inside" or "outside" the network.
    """
    task, one = task_of(spec), np.ones(())
    if spec.task == "detection":
        outside: Axes = {"boxes": ("place", "corner"), "scores": ("place", "class")}
        if nms == "outside":
            return Exit(outside, Decoded(), _decoded, one)
        return Exit({"found": ("box", "column"), **outside}, Suppressed(), _decoded, one)
    if spec.task == "language":
        return Exit({"logits": ("token", "symbol")}, nn.Identity(), lambda raw: [raw], one)
    if spec.task in ("classification", "multilabel"):

        def chances(raw: np.ndarray) -> list[np.ndarray]:
            found = task.decode(raw, None, prepared.restore).probabilities
            return [np.asarray(found)]

        axis = "class" if spec.task == "classification" else "label"
        return Exit({"probabilities": (axis,)}, Chances(spec), chances, one)
    numbers = Numbers(spec, prepared)

    def restored(raw: np.ndarray) -> list[np.ndarray]:
        found = task.decode(raw, None, prepared.restore).prediction
        return [found.reshape(len(raw), *numbers.shape)]

    axes = ("step", "target") if spec.horizon else ("target",)
    unit = numbers.scale.numpy().reshape(numbers.shape)
    return Exit({"prediction": axes}, numbers, restored, unit)


class Chances(nn.Module):
    """Logits to [batch, class] probabilities, or of several labels to that of each."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.labels = spec.task == "multilabel"

    def forward(self, logits: Tensor) -> Tensor:
        if self.labels:
            return logits.sigmoid()
        if logits.shape[1] == 1:  # of one logit for two classes
            return torch.cat([1 - logits.sigmoid(), logits.sigmoid()], 1)
        return logits.softmax(1)


class Numbers(nn.Module):
    """Standardised outputs to [batch, target] or [batch, step, target] numbers in their own units."""

    def __init__(self, spec: Spec, prepared: Preprocess) -> None:
        super().__init__()
        targets = max(1, len(spec.targets))
        self.shape = (spec.horizon, targets) if spec.horizon else (targets,)
        mean, scale = np.atleast_1d(prepared.target_mean), np.atleast_1d(prepared.target_scale)
        self.fine = bool(np.max(np.abs(mean) / scale) > FEW_DIGITS)
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def forward(self, outputs: Tensor) -> Tensor:
        numbers = outputs.double() * self.scale + self.mean
        numbers = numbers if self.fine else numbers.float()
        return numbers.unflatten(1, self.shape)


def _decoded(raw: np.ndarray) -> list[np.ndarray]:
    places = places_of(torch.from_numpy(raw))
    return [places.corners.numpy(), places.logits.sigmoid().numpy()]
