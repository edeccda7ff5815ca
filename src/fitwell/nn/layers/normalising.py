"""Normalisation layers by name, with all their settings (families choose one by `model.norm`)."""

from collections.abc import Sequence
from typing import Annotated, TypeAlias

from pydantic import Field
from torch import nn

from fitwell.nn.layers.types import Affine, Epsilon
from fitwell.nn.norms import num_groups

Momentum: TypeAlias = Annotated[
    float, Field(gt=0, le=1, description="share of a new batch in the running statistics")
]
Running: TypeAlias = Annotated[
    bool,
    Field(description="evaluate by mean and variance gathered in training; false: by each batch's"),
]


def batchnorm1d(
    shape: Sequence[int],
    *,
    eps: Epsilon = 1e-5,
    momentum: Momentum = 0.1,
    affine: Affine = True,
    running_statistics: Running = True,
) -> nn.Module:
    """Each feature with mean 0 and variance 1 over the batch.

    Formula: y = (x - mean) / sqrt(var + eps) * scale + shift; running = (1 - m) running + m batch
    Use: between a linear layer and its activation: higher rates, less care with the init
    Weakness: small batches make noise; training and evaluation differ
    Source: Ioffe and Szegedy 2015, ICML, algorithms 1 and 2

    >>> import torch
    >>> batchnorm1d((1,))(torch.tensor([[1.0], [3.0]])).detach().round(decimals=3).flatten().tolist()
    [-1.0, 1.0]
    """
    return nn.BatchNorm1d(shape[0], eps, momentum, affine, running_statistics)


def batchnorm2d(
    shape: Sequence[int],
    *,
    eps: Epsilon = 1e-5,
    momentum: Momentum = 0.1,
    affine: Affine = True,
    running_statistics: Running = True,
) -> nn.Module:
    """Each channel with mean 0 and variance 1 over the batch and all positions.

    Formula: y = (x - mean) / sqrt(var + eps) * scale + shift; running = (1 - m) running + m batch
    Use: between a convolution and its activation: higher rates, less care with the init
    Weakness: small batches make noise; training and evaluation differ
    Source: Ioffe and Szegedy 2015, ICML, section 3.2

    >>> [name for name, _ in batchnorm2d((6, 8, 8), affine=False).named_parameters()]
    []
    """
    return nn.BatchNorm2d(shape[0], eps, momentum, affine, running_statistics)


def layernorm(
    shape: Sequence[int],
    *,
    axes: Annotated[
        int, Field(ge=1, le=3, description="how many of the last axes are normalised together")
    ] = 1,
    eps: Epsilon = 1e-5,
    affine: Affine = True,
) -> nn.Module:
    """Each example, or each token of one, with mean 0 and variance 1 over its own features.

    Formula: y = (x - mean) / sqrt(var + eps) * scale + shift, over the last axes
    Use: transformers and recurrent networks; any batch size, the same in training and evaluation
    Weakness: in convolution networks usually behind batch normalisation
    Source: Ba, Kiros and Hinton 2016, arXiv:1607.06450

    >>> layernorm((7, 8)).get_parameter("weight").shape
    torch.Size([8])
    """
    return nn.LayerNorm(list(shape[-axes:]), eps, affine)


def groupnorm(
    shape: Sequence[int],
    *,
    groups: Annotated[
        int, Field(ge=0, le=65536, description="groups of channels; 0: 8, or as many as fit")
    ] = 0,
    eps: Epsilon = 1e-5,
    affine: Affine = True,
) -> nn.Module:
    """Each group of channels of an example with mean 0 and variance 1.

    Formula: y = (x - mean) / sqrt(var + eps) * scale + shift, over the channels of a group and all
        positions
    Use: convolution networks with small batches
    Weakness: with large batches usually behind batch normalisation
    Source: Wu and He 2018, ECCV

    >>> import torch
    >>> groupnorm((6,), groups=3)(torch.tensor([[0.0, 2.0, 4.0, 5.0, 7.0, 9.0]])).round().tolist()
    [[-1.0, 1.0, -1.0, 1.0, -1.0, 1.0]]
    """
    return nn.GroupNorm(groups or num_groups(shape[0]), shape[0], eps, affine)
