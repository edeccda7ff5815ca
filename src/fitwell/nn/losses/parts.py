"""What losses are made of: their types, and the weights of classes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Integer
from pydantic import Field
from torch import Tensor

from fitwell.errors import SettingError
from fitwell.nn.boxes import num_boxes

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Logits: TypeAlias = Float[Tensor, "batch class"]
Logit: TypeAlias = Float[Tensor, "batch 1"]
Classes: TypeAlias = Int[Tensor, " batch"]
TokenLogits: TypeAlias = Float[Tensor, "batch token vocabulary"]
Tokens: TypeAlias = Int[Tensor, "batch token"]
Labels: TypeAlias = Integer[Tensor, "batch label"]
Numbers: TypeAlias = Float[Tensor, " batch"] | Float[Tensor, "batch output"]
Values: TypeAlias = Float[Tensor, " batch"]
ClassWeights: TypeAlias = Annotated[
    Literal["none", "balanced"] | list[Annotated[float, Field(ge=0)]],
    Field(
        description="how much a class's examples count while training: none, balanced (all classes "
        "alike), or a list of one weight a class"
    ),
]


@dataclass(frozen=True)
class ClassLoss:
    """A loss of classes. Called, it gives each example's own value, as it is recorded.

    Args:
        values: `loss(outputs, target) -> values [batch]`.
        class_weights: "none", "balanced", or one weight a class; of `training_loss` alone.
    """

    values: Loss
    class_weights: ClassWeights

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        return self.values(outputs, target)


@dataclass(frozen=True)
class BoxLoss:
    """A loss of boxes. Called, it gives each picture's mean over its boxes, as it is recorded.

    Args:
        values: `loss(outputs, target) -> values [batch]`.
    """

    values: Loss

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        return self.values(outputs, target)


def training_loss(loss: Loss, class_counts: Tensor) -> Loss:
    """The loss that is minimised: each value times the weight of its example's class.

    The weights are scaled to a mean of 1 over the training examples, so the sum over a batch is
    divided by the number of its examples with and without them, and `optim.lr` keeps its meaning.
    "balanced" is n / (K n_k) for class k with n_k of n examples in K classes. Recorded losses have no
    weights, so that they compare with those of other recipes. Of boxes each picture counts as often as it
    has some, and the sum is divided by the boxes of the batch.

    Args:
        class_counts: [class] examples in the training part, on the device of the targets.

    Raises:
        SettingError: not one weight a class, or no weight above 0 for a class that has examples.

    >>> from fitwell.nn.losses import LOSSES
    >>> plain = LOSSES["cross_entropy"](class_weights="balanced")
    >>> loss = training_loss(plain, torch.tensor([3, 1]))
    >>> loss(torch.zeros(2, 2), torch.tensor([0, 1]))
    tensor([0.4621, 1.3863])
    """
    if isinstance(loss, BoxLoss):
        return lambda outputs, target: loss(outputs, target) * num_boxes(target)
    if not isinstance(loss, ClassLoss) or loss.class_weights == "none":
        return loss
    weights = _scaled(loss.class_weights, class_counts)

    def weighted(outputs: Tensor, target: Classes) -> Values:
        return loss(outputs, target) * weights[target]

    return weighted


def _scaled(given: str | list[float], counts: Tensor) -> Tensor:
    if given == "balanced":
        raw = 1 / counts.clamp(min=1)  # a class without examples is never weighed
    else:
        raw = torch.tensor(given, dtype=torch.float32, device=counts.device)
        if len(raw) != len(counts):
            raise SettingError(
                f"loss.class_weights={given} has {len(raw)} weights, and there are {len(counts)} "
                "classes. Give one for each in the order of the classes, or balanced.",
                setting="loss.class_weights",
            )
    total = (raw * counts).sum()
    if total <= 0:
        raise SettingError(
            f"loss.class_weights={given} leaves no training example a weight above 0. Raise one.",
            setting="loss.class_weights",
        )
    return raw * (counts.sum() / total)


def label_surprise(outputs: Tensor, target: Labels, label_smoothing: float = 0.0) -> Tensor:
    """[batch, label] surprise at each label's being there or not, in nats."""
    logits = wide(outputs)
    q = (1 - label_smoothing) * target.to(logits.dtype) + label_smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, q, reduction="none")


def wide(outputs: Tensor) -> Tensor:
    """At least float32: under bfloat16 autocast a loss would keep three digits."""
    return outputs if outputs.element_size() >= 4 else outputs.float()
