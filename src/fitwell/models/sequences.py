"""What the models of sequences share: reading series, texts and recordings, and the head of a language."""

from typing import Annotated, TypeAlias

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from fitwell.errors import SettingError
from fitwell.models.parts import Network, draw, in_order
from fitwell.nn.steps import FrameSteps, Pooling, SeriesSteps, WordSteps, inside, padded, pooled
from fitwell.nn.types import Init
from fitwell.spec import Spec

Embedding: TypeAlias = Annotated[
    int,
    Field(
        ge=0, le=8192, description="of texts: length of a word's vector; 0: as long as model.width"
    ),
]
Tied: TypeAlias = Annotated[
    bool,
    Field(
        description="of a language: the words' vectors are the weights of the outputs too (Press and Wolf "
        "2017)"
    ),
]
Pooled: TypeAlias = Annotated[
    Pooling,
    Field(
        description="what the head reads: the last step of a sequence (last), or mean or max of all its "
        "steps"
    ),
]


def step_inputs(
    spec: Spec, model: str, width: int, *, embedding: int = 0, tied: bool = False
) -> tuple[nn.Module, int]:
    """What turns the inputs into steps, and the features of each.

    Args:
        width: of the model: the length of a word's vector where `embedding` is 0.

    Raises:
        SettingError: the inputs are no sequences, or have no words for settings of words.
    """
    if tied and spec.task != "language":
        raise SettingError(
            f"model.tied = true: is for a model of language, whose outputs are words too, and these are "
            f"{spec.examples}. Leave it out.",
            setting="model.tied",
        )
    if spec.kind == "text":
        length = embedding or width
        return WordSteps(spec.vocabulary, length, shared=tied), length
    if embedding:
        raise SettingError(
            f"model.embedding = {embedding}: is the length of a word's vector, and these are "
            f"{spec.examples}. Leave it out.",
            setting="model.embedding",
        )
    if spec.kind == "series":
        return SeriesSteps(), spec.input_shape[0]
    if spec.kind == "audio":
        return FrameSteps(), spec.input_shape[1]
    suited = "convnet" if spec.kind == "images" else "mlp"
    raise SettingError(
        f"model.name={model} reads series, texts and recordings, and these are {spec.examples}. Set "
        f"model.name={suited}.",
        setting="model.name",
    )


def pooled_alone(spec: Spec, pooling: Pooling, usual: Pooling = "last") -> None:
    """Refuse pooling where every step has its own outputs."""
    if spec.task == "language" and pooling != usual:
        raise SettingError(
            f"model.pooling = {pooling}: makes one row of a sequence, and a model of language has one a "
            "step. Leave it out.",
            setting="model.pooling",
        )


def symbol_head(spec: Spec, inputs: nn.Module, width: int, *, tied: bool) -> nn.Sequential:
    """Raw outputs a symbol at every step; tied: by the vectors that the symbols have as inputs."""
    if not tied:
        return in_order({"symbols": nn.Linear(width, spec.vocabulary)})
    table = inputs.get_submodule("embedding").get_parameter("weight")
    length = table.shape[1]
    symbols = nn.Linear(length, spec.vocabulary)
    symbols.weight = table
    project = nn.Linear(width, length) if width != length else None
    return in_order({"project": project, "symbols": symbols})


def row_head(spec: Spec, model: str, width: int) -> nn.Linear:
    """Raw outputs of one row an example.

    Raises:
        SettingError: the task is a language, and the model sees what comes next.
    """
    if spec.task == "language":
        raise SettingError(
            f"model.name={model} sees the steps that it would have to predict. Set model.name=tcn, or "
            "another of lstm, gru, rnn and transformer.",
            setting="model.name",
        )
    return nn.Linear(width, spec.num_outputs)


class Convolutions(nn.Module):
    """Inputs to steps, through blocks of convolutions, pooled to one row an example or kept a step each."""

    def __init__(
        self, inputs: nn.Module, blocks: list[nn.Module], head: nn.Module, pooling: Pooling | None
    ) -> None:
        super().__init__()
        self.inputs, self.blocks, self.head = inputs, nn.ModuleList(blocks), head
        self.pooling: Pooling | None = pooling

    def forward(self, x: Tensor) -> Float[Tensor, "batch *output"]:
        steps, lengths = self.inputs(x)
        known = padded(inside(lengths, steps.shape[1]))
        out = steps.transpose(1, 2)
        for block in self.blocks:
            out = block(out, known)
        out = out.transpose(1, 2)
        return self.head(out if self.pooling is None else pooled(out, lengths, self.pooling))


def draw_steps(model: Network, init: Init) -> Network:
    """The model, its weights drawn; the vector of no word stays 0."""
    draw(model, init)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Embedding) and module.padding_idx is not None:
                module.weight[module.padding_idx] = 0.0
    return model
