"""Cross-validation: one recipe on K folds."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fitwell.data.types import Data
from fitwell.recipe import Recipe
from fitwell.record import Run
from fitwell.trials.intervals import mean_intervals
from fitwell.trials.reusing import Executor
from fitwell.trials.scoring import _over_folds, _part, _std, mean_scores, metric_of, std_scores
from fitwell.trials.trial import Task

Progress = Callable[..., Any]


def silent(event: str, **facts: Any) -> None:
    """The progress callback of who wants none."""


def seed_of(seed: int, repeat: int) -> int:
    """Every repeat has weights, order and partition of its own; repeat 0 has `train.seed`."""
    return (seed + 7919 * repeat) % 2**31


def fold_tasks(recipe: Recipe, *, repeat: int, seed: int, variant: str = "baseline") -> list[Task]:
    """The K trials of a recipe under one partition."""
    folds = int(recipe["data.folds"])  # type: ignore[arg-type]
    return [Task(recipe, fold, repeat, seed, variant=variant) for fold in range(folds)]


def repeats_of(recipe: Recipe) -> int:
    """`data.repeats`; 1 of a recipe that was written before there was such a setting."""
    return int(recipe.get("data.repeats", 1))  # type: ignore[arg-type]


def cross_validate(
    data: Data,
    recipe: Recipe,
    executor: Executor,
    *,
    repeat: int = 0,
    seed: int | None = None,
    progress: Progress | None = None,
    variant: str = "baseline",
) -> list[Run]:
    """Train `recipe` on every fold of every repeat, side by side; the runs stand in that order.

    Args:
        recipe: complete.
        repeat, seed: decide the first partition; the seed is `train.seed` by default. It is followed by
            others up to `data.repeats`, each with a seed of its own.
        progress: called with ("phase", name, total), ("trial", ...) and ("end").

    Raises:
        SettingError: more folds than examples.
        Interrupted: Ctrl-C.
    """
    from fitwell.data.split import fold_rows

    seed = int(recipe["train.seed"]) if seed is None else seed  # type: ignore[arg-type]
    # Said before any worker has a trial: a partition that cannot be made is the user's to mend.
    fold_rows(data, recipe.section("data"), fold=0, repeat=repeat, seed=seed)
    tasks: list[Task] = []
    for more in range(repeats_of(recipe)):
        own = seed_of(seed, more)
        tasks += fold_tasks(recipe, repeat=repeat + more, seed=own, variant=variant)
    return run_phase("folds", tasks, executor, progress)


def run_phase(
    name: str, tasks: Sequence[Task], executor: Executor, progress: Progress | None
) -> list[Run]:
    """Run the tasks as one phase of the progress display; the runs stand in their order."""
    progress = progress or silent
    metric, _ = metric_of(tasks[0].recipe)
    progress("phase", name=name, total=len(tasks))
    runs = executor.run(
        tasks,
        lambda task, run: report_trial(progress, task, run, metric),
        lambda task: report_start(progress, task),
    )
    progress("end")
    return runs


def report_start(progress: Progress, task: Task) -> None:
    """One trial that begins as an event of the progress display."""
    progress("start", name=task.title or task.variant, fold=task.place, repeat=task.repeat)


def report_trial(progress: Progress, task: Task, run: Run, metric: str) -> None:
    """One ended trial as an event of the progress display."""
    from fitwell.trials.scoring import score_of

    score = score_of(run, metric)
    waiting = [e["waiting"] for e in run.epochs if e.get("waiting") is not None]
    progress(
        "trial",
        name=task.title or task.variant,
        fold=task.place,
        repeat=task.repeat,
        metric=metric,
        score=None if score != score else score,
        seconds=run.seconds,
        waiting=sum(waiting) / len(waiting) if waiting else None,
        failure=run.failure if run.status == "failed" else "",
    )


def write_folds(folder: Path, data: Data, recipe: Recipe) -> None:
    """`split.parquet`: every example's key, row, part, fold, and the folds whose inner cut it is in.

    It is the partition of repeat 0; the others follow from it by their recorded seeds. Fold -1 is no
    fold: part "test" (held out of all of it), "train" (the first by `data.time`, which no fold holds
    out), or "unused" where `data.limit` left it out.
    """
    import polars as pl

    from fitwell import store
    from fitwell.data.split import final_rows, fold_rows

    options, seed = recipe.section("data"), int(recipe["train.seed"])  # type: ignore[arg-type]
    fold = np.full(len(data), -1)
    inner: list[list[int]] = [[] for _ in range(len(data))]
    trained = np.zeros(len(data), bool)
    for k in range(int(recipe["data.folds"])):  # type: ignore[arg-type]
        rows = fold_rows(data, options, fold=k, repeat=0, seed=seed)
        fold[rows.held_out] = k
        trained[rows.train] = trained[rows.validation] = True
        for row in rows.validation:
            inner[row].append(k)
    part = np.where(fold >= 0, "fold", np.where(trained, "train", "unused")).astype("<U8")
    part[final_rows(data, options, seed).held_out] = "test"
    columns = {
        "key": data.keys.astype(str),
        "index": np.arange(len(data)),
        "part": part,
        "fold": fold,
        "validation_of": pl.Series(inner, dtype=pl.List(pl.Int64)),
    }
    with store.replacing(folder / "split.parquet") as temporary:
        pl.DataFrame(columns).write_parquet(temporary)


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """The `cv` JSON document: a fold's "validation" is the fold that it held out.

    "interval" holds where the mean of each lies, with 95 %, where every fold has the score.
    """
    folds: list[dict[str, Any]] = [
        {
            "repeat": r.repeat,
            "fold": r.fold,
            "train": _part(r, "train"),
            "validation": _part(r, "held_out"),
        }
        for r in runs
    ]
    train = [f["train"] for f in folds]
    return {
        "folds": folds,
        "mean": {"train": _over_folds(train, np.mean), "validation": mean_scores(runs)},
        "std": {"train": _over_folds(train, _std), "validation": std_scores(runs)},
        "interval": {"validation": mean_intervals(runs)},
    }
