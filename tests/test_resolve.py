"""Defaults: per task, per amount of data, per model family."""

from dataclasses import replace
from typing import Any

import pytest

from fitwell.families import FAMILIES, OF_BOXES, OF_TEXTS
from fitwell.models import MODELS
from fitwell.resolve import complete
from fitwell.settings import defaults
from fitwell.spec import Spec

MANY = Spec("images", "classification", (1, 28, 28), tuple("0123456789"), num_examples=60_000)
NUMBER = Spec("images", "regression", (1, 28, 28), num_examples=60_000)


def test_families_are_models_and_their_settings_are_valid() -> None:
    assert set(FAMILIES) <= set(MODELS)
    texts = Spec("text", "classification", (99,), ("a", "b"), vocabulary=9, num_examples=60_000)
    boxes = Spec("boxes", "detection", (3, 320, 320), ("a", "b"), num_examples=60_000)
    read = {**dict.fromkeys(OF_TEXTS, texts), **dict.fromkeys(OF_BOXES, boxes)}
    for name, family in FAMILIES.items():
        recipe = complete({"model.name": name}, read.get(name, MANY))
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


def test_what_a_transformer_takes_and_mirror_images_only_of_the_same_class() -> None:
    shoes = Spec("images", "classification", (1, 28, 28), ("boot", "sandal"), num_examples=60_000)
    few = replace(shoes, num_examples=900)
    recipe = complete({"model.name": "vit"}, shoes)
    assert recipe["augment.hflip"] == 0.5 and recipe["train.batch_size"] == 64
    assert recipe["model.stem"] == "auto" and defaults("model", "vit")["stem"] == "large"
    assert complete({"model.name": "vit"}, few)["train.batch_size"] == 32
    assert complete({"model.name": "vit"}, MANY)["augment.hflip"] == 0  # digits
    assert complete({"model.name": "vit", "loss.name": "mse"}, NUMBER)["augment.hflip"] == 0
    for given in ({"augment.policy": "none"}, {"augment.hflip": 0.0}):
        assert complete({"model.name": "vit", **given}, shoes)["augment.hflip"] == 0
    other = complete({"model.name": "resnet"}, shoes)
    assert other["augment.hflip"] == 0 and other["train.batch_size"] == 128


def test_what_is_given_wins() -> None:
    recipe = complete({"model.name": "vit", "optim.lr": 0.5, "train.epochs": 2}, MANY)
    assert recipe["optim.lr"] == 0.5 and recipe["train.epochs"] == 2


def test_squared_errors_get_a_small_rate() -> None:
    for name in ("lenet", "resnet", "alexnet"):
        assert complete({"model.name": name}, NUMBER)["optim.lr"] == 0.01


@pytest.mark.parametrize(
    ("given", "optimizer"),
    [
        ({}, "adamw"),
        ({"optim.lr": 0.01}, "adamw"),
        ({"optim.l1": 1e-3}, "sgd"),
        ({"optim.momentum": 0.5, "optim.lr": 0.1}, "sgd"),
        ({"optim.beta1": 0.8}, "adamw"),
        ({"optim.name": "adam"}, "adam"),
    ],
)
def test_a_setting_that_only_sgd_has_chooses_it(given: dict[str, Any], optimizer: str) -> None:
    spec = Spec("table", "classification", (4,), ("a", "b"), num_examples=100)
    recipe = complete({"model.name": "mlp", **given}, spec)
    assert recipe["optim.name"] == optimizer
    assert recipe["optim.lr"] == given.get(
        "optim.lr", {"adamw": 3e-3, "sgd": 0.05, "adam": 1e-3}[optimizer]
    )


def test_families_have_defaults_of_their_own_for_tables() -> None:
    table = Spec("table", "classification", (4,), ("a", "b"), num_examples=100)
    images = Spec("images", "classification", (1, 8, 8), ("a", "b"), num_examples=100)
    of_table, of_images = (complete({"model.name": "mlp"}, spec) for spec in (table, images))
    assert (of_table["data.scaling"], of_images["data.scaling"]) == ("robust", "standard")
    assert (of_table["model.waves"], of_images["model.waves"]) == (16, 0)
    assert complete({"model.name": "linear"}, table)["data.scaling"] == "standard"
    chosen = complete({"model.name": "mlp", "model.depth": 1, "data.scaling": "standard"}, table)
    assert (chosen["model.depth"], chosen["data.scaling"]) == (1, "standard")


@pytest.mark.parametrize(
    ("task", "examples", "epochs"),
    [
        ("classification", 1000, 16),  # 500 steps of 32
        ("classification", 60_000, 15),
        ("regression", 1500, 96),  # 4,500 steps of 32
        ("regression", 300, 180),
        ("regression", 60_000, 60),
    ],
)
def test_tables_are_passed_over_often_for_numbers_and_seldom_for_classes(
    task: Any, examples: int, epochs: int
) -> None:
    spec = Spec("table", task, (4,), ("a", "b") * (task == "classification"), num_examples=examples)
    assert complete({"model.name": "mlp"}, spec)["train.epochs"] == epochs
