"""Settings that do not suit the data, or one another: each refused with what to do instead. No torch."""

from collections.abc import Mapping
from typing import Any

from fitwell.augment import IN_RANGE, KIND_OF, OF_COLOURS
from fitwell.errors import SettingError
from fitwell.families import (
    OF_BOXES,
    OF_FORECASTS,
    OF_SEQUENCES,
    OF_TEXTS,
    RECURRENT,
    default_model,
)
from fitwell.metrics import METRICS
from fitwell.recipe import Recipe
from fitwell.settings import defaults
from fitwell.spec import PLURAL, Spec
from fitwell.tasks import task_of

# Tasks whose classes are not weighed, and why.
_UNWEIGHED = {
    "multilabel": "an example has one class to be weighed by, and these have any number of labels. Leave "
    "it out; average_precision and f1 count rare labels as much as frequent ones.",
    "language": "of a text the tokens are many classes, which all count as often as they stand. Leave it "
    "out.",
}


def check_suited(values: Mapping[str, Any], spec: Spec) -> None:
    """Refuse settings that do not suit the data, or one another.

    Raises:
        SettingError: one does not.
    """
    task = task_of(spec)
    _reads(str(values["model.name"]), spec)
    if values["loss.name"] not in task.losses:
        raise SettingError(
            f"loss.name = {values['loss.name']}: does not suit {task.name}. Choose one of: "
            f"{', '.join(task.losses)}.",
            setting="loss.name",
        )
    task.head(spec, values["loss.name"])
    if spec.task in _UNWEIGHED and values.get("loss.class_weights", "none") != "none":
        raise SettingError(
            f"loss.class_weights = {values['loss.class_weights']}: {_UNWEIGHED[spec.task]}",
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
    check_augmenting(values, spec)
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
    elif ":" not in model and model not in RECURRENT:
        why = f"{model} has no state; {', '.join(RECURRENT)} have"
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
    """Refuse a model of ours that is for data of another kind."""
    if ":" in model:
        return
    if model in OF_FORECASTS and spec.task != "forecasting":
        does = "forecasts a long series"
    elif (spec.task == "detection") != (model in OF_BOXES):
        does = "finds boxes" if model in OF_BOXES else "finds no boxes"
    elif model in OF_TEXTS and spec.task == "language":
        does = f"knows no order of words, and so no {spec.target}"
    elif model not in OF_SEQUENCES and (model in OF_TEXTS) != (spec.kind == "text"):
        does = f"reads {'texts' if model in OF_TEXTS else 'numbers'}"
    else:
        return
    raise SettingError(
        f"model.name = {model}: {does}, and these are {spec.examples}. Set "
        f"model.name={default_model(spec)}, or one of your own.",
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


def check_augmenting(values: Mapping[str, Any], spec: Spec) -> None:
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
        if value != usual and spec.kind == "boxes" and key in ("cutmix", "erase"):
            raise SettingError(
                f"{name} = {value}: hides parts of pictures, and their boxes would say what is not to be "
                "seen. Leave it out.",
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
