"""The rules on really trained runs on real digits: sick ones, healthy ones, and the cure."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fitwell as fw
from fitwell import store
from fitwell.data import read
from fitwell.data.split import fold_rows
from fitwell.data.types import Data
from fitwell.experiments import reference_models
from fitwell.findings import diagnose
from fitwell.improve.variants import edited
from fitwell.recipe import Recipe
from fitwell.record import Diagnosis, Row, Run
from fitwell.remedies import rank_remedies
from fitwell.resolve import complete
from fitwell.train.fit import train_once


@cache
def digits() -> Data:
    return read("digits", {})


@cache
def references() -> list[Row]:
    rows = fold_rows(digits(), {}, fold=0, repeat=0, seed=0)
    return reference_models(digits(), rows, 0, metric="accuracy")


@cache
def noisy_digits() -> Data:
    random = np.random.default_rng(0)
    wrong = random.random(len(digits())) < 0.3
    return replace(
        digits(), targets=np.where(wrong, random.integers(0, 10, len(wrong)), digits().targets)
    )


def trained(recipe: Recipe, data: Data | None = None, count: int = 3) -> list[Run]:
    data = data or digits()
    options = recipe.section("data")
    runs = []
    for fold in range(count):
        rows = fold_rows(data, options, fold=fold, repeat=0, seed=0)
        runs.append(train_once(data, rows, recipe, seed=fold, fold=fold, threads=1))
    runs[0].evidence = list(references()) if data is digits() else []
    return runs


def recipe_of(**settings: Any) -> Recipe:
    named = {key.replace("__", "."): value for key, value in settings.items()}
    return complete({"source": "digits", **named}, digits().spec)


def found(diagnosis: Diagnosis) -> list[str]:
    return [finding.name for finding in diagnosis.findings]


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, marks=pytest.mark.slow, id="default"),
        pytest.param({"model__name": "mlp"}, id="mlp"),
        pytest.param(
            {"model__name": "mlp", "model__activation": "tanh"}, marks=pytest.mark.slow, id="tanh"
        ),
        pytest.param(
            {"model__name": "mlp", "optim__name": "adam"}, marks=pytest.mark.slow, id="adam"
        ),
        pytest.param(
            {"model__name": "convnet", "model__width": 8, "train__epochs": 10},
            marks=pytest.mark.slow,
            id="convnet",
        ),
        pytest.param({"model__name": "linear"}, id="linear"),
    ],
)
def test_healthy_runs_give_no_finding(settings: dict[str, Any]) -> None:
    runs = trained(recipe_of(**settings))
    assert found(diagnose(runs)) == []
    for run in runs:  # each alone too
        assert found(diagnose(run)) == []


@pytest.mark.parametrize(
    ("settings", "causes"),
    [
        pytest.param(
            {"model__activation": "sigmoid", "optim__lr": 0.01},
            ["vanishing_gradient", "lr_too_low"],
            marks=pytest.mark.slow,
        ),
        ({"model__name": "mlp", "optim__lr": 1e-4}, ["lr_too_low"]),
        ({"model__name": "mlp", "optim__lr": 2.0}, ["lr_too_high", "dying_relu"]),
        pytest.param(
            {"model__name": "mlp", "model__activation": "tanh", "optim__lr": 2.0},
            ["lr_too_high", "saturated_activation"],
            marks=pytest.mark.slow,
        ),
        ({"train__epochs": 3}, ["stopped_too_early"]),
        ({"model__name": "mlp", "model__width": 2}, ["underfitting"]),
    ],
    ids=["sigmoid", "low rate", "high rate", "high rate tanh", "few epochs", "narrow"],
)
def test_sick_runs_show_their_causes_first(settings: dict[str, Any], causes: list[str]) -> None:
    diagnosis = diagnose(trained(recipe_of(**settings)))
    assert found(diagnosis)[: len(causes)] == causes
    assert diagnosis.findings[0].confidence in ("high", "medium")


@pytest.mark.slow
def test_a_network_that_learns_wrong_labels_overfits_and_doubts_them() -> None:
    recipe = recipe_of(model__name="mlp", optim__weight_decay=0.0)
    diagnosis = diagnose(trained(recipe, noisy_digits()))
    assert found(diagnosis)[:2] == ["overfitting", "label_noise"]
    share = diagnosis.findings[1].evidence["share"]
    wrong = np.mean(noisy_digits().targets != digits().targets)
    assert abs(share - wrong) < 0.1


@pytest.mark.slow
def test_the_first_remedies_cure_the_sick_start() -> None:
    recipe = recipe_of(model__activation="sigmoid", optim__lr=0.01)
    before = trained(recipe, count=2)
    remedy = rank_remedies(diagnose(before), recipe, digits().spec)[0]
    better = edited(recipe, remedy.settings, digits().spec)
    after = trained(better, count=2)
    assert "vanishing_gradient" not in found(diagnose(after))
    gained = np.mean([b.held_out["accuracy"] for b in after]) - np.mean(
        [a.held_out["accuracy"] for a in before]
    )
    assert gained > 0.5


def test_copies_on_both_sides_of_the_split_are_a_leak(tmp_path: Path) -> None:
    x, y = digits().inputs[:400], digits().targets[:400]
    doubled = np.concatenate([x, x[:120]]), np.concatenate([y, y[:120]])
    quick = {"train.epochs": 1}
    for name, source in (("copies", doubled), ("clean", (x, y))):
        run = fw.fit(source, model="mlp", settings=quick, out=tmp_path / name)
        found = {f.name: f for f in fw.diagnose(run, measure=True)}
        assert ("leakage" in found) == (name == "copies")
        if name == "copies":
            assert "duplicate_across_split" in str(found["leakage"].evidence)
            assert 0.1 < found["leakage"].evidence["copied"] < 0.5
            assert "instead of" in found["leakage"].sentence


@pytest.mark.slow
def test_dropout_that_leaves_too_little_is_the_first_finding(tmp_path: Path) -> None:
    strong = {"model.dropout": 0.9, "data.limit": 400, "train.epochs": 10, "data.folds": 3}
    run = fw.cv("digits", model="mlp", settings=strong, out=tmp_path / "cv", examples=False)
    before = {entry.name for entry in fw.diagnose(run).not_assessed}
    first = fw.diagnose(run, measure=True).findings[0]
    assert "over_regularised" in before and first.name == "over_regularised"
    assert first.settings == ("model.dropout",) and first.evidence["train_without"] > 0.9
    assert first.remedies[0].settings == {"model.dropout": 0.0}
    # What was measured is kept: nothing is trained again.
    kept = [
        row
        for path in (tmp_path / "cv" / "trials").glob("*/evidence.jsonl")
        for row in store.read_rows(path)
    ]
    free = [row for row in kept if row["experiment"] == "unrestrained"]
    assert [row["settings"] for row in free] == [["model.dropout"]]
