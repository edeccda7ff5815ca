"""Defaults: per task, per amount of data, per model family."""

import pytest

from fitwell.models import MODELS
from fitwell.resolve import FAMILIES, complete
from fitwell.settings import defaults
from fitwell.spec import Spec

MANY = Spec("images", "classification", (1, 28, 28), tuple("0123456789"), num_examples=60_000)
NUMBER = Spec("images", "regression", (1, 28, 28), num_examples=60_000)


def test_families_are_models_and_their_settings_are_valid() -> None:
    assert set(FAMILIES) <= set(MODELS)
    for name, family in FAMILIES.items():
        recipe = complete({"model.name": name}, MANY)
        assert recipe["train.epochs"] == family.epochs
        assert {key: recipe[key] for key in family.settings} == dict(family.settings)


@pytest.mark.parametrize("name", ["linear", "mlp", "lenet", "convnet"])
def test_other_families_have_the_usual_defaults(name: str) -> None:
    recipe = complete({"model.name": name}, MANY)
    assert recipe["optim.name"] == "sgd" and recipe["optim.lr"] == defaults("optim", "sgd")["lr"]
    assert recipe["schedule.name"] == "one_cycle" and recipe["train.epochs"] == 10


def test_little_data_gets_as_many_steps_as_ever() -> None:
    few = Spec("images", "classification", (1, 8, 8), tuple("0123456789"), num_examples=1797)
    assert complete({"model.name": "resnet"}, few)["train.epochs"] == 27


def test_a_rate_holds_for_the_familys_own_optimizer_only() -> None:
    own = complete({"model.name": "vit"}, MANY)
    assert own["optim.name"] == "adamw" and own["optim.weight_decay"] == 0.05
    other = complete({"model.name": "vit", "optim.name": "sgd"}, MANY)
    assert other["optim.lr"] == defaults("optim", "sgd")["lr"]
    assert other["optim.weight_decay"] == defaults("optim", "sgd")["weight_decay"]
    adam = complete({"model.name": "alexnet", "optim.name": "adam"}, MANY)
    assert adam["optim.lr"] == defaults("optim", "adam")["lr"]


def test_what_is_given_wins() -> None:
    recipe = complete({"model.name": "vit", "optim.lr": 0.5, "train.epochs": 2}, MANY)
    assert recipe["optim.lr"] == 0.5 and recipe["train.epochs"] == 2


def test_squared_errors_get_a_small_rate() -> None:
    for name in ("lenet", "resnet", "alexnet"):
        assert complete({"model.name": name}, NUMBER)["optim.lr"] == 0.01
