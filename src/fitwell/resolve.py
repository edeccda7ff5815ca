"""Recipe + spec -> complete recipe: every setting that the user left open gets its default.

The defaults are chosen per task, kind of data and model family, are printed, and stand in
`recipe.toml`. No torch, except where a user's own model has to be asked for its settings.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from fitwell.augment import IN_RANGE, KIND_OF, MIXING, OF_COLOURS
from fitwell.errors import SettingError
from fitwell.metrics import METRICS
from fitwell.options import as_read, fine_tuning, num_used
from fitwell.policies import may_mirror, of_boxes, policy
from fitwell.recipe import Recipe
from fitwell.settings import NAMED_SECTIONS, PLAIN_SECTIONS, Schema, defaults, known, validate
from fitwell.spec import PLURAL, Spec
from fitwell.tasks import task_of


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


# Gradients through time grow now and then, however well it goes: they are cut (Pascanu, Mikolov and Bengio
# 2013, ICML).
_RECURRENT = {"optim.name": "adamw", "optim.lr": 3e-3, "train.clip_norm": 1.0}
_CONVOLVING = {"optim.name": "adamw", "optim.lr": 1e-3}

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
    **dict.fromkeys(("rnn", "lstm", "gru"), Family(10, _RECURRENT)),
    **dict.fromkeys(("fcn", "resnet1d", "tcn", "transformer"), Family(10, _CONVOLVING)),
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
}

# What a detector wants of pictures with boxes, from scratch: see benchmarks/detection.py.
_OF_BOXES = {
    "optim.name": "adamw",
    "optim.lr": 2e-3,
    "optim.weight_decay": 0.05,
    "train.clip_norm": 10.0,
    "train.ema": 0.995,
}
FAMILIES["yolo"] = Family(30, _OF_BOXES, steps=2500, batch_size=32, few=16)

OF_FORECASTS = ("autoregressive", "dlinear")  # models that forecast
OF_TEXTS = ("bag_of_words",)  # models that read words alone
OF_BOXES = ("yolo",)  # models that find boxes
OF_SEQUENCES = (
    "rnn",
    "lstm",
    "gru",
    "fcn",
    "resnet1d",
    "tcn",
    "transformer",
)  # models that read words and numbers

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
    **dict.fromkeys(("rnn", "lstm", "gru"), Family(10, _RECURRENT, steps=4500)),
    **dict.fromkeys(("fcn", "resnet1d", "tcn", "transformer"), Family(10, _CONVOLVING, steps=4500)),
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
CARRYING = ("rnn", "lstm", "gru")  # whose state can be carried from chunk to chunk


# What forecasts are trained by: windows of one series are nearly copies of one another, so few passes over
# many of them are enough. Linear forecasts are of what a window is beyond its last value: where the level
# moves, as that of the airline passengers, those of the values themselves are worse than repeating the last
# season. Figures: `python -m benchmarks.forecast`.
_OF_WINDOWS = Family(10, {"optim.name": "adamw", "optim.lr": 1e-3}, steps=3000)
OF_FORECASTING = {
    name: _OF_WINDOWS._replace(settings={**_OF_WINDOWS.settings, "model.subtract": "last"})
    for name in OF_FORECASTS
}


def complete(settings: Mapping[str, Any], spec: Spec) -> Recipe:
    """The recipe that runs: `settings` validated, everything else by default.

    Raises:
        SettingError: a name or value that is wrong, or that does not suit the data.
    """
    settings = dict(settings)
    model = str(settings.get("model.name") or settings.get("model") or default_model(spec))
    family = family_of(model, spec)
    usual = {"optim.name": "sgd", "schedule.name": "one_cycle", **family.settings}
    names = {
        "model": model,
        "loss": str(settings.get("loss.name") or task_of(spec).losses[0]),
        "optim": str(settings.get("optim.name") or _optimizer(settings, usual["optim.name"])),
        "schedule": str(settings.get("schedule.name") or usual["schedule.name"]),
    }
    custom = {"model": own_schemas(names["model"])} if ":" in names["model"] else {}
    named = {f"{section}.name": name for section, name in names.items()}
    given = validate({**settings, **named}, custom)
    values: dict[str, Any] = {"source": given.get("source", "")}
    for section in NAMED_SECTIONS:
        values[f"{section}.name"] = names[section]
        entry = {k: s.get("default") for k, s in custom.get(section, {}).items()}
        entry = entry or (
            defaults(section, names[section]) if names[section] in known()[section] else {}
        )
        values |= {f"{section}.{key}": value for key, value in entry.items()}
    for section in PLAIN_SECTIONS:
        values |= {f"{section}.{key}": value for key, value in defaults(section).items()}
    for name, value in usual.items():
        section = name.partition(".")[0]
        if section not in ("optim", "schedule") or names[section] == usual[f"{section}.name"]:
            values[name] = value
    values |= task_defaults(spec, names, limit=int(given.get("data.limit", 0)))
    if given.get("model.pretrained"):
        values |= fine_tuning(
            names["optim"],
            names["loss"],
            images=spec.kind == "images",
            examples=num_used(spec, int(given.get("data.limit", 0))),
        )
    if family.mirrored and "augment.policy" not in given and may_mirror(spec):
        values["augment.hflip"] = 0.5
    if "augment.policy" not in given:
        values |= of_boxes(spec)
    values |= policy(str(given.get("augment.policy", "none")), spec)
    if given.get("train.normalise_gradient"):
        values["train.clip_norm"] = 0.0  # a family's default; what the user gives is refused
    values = as_read(values | given, spec)
    _suits(values, spec)
    return Recipe({name: value for name, value in values.items() if value is not None})


def augmenting(settings: Mapping[str, Any], spec: Spec) -> dict[str, Any]:
    """The settings `augment.*` alone, complete: those given, a policy's, and the defaults.

    Raises:
        SettingError: a change that these inputs do not allow.

    >>> photos = Spec("images", "classification", (3, 224, 224), classes=("cat", "dog"))
    >>> augmenting({"augment.policy": "light"}, photos)["augment.crop"]
    [0.5, 1.0]
    """
    given = {name: value for name, value in settings.items() if name.startswith("augment.")}
    values = {f"augment.{key}": value for key, value in defaults("augment").items()}
    values |= policy(str(given.get("augment.policy", "none")), spec) | given
    _augments(values, spec)
    return values


def _optimizer(settings: Mapping[str, Any], usual: str) -> str:
    """The family's usual optimizer; SGD where a setting is named that only SGD has, such as `optim.l1`."""
    named = {name.partition(".")[2] for name in settings if name.startswith("optim.")}
    there = known()["optim"]
    return usual if named <= set(there[usual]) or not named <= set(there["sgd"]) else "sgd"


def default_model(spec: Spec) -> str:
    """LeNet for small images, the normalised convolution network above and for recordings, an MLP for
    tables, a bag of words for texts, a GRU for one text, convolutions along time for series with
    classes, DLinear for forecasts, YOLO for boxes."""
    if spec.task == "detection":
        return "yolo"
    if spec.task == "language":
        # Tiny Shakespeare, 2 epochs, width 256: 1.76 nats, an LSTM 1.84, in four fifths of the time.
        return "gru"
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
        return OF_FORECASTING.get(model, _OF_WINDOWS)
    if spec.kind == "table":
        return OF_TABLES.get((model, spec.task), Family())
    if spec.kind == "series":
        return OF_SERIES.get(model, Family())
    if spec.task == "language":
        return OF_LANGUAGE.get(model, Family())
    return FAMILIES.get(model, Family())


def task_defaults(spec: Spec, names: Mapping[str, str], limit: int = 0) -> dict[str, Any]:
    """Defaults that depend on the data: enough steps on little data, a score that suits.

    Args:
        limit: at most so many of the examples are trained on; 0: all.
    """
    examples = num_used(spec, limit)
    family = family_of(names["model"], spec)
    batch_size = family.few if examples < 5000 else family.batch_size
    least = examples / 4 if spec.horizon else examples  # the first fold by time is the smallest
    if least < 2 * batch_size:  # of which a part is held out
        batch_size = max(2, 2 ** int(math.log2(max(2, least / 2))))
    most = 60 * max(1, family.steps // 1500)
    epochs = min(most, max(family.epochs, round(family.steps * batch_size / examples)))
    metric = task_of(spec).metric(spec)
    values: dict[str, Any] = {
        "train.batch_size": batch_size,
        "train.epochs": epochs,
        "score.name": metric,
    }
    if METRICS[metric].bounded:
        values["score.min_effect"] = 0.005
    if spec.task == "language":
        values["data.test"] = 0.0
    if names["optim"] == "sgd" and spec.task == "regression":
        # The gradient of a squared error is not bounded, as that of log-loss is.
        values["optim.lr"] = 0.01
    return values


def own_schemas(path: str) -> dict[str, Schema]:
    """The settings of a user's own builder, from its signature, and those of every model."""
    from fitwell.catalog import settings_of
    from fitwell.models import builder

    return settings_of("model", builder(path))


def _suits(values: Mapping[str, Any], spec: Spec) -> None:
    task = task_of(spec)
    _reads(str(values["model.name"]), spec)
    if values["loss.name"] not in task.losses:
        raise SettingError(
            f"loss.name = {values['loss.name']}: does not suit {task.name}. Choose one of: "
            f"{', '.join(task.losses)}.",
            setting="loss.name",
        )
    task.head(spec, values["loss.name"])
    if spec.task == "multilabel" and values.get("loss.class_weights", "none") != "none":
        raise SettingError(
            f"loss.class_weights = {values['loss.class_weights']}: an example has one class to be weighed "
            "by, and these have any number of labels. Leave it out; average_precision and f1 count rare "
            "labels as much as frequent ones.",
            setting="loss.class_weights",
        )
    if spec.task == "language" and values.get("loss.class_weights", "none") != "none":
        raise SettingError(
            f"loss.class_weights = {values['loss.class_weights']}: of a text the tokens are many classes, "
            "which all count as often as they stand. Leave it out.",
            setting="loss.class_weights",
        )
    if values["data.normalise"] == "pretrained" and not values["model.pretrained"]:
        raise SettingError(
            "data.normalise = pretrained: there are no pretrained weights whose normalisation it "
            "could be. Set model.pretrained, or data.normalise=train.",
            setting="data.normalise",
        )
    if values.get("optim.l1") and values["train.ema"]:
        raise SettingError(
            f"train.ema = {values['train.ema']:g}: optim.l1 = {values['optim.l1']:g} gives weights of "
            "exactly 0, and an average over steps has none. Set train.ema=0, or optim.l1=0.",
            setting="train.ema",
        )
    _carries(values, spec)
    _average_of_what(values)
    _augments(values, spec)
    if spec.kind != "table":
        _of_tables_alone(values, spec)
    metrics = [name for name, metric in METRICS.items() if task.name in metric.tasks]
    if values["score.name"] not in metrics:
        raise SettingError(
            f"score.name = {values['score.name']}: does not suit {task.name}. Choose one of: "
            f"{', '.join(metrics)}.",
            setting="score.name",
        )
    clipped = [name for name in ("train.clip_norm", "train.clip_value") if values[name]]
    if values["train.normalise_gradient"] and clipped:
        raise SettingError(
            f"train.normalise_gradient makes every gradient of norm 1, so {clipped[0]} = "
            f"{values[clipped[0]]:g} has no meaning beside it. Leave one of them out.",
            setting="train.normalise_gradient",
        )


def _carries(values: Mapping[str, Any], spec: Spec) -> None:
    """Refuse a carried state where there is none, or nothing to carry it through."""
    if values["train.state"] == "reset":
        return
    model = str(values["model.name"])
    if spec.task != "language":
        why = f"these are {spec.examples}, which do not follow each other"
    elif ":" not in model and model not in CARRYING:
        why = f"{model} has no state; {', '.join(CARRYING)} have"
    else:
        return
    raise SettingError(
        f"train.state = carried: carries the state of a recurrent network on through one text, and {why}. "
        "Set train.state=reset.",
        setting="train.state",
    )


def _average_of_what(values: Mapping[str, Any]) -> None:
    """Refuse members that do not start from the same pretrained weights."""
    model = str(values["model.name"])
    own = ":" in model and not model.startswith("torchvision:")  # whose builder may load some
    if values["train.members"] > 1 and not values["model.pretrained"] and not own:
        raise SettingError(
            f"train.members = {values['train.members']}: the members must start from the same pretrained "
            "weights, since the average of networks from scratch predicts nothing. Set model.pretrained, "
            "or train.members=1.",
            setting="train.members",
        )


def _reads(model: str, spec: Spec) -> None:
    """Refuse a model of ours that reads data of another kind."""
    if (spec.task == "detection") != (model in OF_BOXES) and ":" not in model:
        finds = "finds boxes" if model in OF_BOXES else "finds no boxes"
        raise SettingError(
            f"model.name = {model}: {finds}, and these are {spec.examples}. Set "
            f"model.name={default_model(spec)}, or one of your own.",
            setting="model.name",
        )
    if model in OF_FORECASTS and spec.task != "forecasting":
        raise SettingError(
            f"model.name = {model}: forecasts a long series, and these are {spec.examples}. Set "
            f"model.name={default_model(spec)}, or one of your own.",
            setting="model.name",
        )
    if ":" in model or model in OF_SEQUENCES:
        return
    if (model in OF_TEXTS) != (spec.kind == "text"):
        suited = default_model(spec)
        raise SettingError(
            f"model.name = {model}: reads {'texts' if model in OF_TEXTS else 'numbers'}, and these are "
            f"{spec.examples}. Set model.name={suited}, or one of your own.",
            setting="model.name",
        )


def _of_tables_alone(values: Mapping[str, Any], spec: Spec) -> None:
    """Refuse for other data what changes the columns of a table."""
    usual = {"data.scaling": defaults("data")["scaling"]}
    if values["model.name"] == "mlp":
        own = defaults("model", "mlp")
        usual |= {f"model.{key}": own[key] for key in ("embedding", "waves")}
    for name, value in usual.items():
        if values[name] != value:
            raise SettingError(
                f"{name} = {values[name]}: changes the columns of a table, and this data is "
                f"{PLURAL[spec.kind]}. Leave it out.",
                setting=name,
            )


def _augments(values: Mapping[str, Any], spec: Spec) -> None:
    """Refuse augmentation of what is no image, and ranges that run backwards."""
    for key, usual in defaults("augment").items():
        name, value = f"augment.{key}", values[f"augment.{key}"]
        changed = KIND_OF.get(key, "images")
        # Pictures with boxes are images too; a policy is there for every kind that settings are for.
        kind = "images" if spec.kind == "boxes" else spec.kind
        augmented = ("images", *KIND_OF.values())
        suited = kind in augmented if key == "policy" else changed in (kind, spec.kind)
        suited = suited and spec.task != "language"  # what follows a changed word is another text
        if value != usual and not suited:
            what = "images, texts or recordings" if key == "policy" else PLURAL[changed]
            does = "is for" if key == "tta" else "changes"
            raise SettingError(
                f"{name} = {value}: {does} {what}, and these are {spec.examples}. Leave it out.",
                setting=name,
            )
        if value != usual and spec.kind == "boxes" and key == "tta":
            raise SettingError(
                f"{name} = {value}: boxes lie elsewhere in each view, and are not averaged. Leave it out.",
                setting=name,
            )
        if value != usual and spec.kind == "boxes" and key in (*MIXING, "erase"):
            raise SettingError(
                f"{name} = {value}: {'mixes' if key in MIXING else 'hides parts of'} pictures, and their "
                "boxes would say what is not to be seen. Leave it out.",
                setting=name,
            )
        if value != usual and key in OF_COLOURS and spec.input_shape[0] != 3:
            raise SettingError(
                f"{name} = {value}: changes colours, and these images have "
                f"{spec.input_shape[0]} channel{'s' * (spec.input_shape[0] != 1)}, not 3. Leave it "
                "out; brightness and contrast change grey images too.",
                setting=name,
            )
        if value != usual and key in IN_RANGE and spec.measured:
            raise SettingError(
                f"{name} = {value}: needs to know what black and white are, and these images are "
                "measurements of a range of their own. Scale them to 0 to 1, or leave it out.",
                setting=name,
            )
        if isinstance(value, list) and value[0] > value[1]:
            raise SettingError(
                f"{name} = {value}: the first is the least and the second the largest. Set "
                f"{name}={value[::-1]}.",
                setting=name,
            )


def check_batch(recipe: Recipe, num_train: int) -> None:
    """Refuse a batch that is larger than the training part.

    Raises:
        SettingError: it is, or there is nothing to train on.
    """
    size = int(recipe["train.batch_size"])  # type: ignore[arg-type]
    if num_train == 0:
        raise SettingError(
            "data.validation and data.test leave no example to train on. Lower them.",
            setting="data.validation",
        )
    if size > num_train:
        raise SettingError(
            f"train.batch_size = {size}: larger than the training part of {num_train} examples. "
            f"Choose at most {num_train}.",
            setting="train.batch_size",
        )


def check_paired(recipe: Recipe) -> None:
    """Refuse what would part the arms of a paired trial.

    Raises:
        SettingError: `train.max_seconds` ends a training by the clock, so that two arms would see
            unequal numbers of examples.
    """
    if recipe["train.max_seconds"]:
        raise SettingError(
            f"train.max_seconds = {recipe['train.max_seconds']:g}: paired trials see equal numbers of "
            "examples, and a clock would end each after another number. Leave it out; --budget limits "
            "an improvement, train.epochs a trial.",
            setting="train.max_seconds",
        )


def check_patience(recipe: Recipe, num_validation: int) -> None:
    """Refuse early stopping without anything to stop by.

    Raises:
        SettingError: `train.patience` counts epochs without a better validation score, and there is
            no validation part.
    """
    if recipe["train.patience"] and not num_validation:
        raise SettingError(
            f"train.patience = {recipe['train.patience']}: it waits for a better validation score, and "
            "there is no validation part. Set data.validation=0.1, or train.patience=0.",
            setting="train.patience",
        )
