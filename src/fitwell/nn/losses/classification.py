"""Losses of classes: raw outputs [batch, class] against class indices [batch], or labels [batch, label]."""

from typing import Annotated, TypeAlias

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from fitwell.nn.losses.parts import (
    Classes,
    ClassLoss,
    ClassWeights,
    Labels,
    Logit,
    Logits,
    TokenLogits,
    Tokens,
    Values,
    label_surprise,
    wide,
)
from fitwell.spec import NO_WORD

Smoothing: TypeAlias = Annotated[
    float, Field(ge=0, lt=1, description="share of the target spread evenly over all classes")
]


def cross_entropy(
    *, label_smoothing: Smoothing = 0.0, class_weights: ClassWeights = "none"
) -> ClassLoss:
    """Surprise at the true class, in nats.

    Formula: -sum_k q_k log softmax(z)_k, with q_k = (1 - s) [k = target] + s / K
    Use: classification, on raw logits; s of about 0.1 against overconfidence and a few wrong labels; of
        language, whose tokens are classes, the mean over those of a chunk
    Weakness: one wrong label with a confident answer costs without bound
    Source: Szegedy et al. 2016, CVPR, section 7 (label smoothing)

    >>> cross_entropy()(torch.zeros(1, 10), torch.tensor([3]))
    tensor([2.3026])
    """

    def values(outputs: Logits | TokenLogits, target: Classes | Tokens) -> Values:
        if target.dim() == 1:
            return F.cross_entropy(
                wide(outputs), target, reduction="none", label_smoothing=label_smoothing
            )
        surprise = F.cross_entropy(
            wide(outputs).flatten(0, 1),
            target.flatten(),
            reduction="none",
            label_smoothing=label_smoothing,
            ignore_index=NO_WORD,
        )
        return surprise.view_as(target).sum(1) / (target != NO_WORD).sum(1).clamp(min=1)

    return ClassLoss(values, class_weights)


def binary_cross_entropy(
    *, label_smoothing: Smoothing = 0.0, class_weights: ClassWeights = "none"
) -> ClassLoss:
    """Cross-entropy of two classes on one logit: that of the second class, the first one's being 0.

    Formula: -q log sigmoid(z) - (1 - q) log(1 - sigmoid(z)), with q = (1 - s) [target = 1] + s / 2
    Use: two classes with half the head, which gets one output; several labels an example, each with
        a logit of its own, over which the mean is taken
    Weakness: no third class; as sensitive to wrong labels as cross-entropy, whose values it has
    Source: Cox 1958, Journal of the Royal Statistical Society B 20

    >>> binary_cross_entropy()(torch.zeros(1, 1), torch.tensor([1]))
    tensor([0.6931])
    """

    def values(outputs: Logit | Logits, target: Classes | Labels) -> Values:
        labels = target if target.dim() == 2 else target[:, None]
        return label_surprise(outputs, labels, label_smoothing).mean(1)

    return ClassLoss(values, class_weights)


def focal(
    *,
    gamma: Annotated[
        float, Field(ge=0, le=10, description="how much easy examples fade; 0: cross-entropy")
    ] = 2.0,
    class_weights: ClassWeights = "none",
) -> ClassLoss:
    """Cross-entropy that fades where the answer is right already.

    Formula: -(1 - p)^gamma log p, p the softmax of the true class; of labels the sigmoid of each, or
        1 less it where the label is not there, and the mean over them
    Use: many easy examples and few hard ones, as in detection
    Weakness: dwells on wrong labels; its probabilities are too modest
    Source: Lin, Goyal, Girshick, He and Dollar 2017, ICCV, equation 4

    >>> focal()(torch.tensor([[0.0, 0.0], [4.0, 0.0]]), torch.tensor([0, 0]))
    tensor([1.7329e-01, 5.8716e-06])
    """

    def values(outputs: Logits, target: Classes | Labels) -> Values:
        if target.dim() == 2:
            return faded(label_surprise(outputs, target)).mean(1)
        return faded(F.cross_entropy(wide(outputs), target, reduction="none"))

    def faded(surprise: Tensor) -> Tensor:
        # 1 - exp(-s) without cancelling; above 0, since 0^gamma has no slope for gamma < 1.
        wrong = (-torch.expm1(-surprise)).clamp(min=torch.finfo(surprise.dtype).tiny)
        return wrong**gamma * surprise

    return ClassLoss(values, class_weights)


def hinge(*, class_weights: ClassWeights = "none") -> ClassLoss:
    """How far the true class fails to lead the best other one by 1.

    Formula: max(0, 1 - z_target + max_{k != target} z_k)
    Use: margins, as a support vector machine has them
    Weakness: outputs are no logits, so the probabilities mean little; no gradient beyond the margin
    Source: Crammer and Singer 2001, JMLR 2

    >>> hinge()(torch.tensor([[2.0, 0.5], [0.0, 3.0]]), torch.tensor([0, 0]))
    tensor([0., 4.])
    """

    def values(outputs: Logits, target: Classes) -> Values:
        scores = wide(outputs)
        own = scores.gather(1, target[:, None])
        best_other = scores.scatter(1, target[:, None], -torch.inf).amax(1)
        return F.relu(1 - own[:, 0] + best_other)

    return ClassLoss(values, class_weights)


def gce(
    *,
    q: Annotated[
        float, Field(gt=0, le=1, description="towards 0: cross-entropy; 1: absolute error")
    ] = 0.7,
    class_weights: ClassWeights = "none",
) -> ClassLoss:
    """Generalised cross-entropy: bounded, so that a wrong label cannot rule the fit.

    Formula: (1 - p^q) / q, p the softmax of the true class; at most 1 / q
    Use: training labels of which a tenth or more may be wrong
    Weakness: slow at the start, since what is very wrong hardly pulls; q is one more choice
    Source: Zhang and Sabuncu 2018, NeurIPS, equation 6

    >>> gce(q=1.0)(torch.zeros(1, 4), torch.tensor([3]))
    tensor([0.7500])
    """

    def values(outputs: Logits, target: Classes) -> Values:
        surprise = F.cross_entropy(wide(outputs), target, reduction="none")
        return -torch.expm1(-q * surprise) / q  # p^q = exp(q log p), without cancelling

    return ClassLoss(values, class_weights)
