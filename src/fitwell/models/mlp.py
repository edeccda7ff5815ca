"""The multilayer perceptron."""

from math import prod
from typing import Annotated, TypeAlias

from pydantic import Field
from torch import nn

from fitwell.models.parts import assemble, dropout_rates, hidden_layers
from fitwell.nn.columns import ColumnInputs
from fitwell.nn.types import Activation, Depth, Dropout, Init, Norm, Width
from fitwell.spec import Column, Spec

Embedding: TypeAlias = Annotated[
    int,
    Field(
        ge=0,
        le=512,
        description="of a table: learned numbers that stand for a category, in columns that have more "
        "categories than this; 0: an input a category in every column",
    ),
]
NumWaves: TypeAlias = Annotated[
    int,
    Field(
        ge=0,
        le=512,
        description="of a table: cosines of learned frequency that each number is read through, beside "
        "itself; 0: none",
    ),
]


def mlp(
    spec: Spec,
    *,
    width: Width = 256,
    depth: Depth = 2,
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: Dropout = 0.0,
    init: Init = "default",
    embedding: Embedding = 8,
    waves: NumWaves = 0,
) -> nn.Sequential:
    """Fully connected layers of equal width with an activation after each.

    Formula: h_i = f(norm(W_i h_{i-1} + b_i)), h_0 the flattened image or series, or the columns of a table
        with categories as learned vectors and numbers beside waves of them; z = W h_depth + b
    Use: tables; short series; small images as a reference
    Weakness: knows nothing of neighbourhood in images; deep ones need a good init or normalisation
    Source: Rumelhart, Hinton and Williams 1986, Nature 323; Guo and Berkhahn 2016, arXiv 1604.06737
        (embeddings); Gorishniy, Rubachev and Babenko 2022, NeurIPS (waves)

    Dropout stands after each activation; a list has one rate a hidden layer.

    >>> import torch
    >>> spec = Spec("table", "classification", (4,), ("a", "b", "c"))
    >>> model = mlp(spec, width=8, dropout=[0.2, 0.5])
    >>> model(torch.zeros(5, 4)).shape
    torch.Size([5, 3])
    """
    rates = dropout_rates(dropout, depth, "hidden layers (model.depth)")
    size = prod(spec.input_shape)
    layers: dict[str, nn.Module | None] = {}
    if spec.kind == "table":
        columns = spec.columns or [Column(f"x{i}") for i in range(size)]
        layers["columns"] = inputs = ColumnInputs(columns, embedding=embedding, waves=waves)
        size = inputs.width
    else:
        layers["flatten"] = nn.Flatten()
    layers |= hidden_layers(size, [width] * depth, rates, activation=activation, norm=norm)
    layers["head"] = nn.Linear(width, spec.num_outputs)
    return assemble(layers, init)
