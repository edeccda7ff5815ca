"""The experiments that an improvement runs for its baseline, and what they are made from."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fitwell.data import split
from fitwell.data.looking_back import looking_back
from fitwell.data.split import Rows
from fitwell.data.types import Data, Options
from fitwell.errors import FitwellError
from fitwell.recipe import Recipe
from fitwell.record import Row, Run
from fitwell.restraints import restraints
from fitwell.settings import defaults

if TYPE_CHECKING:
    from fitwell.data.batches import Batch
    from fitwell.train.job import Job

# Of how many folds the simple models' scores are taken, and at how many held-out examples fewer will do:
# one fold of a small table holds 32, which tell an accuracy of 0.9 no closer than to 0.05.
REFERENCE_FOLDS, TELLING = 3, 1000
RANGE_STEPS = 100
_STEPS = 300  # fewer are few: at least so many are taken to learn what there was no time for
MOST_PLACES = 20  # of a problem that are kept
OF_DATA = ("check", "copies", "reference", "domain")  # experiments that serve every round
_ONE_SIDED = 1.645  # standard errors below a mean: 95 %
BATCH = 32  # examples that must be learned by heart


def gather(
    data: Data,
    recipe: Recipe,
    runs: Sequence[Run],
    *,
    repeat: int,
    seed: int,
    have: Collection[str] = (),
    threads: int = 1,
    seconds: float = math.inf,
) -> list[Row]:
    """Evidence rows for a recipe: a check of the data, what the runs owe to copies in it, reference
    models, a classifier of the parts, learning-rate range test; where it fits even its training examples
    poorly, whether it can learn one batch by heart, and how well it fits them without what holds it back;
    and there, or where it took fewer than 300 steps, in twice the epochs, or in those of 300 steps where
    that is more.

    Args:
        runs: the trials of the recipe.
        have: experiments whose rows there are already: `OF_DATA` after the first round of an improvement.
        threads: those of a trial. With a thread a core the small steps of these experiments take
            many times as long on a machine that does anything else.

        seconds: that a whole training, or those on one batch, may take; what would take longer is left out.

    An experiment that fails (a model that gives not-a-number at once) leaves no rows, and the
    findings that need it are then not assessed.
    """
    import sklearn.ensemble  # noqa: F401  (only the pools of loaded libraries can be limited)
    import torch
    from threadpoolctl import threadpool_limits

    from fitwell.experiments import (
        domain_classifier,
        one_batch,
        range_test,
        reference_models,
    )
    from fitwell.findings.reference import short_of_reference
    from fitwell.train.machine import thread_count

    rows: list[Row] = []
    options = recipe.section("data")
    if "check" not in have:
        rows += checked(data, recipe, runs)
    for fold in range(min(REFERENCE_FOLDS, int(recipe["data.folds"]))):  # type: ignore[arg-type]
        seen, parts = _fold(data, options, fold=fold, repeat=repeat, seed=seed)
        metric = str(recipe["score.name"])
        with threadpool_limits(threads):
            if "reference" not in have:
                rows += reference_models(seen, parts, seed, metric=metric, fold=fold)
            if "domain" not in have:
                rows += domain_classifier(seen, parts, seed, fold=fold)
        if (fold + 1) * len(parts.held_out) >= TELLING:
            break
    try:
        # The caller's random numbers stay as they were.
        with torch.random.fork_rng(), thread_count(threads):
            if "range_test" not in have:
                starter = range_starter(data, recipe, repeat=repeat, seed=seed)
                rows += range_test(starter, steps=RANGE_STEPS)
            short = short_of_reference(
                [replace(run, evidence=[*run.evidence, *rows]) for run in runs]
            )
            poor = not isinstance(short, str) and short.clear
            if "one_batch" not in have and poor:
                start = batch_starter(data, recipe, repeat=repeat, seed=seed)
                lr = float(recipe["optim.lr"])  # type: ignore[arg-type]
                rows += one_batch(start, lr=lr, seconds=seconds)
            epochs = int(recipe["train.epochs"])  # type: ignore[arg-type]
            batches = math.ceil(len(parts.train) / int(recipe["train.batch_size"]))  # type: ignore[arg-type]
            longer = max(2 * epochs, math.ceil(_STEPS / batches))
            if longer / epochs * runs[0].seconds > seconds:
                longer = 2 * epochs
            few = batches * (len(runs[0].epochs) or epochs) < _STEPS
            for name, edit, times, needed in (
                ("unrestrained", restraints(recipe), 1, poor),
                ("longer", {"train.epochs": longer}, longer / epochs, poor or few),
            ):
                if name not in have and needed and times * runs[0].seconds <= seconds:
                    rows += again(name, edit, data, recipe, runs, threads)
    except (FitwellError, ArithmeticError):
        pass
    return rows


def _fold(data: Data, options: Options, **place: int) -> tuple[Data, Rows]:
    """One fold as a trial of a recipe sees it."""
    rows = split.fold_rows(data, options, **place)
    return looking_back(data, rows, options.get("look_back", 0))


def checked(data: Data, recipe: Recipe, runs: Sequence[Run]) -> list[Row]:
    """What `check` says of the data, a row a problem; one row that says so where there is none. And where
    there are copies, what the scores of the runs owe to them."""
    from fitwell.data.checks import problems_of
    from fitwell.data.duplicates import OF_COPIES
    from fitwell.experiments import held_out_copies

    options = recipe.section("data") | {"seed": recipe["train.seed"]}
    problems = problems_of(data, options, thorough=True)
    found: list[Row] = [
        {
            "experiment": "check",
            "problem": problem.name,
            "severity": problem.severity,
            "message": problem.message,
            "where": list(problem.where[:MOST_PLACES]),
            "count": len(problem.where),
        }
        for problem in problems
    ]
    copies = [p for p in problems if p.name.removeprefix("near_") in OF_COPIES]
    named = {key for problem in copies for key in problem.where}
    if named:
        found += held_out_copies(data, runs, named, metric=str(recipe["score.name"]))
    return found or [{"experiment": "check", "problem": None}]


def again(
    experiment: str,
    edit: Mapping[str, Any],
    data: Data,
    recipe: Recipe,
    runs: Sequence[Run],
    threads: int = 0,
) -> list[Row]:
    """One of the runs again under an edit: a row with the training scores of both, and their losses on the
    examples that neither saw; none without an edit, or where it fails."""
    from fitwell.improve.variants import edited
    from fitwell.train import train_once

    metric = str(recipe["score.name"])
    run = next((run for run in runs if metric in run.scores.get("train", {})), None)
    if not edit or run is None:
        return []
    options, changed = recipe.section("data"), edited(recipe, edit, data.spec)
    if run.fold is None:
        rows = split.fit_rows(data, options, run.seed)
        data, rows = looking_back(data, rows, options.get("look_back", 0))
    else:
        data, rows = _fold(data, options, fold=run.fold, repeat=run.repeat, seed=run.seed)
    place: dict[str, Any] = {"seed": run.seed, "fold": run.fold, "repeat": run.repeat}
    second = train_once(data, rows, changed, **place, probes=False, threads=threads)
    if metric not in second.scores.get("train", {}):
        return []
    scores = {"train": run.scores["train"][metric], "train_again": second.scores["train"][metric]}
    facts = {"settings": sorted(edit), "epochs": changed["train.epochs"], "metric": metric}
    return [{"experiment": experiment, "fold": run.fold, **facts, **scores, **_losses(run, second)}]


def _losses(run: Run, second: Run) -> dict[str, float]:
    """Mean loss of both on the examples that neither saw, and the lower bound (95 %, one-sided) of its
    fall from the first to the second, example by example."""
    before, after = run.studied, second.studied
    if before is None or after is None or len(before.loss) < 2:
        return {}
    if not np.array_equal(before.index, after.index):
        return {}
    falls = np.asarray(before.loss, float) - np.asarray(after.loss, float)
    error = float(np.std(falls, ddof=1)) / math.sqrt(len(falls))
    losses = {"loss": float(np.mean(before.loss)), "loss_again": float(np.mean(after.loss))}
    return {**losses, "fall_low": float(falls.mean()) - _ONE_SIDED * error}


def range_starter(
    data: Data, recipe: Recipe, *, repeat: int, seed: int
) -> Callable[[int], Callable[[float], float]]:
    """What `range_test` starts: seed -> a fresh training of fold 0, one step a call."""
    from fitwell.train.job import build_job

    data, parts = _fold(data, recipe.section("data"), fold=0, repeat=repeat, seed=seed)

    def start(run_seed: int) -> Callable[[float], float]:
        job = build_job(data, parts, recipe, seed=seed + run_seed)
        batches = (batch for epoch in range(10**9) for batch in job.batches.epoch(epoch))
        job.start_epoch(job.epochs)  # whatever is trained in the end
        return lambda lr: _step(job, next(batches), lr)

    return start


def batch_starter(
    data: Data, recipe: Recipe, *, repeat: int, seed: int
) -> Callable[[int], tuple[Callable[[float], float], Callable[[], float]]]:
    """What `one_batch` starts: seed -> a fresh training on one batch of fold 0, which nothing changes
    at random, and how well it is fitted (`fit_of`)."""
    import torch

    from fitwell.tasks import fit_of
    from fitwell.train.job import build_job

    data, parts = _fold(data, recipe.section("data"), fold=0, repeat=repeat, seed=seed)
    plain = {f"augment.{name}": value for name, value in defaults("augment").items()}
    plain = {name: value for name, value in plain.items() if name in recipe}
    still = recipe.edit({**plain, "train.batch_size": min(BATCH, len(parts.train))})

    def start(run_seed: int) -> tuple[Callable[[float], float], Callable[[], float]]:
        job = build_job(data, parts, still, seed=seed + run_seed)
        batch = next(job.batches.epoch(0))
        target = batch.y.cpu().numpy()
        job.start_epoch(job.epochs)

        def fit() -> float:
            job.model.eval()
            with torch.inference_mode():
                outputs = job.model(batch.x).float().cpu().numpy()
            job.start_epoch(job.epochs)
            return fit_of(job.task, outputs, target)

        return lambda lr: _step(job, batch, lr), fit

    return start


def _step(job: "Job", batch: "Batch", lr: float) -> float:
    """One step at a learning rate; the loss before it."""
    from fitwell.train.loop import clip
    from fitwell.train.machine import autocast

    job.set_lr(lr)
    with autocast(job.precision, job.device):
        outputs = job.model(batch.x)
    values = job.values(outputs.float(), batch)
    loss = values.sum() / job.task.normaliser(values, batch.y)
    loss.backward()
    clip(job.model, job.recipe.section("train"), measure=False)
    job.step()
    return float(loss.item())
