"""Each rule on hand-written sick rows, healthy rows and missing rows; and what they add up to."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from fitwell import findings
from fitwell.catalog import entry_of
from fitwell.findings import RULES, diagnose
from fitwell.recipe import Recipe
from fitwell.record import Finding, NotAssessed, Predictions, Row, Run
from fitwell.spec import Spec, TaskName

SPEC = Spec("images", "classification", (1, 8, 8), tuple("0123456789"), num_examples=1000)


def a_run(
    seed: int = 0,
    *,
    start: float = 2.3,
    end: float = 0.05,
    tau: float = 0.08,
    steps: int = 600,
    lr: float = 0.05,
    gradients: Sequence[float] = (2e-3, 1e-3, 2e-3),
    updates: Sequence[float] = (8e-3, 6e-3, 7e-3),
    activation: str = "relu",
    dead: Sequence[float] = (0.05, 0.05),
    saturated: Sequence[float] = (0.0, 0.0),
    train: float = 0.99,
    validation: float = 0.98,
    rise: float = 0.0,
    epochs: int = 20,
    right: float = 0.97,
    metric: str = "accuracy",
    rows: int = 200,
) -> Run:
    """A run with a one-cycle rate and an exponentially falling, noisy loss."""
    random = np.random.default_rng(seed)
    t = np.arange(steps) / steps
    rate = lr * np.where(t < 0.1, t / 0.1, 0.5 * (1 + np.cos(np.pi * (t - 0.1) / 0.9)))
    curve = end + (start - end) * np.exp(-t / tau)
    loss = curve * np.exp(random.normal(0, 0.05, steps))
    run = Run(recipe=Recipe({"optim.lr": lr, "score.name": metric}), spec=SPEC, status="done")
    run.seed, run.fold = seed, seed
    run.steps = [
        {"step": i, "epoch": i * epochs // steps, "loss": float(loss[i]), "lr": float(rate[i])}
        for i in range(steps)
    ]
    with_norms(run)
    for i in range(0, steps, 50):
        for depth, (gradient, update) in enumerate(zip(gradients, updates, strict=True)):
            factor = np.exp(random.normal(0, 0.1))
            row: Row = {
                "step": i,
                "epoch": 0,
                "layer": f"layer{depth}",
                "index": depth,
                "kind": "step",
            }
            row |= {"grad_rms": gradient * factor, "update_ratio": update * rate[i] / lr}
            row |= {"weight_rms": 0.05, "input_rms": 1.0, "output_rms": 1.0} | (
                {"twins": 0.0} if i == 0 else {}
            )
            run.probes.append(row)
    for when, epoch in enumerate((0, epochs - 1)):
        row = {"step": epoch, "epoch": epoch, "layer": "act", "index": 0, "kind": "epoch"}
        row |= {"activation": activation, "dead": dead[when], "saturated": saturated[when]}
        run.probes.append(row | {"rows": rows})
    for e in range(epochs):
        u = e / max(1, epochs - 1)
        fit = float(end + (start - end) * np.exp(-(u + 0.02) / tau))
        v = fit * 1.2 + rise * end * max(0.0, u - 0.3) * (1 + 0.05 * random.normal())
        run.epochs.append(
            {
                "epoch": e,
                "lr": 0.0,
                "waiting": 0.02,
                "train": {"loss": fit, metric: train - 0.5 * np.exp(-u / tau)},
                "validation": {"loss": v, metric: validation - 0.5 * np.exp(-u / tau)},
            }
        )
    target = random.integers(0, 10, 200)
    wrong = random.random(200) > right
    prediction = np.where(wrong, random.integers(0, 10, 200), target)
    part = Predictions(
        keys=target.astype(str),
        index=np.arange(200),
        target=target,
        prediction=prediction,
        probabilities=None,
        loss=random.exponential(0.1, 200),
    )
    run.predictions = {"held_out": part, "validation": part}
    run.scores = {"train": {metric: train}, "held_out": {metric: validation}}
    return run


def folds(count: int = 5, **settings: Any) -> list[Run]:
    runs = [a_run(seed, **settings) for seed in range(count)]
    runs[0].evidence = healthy_rows()
    return runs


def healthy_rows() -> list[Row]:
    """What experiments say of a healthy run."""
    return [
        *reference(0.97),
        linearity(0.4),
        *fitted(1.0),
        {"experiment": "check", "problem": None},
        {"experiment": "inputs", "features": 64, "rms": 1.0, "mean": 0.0},
        outputs(),
        domain(0.5),
    ]


def outputs(loss: str = "cross_entropy", **ranges: Any) -> Row:
    usual = {"units": 10, "low": -8.0, "high": 12.0, "row_sum_low": -9.0, "row_sum_high": 3.0}
    return {"experiment": "outputs", "loss": loss, **usual, **ranges}


def domain(auc: float) -> Row:
    return {"experiment": "domain", "auc": auc, "low": auc - 0.05, "high": auc + 0.05}


def targets(part: str = "train", **values: float) -> Row:
    usual = {"mean": 0.1, "std": 1.0, "low": -1.6, "high": 1.7, "said_low": -2.0, "said_high": 2.0}
    usual |= {"fit": 0.9, "beyond": 0.01, "at_the_ends": 0.01, "most_common": 0.02}
    return {"experiment": "targets", "part": part, **usual, **values}


def with_rows(runs: list[Run], *rows: Row) -> list[Run]:
    """These instead of the healthy rows of the same experiments."""
    named = {row["experiment"] for row in rows}
    runs[0].evidence = [r for r in runs[0].evidence if r["experiment"] not in named] + list(rows)
    return runs


def scaled(low: float, high: float) -> Row:
    columns = {"low_column": 3, "high_column": 7, "scale_low": low, "scale_high": high}
    return {"experiment": "inputs", "features": 9, "rms": 50.0, "mean": 4.0, **columns}


def problem(name: str, severity: str = "warning") -> Row:
    text = "12 images are in the training and in the test part."
    where = ["a.png", "b.png"]
    row = {"experiment": "check", "problem": name, "severity": severity, "message": text}
    return {**row, "where": where, "count": len(where)}


def fitted(share: float, seeds: int = 3) -> list[Row]:
    """One batch learned by heart to so much, at the second learning rate; not at all at the first."""
    return [
        {
            "experiment": "one_batch",
            "seed": s,
            "lr": lr,
            "steps": 200,
            "first": 2.3,
            "last": 1.0,
            "fit": f,
        }
        for s in range(seeds)
        for lr, f in ((0.1, 0.0), (0.03, share))
    ]


def linearity(deviation: float, layers: int = 3) -> Row:
    return {"experiment": "linearity", "layers": layers, "deviation": deviation}


def reference(score: float, metric: str = "accuracy") -> list[Row]:
    models = {"trivial": 0.1, "nearest_neighbour": score, "linear": score - 0.05}
    return [
        {"experiment": "reference", "model": m, "held_out": s, "train": 1.0, "metric": metric}
        for m, s in models.items()
    ]


def range_rows(limit: float) -> list[Row]:
    return [
        {"experiment": "range_test", "seed": s, "divergence_lr": limit, "steepest_lr": limit / 5}
        for s in range(3)
    ]


def names(runs: Run | Sequence[Run]) -> list[str]:
    return [finding.name for finding in diagnose(runs).findings]


def forgetful(seed: int = 0, back: float = 0.9, **settings: Any) -> Run:
    """Learns, then gives `back` of the gain away for good."""
    run = a_run(seed, **settings)
    first = run.steps[0]["loss"]
    for row in run.steps[len(run.steps) // 2 :]:
        row["loss"] = 0.2 + back * (first - 0.2)
    return run


def with_norms(run: Run, spikes: Sequence[int] = (), size: float = 40.0) -> Run:
    """Gradient norms that fall as the loss does, and leap at every so many measured step."""
    random = np.random.default_rng(run.seed + 7)
    for number, row in enumerate(run.steps[::10]):
        norm = (0.2 + row["loss"]) * np.exp(random.normal(0, 0.3))
        row["grad_norm"] = float(norm * (size if number in spikes else 1.0))
    return run


def swinging(run: Run, size: float = 0.1) -> Run:
    """A validation loss that goes up and down by `size` to the end."""
    random = np.random.default_rng(run.seed + 5)
    for row in run.epochs:
        row["validation"]["loss"] += size * float(random.normal())
    return run


def imbalanced(seed: int = 0, recall: float = 0.1, hard: bool = False) -> Run:
    """200 examples of 10 classes and 40 of one more, of which a share is found.

    The rest is taken for the frequent classes; where it is merely hard, it is said as often.
    """
    run, random = a_run(seed), np.random.default_rng(seed)
    many = run.predictions["held_out"]
    target = np.concatenate([np.repeat(many.target, 5), np.full(40, 10)])
    prediction = np.concatenate([np.repeat(many.target, 5), np.full(40, 10)])
    missed = len(target) - 40 + np.flatnonzero(random.random(40) > recall)
    prediction[missed] = random.integers(0, 10, len(missed))
    if hard:  # as many of the others are taken for it
        prediction[random.choice(len(target) - 40, len(missed), replace=False)] = 10
    part = Predictions(
        keys=np.arange(len(target)).astype(str),
        index=np.arange(len(target)),
        target=target,
        prediction=prediction,
        probabilities=None,
        loss=np.full(len(target), 0.1),
    )
    run.spec = Spec("images", "classification", (1, 8, 8), tuple("0123456789x"), num_examples=1040)
    run.predictions = {"held_out": part}
    return run


def noisy_labels(seed: int = 0, flipped: float = 0.1, examples: int = 400) -> Run:
    """Ten classes, nine of ten easy; a share of the labels flipped after the network said its own."""
    run, random = a_run(seed), np.random.default_rng(seed)
    truth = random.integers(0, 10, examples)
    easy = random.random(examples) < 0.9
    sure = np.where(easy, random.uniform(0.85, 0.95, examples), random.uniform(0.2, 0.8, examples))
    right = random.random(examples) < np.where(easy, 0.999, sure)
    said = np.where(right, truth, (truth + random.integers(1, 10, examples)) % 10)
    probability = np.repeat(((1 - sure) / 9)[:, None], 10, axis=1)
    probability[np.arange(examples), said] = sure
    wrong = random.random(examples) < flipped
    target = np.where(wrong, (truth + random.integers(1, 10, examples)) % 10, truth)
    part = Predictions(
        keys=np.array([f"{seed}-{'x' if w else 'o'}-{i}" for i, w in enumerate(wrong)]),
        index=np.arange(examples),
        target=target,
        prediction=said,
        probabilities=probability,
        loss=-np.log(probability[np.arange(examples), target]),
    )
    run.predictions = {"held_out": part}
    return run


def with_layer(run: Run, depth: int, **values: Any) -> Run:
    """Other measurements of one layer, at every step."""
    for row in run.probes:
        if row["kind"] == "step" and row["index"] == depth:
            row |= {k: v for k, v in values.items() if k in row}
    return run


def regularised(run: Run, decay: float = 0.1, name: str = "sgd", lr: float = 0.05) -> Run:
    assert run.recipe is not None
    run.recipe = Recipe(
        {**run.recipe, "optim.name": name, "optim.weight_decay": decay, "optim.lr": lr}
    )
    return run


def unfitted(runs: list[Run], share: float, seeds: int = 3) -> list[Run]:
    return with_rows(runs, *fitted(share, seeds))


def linear(runs: list[Run], layers: int = 3) -> list[Run]:
    return with_rows(runs, linearity(1e-6, layers))


def unregularised(runs: list[Run], gain: float) -> list[Run]:
    runs[0].evidence = [*runs[0].evidence, {"experiment": "unregularised", "gain": gain}]
    return runs


def evaluated_worse(run: Run) -> Run:
    for row in run.epochs:
        row["train"]["loss"] = 5 * row["train"]["loss"] + 0.5
    return run


def scored(run: Run, score: float) -> Run:
    run.scores["held_out"]["accuracy"] = score
    return run


def waiting(run: Run, share: float) -> Run:
    for row in run.epochs:
        row["waiting"] = share
    return run


SICK: dict[str, list[Callable[[], list[Run]]]] = {
    "lr_too_high": [
        lambda: [forgetful(s) for s in range(5)],
        lambda: [forgetful(s, back=0.4) for s in range(5)],
        lambda: [failed(s) for s in range(3)],
        lambda: folds(updates=(0.3, 0.4, 0.3)),
    ],
    "lr_too_low": [
        lambda: folds(end=2.1, tau=1.0, updates=(3e-5, 6e-5, 4e-5), train=0.3, validation=0.3),
        lambda: folds(end=0.3, tau=0.7, updates=(6e-4, 5e-4, 7e-4)),
    ],
    "stopped_too_early": [
        lambda: folds(steps=80, epochs=2, tau=1.0, updates=(9e-3, 8e-3, 9e-3)),
        lambda: folds(end=0.5, tau=2.0, updates=(9e-3, 8e-3, 9e-3)),
    ],
    "vanishing_gradient": [
        lambda: folds(gradients=(1e-6, 1e-4, 1e-2), updates=(2e-5, 1e-4, 5e-3)),
    ],
    "dying_relu": [
        lambda: folds(dead=(0.1, 0.6)),
        lambda: folds(dead=(0.95, 0.95)),
    ],
    "saturated_activation": [
        lambda: folds(activation="tanh", saturated=(0.1, 0.7)),
        lambda: folds(activation="sigmoid", saturated=(0.4, 0.4)),
    ],
    "exploding_gradient": [
        lambda: [with_norms(run, spikes=(9, 20, 31, 40, 47, 55)) for run in folds()],
        lambda: [with_norms(run, spikes=(9, 20, 31), size=300.0) for run in folds(3)],
    ],
    "oscillating": [
        lambda: [swinging(run, 0.1) for run in folds(epochs=40)],
        lambda: [swinging(run, 0.05) for run in folds(3, epochs=80, rise=1.0)],
    ],
    "class_imbalance": [
        lambda: [imbalanced(seed) for seed in range(5)],
        lambda: [imbalanced(seed, recall=0.4) for seed in range(3)],
    ],
    "leakage": [
        lambda: with_rows(folds(), problem("duplicates_across_split")),
        lambda: with_rows(
            folds(3), problem("target_in_features", "error"), problem("few_examples")
        ),
    ],
    "bad_target": [
        lambda: with_rows(folds(), targets(most_common=1.0, std=0.0)),
        lambda: with_rows(folds(), targets(), targets("validation", std=80.0, mean=300.0)),
        lambda: with_rows(folds(3), targets(), targets("validation", mean=5.0)),
    ],
    "head_loss_mismatch": [
        lambda: with_rows(folds(), outputs(low=0.0, high=0.99, row_sum_low=1.0, row_sum_high=1.0)),
        lambda: with_rows(folds(), outputs(low=0.01, high=0.9, row_sum_low=0.2, row_sum_high=4.0)),
        lambda: with_rows(folds(), outputs("binary_cross_entropy", units=1, low=1.0, high=1.0)),
        lambda: with_rows(folds(3), outputs("BCEWithLogitsLoss", units=1, low=0.1, high=0.9)),
    ],
    "unreachable_targets": [
        lambda: with_rows(folds(), targets(fit=0.1, beyond=0.5, at_the_ends=0.6)),
        lambda: with_rows(folds(), targets(fit=-3.0, std=5000.0)),
        lambda: with_rows(folds(3), targets(fit=-900.0, mean=300.0)),
    ],
    "unscaled_inputs": [
        lambda: with_rows(folds(), scaled(0.01, 30.0)),
        lambda: with_rows(folds(), {"experiment": "inputs", "rms": 150.0, "mean": 120.0}),
        lambda: with_rows(folds(3), {"experiment": "inputs", "rms": 1e-3, "mean": 0.0}),
    ],
    "shift": [
        lambda: with_rows(folds(), domain(0.8)),
        lambda: [evaluated_worse(run) for run in folds(3)],
    ],
    "cannot_tell": [
        lambda: [scored(run, 0.7 + 0.06 * (run.seed - 2)) for run in folds()],
        lambda: [scored(run, 0.7 + 0.1 * run.seed) for run in folds(3)],
    ],
    "bad_init": [
        lambda: [with_layer(run, 1, twins=1.0) for run in folds()],
        lambda: [with_layer(run, 2, input_rms=1e-5) for run in folds()],
        lambda: [with_layer(run, 2, input_rms=1e5) for run in folds(3)],
    ],
    "no_gradient": [
        lambda: [with_layer(run, 0, grad_rms=None) for run in folds()],
        lambda: [with_layer(run, 1, grad_rms=0.0, update_ratio=0.0) for run in folds()],
        lambda: [with_layer(run, 1, update_ratio=0.0) for run in folds(3)],
    ],
    "label_noise": [
        lambda: [noisy_labels(seed) for seed in range(5)],
        lambda: [noisy_labels(seed, 0.3, examples=1000) for seed in range(3)],
    ],
    "slow_pipeline": [
        lambda: [waiting(run, 0.6) for run in folds()],
        lambda: [waiting(run, 0.3) for run in folds(3)],
    ],
    "overfitting": [lambda: folds(train=1.0, validation=0.85, rise=20.0)],
    "cannot_fit_one_batch": [
        lambda: unfitted(folds(train=0.3, validation=0.3, end=2.0), 0.2),
        lambda: unfitted(folds(3, train=0.8, validation=0.8, end=0.6), 0.8),
    ],
    "linear_network": [
        lambda: linear(folds(train=0.9, validation=0.9, end=0.3)),
        lambda: linear(folds(3, train=0.92, validation=0.91, end=0.3)),
    ],
    "over_regularised": [
        lambda: [regularised(r) for r in folds(train=0.8, validation=0.79, end=0.6)],
        lambda: [
            regularised(r, name="adamw", lr=1e-3, decay=10.0) for r in folds(train=0.8, end=0.6)
        ],
        lambda: unregularised(folds(3, train=0.8, validation=0.79, end=0.6), 0.15),
    ],
    "underfitting": [lambda: folds(train=0.8, validation=0.79, end=0.6)],
    "no_better_than_trivial": [lambda: folds(right=0.0)],
}


def failed(seed: int = 0) -> Run:
    run = a_run(seed, steps=60)
    run.steps[-1]["loss"] = None
    run.status, run.failure = "failed", "The loss is nan at step 59 (epoch 2)."
    run.predictions, run.scores = {}, {}
    return run


@pytest.mark.parametrize(
    ("name", "make"), [(name, make) for name, makes in SICK.items() for make in makes]
)
def test_sick_rows_are_flagged_with_numbers_and_settings(
    name: str, make: Callable[[], list[Run]]
) -> None:
    runs = make()
    finding = RULES[name](runs)
    assert isinstance(finding, Finding), name
    assert finding.name == name
    assert finding.confidence in ("high", "medium")
    assert finding.settings and finding.sentence.endswith(".") and "nan" not in finding.sentence
    assert finding.evidence["runs"] == len(runs)
    json.dumps(finding.to_json(), allow_nan=False)


@pytest.mark.parametrize("name", RULES)
def test_one_run_alone_is_medium_at_most(name: str) -> None:
    for make in SICK[name]:
        run = make()[0]
        result = RULES[name]([run])
        if name == "cannot_tell":  # is about the spread of several
            assert isinstance(result, NotAssessed)
            continue
        assert isinstance(result, Finding) and result.confidence != "high"


HEALTHY: dict[str, dict[str, Any]] = {
    "relu": {},
    "tanh": {"activation": "tanh"},
    "sparse relu": {"dead": (0.36, 0.05)},
    "steady dead units": {"dead": (0.5, 0.5)},
    "small gap without rise": {"train": 1.0, "validation": 0.93},
    "rising loss without gap": {"rise": 20.0, "train": 0.98, "validation": 0.975},
    "adam": {"lr": 1e-3, "updates": (2e-3, 2e-3, 2e-3)},
    "converged with small steps": {"end": 0.002, "updates": (1e-4, 1e-4, 1e-4)},
    "gradients grow to the input": {"gradients": (1e-2, 1e-3, 1e-4)},
    "small gradients, real updates": {"gradients": (1e-6, 1e-4, 1e-2)},
    "few epochs, done": {"epochs": 3, "steps": 300},
    "regression": {"metric": "rmse", "train": 50.0, "validation": 52.0},
}


@pytest.mark.parametrize("case", HEALTHY)
def test_healthy_rows_are_left_alone(case: str) -> None:
    settings = HEALTHY[case]
    for count in (1, 3, 5):
        runs = folds(count, **settings)
        if settings.get("metric") == "rmse":
            runs = folds(count, **settings)
            for run in runs:
                run.evidence = []
        else:
            runs[0].evidence += range_rows(0.5 if settings.get("lr") is None else 0.05)
        assert names(runs) == [], (case, count)


def test_false_alarms_over_many_noisy_healthy_runs_stay_below_five_per_cent() -> None:
    alarms = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        runs = [
            a_run(
                1000 * seed + i,
                tau=0.06 + 0.06 * random.random(),
                train=0.98 + 0.02 * random.random(),
                validation=0.96 + 0.02 * random.random(),
                dead=(0.3 * random.random(), 0.3 * random.random()),
                rise=2 * random.random(),
            )
            for i in range(3)
        ]
        runs[0].evidence = healthy_rows()
        alarms += bool(names(runs))
    assert alarms <= 3


@pytest.mark.parametrize("name", RULES)
def test_without_rows_it_is_not_assessed_and_says_what_is_missing(name: str) -> None:
    result = RULES[name]([Run()])
    assert isinstance(result, NotAssessed) and result.name == name and len(result.missing) > 10


def test_missing_evidence_is_never_silent() -> None:
    runs = folds()
    for run in runs:
        run.evidence = []
    assert [n.name for n in diagnose(runs).not_assessed] == [
        "leakage",
        "bad_target",
        "head_loss_mismatch",
        "unreachable_targets",
        "unscaled_inputs",
        "cannot_fit_one_batch",
        "linear_network",
        "over_regularised",
        "underfitting",
        "label_noise",
    ]
    for run in runs:
        run.probes = []
    missing = {n.name for n in diagnose(runs).not_assessed}
    assert missing == {
        "leakage",
        "bad_target",
        "head_loss_mismatch",
        "unreachable_targets",
        "unscaled_inputs",
        "cannot_fit_one_batch",
        "label_noise",
        "linear_network",
        "over_regularised",
        "underfitting",
        "vanishing_gradient",
        "saturated_activation",
        "dying_relu",
        "lr_too_low",
        "bad_init",
        "no_gradient",
    }


def test_late_small_gradients_and_single_leaps_are_no_explosion() -> None:
    rule = RULES["exploding_gradient"]
    assert rule([with_norms(run) for run in folds(end=1e-3)]) is None
    assert rule([with_norms(run, spikes=(30,)) for run in folds()]) is None
    # Ten times what is beside it, but small beside how it began.
    assert rule([with_norms(run, spikes=(50, 53, 56), size=12) for run in folds(end=1e-3)]) is None


def test_a_leap_before_the_end_in_not_a_number_is_an_explosion() -> None:
    runs = [with_norms(run, spikes=(40,), size=1e4) for run in folds()]
    for run in runs:
        run.status = "failed"
    assert isinstance(RULES["exploding_gradient"](runs), Finding)


def test_a_smooth_bend_is_no_swing() -> None:
    runs = folds(epochs=40, rise=10.0)
    for run in runs:
        for row in run.epochs:
            row["validation"]["loss"] = 0.5 + 0.5 * (row["epoch"] / 40 - 0.6) ** 2
    assert RULES["oscillating"](runs) is None


def test_a_rare_class_that_is_merely_hard_is_not_overlooked() -> None:
    assert (
        RULES["class_imbalance"]([imbalanced(s, recall=0.4, hard=True) for s in range(5)]) is None
    )
    assert RULES["class_imbalance"]([imbalanced(s, recall=0.95) for s in range(5)]) is None
    finding = RULES["class_imbalance"]([imbalanced(s) for s in range(5)])
    assert isinstance(finding, Finding) and finding.evidence["worst_class"] == "x"


def test_doubtful_labels_are_the_flipped_ones() -> None:
    runs = [noisy_labels(seed) for seed in range(5)]
    finding = RULES["label_noise"](runs)
    assert isinstance(finding, Finding)
    keys = [str(key) for key in finding.evidence["keys"]]
    flipped = sum(str(k).split("-")[1] == "x" for r in runs for k in r.predictions["held_out"].keys)
    hits = sum(key.split("-")[1] == "x" for key in keys)
    assert hits >= 0.8 * len(keys) and hits >= 0.7 * flipped
    assert RULES["label_noise"]([noisy_labels(seed, 0.0) for seed in range(5)]) is None


def test_who_says_the_most_frequent_class_alone_doubts_nothing() -> None:
    runs = []
    for seed in range(5):
        run, random = noisy_labels(seed, 0.0), np.random.default_rng(seed)
        part = run.predictions["held_out"]
        part.target = (random.random(len(part.target)) < 0.1).astype(int)
        part.prediction = np.zeros_like(part.target)
        part.probabilities = np.tile([0.9, 0.1], (len(part.target), 1))
        runs.append(run)
    assert RULES["label_noise"](runs) is None


def test_errors_that_become_rarer_with_certainty_are_the_networks_own() -> None:
    """Classes that overlap: the surest quarter errs too, the next one far more."""
    runs = []
    for seed in range(5):
        run, random = noisy_labels(seed, 0.0), np.random.default_rng(seed)
        part = run.predictions["held_out"]
        sure = random.uniform(0.5, 1.0, len(part.target))
        part.target = (random.random(len(sure)) > 0.5).astype(int)
        part.prediction = np.where(random.random(len(sure)) < sure, part.target, 1 - part.target)
        part.probabilities = np.where(
            np.arange(2) == part.prediction[:, None], sure[:, None], 1 - sure[:, None]
        )
        runs.append(run)
    assert RULES["label_noise"](runs) is None


def test_numbers_have_no_classes_to_overlook() -> None:
    runs = folds()
    for run in runs:
        part = run.predictions["held_out"]
        part.target, part.prediction = part.target.astype(float), part.prediction.astype(float)
    assert isinstance(RULES["class_imbalance"](runs), NotAssessed)


def test_a_batch_that_is_learned_at_one_rate_is_learned() -> None:
    rule = RULES["cannot_fit_one_batch"]
    assert rule(unfitted(folds(train=0.3), 0.95)) is None
    runs = unfitted(folds(train=0.3), 0.95)
    runs[0].evidence += fitted(0.1, 1)  # of the same seed: its best counts
    assert rule(runs) is None
    few = rule(unfitted(folds(train=0.3), 0.1, seeds=1))
    assert isinstance(few, Finding) and few.confidence == "low"


def test_what_check_merely_notes_is_no_leak() -> None:
    rule = RULES["leakage"]
    assert rule(with_rows(folds(), problem("files_across_split", "note"))) is None
    assert rule(with_rows(folds(), problem("few_examples"))) is None


def test_logits_between_zero_and_one_by_chance_are_few() -> None:
    rule = RULES["head_loss_mismatch"]
    assert rule(with_rows(folds(), outputs(low=-0.1, high=0.9))) is None
    assert rule(with_rows(folds(), outputs("mse", units=1, low=0.1, high=0.9))) is None
    one_of_two = [outputs(low=0.0, high=0.9), outputs()]  # runs of one recipe agree
    assert rule(with_rows(folds(), *one_of_two)) is None


def test_targets_that_are_fitted_are_within_reach() -> None:
    rule = RULES["unreachable_targets"]
    assert rule(with_rows(folds(), targets(std=5000.0))) is None
    assert rule(with_rows(folds(), targets(fit=0.2))) is None  # a poor fit alone
    assert rule(with_rows(folds(), targets(fit=0.2, beyond=0.3))) is None  # drawn to the mean
    assert (
        RULES["bad_target"](with_rows(folds(), targets(), targets("validation", std=2.0))) is None
    )


def test_a_smaller_loss_in_evaluation_is_no_shift_nor_is_a_doubled_trifle() -> None:
    runs = folds(end=1e-4)
    for run in runs:
        for row in run.epochs:
            row["train"]["loss"] *= 4
    assert RULES["shift"](runs) is None
    assert RULES["shift"](with_rows(folds(), domain(0.62))) is None


def test_cannot_tell_asks_for_what_the_recipe_asks_for() -> None:
    runs = [scored(run, 0.7 + 0.06 * (run.seed - 2)) for run in folds()]
    for run in runs:
        assert run.recipe is not None
        run.recipe = Recipe({**run.recipe, "score.min_effect": 0.2})
    assert RULES["cannot_tell"](runs) is None


def test_one_layer_may_be_linear_and_a_linear_end_may_fit_better() -> None:
    assert RULES["linear_network"](linear(folds(train=0.9), layers=1)) is None
    assert RULES["linear_network"](linear(folds(train=0.99))) is None


def test_a_poor_fit_without_penalties_is_not_over_regularised() -> None:
    rule, sick = RULES["over_regularised"], {"train": 0.8, "validation": 0.79, "end": 0.6}
    assert rule(folds(**sick)) is None
    assert rule([regularised(run, decay=1e-4) for run in folds(**sick)]) is None
    assert rule(unregularised(folds(**sick), 0.0)) is None
    assert rule([regularised(run) for run in folds()]) is None  # strong, and fits all the same


def test_a_last_layer_of_zeros_is_no_bad_start() -> None:
    """Its units get gradients of their own; and where they do not, the target tells them apart."""
    assert RULES["bad_init"]([with_layer(run, 2, twins=1.0) for run in folds()]) is None
    assert RULES["bad_init"]([with_layer(run, 2, input_rms=1e-2) for run in folds()]) is None


def test_twins_of_a_later_step_say_nothing_about_the_start() -> None:
    runs = folds()
    for run in runs:
        for row in run.probes:
            row |= {"twins": 1.0} if row.get("step") == 50 else {}
    assert RULES["bad_init"](runs) is None


def test_a_layer_that_moves_now_and_then_is_not_stuck() -> None:
    runs = [with_layer(run, 0, grad_rms=0.0, update_ratio=0.0) for run in folds()]
    for run in runs:
        [*_, last] = [
            r for r in run.probes if r["kind"] == "step" and r["index"] == 0 and r["step"] < 200
        ]
        last |= {"grad_rms": 1e-3, "update_ratio": 1e-3}
    assert RULES["no_gradient"](runs) is None
    stuck = [with_layer(run, 0, grad_rms=None) for run in folds()]
    for run in stuck:
        run.status = "failed"  # numbers that are not finite are None too
    assert RULES["no_gradient"](stuck) is None


def test_the_first_epoch_fills_caches_and_may_wait() -> None:
    runs = [waiting(run, 0.02) for run in folds()]
    for run in runs:
        run.epochs[0]["waiting"] = 0.9
    assert RULES["slow_pipeline"](runs) is None


def test_trials_of_a_run_are_its_folds() -> None:
    whole = Run(trials=SICK["dying_relu"][0]())
    [finding] = diagnose(whole).findings
    assert finding.name == "dying_relu" and finding.confidence == "high"


def test_rows_of_others_may_lack_the_number_of_the_step() -> None:
    runs = [a_run(seed, end=2.1, tau=0.5, lr=1e-4) for seed in range(3)]
    expected = [f.name for f in diagnose(runs).findings]
    for run in runs:
        run.steps = [{k: v for k, v in row.items() if k != "step"} for row in run.steps]
    assert [f.name for f in diagnose(runs).findings] == expected


def test_causes_come_before_what_they_explain() -> None:
    runs = folds(
        end=2.29,
        gradients=(1e-6, 1e-4, 1e-2),
        updates=(2e-5, 6e-5, 5e-3),
        activation="sigmoid",
        train=0.1,
        validation=0.1,
        right=0.0,
    )
    found = diagnose(runs).findings
    assert [f.name for f in found] == [
        "vanishing_gradient",
        "lr_too_low",
        "underfitting",
        "no_better_than_trivial",
    ]
    assert "explained_by" not in found[0].evidence
    assert all(f.evidence["explained_by"][0] == "vanishing_gradient" for f in found[1:])
    assert "may follow from vanishing_gradient" in found[1].sentence


def test_a_low_guess_explains_nothing_and_stands_last() -> None:
    runs = [forgetful(0), *(a_run(s, dead=(0.1, 0.7)) for s in range(1, 5))]
    found = diagnose(runs).findings
    assert [f.name for f in found] == ["dying_relu", "lr_too_high"]
    assert found[1].confidence == "low" and "explained_by" not in found[0].evidence


def test_a_range_test_speaks_for_and_against() -> None:
    runs = folds()
    runs[0].evidence += range_rows(0.03)
    assert names(runs) == ["lr_too_high"]
    assert diagnose(runs).findings[0].confidence == "low"
    slow = folds(end=0.6, updates=(5e-3, 5e-3, 5e-3), train=0.99)
    assert names(slow) == []
    slow[0].evidence += range_rows(6.0)
    assert names(slow) == ["lr_too_low"]


def test_a_validation_loss_that_still_falls_is_enough() -> None:
    runs = folds(epochs=30)
    assert names(runs) == []
    for run in runs:
        for row in run.epochs:
            # Half of the way down at once, the other half in a straight line to the end.
            row["validation"]["loss"] = 1.0 - row["epoch"] / 30 + (row["epoch"] == 0)
    finding = RULES["stopped_too_early"](runs)
    assert isinstance(finding, Finding) and 0.1 < finding.evidence["fall_in_last_third"] < 0.3
    for run in runs:
        for row in run.epochs[20:]:  # the last third stands still
            row["validation"]["loss"] = run.epochs[20]["validation"]["loss"]
    assert RULES["stopped_too_early"](runs) is None


def test_dead_gradients_are_not_a_low_rate() -> None:
    runs = folds(end=2.25, updates=(1e-9,) * 3, gradients=(0.0,) * 3, dead=(0.2, 1.0))
    assert "lr_too_low" not in names(runs) and "dying_relu" in names(runs)


def test_warm_up_steps_alone_do_not_judge_the_rate() -> None:
    runs = folds(steps=40, epochs=1, tau=1.0, end=2.0, updates=(9e-5,) * 3)
    assert isinstance(RULES["lr_too_low"](runs), NotAssessed)


def test_few_rows_cannot_tell_a_dead_unit() -> None:
    assert isinstance(RULES["dying_relu"](folds(dead=(0.1, 0.6), rows=12)), NotAssessed)


@pytest.mark.parametrize("kind", ["relu", "tanh"])
def test_other_activations_are_not_judged(kind: str) -> None:
    other = "saturated_activation" if kind == "relu" else "dying_relu"
    runs = folds(activation=kind, dead=(0.1, 0.9), saturated=(0.1, 0.9))
    assert RULES[other](runs) is None


def trivial_run(
    target: np.ndarray,
    prediction: np.ndarray,
    metric: str,
    task: TaskName = "classification",
    repeat: int = 0,
) -> Run:
    n = len(target)
    part = Predictions(np.arange(n).astype(str), np.arange(n), target, prediction, None, np.ones(n))
    spec = Spec("table", task, (3,), ("a", "b") if task == "classification" else ())
    run = Run(recipe=Recipe({"score.name": metric}), spec=spec, repeat=repeat)
    run.predictions["held_out"] = part
    return run


def test_trivial_is_judged_by_the_score_that_counts() -> None:
    rule, random = RULES["no_better_than_trivial"], np.random.default_rng(0)
    target = (random.random(400) < 0.1).astype(int)
    # Finds the rare class half of the time, at the price of accuracy.
    rare = np.where(target == 1, random.random(400) < 0.6, random.random(400) < 0.15).astype(int)
    assert isinstance(rule([trivial_run(target, rare, "accuracy")]), Finding)
    assert rule([trivial_run(target, rare, "balanced_accuracy")]) is None
    majority = np.zeros(400, int)
    assert isinstance(rule([trivial_run(target, majority, "balanced_accuracy")]), Finding)
    y = random.normal(5, 2, 100)
    mean = trivial_run(y, np.full(100, y.mean()), "rmse", "regression")
    good = trivial_run(y, y + random.normal(0, 1.5, 100), "rmse", "regression")
    assert isinstance(rule([mean]), Finding) and rule([good]) is None
    few = trivial_run(target[:10], majority[:10], "accuracy")
    assert isinstance(rule([few]), NotAssessed)
    one = trivial_run(np.zeros(50, int), np.zeros(50, int), "accuracy")
    assert rule([one]) is None


def test_repeats_do_not_count_an_example_twice() -> None:
    random = np.random.default_rng(1)
    target = random.integers(0, 2, 60)
    # Slightly better than the majority: significant only if the same examples counted ten times.
    prediction = np.where(random.random(60) < 0.58, target, 1 - target)
    runs = [trivial_run(target, prediction, "accuracy", repeat=r) for r in range(10)]
    single = RULES["no_better_than_trivial"](runs[:1])
    many = RULES["no_better_than_trivial"](runs)
    assert isinstance(single, Finding) and isinstance(many, Finding)
    assert many.evidence["examples"] == 60


def test_regression_scores_are_turned_round() -> None:
    runs = folds(metric="rmse", train=20.0, validation=60.0, rise=20.0)
    for run in runs:
        for row in run.epochs:  # errors fall
            row["train"]["rmse"], row["validation"]["rmse"] = 20.0, 60.0
    assert isinstance(RULES["overfitting"](runs), Finding)
    for run in runs:
        for row in run.epochs:
            row["train"]["rmse"], row["validation"]["rmse"] = 60.0, 60.0
        run.scores = {"train": {"rmse": 60.0}}
    assert RULES["overfitting"](runs) is None
    runs[0].evidence = reference(40.0, "rmse")
    for row in runs[0].evidence:
        row["held_out"] = {"trivial": 80.0, "nearest_neighbour": 45.0, "linear": 40.0}[row["model"]]
    finding = RULES["underfitting"](runs)
    assert isinstance(finding, Finding) and finding.evidence["reference"] == "linear"


def test_one_collapsed_fold_is_told() -> None:
    runs = [*(a_run(s) for s in range(4)), forgetful(4, back=1.0)]
    [finding] = diagnose(runs).findings
    assert finding.name == "lr_too_high" and finding.evidence["runs_broken"] == 1


def test_every_rule_is_documented_for_explain() -> None:
    for name, rule in RULES.items():
        entry = entry_of(rule)
        assert all(
            entry[part] for part in ("summary", "symptom", "mechanism", "threshold", "source")
        )
        assert rule.__name__ == name
    for cause, effects in findings.EXPLAINS.items():
        assert cause in RULES and set(effects) <= set(RULES) - {cause}


def test_findings_and_remedies_import_no_torch() -> None:
    code = (
        "import sys, fitwell.findings as f, fitwell.remedies;"
        "from fitwell.record import Run; f.diagnose(Run());"
        "assert not {'torch', 'scipy', 'sklearn'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
