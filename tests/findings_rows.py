"""Recorded rows of healthy and sick trainings, written by hand, for the rules to read."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fitwell.findings import diagnose
from fitwell.recipe import Recipe
from fitwell.record import Predictions, Row, Run
from fitwell.spec import Spec

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


def any_order(run: Run, rise: float = 0.01) -> Run:
    """The run as of a recurrent network whose new examples cost as much with their steps in any order."""
    order = {"loss": 2.0, "loss_shuffled": 2.0 + rise, "rise": rise, "error": 0.01, "examples": 100}
    row: Row = {"experiment": "shuffled_order", "part": "held_out", **order}
    return replace(run, evidence=[*run.evidence, row, *reference(0.9)])


def domain(auc: float) -> Row:
    return {"experiment": "domain", "auc": auc, "low": auc - 0.05, "high": auc + 0.05}


def targets(part: str = "train", **values: float) -> Row:
    usual = {"mean": 0.1, "std": 1.0, "said_low": -2.0, "said_high": 2.0}
    usual |= {"fit": 0.9, "beyond": 0.01, "at_the_ends": 0.01, "most_common": 0.02}
    return {"experiment": "targets", "part": part, **usual, **values}


def with_rows(runs: list[Run], *rows: Row) -> list[Run]:
    """These instead of the healthy rows of the same experiments."""
    named = {row["experiment"] for row in rows}
    runs[0].evidence = [r for r in runs[0].evidence if r["experiment"] not in named] + list(rows)
    return runs


def boxed(
    runs: list[Run], odd: int = 0, elsewhere: float = 0.95, tiny: int = 0, tiny_found: int = 0
) -> list[Run]:
    """Detectors that find ten things surely in each of 20 pictures, and that share of them is annotated; in
    `odd` further ones two of ten are. Of 100 larger things a run 90 are found, and so many tiny ones."""
    right = round(10 * elsewhere)
    rows = [
        {"key": f"{i}.png", "right": right, "background": 10 - right, "annotated": 12}
        for i in range(20)
    ] + [{"key": f"odd{i}.png", "right": 2, "background": 8, "annotated": 2} for i in range(odd)]
    spec = Spec("boxes", "detection", (3, 320, 320), ("cell",))
    sizes = {"tiny": tiny, "tiny_found": tiny_found, "larger": 100, "larger_found": 90}
    row: Row = {"experiment": "boxes", "sure": rows, "tiny": sizes}
    return [replace(run, spec=spec, evidence=[*run.evidence, row]) for run in runs]


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
    trained = {**models, "nearest_neighbour": 1.0}
    return [
        {
            "experiment": "reference",
            "model": m,
            "held_out": s,
            "train": trained[m],
            "metric": metric,
        }
        for m, s in models.items()
    ]


def range_rows(limit: float) -> list[Row]:
    return [
        {"experiment": "range_test", "seed": s, "divergence_lr": limit, "steepest_lr": limit / 5}
        for s in range(3)
    ]


def forgetful(seed: int = 0, back: float = 0.9, **settings: Any) -> Run:
    """Learns, then gives `back` of the gain away for good."""
    run = a_run(seed, **settings)
    first = run.steps[0]["loss"]
    for row in run.steps[len(run.steps) // 2 :]:
        row["loss"] = 0.2 + back * (first - 0.2)
    return run


def burst(seed: int = 0, **settings: Any) -> Run:
    """The second loss a thousand times the first; then as if nothing had been."""
    run = a_run(seed, **settings)
    run.steps[1]["loss"] = 1000 * run.steps[0]["loss"]
    return run


def at_one_rate(run: Run) -> Run:
    for row in run.steps:
        row["lr"] = 0.05
    return run


def shrunk(run: Run, left: float = 0.01) -> Run:
    """The weights of every layer fall to so much of their size."""
    rows = [row for row in run.probes if row["kind"] == "step"]
    for row in rows:
        row["weight_rms"] *= left ** (row["step"] / rows[-1]["step"])
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


def regularised(
    run: Run, decay: float = 0.1, name: str = "sgd", lr: float = 0.05, l1: float = 0.0
) -> Run:
    assert run.recipe is not None
    changed = {"name": name, "weight_decay": decay, "lr": lr, "l1": l1}
    run.recipe = Recipe({**run.recipe, **{f"optim.{key}": value for key, value in changed.items()}})
    return run


def run_again(experiment: str, train: float, *settings: str, epochs: int = 40) -> Row:
    """One of the runs with a training score of 0.8 again, under an edit of these settings."""
    row: Row = {"experiment": experiment, "fold": 0, "metric": "accuracy", "epochs": epochs}
    return {**row, "settings": list(settings), "train": 0.8, "train_again": train}


def copies(count: int, without: float, runs: int = 3) -> list[Row]:
    """So many of 200 held-out examples have a copy in the training part; the others score `without`."""
    row: Row = {"experiment": "copies", "held_out": 200, "copies": count, "score": 0.9}
    return [{**row, "metric": "accuracy", "score_without": without} for _ in range(runs)]


def unfitted(runs: list[Run], share: float, seeds: int = 3) -> list[Run]:
    return with_rows(runs, *fitted(share, seeds))


def linear(runs: list[Run], layers: int = 3) -> list[Run]:
    return with_rows(runs, linearity(1e-6, layers))


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


def failed(seed: int = 0) -> Run:
    run = a_run(seed, steps=60)
    run.steps[-1]["loss"] = None
    run.status, run.failure = "failed", "The loss is nan at step 59 (epoch 2)."
    run.predictions, run.scores = {}, {}
    return run


def names(runs: Run | Sequence[Run]) -> list[str]:
    return [finding.name for finding in diagnose(runs).findings]
