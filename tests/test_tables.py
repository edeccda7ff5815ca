"""What every loss, optimizer and schedule must do in a real training: a new entry is tested too."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from resuming import ends_the_same
from safetensors.torch import load_file

import fitwell as fw
from fitwell import data as fitwell_data
from fitwell.catalog import entry_of
from fitwell.data import split
from fitwell.data.types import Data
from fitwell.errors import SettingError
from fitwell.metrics import METRICS
from fitwell.nn.activations import ACTIVATIONS
from fitwell.nn.inits import INITS
from fitwell.nn.losses import LOSSES
from fitwell.optim import OPTIMIZERS
from fitwell.recipe import Recipe
from fitwell.record import Run
from fitwell.resolve import complete
from fitwell.schedules import SCHEDULES
from fitwell.settings import validate
from fitwell.tasks import TASKS
from fitwell.train import train_once

TABLES: list[tuple[str, dict[str, Callable[..., Any]]]] = [
    ("activation", ACTIVATIONS),
    ("init", INITS),
    ("loss", LOSSES),
    ("optim", OPTIMIZERS),
    ("schedule", SCHEDULES),
]
SMALL = {"model.name": "mlp", "model.width": 16, "train.epochs": 6, "train.batch_size": 64}
KEPT = "best.safetensors"


@pytest.fixture(scope="module")
def sources() -> dict[str, Data]:
    return {name: fitwell_data.read(name, {}) for name in ("diabetes", "breast-cancer", "wine")}


# Of a class or a number; that of boxes is in tests/test_nn_boxes.py.
OF_TABLES = [name for name in LOSSES if name not in TASKS["detection"].losses]


def source_of(loss: str) -> str:
    if loss in TASKS["regression"].losses:
        return "diabetes"
    return "breast-cancer" if loss == "binary_cross_entropy" else "wine"


def recipe_for(data: Data, settings: dict[str, Any]) -> Recipe:
    return complete({**SMALL, **settings}, data.spec)


def trained(data: Data, folder: Path | None = None, **settings: Any) -> Run:
    recipe = recipe_for(data, {k.replace("__", "."): v for k, v in settings.items()})
    rows = split.fit_rows(data, recipe.section("data"), 0)
    return train_once(data, rows, recipe, folder=folder, threads=1, probes=False)


@pytest.mark.parametrize(
    ("section", "name"), [(section, name) for section, table in TABLES for name in table]
)
def test_every_entry_is_explained(section: str, name: str) -> None:
    entry = entry_of(dict(TABLES)[section][name])
    for part in ("summary", "formula", "use", "weakness", "source"):
        assert entry[part], part
    assert fw.explain(name)["formula"]


@pytest.mark.parametrize("name", OF_TABLES)
def test_every_loss_trains_to_better_than_trivial(sources: dict[str, Data], name: str) -> None:
    data = sources[source_of(name)]
    run = trained(data, loss__name=name, train__epochs=20, train__batch_size=16)
    losses = [row["train"]["loss"] for row in run.epochs]
    assert run.status == "done" and losses[-1] < losses[0]
    part = run.predictions["test"]
    score = METRICS["r2" if data.spec.task == "regression" else "balanced_accuracy"]
    assert score(part.target, part.prediction, part.probabilities) > (
        0.2 if data.spec.task == "regression" else 0.8
    )
    if part.probabilities is not None:
        assert part.probabilities.shape[1] == len(data.spec.classes)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains(sources: dict[str, Data], name: str) -> None:
    # Ten times the default where that is 0.001: this is a short training.
    rate: dict[str, Any] = {} if name in ("sgd", "adagrad", "adadelta") else {"optim__lr": 0.01}
    run = trained(sources["wine"], optim__name=name, train__epochs=20, train__batch_size=16, **rate)
    losses = [row["train"]["loss"] for row in run.epochs]
    assert run.status == "done" and losses[-1] < 0.9 * losses[0]


CHANGED: dict[str, Any] = {
    "label_smoothing": 0.2,
    "class_weights": "balanced",
    "gamma": 0.4,
    "q": 0.3,
    "delta": 0.1,
    "tau": 0.9,
    "lr": 0.03,
    "momentum": 0.3,
    "nesterov": True,
    "weight_decay": 0.5,
    "l1": 0.3,
    "beta1": 0.5,
    "beta2": 0.6,
    "alpha": 0.6,
    "rho": 0.6,
    "epsilon": 0.1,
    "momentum_decay": 0.5,
    "warmup": 0.5,
    "floor": 0.6,
    "every": 0.15,
    "milestones": [0.15],
    "restarts": 3,
    "patience": 0,
}
KNOBS = [
    (section, name, setting)
    for section, table in TABLES[2:]
    for name, entry in table.items()
    for setting, parameter in inspect.signature(entry).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY and (section != "loss" or name in OF_TABLES)
]


@pytest.mark.parametrize(("section", "name", "setting"), KNOBS)
def test_no_dead_knobs(
    sources: dict[str, Data], tmp_path: Path, section: str, name: str, setting: str
) -> None:
    data = sources[source_of(name) if section == "loss" else "wine"]
    base = {f"{section}.name": name, "train.epochs": 8}
    if section == "schedule":
        # Too low to get better with: `plateau` has something to watch.
        base |= {"optim.lr": 1e-6, "schedule.patience": 1} if name == "plateau" else {}
    weights = []
    for folder, change in (("plain", {}), ("moved", {f"{section}.{setting}": CHANGED[setting]})):
        recipe = recipe_for(data, {**base, **change})
        rows = split.fit_rows(data, recipe.section("data"), 0)
        train_once(data, rows, recipe, folder=tmp_path / folder, threads=1, probes=False)
        weights.append(load_file(tmp_path / folder / KEPT))
    assert any(not torch.equal(weights[0][k], weights[1][k]) for k in weights[0])


@pytest.mark.parametrize(
    ("section", "name"), [("optim", n) for n in OPTIMIZERS] + [("schedule", n) for n in SCHEDULES]
)
def test_a_resumed_run_ends_in_the_same_weights(
    sources: dict[str, Data], tmp_path: Path, section: str, name: str
) -> None:
    data = sources["wine"]
    settings: dict[str, Any] = {f"{section}.name": name, "model.norm": "batch"}
    if name == "sgd":
        settings["optim.l1"] = 1e-3
    if name == "plateau":
        settings |= {"optim.lr": 1e-6, "schedule.patience": 0}
    recipe = recipe_for(data, settings)
    whole = ends_the_same(data, recipe, tmp_path, after=3)
    if name == "plateau":
        assert whole.epochs[-1]["lr"] < whole.epochs[0]["lr"]


def test_weights_of_classes_move_training_and_not_what_is_recorded(
    sources: dict[str, Data],
) -> None:
    data = sources["breast-cancer"]
    plain = trained(data, train__epochs=1)
    heavy = trained(data, train__epochs=1, loss__class_weights=[1.0, 30.0])
    part = heavy.predictions["test"]
    assert part.probabilities is not None
    own = part.probabilities[range(len(part.target)), part.target]
    torch.testing.assert_close(
        torch.tensor(part.loss), -torch.tensor(own).log(), atol=1e-4, rtol=1e-3
    )
    assert (part.prediction == 1).mean() > (plain.predictions["test"].prediction == 1).mean()


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (
        "wine",
        {"loss.name": "binary_cross_entropy"},
        "has one logit, for two classes, and there are 3",
    ),
    ("diabetes", {"loss.name": "focal"}, "does not suit regression"),
    ("wine", {"optim.name": "adam", "optim.l1": 0.1}, r"exactly 0.*Set optim.name=sgd"),
    ("wine", {"loss.class_weights": "balansed"}, "Did you mean balanced"),
    ("wine", {"loss.class_weights": [1.0, -1.0, 1.0]}, "at least 0"),
    ("wine", {"train.normalise_gradient": True, "train.clip_norm": 1.0}, "no meaning beside it"),
    ("wine", {"model.init": "hee"}, "Did you mean he?"),
    (
        "wine",
        {"optim.name": "sgd", "train.ema": 0.9, "optim.l1": 0.1},
        r"an average .* has none. Set train.ema=0",
    ),
]


@pytest.mark.parametrize(("source", "settings", "says"), REFUSED)
def test_what_cannot_be_is_refused_before_training(
    sources: dict[str, Data], source: str, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(SettingError, match=says) as caught:
        recipe_for(sources[source], settings)
    assert caught.value.setting in settings


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("loss.class_weights", "balanced", "balanced"),
        ("loss.class_weights", "[1, 2.5]", [1.0, 2.5]),
        ("schedule.milestones", "0.3,0.6", [0.3, 0.6]),
        ("model.dropout", "0.2", 0.2),
        ("model.dropout", "[0.2]", [0.2]),
        ("model.init", "he,head=zeros", ["he", "head=zeros"]),
    ],
)
def test_texts_become_a_value_or_a_list(name: str, text: str, value: Any) -> None:
    assert validate({name: text})[name] == value


def test_weights_that_do_not_fit_the_classes_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="2 weights, and there are 3 classes"):
        fw.fit("wine", out=tmp_path / "run", settings={"loss.class_weights": [1.0, 2.0]})
    assert not (tmp_path / "run").exists()


def test_one_logit_goes_through_evaluate_and_predict(tmp_path: Path) -> None:
    settings = {"loss.name": "binary_cross_entropy", "train.epochs": 5}
    run = fw.fit("breast-cancer", model="linear", out=tmp_path / "run", settings=settings)
    assert run.scores["test"]["accuracy"] > 0.9
    again = fw.evaluate(tmp_path / "run")["scores"]
    assert again["loss"] == pytest.approx(run.scores["test"]["loss"], rel=1e-4)
    data = fitwell_data.read("breast-cancer", {})
    rows = fw.predict(tmp_path / "run", data.inputs[:5])
    assert {row["prediction"] for row in rows} <= set(data.spec.classes)
    assert all(row["probability"] >= 0.5 for row in rows)
    assert fw.show(tmp_path / "run")["table"][0]["shape"] == [1, 30]


def test_a_gradient_can_be_made_of_length_one(sources: dict[str, Data]) -> None:
    """Without momentum a step is then as long as the rate."""
    from fitwell.train.job import build_job
    from fitwell.train.loop import clip

    data = sources["wine"]
    recipe = recipe_for(data, {"train.normalise_gradient": True})
    rows = split.fit_rows(data, recipe.section("data"), 0)
    job = build_job(data, rows, recipe, seed=0)
    batch = next(iter(job.batches.epoch(0)))
    (100 * job.training_loss(job.model(batch.x), batch.y).mean()).backward()
    before = [p.grad.clone() for p in job.model.parameters() if p.grad is not None]
    norm = clip(job.model, recipe.section("train"), measure=False)
    after = [p.grad for p in job.model.parameters() if p.grad is not None]
    assert norm is not None and norm > 1
    assert torch.nn.utils.get_total_norm(after).item() == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close([g * norm for g in after], before)
    for gradient in after:
        gradient.zero_()
    clip(job.model, recipe.section("train"), measure=False)
    assert all((g == 0).all() for g in after)
