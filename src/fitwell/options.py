"""The settings `train.*`, the `model.*` that every model has, and what fine-tuning sets. No torch."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from fitwell.settings import defaults, known
from fitwell.spec import Spec

FINE_TUNING_STEPS = 400  # at least, of 32 examples


def fine_tuning(optimizer: str, loss: str, *, images: bool, examples: int) -> dict[str, Any]:
    """The default recipe where `model.pretrained` is set, and what the remedy `pretrained` changes.

    A tenth of the optimizer's own rate, that falls towards the input; fewer epochs; stronger
    regularisation, an averaged copy among it; inputs as the weights know them. The gradient is
    clipped since networks without normalisation (SqueezeNet) otherwise diverge at the first steps.
    Chosen on folds of the training images of `benchmarks/finetune.py` (its `validate`).

    Args:
        images: whether the data is images.
        examples: how many there are; fewer of them are passed over more often.

    >>> fine_tuning("sgd", "mse", images=False, examples=1800)["optim.lr"]
    0.005
    """
    values: dict[str, Any] = {
        "optim.lr": round(0.1 * defaults("optim", optimizer)["lr"], 9),
        "train.epochs": min(60, max(10, round(FINE_TUNING_STEPS * 32 / examples))),
        "train.first_lr": 0.05,
        "train.clip_norm": 5.0,
        "train.ema": 0.98,
    }
    if "label_smoothing" in known()["loss"].get(loss, {}):
        values["loss.label_smoothing"] = 0.1
    if images:
        values["data.normalise"] = "pretrained"
    return values


def started(spec: Spec, optimizer: str, loss: str, limit: int) -> dict[str, Any]:
    """What `model.pretrained` sets by default for this data.

    Of a detector the head, which is most of it, stays new: it is trained as from scratch, and the backbone
    at a tenth of its rate (Carion et al. 2020, ECCV, section 4).

    >>> boxes = Spec("boxes", "detection", (3, 64, 64), ("cat",), num_examples=900)
    >>> started(boxes, "adamw", "boxes", 0)
    {'train.backbone_lr': 0.1, 'data.normalise': 'pretrained'}
    """
    if spec.task == "detection":
        return {"train.backbone_lr": 0.1, "data.normalise": "pretrained"}
    images = spec.kind == "images"
    return fine_tuning(optimizer, loss, images=images, examples=num_used(spec, limit))


def as_read(settings: Mapping[str, Any], spec: Spec | None) -> dict[str, Any]:
    """The settings with `data.kind` of what was read, where the same file may be read as two kinds; and of
    pictures with boxes with the size that they were read at.

    The first is a table with dates, which may also be one long series: more rows, or a newer version, must
    not turn what a model was trained on into the other.

    >>> from fitwell.spec import Column
    >>> shop = Spec("table", "regression", (9,), columns=(Column("day", "date"), Column("visitors")))
    >>> as_read({"data.kind": "auto"}, shop)
    {'data.kind': 'table'}
    """
    columns = spec.columns if spec is not None and spec.kind == "table" else ()
    dated = any(column.kind == "date" for column in columns)
    if dated and settings.get("data.kind", "auto") == "auto":
        return {**settings, "data.kind": "table"}
    if spec is not None and spec.kind == "boxes" and not settings.get("data.image_size"):
        return {**settings, "data.image_size": spec.input_shape[-1]}
    return dict(settings)


def model_settings(
    *,
    pretrained: Annotated[
        str,
        Field(
            description="weights to start from: a file (.safetensors, .npz, .pt, .pth, .th, .bin), "
            "a run folder, or torchvision for its default weights of this network; a detector also takes "
            "those of its backbone alone; empty: drawn"
        ),
    ] = "",
    candidate: Annotated[
        str,
        Field(
            description="pretrained network that improve may put on trial, unused until then: "
            "NAME=WEIGHTS with both as in model.name and model.pretrained, or a run folder; of boxes the "
            "backbone of the detector"
        ),
    ] = "",
) -> dict[str, Any]:
    """What every model has beside the settings of its own builder."""
    return dict(locals())


def num_used(spec: Spec, limit: int) -> int:
    """How many examples are used of those that the source has, with `data.limit`."""
    return max(1, min(spec.num_examples, limit or spec.num_examples))


def train_settings(
    *,
    epochs: Annotated[
        int, Field(ge=1, le=100000, description="passes over the training part")
    ] = 30,
    batch_size: Annotated[int, Field(ge=1, le=1048576, description="examples a step")] = 64,
    clip_norm: Annotated[
        float,
        Field(
            ge=0,
            description="longest gradient (L2 norm over all weights); 0: no limit",
            json_schema_extra={
                "formula": "g = g min(1, clip_norm / ||g||)",
                "use": "recurrent and deep networks, whose gradient explodes now and then",
                "weakness": "hides a rate that is too high; a low limit makes all steps equally long",
                "source": "Pascanu, Mikolov and Bengio 2013, ICML, algorithm 1",
            },
        ),
    ] = 0.0,
    clip_value: Annotated[
        float,
        Field(
            ge=0,
            description="largest absolute entry of the gradient; 0: no limit",
            json_schema_extra={
                "formula": "g_i = min(max(g_i, -clip_value), clip_value)",
                "use": "where single entries of the gradient explode",
                "weakness": "turns the direction of the step, as clip_norm does not",
                "source": "Goodfellow, Bengio and Courville 2016, Deep Learning, section 10.11.1",
            },
        ),
    ] = 0.0,
    normalise_gradient: Annotated[
        bool,
        Field(
            description="divide the gradient by its L2 norm before the step",
            json_schema_extra={
                "formula": "g = g / ||g||, the norm over all weights",
                "use": "to set the length of a step by the rate alone, on plateaus and at cliffs",
                "weakness": "steps do not shrink near the minimum, so the schedule must fall",
                "source": "Hazan, Levy and Shalev-Shwartz 2015, NeurIPS",
            },
        ),
    ] = False,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Field(description="auto: bfloat16 for convolutions where the processor has it"),
    ] = "auto",
    patience: Annotated[
        int,
        Field(
            ge=0,
            description="stop after so many epochs without a better score; 0: never",
            json_schema_extra={
                "formula": "stop after the first epoch t with no better validation score in t - "
                "patience + 1 ... t than before; keep the weights of the best epoch",
                "use": "early stopping: where the right length is not known, against overfitting",
                "weakness": "a small validation part picks epochs by its noise; a schedule that is "
                "cut short leaves the rate high",
                "source": "Prechelt 1998, Early stopping - but when?; Goodfellow, Bengio and "
                "Courville 2016, Deep Learning, section 7.8",
            },
        ),
    ] = 0,
    ema: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="decay of an averaged copy of the weights, which is "
            "what is kept; less of it in the first steps; 0: none",
            json_schema_extra={
                "formula": "w' = d w' + (1 - d) w after each step, d = min(ema, (1 + t) / (10 + t))",
                "use": "noisy training at a high or constant rate; nearly always in fine-tuning",
                "weakness": "a copy more in memory; little where the rate falls to 0 anyway",
                "source": "Polyak and Juditsky 1992, SIAM Journal on Control and Optimization 30",
            },
        ),
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
    backbone_lr: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="learning rate of all layers before the head as a share of the head's, which "
            "is optim.lr",
        ),
    ] = 1.0,
    first_lr: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="learning rate of the first layer as a share of the head's, which is "
            "optim.lr; geometric in between, and times train.backbone_lr",
        ),
    ] = 1.0,
    state: Annotated[
        Literal["reset", "carried"],
        Field(
            description="of a recurrent network of one text; reset: chunks at a new offset each epoch, in "
            "random order, each from an empty state; carried: the text is cut into batch_size streams, and "
            "the state goes on from chunk to chunk",
            json_schema_extra={
                "formula": "h_0 of a chunk = h_T of the chunk before it in its stream, held constant: the "
                "gradient goes back data.context tokens and no further",
                "use": "truncated back-propagation through time: a memory that reaches beyond a chunk",
                "weakness": "the chunks of a batch come in the order of the text, which is a worse sample "
                "of it; needs a text much longer than batch_size chunks",
                "source": "Williams and Peng 1990, Neural Computation 2; Mikolov et al. 2010, Interspeech",
            },
        ),
    ] = "reset",
    members: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description="trainings from the same pretrained weights, one after the other, whose average "
            "is kept (model soup)",
            json_schema_extra={
                "formula": "w = (w_1 + ... + w_M) / M; member m trains from the same start in an order and "
                "with an augmentation of its own",
                "use": "the last half point of fine-tuning, at the size and speed of one network",
                "weakness": "costs M trainings; of networks from scratch the average predicts nothing",
                "source": "Wortsman et al. 2022, Model soups, ICML",
            },
        ),
    ] = 1,
    seed: Annotated[int, Field(ge=0, lt=2**31, description="of init, order and dropout")] = 0,
    threads: Annotated[int, Field(ge=0, le=4096, description="processor threads; 0: all")] = 0,
    max_seconds: Annotated[float, Field(ge=0, description="stop after so long; 0: no limit")] = 0.0,
    device: Annotated[str, Field(description="auto, cpu, cuda, cuda:1, mps ...")] = "auto",
) -> dict[str, Any]:
    """How a model is trained, whatever it is."""
    return dict(locals())
