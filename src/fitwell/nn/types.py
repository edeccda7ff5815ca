"""Setting types that several models share: one annotated type each, with range and meaning.

A model names them in its signature (`activation: Activation = "relu"`); validation, the list of
settings and the search space are made from there. No torch.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

ActivationName = Literal[
    "relu",
    "sigmoid",
    "tanh",
    "leaky_relu",
    "gelu",
    "silu",
    "elu",
    "selu",
    "prelu",
    "hardswish",
    "mish",
]
NormName = Literal["none", "batch", "layer", "group"]
InitName = Literal[
    "default",
    "xavier_normal",
    "xavier_uniform",
    "he",
    "orthogonal",
    "truncated_normal",
    "zeros",
    "ones",
    "constant",
]
PoolName = Literal["max", "avg"]
Rate: TypeAlias = Annotated[float, Field(ge=0, lt=1)]

Activation: TypeAlias = Annotated[
    ActivationName, Field(description="the nonlinearity between the layers")
]
Norm: TypeAlias = Annotated[
    NormName,
    Field(description="normalisation of each hidden layer, over the batch, the layer or groups"),
]
Dropout: TypeAlias = Annotated[
    Rate | list[Rate],
    Field(description="share of units zeroed at random while training: one number, or one a layer"),
]
Init: TypeAlias = Annotated[
    InitName | list[str],
    Field(
        description="how the weights are drawn; default is PyTorch's own. By rule: a name for all, "
        "then pattern=name for the modules that a pattern fits: [he, head=zeros]"
    ),
]
Pool: TypeAlias = Annotated[
    PoolName, Field(description="how each 2x2 patch of a feature map becomes one value")
]
Width: TypeAlias = Annotated[
    int, Field(ge=1, le=8192, description="units of a hidden layer, or channels of the first block")
]
Depth: TypeAlias = Annotated[
    int, Field(ge=1, le=100, description="number of hidden layers, or of convolution blocks")
]
