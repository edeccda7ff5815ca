"""The settings `train.*`: declared once, here. No torch."""

from typing import Annotated, Any, Literal

from pydantic import Field


def train_settings(
    *,
    epochs: Annotated[
        int, Field(ge=1, le=100000, description="passes over the training part")
    ] = 30,
    batch_size: Annotated[int, Field(ge=1, le=1048576, description="examples a step")] = 64,
    clip_norm: Annotated[
        float, Field(ge=0, description="longest gradient (L2 norm over all weights); 0: no limit")
    ] = 0.0,
    clip_value: Annotated[
        float, Field(ge=0, description="largest absolute entry of the gradient; 0: no limit")
    ] = 0.0,
    normalise_gradient: Annotated[
        bool, Field(description="divide the gradient by its L2 norm before the step")
    ] = False,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Field(description="auto: bfloat16 for convolutions where the processor has it"),
    ] = "auto",
    patience: Annotated[
        int,
        Field(ge=0, description="stop after so many epochs without a better score; 0: never"),
    ] = 0,
    ema: Annotated[
        float,
        Field(ge=0, lt=1, description="decay of an averaged copy of the weights; 0: none"),
    ] = 0.0,
    seed: Annotated[int, Field(ge=0, lt=2**31, description="of init, order and dropout")] = 0,
    threads: Annotated[int, Field(ge=0, le=4096, description="processor threads; 0: all")] = 0,
    max_seconds: Annotated[float, Field(ge=0, description="stop after so long; 0: no limit")] = 0.0,
    device: Annotated[str, Field(description="auto, cpu, cuda, cuda:1, mps ...")] = "auto",
) -> dict[str, Any]:
    """How a model is trained, whatever it is."""
    return dict(locals())
