"""The linear model: a weight an input and output."""

from torch import nn

from fitwell.models.parts import assemble
from fitwell.nn.types import Init
from fitwell.spec import Spec


def linear(spec: Spec, *, init: Init = "default") -> nn.Sequential:
    """One linear layer: softmax regression for classes, linear regression for numbers.

    Formula: z = W x + b, the input flattened
    Use: a reference that every network must beat; with optim.l1, which features matter
    Weakness: only straight borders between classes
    Source: Gauss 1809; Cox 1958, Journal of the Royal Statistical Society B 20

    >>> import torch
    >>> model = linear(Spec("table", "regression", (4,)))
    >>> model(torch.zeros(5, 4)).shape
    torch.Size([5, 1])
    """
    num_inputs = 1
    for size in spec.input_shape:
        num_inputs *= size
    return assemble(
        {"flatten": nn.Flatten(), "head": nn.Linear(num_inputs, spec.num_outputs)}, init
    )
