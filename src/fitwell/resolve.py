"""Recipe + spec -> complete recipe: every setting that the user left open gets its default.

The defaults are chosen per task, kind of data and model family, are printed, and stand in
`recipe.toml`. No torch, except where a user's own model has to be asked for its settings.
"""

import math
from collections.abc import Mapping
from typing import Any

from fitwell.data.options import filled
from fitwell.families import default_model, family_of
from fitwell.metrics import METRICS
from fitwell.options import as_read, num_used, started
from fitwell.policies import may_mirror, of_boxes, policy
from fitwell.recipe import Recipe
from fitwell.refusals import check_augmenting, check_suited
from fitwell.settings import NAMED_SECTIONS, PLAIN_SECTIONS, Schema, defaults, known, validate
from fitwell.spec import Spec
from fitwell.tasks import task_of


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
        values |= started(spec, names["optim"], names["loss"], int(given.get("data.limit", 0)))
    if family.mirrored and "augment.policy" not in given and may_mirror(spec):
        values["augment.hflip"] = 0.5
    if "augment.policy" not in given:
        values |= of_boxes(spec)
    values |= policy(str(given.get("augment.policy", "none")), spec)
    if given.get("train.normalise_gradient"):
        values["train.clip_norm"] = 0.0  # a family's default; what the user gives is refused
    values = as_read(values | given, spec)
    check_suited(values, spec)
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
    check_augmenting(values, spec)
    return values


def _optimizer(settings: Mapping[str, Any], usual: str) -> str:
    """The family's usual optimizer; SGD where a setting is named that only SGD has, such as `optim.l1`."""
    named = {name.partition(".")[2] for name in settings if name.startswith("optim.")}
    there = known()["optim"]
    return usual if named <= set(there[usual]) or not named <= set(there["sgd"]) else "sgd"


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
        "data.test": filled(spec, {})["test"],
    }
    if METRICS[metric].bounded:
        values["score.min_effect"] = 0.005
    if names["optim"] == "sgd" and spec.task == "regression":
        # The gradient of a squared error is not bounded, as that of log-loss is.
        values["optim.lr"] = 0.01
    return values


def own_schemas(path: str) -> dict[str, Schema]:
    """The settings of a user's own builder, from its signature, and those of every model."""
    from fitwell.catalog import settings_of
    from fitwell.models import builder

    return settings_of("model", builder(path))
