"""What each model family trains well with, and which family suits the data. No torch."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fitwell.spec import Spec


class Family(NamedTuple):
    """What a model family trains well with, where that differs from all others.

    Args:
        epochs: at least so many passes, on data so large that one of them takes long.
        settings: its defaults by dotted name; those of `optim.*` and `schedule.*` hold where the user
            names no other optimizer or schedule.
        steps: at least about so many on little data, which is passed over more often.
        batch_size: where there are 5,000 examples or more.
        few: where there are fewer.
        mirrored: it wants mirror images, too, where these may be of the same class.
    """

    epochs: int = 10
    settings: Mapping[str, Any] = {}
    steps: int = 1500
    batch_size: int = 128
    mirrored: bool = False
    few: int = 32


RECURRENT = ("rnn", "lstm", "gru")  # whose state can be carried from chunk to chunk
_AT_ONCE = ("fcn", "resnet1d", "tcn", "transformer")  # read all steps in parallel
OF_FORECASTS = ("autoregressive", "dlinear")  # models that forecast
OF_TEXTS = ("bag_of_words",)  # models that read words alone
OF_BOXES = ("yolo",)  # models that find boxes
OF_SEQUENCES = (*RECURRENT, *_AT_ONCE)  # models that read words and numbers

# Gradients through time grow now and then, however well it goes: they are cut (Pascanu, Mikolov and Bengio
# 2013, ICML).
_RECURRENT = {"optim.name": "adamw", "optim.lr": 3e-3, "train.clip_norm": 1.0}
_CONVOLVING = {"optim.name": "adamw", "optim.lr": 1e-3}

# What a detector wants of pictures with boxes, from scratch: see benchmarks/detection.py.
_OF_BOXES = {
    "optim.name": "adamw",
    "optim.lr": 2e-3,
    "optim.weight_decay": 0.05,
    "train.clip_norm": 10.0,
    "train.ema": 0.995,
}

# The large ones learn in few passes, and take long for each.
FAMILIES: dict[str, Family] = {
    "alexnet": Family(10, {"optim.lr": 0.01}),  # not normalised
    "vgg": Family(6),
    "nin": Family(10),
    "googlenet": Family(6),
    "inception": Family(6),
    "resnet": Family(3),
    "densenet": Family(4),
    # Transformers want Adam's scaling, and more passes than convolutions.
    "bag_of_words": Family(10, {"optim.name": "adamw", "optim.lr": 0.01}),
    **dict.fromkeys(RECURRENT, Family(10, _RECURRENT)),
    **dict.fromkeys(_AT_ONCE, Family(10, _CONVOLVING)),
    # What it does on Fashion-MNIST: benchmarks/families.py. Transformers take symmetry from data alone.
    "vit": Family(
        12,
        {
            "model.stem": "auto",
            "optim.name": "adamw",
            "optim.lr": 2e-3,
            "optim.weight_decay": 0.05,
        },
        batch_size=64,
        mirrored=True,
    ),
    # As the detector whose backbone it is.
    "csp": Family(6, {"optim.name": "adamw", "optim.lr": 2e-3, "optim.weight_decay": 0.05}, few=16),
    "yolo": Family(30, _OF_BOXES, steps=2500, batch_size=32, few=16),
}


_OF_TABLES = {
    "model.activation": "silu",
    "model.depth": 3,
    "model.waves": 16,
    "optim.name": "adamw",
    "optim.lr": 3e-3,
    "optim.weight_decay": 0.01,
    "data.scaling": "robust",
}
# What an MLP wants of tables: of classes it learns the noise soon, of numbers late. Chosen on folds of
# German credit, airfoil noise and California housing (`validate` of benchmarks/tables.py).
OF_TABLES: dict[tuple[str, str], Family] = {
    ("mlp", "classification"): Family(15, _OF_TABLES, steps=500),
    ("mlp", "multilabel"): Family(15, _OF_TABLES, steps=500),
    ("mlp", "regression"): Family(60, _OF_TABLES, steps=4500),
}

# What is wanted on series: Adam's scaling, and more passes over the few that there usually are. Chosen by
# `python -m benchmarks.series`.
OF_SERIES: dict[str, Family] = {
    "mlp": Family(10, {"optim.name": "adamw", "optim.lr": 3e-3}, steps=4500),
    **dict.fromkeys(RECURRENT, Family(10, _RECURRENT, steps=4500)),
    **dict.fromkeys(_AT_ONCE, Family(10, _CONVOLVING, steps=4500)),
}

# What one text wants, whose chunks all count: see benchmarks/language.py.
_OF_LANGUAGE = {**_RECURRENT, "model.width": 256, "optim.lr": 4e-3, "train.state": "carried"}
OF_LANGUAGE: dict[str, Family] = {
    **dict.fromkeys(("lstm", "gru"), Family(10, _OF_LANGUAGE, batch_size=64)),
    "rnn": Family(10, {**_OF_LANGUAGE, "optim.lr": 1e-3}, batch_size=64),
    "transformer": Family(
        10,
        {**_CONVOLVING, "model.width": 128, "model.depth": 4, "train.clip_norm": 1.0},
        batch_size=64,
    ),
}

# What forecasts are trained by: windows of one series are nearly copies of one another, so few passes over
# many of them are enough. Linear forecasts are of what a window is beyond its last value: where the level
# moves, as that of the airline passengers, those of the values themselves are worse than repeating the last
# season. Figures: `python -m benchmarks.forecast`.
_OF_WINDOWS = Family(10, {"optim.name": "adamw", "optim.lr": 1e-3}, steps=3000)


def _clipped(family: Family) -> Family:
    return family._replace(settings={**family.settings, "train.clip_norm": 1.0})


OF_FORECASTING = {
    **{
        name: _OF_WINDOWS._replace(settings={**_OF_WINDOWS.settings, "model.subtract": "last"})
        for name in OF_FORECASTS
    },
    **dict.fromkeys(RECURRENT, _clipped(_OF_WINDOWS)),
}


def default_model(spec: Spec) -> str:
    """LeNet for small images, the normalised convolution network above and for recordings, an MLP for
    tables, a bag of words for texts, a GRU for one text, convolutions along time for series with
    classes, DLinear for forecasts, YOLO for boxes."""
    if spec.task == "detection":
        return "yolo"
    if spec.task == "language":
        return "gru"  # `python -m benchmarks.language` has an LSTM beside it
    if spec.kind == "text":
        return "bag_of_words"
    if spec.task == "forecasting":
        return "dlinear"
    if spec.kind == "audio":
        # Spoken digits of 0.64 s, 3 epochs, seeds 0 and 1: 0.993 and 0.970 of the validation part right,
        # LeNet 0.867 and 0.919, in a third of the time.
        return "convnet"
    if spec.kind == "series" and spec.task in ("classification", "multilabel"):
        return "fcn"  # over folds better than an MLP: 0.98 and 0.94 on GunPoint, 0.97 and 0.96 on vowels
    if spec.kind != "images":
        return "mlp"
    return "lenet" if max(spec.input_shape[1:]) <= 32 else "convnet"


def family_of(model: str, spec: Spec) -> Family:
    """What the model's family trains well with.

    >>> wine = Spec("table", "classification", (13,), ("a", "b", "c"))
    >>> family_of("mlp", wine).settings["optim.name"], family_of("linear", wine).epochs
    ('adamw', 10)
    """
    if spec.task == "forecasting":
        family = OF_FORECASTING.get(model, _OF_WINDOWS)
        # Applied to its own forecasts any model is recurrent, and may blow up in a single step: that of
        # tests/test_forecasting.py does, with train.clip_norm=0.
        return _clipped(family) if spec.at_once else family
    if spec.kind == "table":
        return OF_TABLES.get((model, spec.task), Family())
    if spec.kind == "series":
        return OF_SERIES.get(model, Family())
    if spec.task == "language":
        return OF_LANGUAGE.get(model, Family())
    return FAMILIES.get(model, Family())
