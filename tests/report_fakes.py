"""Realistic results without any training, for the tests of the report: an improvement of digits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.types import Data, Problem
from fitwell.recipe import Recipe
from fitwell.record import (
    Diagnosis,
    Finding,
    NotAssessed,
    Predictions,
    Remedy,
    Run,
    Scores,
    Verdict,
)
from fitwell.spec import Column, Spec

SCRIPT = "<script>alert('two')</script>"
LAYERS = ("conv1", "conv2", "dense1", "head")
ENVIRONMENT = {
    "versions": {"python": "3.11.7", "fitwell": "0.1.0", "torch": "2.15.0"},
    "machine": {"system": "Linux", "cores": 2, "device": "cpu"},
    "threads": 1,
    "precision": "float32",
}


@dataclass
class FakeImprovement:
    run: Run
    recipe: Recipe
    baseline_recipe: Recipe
    diagnosis: list[Diagnosis]
    verdicts: list[Verdict]
    baseline_folds: list[Run]
    final_folds: list[Run]
    baseline: dict[str, Scores]
    final: dict[str, Scores]
    test_effect: dict[str, Any]
    sentences: list[str]
    seconds: float = 143.2
    folder: Path | None = None
    report: Path = field(default_factory=lambda: Path("runs/demo-sick/report.html"))


def digits() -> Data:
    """The first 300 real digits; class "2" has a name that must not become markup."""
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    inputs = np.round(bunch.images[:300] * (255 / 16)).astype(np.uint8)[:, None]
    targets = bunch.target[:300].astype(np.int64)
    classes = tuple(SCRIPT if i == 2 else str(i) for i in range(10))
    counts = tuple(int(n) for n in np.bincount(targets, minlength=10))
    return Data(
        name="digits",
        spec=Spec("images", "classification", (1, 8, 8), classes, "digit", (), 300, counts),
        inputs=inputs,
        targets=targets,
        keys=np.array([f"row {i}" for i in range(300)]),
        part=np.full(300, ""),
        problems=(
            Problem(
                "unreadable_image",
                "warning",
                ("two/broken.png", "two/empty.png", "three/cut.jpg", "three/<b>.jpg"),
                "4 images could not be read and are left out.",
                "Save them again, or remove them.",
            ),
            Problem("duplicate_examples", "note", ("row 3", "row 8"), "2 are equal.", "Keep one."),
        ),
        fingerprint="0" * 64,
    )


def recipe(**changes: Any) -> Recipe:
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    return Recipe(
        {
            "source": "digits",
            "model.name": "lenet",
            "model.activation": "sigmoid",
            "optim.name": "sgd",
            "optim.lr": 0.01,
            "data.folds": 5,
            "data.target": "",
            "train.epochs": 30,
            "score.name": "accuracy",
            "score.min_effect": 0.005,
            **dotted,
        }
    )


def folds(
    data: Data, of: Recipe, *, start: float, end: float, gap: float, pace: float, sick: bool
) -> list[Run]:
    """Five folds whose accuracy goes from `start` to `end`, with probes and predictions."""
    runs = []
    for fold in range(5):
        rng = np.random.default_rng(fold)
        epochs: list[dict[str, Any]] = []
        for epoch in range(30):
            reach = 1 - math.exp(-(epoch + 1) / pace)
            score = start + (end - start) * reach + rng.normal(0, 0.012)
            loss = 2.3 * (1 - reach) + 0.3 * (1 - end) + abs(rng.normal(0, 0.01))
            epochs.append(
                {
                    "epoch": epoch,
                    "seconds": 0.2,
                    "waiting": 0.02,
                    "lr": 0.01,
                    "train": {"loss": loss, "accuracy": min(1.0, score + gap)},
                    "validation": {"loss": loss * 1.15, "accuracy": min(0.995, score)},
                }
            )
        rows = np.arange(fold, len(data), 5)
        predictions = predicted(data, rows, share_right=end, seed=fold)
        run = Run(
            recipe=of,
            spec=data.spec,
            environment=ENVIRONMENT,
            epochs=epochs,
            probes=probes(rng, sick=sick),
            scores={
                "train": epochs[-1]["train"],
                "validation": epochs[-1]["validation"],
                "held_out": {
                    "loss": epochs[-1]["validation"]["loss"],
                    "accuracy": float((predictions.target == predictions.prediction).mean()),
                },
            },
            predictions={"held_out": predictions},
            status="done",
            seconds=6.1,
            best_epoch=27,
            fold=fold,
        )
        runs.append(run)
    return runs


def probes(rng: np.random.Generator, *, sick: bool) -> list[dict[str, Any]]:
    rows = []
    for index, layer in enumerate(LAYERS):
        shrink = 10.0 ** (-1.2 * (len(LAYERS) - 1 - index)) if sick else 1.0
        for step in (0, 50, 100):
            rows.append(
                {
                    "step": step,
                    "epoch": step // 10,
                    "layer": layer,
                    "index": index,
                    "kind": "step",
                    "grad_rms": 0.01 * shrink * float(rng.lognormal(0, 0.2)),
                    "weight_rms": 0.1,
                    "update_ratio": 2e-3 * shrink,
                }
            )
        rows.append(
            {
                "step": 100,
                "epoch": 10,
                "layer": layer,
                "index": index,
                "kind": "epoch",
                "activation": "sigmoid",
                "dead": 0.0,
                "saturated": 0.4 / (index + 1) if sick else 0.0,
                "rows": 240,
            }
        )
    return rows


def predicted(data: Data, rows: np.ndarray, *, share_right: float, seed: int) -> Predictions:
    rng = np.random.default_rng(seed)
    target = data.targets[rows]
    wrong = rng.random(len(rows)) > share_right
    prediction = np.where(wrong, (target + rng.integers(1, 10, len(rows))) % 10, target)
    sure = rng.uniform(0.55, 0.999, len(rows))
    probabilities = np.repeat(((1 - sure) / 9)[:, None], 10, axis=1)
    probabilities[np.arange(len(rows)), prediction] = sure
    loss = -np.log(probabilities[np.arange(len(rows)), target])
    return Predictions(data.keys[rows], rows, target, prediction, probabilities, loss)


def verdict(
    remedy: str,
    settings: Mapping[str, Any],
    stage: Any,
    effect: float,
    decision: Any,
    interval: tuple[float, float] | None = None,
    round: int = 1,
    why: str = "",
) -> Verdict:
    low, high = interval or (None, None)
    return Verdict(
        remedy=remedy,
        stage=stage,
        metric="accuracy",
        effect=effect,
        low=low,
        high=high,
        p=0.0004 if interval else None,
        trials=15 if stage == "confirm" else 5,
        decision=decision,
        settings=settings,
        round=round,
        level=0.05 if interval else None,
        why=why,
    )


RELU = {"model.activation": "relu"}
FASTER = {"optim.lr": 0.05}


def improvement(*, helps: bool = True, data: Data | None = None) -> FakeImprovement:
    """A sick start that two remedies cured, or a healthy one that nothing helps."""
    data = data or digits()
    before = recipe() if helps else recipe(model__activation="relu", optim__lr=0.05)
    after = before.edit({**RELU, **FASTER}) if helps else before
    sick: dict[str, Any] = {"start": 0.1, "end": 0.45, "gap": 0.01, "pace": 18.0, "sick": True}
    well: dict[str, Any] = {"start": 0.35, "end": 0.965, "gap": 0.02, "pace": 4.0, "sick": False}
    baseline_folds = folds(data, before, **(sick if helps else well))
    final_folds = folds(data, after, **well) if helps else baseline_folds
    run = Run(
        recipe=after,
        spec=data.spec,
        environment=ENVIRONMENT,
        epochs=final_folds[0].epochs,
        scores={"train": {"accuracy": 0.99}, "test": {"accuracy": 0.961, "loss": 0.14}},
        status="done",
        seconds=9.3,
        test_looks=1,
    )
    remedies = (
        Remedy("relu", RELU, why="its derivative does not vanish"),
        Remedy("lr x 5", FASTER),
        Remedy("look at the data", advice="Standardise the inputs in your own pipeline."),
    )
    finding = Finding(
        "vanishing_gradient",
        "high",
        {"slope_per_layer": -1.2, "first_over_last": 0.0002, "layers": [1e-6, 2e-5, 1e-4]},
        "The gradient shrinks by a factor of 16 with every layer towards the input.",
        ("model.activation", "model.init"),
        remedies,
    )
    slow = Finding(
        "lr_too_low",
        "medium",
        {"update_ratio": 4.1e-5, "loss_slope": -0.012},
        "The loss still falls at the end and the weights move by 0.004 % a step.",
        ("optim.lr",),
        remedies[1:2],
    )
    missing = [NotAssessed("underfitting", "needs reference models"), NotAssessed("shift", "rows")]
    return FakeImprovement(
        run=run,
        recipe=after,
        baseline_recipe=before,
        diagnosis=[Diagnosis([finding, slow] if helps else [], missing)]
        + ([Diagnosis([slow], missing)] if helps else []),
        verdicts=SICK_VERDICTS if helps else HEALTHY_VERDICTS,
        baseline_folds=baseline_folds,
        final_folds=final_folds,
        baseline={
            "validation": {"accuracy": 0.41 if helps else 0.966, "loss": 1.7},
            "test": {"accuracy": 0.43 if helps else 0.961, "loss": 1.6},
        },
        final={
            "validation": {"accuracy": 0.966, "loss": 0.12},
            "test": {"accuracy": 0.961, "loss": 0.14},
        },
        test_effect={"metric": "accuracy", "effect": 0.531, "low": 0.49, "high": 0.572}
        if helps
        else {},
        sentences=["Baseline: accuracy 0.41, mean of 5 folds.", "Round 1: relu is adopted."],
    )


SICK_VERDICTS = [
    verdict("relu", RELU, "screen", 0.49, "screened out", why="confirmed below"),
    verdict("lr x 5", FASTER, "screen", 0.31, "screened out"),
    verdict("tanh", {"model.activation": "tanh"}, "screen", 0.22, "stopped early"),
    verdict("relu", RELU, "confirm", 0.486, "helps", (0.44, 0.53)),
    verdict("lr x 5", FASTER, "confirm", 0.3, "helps", (0.21, 0.39)),
    verdict("dropout", {"model.dropout": 0.3}, "screen", -0.02, "screened out", round=2),
    verdict("lr x 5", FASTER, "confirm", 0.061, "helps", (0.02, 0.102), round=2),
]
HEALTHY_VERDICTS = [
    verdict("epochs x 2", {"train.epochs": 60}, "confirm", 0.001, "no evidence", (-0.004, 0.006)),
    verdict("weight decay", {"optim.weight_decay": 0.01}, "screen", -0.004, "screened out"),
]


def regression() -> tuple[Run, Data]:
    """A single fit of a table with a missing value and a category."""
    rng = np.random.default_rng(0)
    columns = (Column("area <m2>"), Column("town", "category", ("A & B", "C")))
    inputs = np.stack([rng.normal(80, 20, 60), rng.integers(0, 2, 60)], axis=1).astype(np.float32)
    inputs[3, 0] = np.nan
    target = (1000 + 12 * np.nan_to_num(inputs[:, 0], nan=80.0)).astype(np.float32)
    spec = Spec("table", "regression", (3,), (), "price", columns, 60)
    keys = np.array([f"row {i}" for i in range(60)])
    data = Data("homes", spec, inputs, target, keys, np.full(60, ""), (), "1" * 64)
    rows = np.arange(0, 60, 3)
    prediction = target[rows] + rng.normal(0, 30, len(rows)).astype(np.float32)
    error = prediction - target[rows]
    predictions = Predictions(keys[rows], rows, target[rows], prediction, None, error**2)
    epochs = [
        {
            "epoch": i,
            "train": {"loss": 1 / (i + 1), "rmse": 60 / (i + 1)},
            "validation": {"loss": 1.2 / (i + 1), "rmse": 66 / (i + 1)},
        }
        for i in range(10)
    ]
    settings = {"source": "homes.csv", "model.name": "mlp", "score.name": "rmse"}
    run = Run(
        recipe=Recipe(settings),
        spec=spec,
        epochs=epochs,
        scores={"train": {"rmse": 6.0}, "validation": {"rmse": 6.6}, "test": {"rmse": 31.2}},
        predictions={"test": predictions},
        status="done",
        test_looks=2,
        best_epoch=9,
        seconds=1.4,
    )
    return run, data
