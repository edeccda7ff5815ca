"""5 folds of nine variants of an mlp on digits: raced in warm workers side by side, against the same
trials one after another in this warm process, none of them stopped.

`python -m benchmarks.trials`: 5 alternations in one run, each with other folds. Compared are the variants
that either would confirm; measured as well is what a trial costs beyond its training, at one epoch, where
both workers are busy.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from fitwell import data as fitwell_data
from fitwell.data import split
from fitwell.data.types import Data
from fitwell.recipe import Recipe
from fitwell.resolve import complete
from fitwell.train import train_once
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.budget import Budget
from fitwell.trials.executor import LocalExecutor
from fitwell.trials.protocol import Screening, best_of, screen
from fitwell.trials.scoring import smallest_effect
from fitwell.trials.trial import Task

ROUNDS = 5
SHORT = 40  # trials of one epoch
# A start that is held back by its rate, and what a search would try.
START: dict[str, Any] = {"model.name": "mlp", "optim.name": "sgd", "optim.lr": 0.002}
EDITS: tuple[dict[str, Any], ...] = (
    {"optim.lr": 0.05},
    {"optim.lr": 0.0005},
    {"model.width": 32},
    {"model.depth": 3},
    {"model.dropout": 0.5},
    {"optim.weight_decay": 0.3},
    {"model.activation": "sigmoid"},
    {"loss.label_smoothing": 0.3},
)


def main() -> None:
    result = common.load("trials", timed=True)
    result["limits"] = {
        "9 variants x 5 folds": {
            "times as fast as one after another": "at least 4",
            "rounds of the same decisions": f"{ROUNDS} of {ROUNDS}",
        },
        "one epoch": {"ms a trial beyond its training": "at most 60"},
    }
    if len(result["rows"]) < ROUNDS:
        data = fitwell_data.read("digits", {})
        recipe = complete(START, data.spec)
        variants = [
            Variant(f"variant-{i}", recipe.edit(edit), str(edit), edit)
            for i, edit in enumerate(EDITS)
        ]
        with tempfile.TemporaryDirectory() as folder:
            with LocalExecutor(data, Path(folder)) as executor:
                beyond_training(executor, recipe, 99)  # warm
                for number in range(len(result["rows"]), ROUNDS):
                    common.add(result, measured(executor, data, recipe, variants, number))
    summarise(result)
    print(result["summary"])


def measured(
    executor: LocalExecutor, data: Data, recipe: Recipe, variants: Sequence[Variant], number: int
) -> dict[str, Any]:
    """A row: both ways, on the folds of a repeat of its own."""
    first = Variant("baseline", recipe)
    bench = Bench(data, executor, Budget(None), lambda *a, **k: None, recipe)
    started = time.perf_counter()
    bench.run([bench.task(first, number, fold) for fold in range(bench.folds)])
    screening = screen(bench, first, variants, repeat=number, round_number=1)
    confirmed = [variant.name for variant in best_of(bench, screening)]
    raced = time.perf_counter() - started
    started = time.perf_counter()
    scores = {
        arm.name: np.array([alone(data, bench.task(arm, number, f)) for f in range(bench.folds)])
        for arm in (first, *variants)
    }
    whole = time.perf_counter() - started
    gains = {v.name: (v, scores[v.name] - scores["baseline"]) for v in variants}
    effects = dict(sorted(gains.items(), key=lambda item: -float(item[1][1].mean())))
    smallest = smallest_effect(recipe, float(scores["baseline"].mean()))
    of_all = best_of(bench, Screening(effects, [], [], {}, smallest))
    return {
        "round": number,
        "raced": raced,
        "one after another": whole,
        "trials": sum(map(len, screening.runs.values())) + bench.folds,
        "of": len(scores) * bench.folds,
        "confirmed": confirmed,
        "confirmed of all": [variant.name for variant in of_all],
        "ms beyond training": beyond_training(executor, recipe, number),
    }


def alone(data: Data, task: Task) -> float:
    """The held-out score of a trial that is trained in this process, with all threads."""
    rows = split.fold_rows(
        data, task.recipe.section("data"), fold=task.fold, repeat=task.repeat, seed=task.seed
    )
    run = train_once(data, rows, task.recipe, seed=task.seed, fold=task.fold, threads=2)
    return float(run.scores["held_out"]["accuracy"])


def beyond_training(executor: LocalExecutor, recipe: Recipe, seed: int) -> float:
    """Milliseconds of a worker that a trial costs beside its training."""
    short = recipe.edit({"train.epochs": 1})
    tasks = [Task(short, i % 5, 100 + i // 5, seed, variant=f"short-{seed}") for i in range(SHORT)]
    started = time.perf_counter()
    runs = executor.run(tasks)
    seconds = (time.perf_counter() - started) * executor.workers
    return 1000 * (seconds - sum(run.seconds for run in runs)) / SHORT


def summarise(result: dict[str, Any]) -> None:
    rows = result["rows"]
    times = [row["one after another"] / row["raced"] for row in rows]
    same = sum(row["confirmed"] == row["confirmed of all"] for row in rows)
    result["summary"] = {
        "9 variants x 5 folds": {
            "times as fast as one after another": common.spread(times),
            "rounds of the same decisions": f"{same} of {len(rows)}",
            "trials": common.spread([row["trials"] / row["of"] for row in rows]),
        },
        "one epoch": {
            "ms a trial beyond its training": common.spread(
                [row["ms beyond training"] for row in rows]
            )
        },
    }
    common.save(result)


if __name__ == "__main__":
    main()
