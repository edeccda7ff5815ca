"""Range test, one batch and reference models against known answers and scikit-learn itself."""

import importlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.neighbors import KNeighborsClassifier

import fitwell as fw
from fitwell import store
from fitwell.cli.main import run as command
from fitwell.data import read
from fitwell.data.split import Rows, fit_rows, fold_rows
from fitwell.data.types import Data
from fitwell.errors import FolderError
from fitwell.experiments import (
    domain_classifier,
    held_out_copies,
    one_batch,
    range_test,
    reference_models,
)
from fitwell.experiments.range_test import StepFunction, divergence, smoothed, steepest
from fitwell.findings import RULES
from fitwell.findings.start import cannot_fit_one_batch
from fitwell.improve import evidence
from fitwell.improve.evidence import OF_DATA, _losses, again, batch_starter, checked, gather
from fitwell.improve.state import rows_of_round
from fitwell.recipe import Recipe
from fitwell.record import Finding, Predictions, Run
from fitwell.resolve import complete
from fitwell.train import train_once

RATES = np.geomspace(1e-5, 10, 100)


def quadratic(
    curvature: float, noise: float = 0.0, spike_at: int = -1
) -> Callable[[int], StepFunction]:
    """Gradient descent on curvature/2 w^2, which breaks at lr = 2 / curvature."""

    def start(seed: int) -> StepFunction:
        random = np.random.default_rng(seed)
        state = {"w": 1.0, "step": 0}

        def step(lr: float) -> float:
            w = state["w"]
            loss = 0.5 * curvature * w * w + 1.0 + noise * random.normal()
            if state["step"] == spike_at:
                loss += 50.0
            # Noise in the gradient, as batches have it, or the weight would reach exactly zero.
            state["w"] = w - lr * curvature * (w + 0.1 * random.normal())
            state["step"] += 1
            return loss

        return step

    return start


@pytest.mark.parametrize("curvature", [2.0, 20.0, 200.0])
def test_divergence_is_found_where_theory_has_it(curvature: float) -> None:
    rows = range_test(quadratic(curvature, noise=0.01))
    assert [row["seed"] for row in rows] == [0, 1, 2]
    for row in rows:
        # It takes some steps beyond 2 / curvature until what was gained is lost again.
        assert 2 / curvature < row["divergence_lr"] < 30 / curvature
        assert row["steepest_lr"] < row["divergence_lr"]
        assert len(row["lr"]) == len(row["loss"]) < 100


@pytest.mark.parametrize("spike_at", [2, 20, 45])
def test_a_spike_fools_it_no_more(spike_at: int) -> None:
    [calm], [spiked] = (
        range_test(quadratic(20.0, noise=0.01, spike_at=at), seeds=[0]) for at in (-1, spike_at)
    )
    assert spiked["divergence_lr"] == pytest.approx(calm["divergence_lr"], rel=0.2)
    assert spiked["steepest_lr"] == pytest.approx(calm["steepest_lr"], rel=1.0)


def test_a_flat_noisy_loss_neither_falls_nor_breaks() -> None:
    random = np.random.default_rng(0)
    for scale in (0.0, 0.05, 0.3):
        losses = list(2.3 + scale * random.normal(size=100))
        assert divergence(RATES, losses) is None
        assert steepest(RATES, losses) is None


def test_not_a_number_ends_the_test_and_is_the_break() -> None:
    losses = iter([2.0] * 20 + [1.5] * 10 + [1.0] * 10 + [math.nan] * 60)
    [row] = range_test(lambda seed: lambda lr: next(losses), seeds=[0])
    assert len(row["lr"]) == 41 and row["loss"][-1] is None
    assert row["divergence_lr"] == pytest.approx(row["lr"][-1], rel=0.7)


def test_smoothing_is_a_running_median() -> None:
    random = np.random.default_rng(1)
    values = list(random.normal(size=30))
    twin = [float(np.median(values[max(0, i - 3) : i + 4])) for i in range(30)]
    assert smoothed(values).tolist() == twin
    assert smoothed([1.0, math.nan, 1.0, 1.0]).tolist() == [1.0] * 4


@pytest.mark.parametrize("source", ["digits", "breast-cancer", "diabetes"])
def test_reference_models_stand_where_they_should(source: str) -> None:
    data = read(source, {})
    rows = fold_rows(data, {}, fold=1, repeat=0, seed=0)
    metric = "rmse" if source == "diabetes" else "accuracy"
    found = reference_models(data, rows, 0, metric=metric, fold=1)
    by_model = {row["model"]: row for row in found}
    lasso = {"lasso"} if source == "diabetes" else set()
    assert set(by_model) == {"trivial", "nearest_neighbour", "linear", "boosted_trees"} | lasso
    assert all(row["experiment"] == "reference" and row["fold"] == 1 for row in found)
    trivial = by_model.pop("trivial")["held_out"]
    for row in by_model.values():
        better = row["held_out"] < trivial if source == "diabetes" else row["held_out"] > trivial
        assert better, row
    assert found == reference_models(data, rows, 0, metric=metric, fold=1)


def test_reference_scores_equal_scikit_learn_on_the_same_rows() -> None:
    data = read("digits", {})
    rows = fold_rows(data, {}, fold=0, repeat=0, seed=0)
    found = {row["model"]: row for row in reference_models(data, rows, metric="accuracy")}
    x, y = data.inputs.reshape(len(data), -1).astype(float), data.targets
    neighbour = KNeighborsClassifier(1).fit(x[rows.train], y[rows.train])
    # One mean and one scale for the only channel: neighbours stay neighbours.
    expected = neighbour.score(x[rows.held_out], y[rows.held_out])
    assert found["nearest_neighbour"]["held_out"] == pytest.approx(expected)
    dummy = DummyClassifier(strategy="most_frequent").fit(x[rows.train], y[rows.train])
    expected = dummy.score(x[rows.held_out], y[rows.held_out])
    assert found["trivial"]["held_out"] == pytest.approx(expected)
    assert found["trivial"]["metric"] == "accuracy"


def test_large_data_are_sampled_and_large_images_averaged_down() -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 9000)
    images = random.integers(0, 60, (9000, 24, 24, 3)).astype(np.uint8)
    images[np.arange(9000), :, :, y] += 100  # the class's channel is brighter
    data = read((images, y), {})
    rows = fold_rows(data, {}, fold=0, repeat=0, seed=0)
    found = {row["model"]: row for row in reference_models(data, rows, 0, metric="accuracy")}
    assert found["linear"]["examples"] == 5000
    assert found["linear"]["held_out"] > 0.99


def learner(
    reached: dict[float, list[float]],
) -> Callable[[int], tuple[Callable[[float], float], Callable[[], float]]]:
    """A training whose fit, each time it is asked for, is the next of its rate's list."""

    def start(seed: int) -> tuple[Callable[[float], float], Callable[[], float]]:
        rates: list[float] = []
        asked = []

        def step(lr: float) -> float:
            rates.append(lr)
            return math.nan if lr > 1 else 1.0 / len(rates)

        def fit() -> float:
            asked.append(1)
            fits = reached[round(rates[-1], 4)]
            return fits[min(len(asked), len(fits)) - 1]

        return step, fit

    return start


def test_one_batch_stops_where_it_is_learned_and_tries_other_rates_where_not() -> None:
    rows = one_batch(learner({0.3: [0.5, 0.995]}), lr=0.3, seeds=(0, 1))
    assert [(row["seed"], row["lr"], row["steps"], row["fit"]) for row in rows] == [
        (0, 0.3, 40, 0.995),
        (1, 0.3, 40, 0.995),
    ]
    reached = {0.05: [0.1], 0.005: [0.2], 0.5: [0.3], 0.0005: [0.4]}
    rows = one_batch(learner(reached), lr=0.05, seeds=(0,), steps=50)
    assert [(round(row["lr"], 4), row["steps"], row["fit"]) for row in rows] == [
        (0.05, 50, 0.1),
        (0.005, 50, 0.2),
        (0.5, 50, 0.3),
        (0.0005, 50, 0.4),
    ]
    reached = {0.6: [0.1], 0.06: [0.1], 0.006: [0.1]}
    _, _, broken, _ = one_batch(learner(reached), lr=0.6, seeds=(0,), steps=20)
    assert (broken["fit"], broken["last"], broken["steps"]) == (0.0, None, 1)


def test_of_a_seed_whose_time_is_up_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second a step: the first seed learns in 40, the second would need another rate."""
    clock = iter(range(1000))
    ticking = SimpleNamespace(monotonic=lambda: next(clock))
    module = importlib.import_module("fitwell.experiments.one_batch")
    monkeypatch.setattr(module, "time", ticking)
    rows = one_batch(learner({0.3: [0.5, 0.995]}), lr=0.3, seeds=(0, 1), seconds=60)
    assert [row["seed"] for row in rows] == [0]
    assert not one_batch(learner({0.3: [0.5, 0.995]}), lr=0.3, seconds=10)


@pytest.mark.parametrize(
    ("settings", "learned"),
    [
        ({"model.name": "mlp", "augment.rotate": 90.0, "model.dropout": 0.3}, True),
        ({"model.name": "mlp", "model.width": 1, "model.depth": 3}, False),
    ],
)
def test_a_network_that_can_learns_one_batch_by_heart(
    settings: dict[str, object], learned: bool
) -> None:
    data = read("digits", {})
    recipe = complete({"source": "digits", **settings}, data.spec)
    start = batch_starter(data, recipe, repeat=0, seed=0)
    rows = one_batch(start, lr=float(recipe["optim.lr"]), seeds=(0,))
    assert (max(row["fit"] for row in rows) >= 0.9) == learned
    assert isinstance(cannot_fit_one_batch([Run(evidence=rows)]), Finding) != learned


def test_parts_of_one_source_cannot_be_told_apart_and_others_can() -> None:
    data = read("digits", {})
    rows = fold_rows(data, {}, fold=0, repeat=0, seed=0)
    [alike] = domain_classifier(data, rows, 0, fold=0)
    assert alike["low"] < 0.5 < alike["high"] and alike["fold"] == 0
    images = data.inputs.copy()
    images[rows.held_out] = np.minimum(images[rows.held_out] + 2, images.max())
    [apart] = domain_classifier(replace(data, inputs=images), rows, 0)
    assert apart["low"] > 0.8
    assert domain_classifier(data, replace(rows, held_out=rows.held_out[:20]), 0) == []


def test_windows_of_a_series_are_not_told_apart_by_their_neighbours() -> None:
    """Windows that share steps are nearly copies: trees that saw one know the part of the next."""
    random = np.random.default_rng(0)
    walk = np.cumsum(random.normal(size=3000) * 0.3)
    level = walk - np.convolve(walk, np.ones(30) / 30, "same")  # goes nowhere
    table = pl.DataFrame({"step": np.arange(len(level)), "level": level})
    data = read(table, {"kind": "series", "time": "step", "look_back": 10, "horizon": 3})
    rows = fold_rows(data, {}, fold=4, repeat=0, seed=0)
    [alike] = domain_classifier(data, rows, 0)
    assert alike["low"] < 0.6 and alike["examples"] < len(data) / 8
    moved = data.inputs.copy()
    moved[rows.held_out] += 2
    [apart] = domain_classifier(replace(data, inputs=moved), rows, 0)
    assert apart["low"] > 0.7


@pytest.mark.parametrize(("train", "learned"), [(0.99, True), (0.2, False)])
def test_an_improvement_gathers_what_its_baseline_calls_for(train: float, learned: bool) -> None:
    """One batch is learned by heart only where the fit is poor."""
    data = read("digits", {})
    recipe = complete({"source": "digits", "model.name": "linear"}, data.spec)
    run = Run(recipe=recipe, spec=data.spec, scores={"train": {"accuracy": train}})
    rows = gather(data, recipe, [run], repeat=0, seed=0)
    named = {row["experiment"] for row in rows}
    assert named >= {"check", "reference", "domain", "range_test"}
    assert ("one_batch" in named) != learned
    later = gather(data, recipe, [run], repeat=0, seed=0, have=OF_DATA)
    assert {row["experiment"] for row in later} == {"range_test"}


def test_equal_inputs_with_other_targets_flatter_no_score() -> None:
    x = np.arange(80, dtype=np.float32).reshape(40, 2)
    x[20:] = x[:20]
    y = np.array(["a", "b"] * 10 + ["b", "a"] * 10)
    data = read((x, y), {"task": "classification"})
    recipe = complete({"model.name": "linear", "data.test": 0.0}, data.spec)
    rows = np.arange(20)
    part = Predictions(data.keys[rows], rows, data.targets[rows], rows % 2, None, np.zeros(20))
    told = checked(data, recipe, [Run(fold=0, predictions={"held_out": part})])
    found = {row.get("problem") for row in told}
    assert "conflicting_labels" in found and "duplicate_across_split" not in found
    assert not any(row["experiment"] == "copies" for row in told)


@pytest.mark.parametrize("fold", [None, 2])
def test_a_training_again_has_the_examples_of_the_first(
    fold: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = read("digits", {"limit": 300})
    recipe = complete({"model.name": "linear", "data.limit": 300}, data.spec)
    run = Run(recipe=recipe, fold=fold, seed=7, scores={"train": {"accuracy": 0.2}})
    seen: list[Rows] = []

    def train(_: Data, rows: Rows, changed: Recipe, **how: Any) -> Run:
        assert how["seed"] == 7 and how["fold"] == fold and changed["train.epochs"] == 3
        seen.append(rows)
        return run

    monkeypatch.setattr("fitwell.train.train_once", train)
    again("longer", {"train.epochs": 3}, data, recipe, [run])
    options = recipe.section("data")
    expected = fit_rows(data, options, 7)
    if fold is not None:
        expected = fold_rows(data, options, fold=fold, repeat=0, seed=7)
    assert np.array_equal(seen[0].train, expected.train)
    assert np.array_equal(seen[0].held_out, expected.held_out)


def test_a_training_for_evidence_is_left_out_where_it_fails_or_takes_too_long() -> None:
    data = read("digits", {"limit": 200})
    settings = {"source": "digits", "model.name": "linear", "train.epochs": 2, "data.limit": 200}
    recipe = complete(settings, data.spec)
    run = Run(recipe=recipe, spec=data.spec, fold=0, scores={"train": {"accuracy": 0.2}}, seconds=5)
    twice = again("longer", {"train.epochs": 4}, data, recipe, [run])
    assert (twice[0]["epochs"], twice[0]["train"]) == (4, 0.2) and twice[0]["train_again"] > 0.2
    numbers = read("diabetes", {})
    steep = complete({"model.name": "linear", "train.epochs": 20}, numbers.spec)
    other = Run(recipe=steep, spec=numbers.spec, fold=0, scores={"train": {"rmse": 60.0}})
    assert again("longer", {"optim.lr": 100.0}, numbers, steep, [other]) == []  # not a number
    assert again("unrestrained", {}, data, recipe, [run]) == []
    for seconds, told in ((10.0, True), (9.0, False)):
        rows = gather(data, recipe, [run], repeat=0, seed=0, seconds=seconds)
        assert any(row["experiment"] == "longer" for row in rows) == told


def test_few_steps_are_tried_again_and_read_on_examples_that_neither_saw() -> None:
    data = read("digits", {"limit": 300})
    base = {"source": "digits", "model.name": "linear", "data.limit": 300, "train.batch_size": 16}
    for epochs, told in ((3, True), (40, False)):  # of 12 steps: 36 and 480
        recipe = complete({**base, "train.epochs": epochs}, data.spec)
        rows = fold_rows(data, recipe.section("data"), fold=0, repeat=0, seed=0)
        run = train_once(data, rows, recipe, fold=0)
        found = gather(data, recipe, [run], repeat=0, seed=0, have=("reference", "check"))
        assert any(row["experiment"] == "longer" for row in found) == told
        if told:
            [row] = [row for row in found if row["experiment"] == "longer"]
            assert row["loss"] == pytest.approx(np.mean(run.predictions["held_out"].loss))
            assert row["fall_low"] < row["loss"] - row["loss_again"] < row["loss"]
            assert row["fall_low"] > 0.1 * row["loss"]


def test_the_bound_of_a_fall_is_that_of_the_examples_pair_by_pair() -> None:
    before, falls = np.linspace(1, 2, 50), np.linspace(0.1, 0.3, 50)
    runs = [Run(predictions={"held_out": held_out(loss)}) for loss in (before, before - falls)]
    found = _losses(*runs)
    assert (found["loss"], found["loss_again"]) == pytest.approx((1.5, 1.3))
    error = np.std(falls, ddof=1) / np.sqrt(50)
    assert found["fall_low"] == pytest.approx(0.2 - 1.645 * error)
    others = Run(predictions={"held_out": replace(held_out(before), index=np.arange(50) + 1)})
    assert _losses(runs[0], others) == {} and _losses(runs[0], Run()) == {}


def held_out(loss: np.ndarray) -> Predictions:
    rows = np.arange(len(loss))
    return Predictions(rows.astype(str), rows, rows, rows, None, loss)


def test_simple_models_are_fitted_on_as_many_folds_as_tell_their_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = read("wine", {})
    recipe = complete({"source": "wine", "model.name": "linear", "train.epochs": 1}, data.spec)
    run = Run(recipe=recipe, spec=data.spec, fold=0, scores={"train": {"accuracy": 1.0}})
    for enough, folds in ((1000, {0, 1, 2}), (60, {0, 1}), (1, {0})):  # 32 are held out of each
        monkeypatch.setattr(evidence, "TELLING", enough)
        rows = gather(data, recipe, [run], repeat=0, seed=0, have=("check", "range_test"))
        assert {row["fold"] for row in rows if row["experiment"] == "reference"} == folds


def test_what_is_of_the_data_serves_every_round() -> None:
    first = [{"experiment": name, "of": 1} for name in (*OF_DATA, "range_test", "one_batch")]
    second = [{"experiment": "range_test", "of": 2}]
    rows = rows_of_round({"1": first, "2": second}, 2)
    assert [(r["experiment"], r["of"]) for r in rows] == [
        *((name, 1) for name in OF_DATA),
        ("range_test", 2),
    ]
    assert rows_of_round({"1": first, "2": second}, 1) == first


def test_the_batch_that_is_learned_is_not_changed_at_random() -> None:
    data = read("digits", {})
    recipe = complete({"source": "digits", "model.name": "linear", "augment.noise": 1.0}, data.spec)
    seen = []
    for _ in range(2):
        step, _ = batch_starter(data, recipe, repeat=0, seed=0)(0)
        seen.append([step(0.0) for _ in range(2)])
    plain = recipe.edit({"augment.noise": 0.0})
    step, _ = batch_starter(data, plain, repeat=0, seed=0)(0)
    assert seen[0] == seen[1] == [step(0.0) for _ in range(2)]


def test_diagnose_measures_what_a_run_lacks_and_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = {"data.limit": 400, "train.epochs": 2, "optim.lr": 1e-6}
    fw.fit("digits", model="mlp", settings=slow, out=tmp_path / "run")
    plain = fw.diagnose(tmp_path / "run")
    lacking = {"leakage", "underfitting", "cannot_fit_one_batch", "shift"}
    assert {entry.name for entry in plain.not_assessed} >= lacking - {"shift"}
    assert command(["diagnose", str(tmp_path / "run"), "--measure", "--json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert not {entry["name"] for entry in measured["not_assessed"]} & lacking
    assert "underfitting" in {finding["name"] for finding in measured["findings"]}
    kept = store.read_rows(tmp_path / "run" / "evidence.jsonl")
    names = [row["experiment"] for row in kept]
    assert {"check", "reference", "domain", "range_test", "one_batch"} <= set(names)
    # Nothing is measured twice; without --measure what was kept is read.
    again = fw.diagnose(tmp_path / "run", measure=True)
    assert len(store.read_rows(tmp_path / "run" / "evidence.jsonl")) == len(kept)
    assert [f.name for f in again] == [f.name for f in fw.diagnose(tmp_path / "run")]


def test_a_cross_validation_is_measured_too(tmp_path: Path) -> None:
    settings = {"data.limit": 300, "train.epochs": 2, "data.folds": 3}
    fw.cv("digits", model="mlp", settings=settings, out=tmp_path / "cv")
    found = fw.diagnose(tmp_path / "cv", measure=True)
    assert "leakage" not in {entry.name for entry in found.not_assessed}
    assert "leakage" not in {entry.name for entry in fw.diagnose(tmp_path / "cv").not_assessed}


def test_what_a_score_owes_to_copies() -> None:
    x = np.arange(24, dtype=np.float32).reshape(12, 2)
    x[9:] = x[:3]  # 9 copies 0, 10 copies 1, 11 copies 2
    y = np.array(["a", "b", "a"] * 4)
    data = read((x, y), {"task": "classification"})
    target = data.targets

    def run_of(held_out: list[int], wrong: list[int]) -> Run:
        rows = np.array(held_out)
        said = np.where(np.isin(rows, wrong), 1 - target[rows], target[rows])
        part = Predictions(data.keys[rows], rows, target[rows], said, None, np.zeros(len(rows)))
        return Run(fold=0, predictions={"held_out": part})

    # 9 and 10 have their copies in the training part, 2 and 11 are both held out.
    run = run_of([2, 3, 4, 9, 10, 11], wrong=[3, 4])
    named = {str(data.keys[i]) for i in (0, 1, 2, 9, 10, 11)}
    row = held_out_copies(data, [run], named, metric="accuracy")[0]
    assert (row["held_out"], row["copies"]) == (6, 2)
    assert row["score"] == pytest.approx(4 / 6) and row["score_without"] == pytest.approx(2 / 4)
    few = {str(data.keys[i]) for i in (0, 9)}  # the others are not named
    assert held_out_copies(data, [run], few, metric="accuracy")[0]["copies"] == 1
    # Nobody trained on what is another part's.
    run.predictions["test"] = run_of([0, 1], wrong=[]).predictions["held_out"]
    assert held_out_copies(data, [run], named, metric="accuracy")[0]["copies"] == 0
    assert "score" not in held_out_copies(data, [run], named, metric="accuracy")[0]
    assert held_out_copies(data, [Run()], named, metric="accuracy") == []


def test_what_cannot_be_measured_says_why(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(80, 4)), np.arange(80) % 2
    run = fw.fit((x, y), model="mlp", settings={"train.epochs": 1}, out=tmp_path / "run")
    assert fw.diagnose(run, measure=True).rules == len(RULES)
    with pytest.raises(FolderError, match="was in memory"):
        fw.diagnose(tmp_path / "run", measure=True)
    with pytest.raises(FolderError, match="has no recipe"):
        fw.diagnose(Run(steps=[{"step": 0, "loss": 1.0}]), measure=True)


def test_what_eight_steps_lack_is_not_looked_for_in_sixteen() -> None:
    settings = {"data.limit": 400, "train.epochs": 1, "data.folds": 3}
    run = fw.cv("digits", model="lenet", settings=settings, examples=False)
    found = fw.diagnose(run, measure=True)
    assert found.findings[0].name == "stopped_too_early"
    assert found.findings[0].evidence["train_longer"] > 0.9
