"""The transformer of sequences: every step attends to all others, or to the past alone."""

from typing import Annotated, Literal, TypeAlias

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from fitwell.models.parts import check_heads, dropout_1d, dropout_rates
from fitwell.models.sequences import (
    Embedding,
    Pooled,
    Tied,
    draw_steps,
    pooled_alone,
    step_inputs,
    symbol_head,
)
from fitwell.models.vit import EncoderLayer, Heads
from fitwell.nn.steps import Pooling, inside, padded, pooled
from fitwell.nn.types import Activation, Depth, Dropout, Init, Width
from fitwell.spec import Spec

Positions: TypeAlias = Annotated[
    Literal["sinusoidal", "learned"],
    Field(description="what tells a step's place: fixed sines and cosines, or learned numbers"),
]
_STD = 0.02  # of learned positions at first


class Transformer(nn.Module):
    """Steps with their positions through all layers, pooled to one row an example or kept a step each."""

    def __init__(
        self,
        inputs: nn.Module,
        project: nn.Module,
        layers: list[EncoderLayer],
        head: nn.Module,
        *,
        steps: int,
        width: int,
        rate: float,
        learned: bool,
        pooling: Pooling | None,
    ) -> None:
        super().__init__()
        self.inputs, self.project = inputs, project
        self.pos_embedding: Tensor
        if learned:
            self.pos_embedding = nn.Parameter(_STD * torch.randn(steps, width))
        else:
            self.register_buffer("pos_embedding", sinusoids(steps, width), persistent=False)
        self.dropout = dropout_1d(rate) or nn.Identity()
        self.layers = nn.ModuleList(layers)
        self.ln = nn.LayerNorm(width)
        self.head = head
        self.pooling: Pooling | None = pooling

    def forward(self, x: Tensor) -> Float[Tensor, "batch *output"]:
        steps, lengths = self.inputs(x)
        count = steps.shape[1]
        # The past alone is attended to, and nothing stands behind the end of a chunk of a text.
        there = None if self.pooling is None else padded(inside(lengths, count))
        out = self.dropout(self.project(steps) + self.pos_embedding[:count])
        for layer in self.layers:
            out = layer(out, there)
        out = self.ln(out)
        return self.head(out if self.pooling is None else pooled(out, lengths, self.pooling))


def sinusoids(steps: int, width: int) -> Float[Tensor, "step feature"]:
    """Sines and cosines of a step's place, at width / 2 frequencies.

    Formula: p_{t, 2i} = sin(t / 10000^(2i / width)), p_{t, 2i + 1} = cos(t / 10000^(2i / width))
    Source: Vaswani et al. 2017, NeurIPS, section 3.5

    >>> sinusoids(2, 3)[0].tolist()
    [0.0, 1.0, 0.0]
    """
    places = torch.arange(steps)[:, None]
    rates = 10_000.0 ** -(torch.arange(0, width, 2) / width)
    both = torch.stack([torch.sin(places * rates), torch.cos(places * rates)], 2)
    return both.flatten(1)[:, :width]


def transformer(
    spec: Spec,
    *,
    width: Width = 64,
    depth: Depth = 2,
    heads: Heads = 4,
    positions: Positions = "sinusoidal",
    pooling: Pooled = "mean",
    activation: Activation = "gelu",
    dropout: Dropout = 0.1,
    embedding: Embedding = 0,
    tied: Tied = False,
    init: Init = "default",
) -> nn.Module:
    """Transformer: every step is a token that attends to all others; in a language to those before it.

    Formula: x = E s_t + p_t; depth times x = x + attention(norm(x)), x = x + mlp(norm(x)) with 4 width
        hidden units; z = W mean over the steps of norm(x) + b; of a language z_t = W norm(x_t) + b
    Use: much data; what matters to a step stands anywhere
    Weakness: on little data it falls behind convolutions and bags; work grows with the square of the length
    Source: Vaswani et al. 2017, NeurIPS; normalised first as in Xiong et al. 2020, ICML; of a language
        Radford et al. 2018 (GPT)

    What stands behind the end of a shorter sequence is attended to by none and counts in no mean. Dropout
    stands behind the positions and in each layer; a list has one rate a layer.

    >>> model = transformer(Spec("text", "classification", (9,), ("no", "yes"), vocabulary=50), width=8)
    >>> model(torch.ones(5, 9, dtype=torch.int32)).shape
    torch.Size([5, 2])
    """
    check_heads(heads, width)
    rates = dropout_rates(dropout, depth, "layers (model.depth)")
    inputs, size = step_inputs(spec, "transformer", width, embedding=embedding, tied=tied)
    pooled_alone(spec, pooling, usual="mean")
    language = spec.task == "language"
    layers = [
        EncoderLayer(width, heads, activation=activation, rate=rate, drop=0.0, causal=language)
        for rate in rates
    ]
    model = Transformer(
        inputs,
        nn.Identity() if size == width and spec.kind == "text" else nn.Linear(size, width),
        layers,
        symbol_head(spec, inputs, width, tied=tied)
        if language
        else nn.Linear(width, spec.num_outputs),
        steps=spec.input_shape[-1],
        width=width,
        rate=rates[0],
        learned=positions == "learned",
        pooling=None if language else pooling,
    )
    return draw_steps(model, init)
