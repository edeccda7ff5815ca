"""The settings `train.*`, the `model.*` that every model has, and what fine-tuning sets. No torch."""

from typing import Annotated, Any, Literal

from pydantic import Field

# The default recipe where `model.pretrained` is set, and what the remedy `pretrained` changes: a
# smaller rate that falls towards the input, fewer epochs, stronger regularisation, and inputs as the
# weights know them. Chosen on five folds of the training part of a set of 25 classes of photographs
# (`benchmarks/finetune.py`).
FINE_TUNING: dict[str, Any] = {
    "optim.name": "adamw",
    "optim.lr": 5e-4,
    "optim.weight_decay": 0.05,
    "loss.label_smoothing": 0.1,
    "train.epochs": 10,
    "train.first_lr": 0.1,
    "data.normalise": "pretrained",
}


def model_settings(
    *,
    pretrained: Annotated[
        str,
        Field(
            description="weights to start from: a file (.safetensors, .npz, .pt, .pth, .th, .bin), "
            "a run folder, or torchvision for its default weights of this network; empty: drawn"
        ),
    ] = "",
    candidate: Annotated[
        str,
        Field(
            description="pretrained network that improve may put on trial, unused until then: "
            "NAME=WEIGHTS with both as in model.name and model.pretrained, or a run folder"
        ),
    ] = "",
) -> dict[str, Any]:
    """What every model has beside the settings of its own builder."""
    return dict(locals())


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
    freeze: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="share of the layers, counted from the input, that is not trained; "
            "1: all but the head",
        ),
    ] = 0.0,
    thaw_epochs: Annotated[
        int,
        Field(
            ge=0,
            description="gradual unfreezing: the head alone first, then further layers, all of "
            "them after so many epochs; 0: all from the start",
        ),
    ] = 0,
    first_lr: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="learning rate of the first layer as a share of the head's, which is "
            "optim.lr; geometric in between",
        ),
    ] = 1.0,
    seed: Annotated[int, Field(ge=0, lt=2**31, description="of init, order and dropout")] = 0,
    threads: Annotated[int, Field(ge=0, le=4096, description="processor threads; 0: all")] = 0,
    max_seconds: Annotated[float, Field(ge=0, description="stop after so long; 0: no limit")] = 0.0,
    device: Annotated[str, Field(description="auto, cpu, cuda, cuda:1, mps ...")] = "auto",
) -> dict[str, Any]:
    """How a model is trained, whatever it is."""
    return dict(locals())
