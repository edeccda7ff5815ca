"""The experiments that an improvement runs for its baseline, and what they are made from."""

from collections.abc import Callable

from fitwell.data import split
from fitwell.data.types import Data
from fitwell.errors import FitwellError
from fitwell.recipe import Recipe
from fitwell.record import Row

REFERENCE_FOLDS = 1  # a reference costs a second or two a fold, and varies less than a network
RANGE_STEPS = 100


def gather(
    data: Data, recipe: Recipe, *, repeat: int, seed: int, first: bool, threads: int = 1
) -> list[Row]:
    """Evidence rows for a baseline: reference models (once), learning-rate range test.

    Args:
        first: the first round; what depends on the data alone is measured then and kept.
        threads: those of a trial. With a thread a core the small steps of these experiments take
            many times as long on a machine that does anything else (44 s against 1.5 s measured).

    An experiment that fails (a model that gives not-a-number at once) leaves no rows, and the
    findings that need it are then not assessed.
    """
    import sklearn.ensemble  # noqa: F401  (only the pools of loaded libraries can be limited)
    import torch
    from threadpoolctl import threadpool_limits

    from fitwell.experiments import range_test, reference_models
    from fitwell.train.machine import thread_count

    rows: list[Row] = []
    options = recipe.section("data")
    if first:
        for fold in range(REFERENCE_FOLDS):
            parts = split.fold_rows(data, options, fold=fold, repeat=repeat, seed=seed)
            metric = str(recipe["score.name"])
            with threadpool_limits(threads):
                rows += reference_models(data, parts, seed, metric=metric, fold=fold)
    try:
        # The caller's random numbers stay as they were.
        with torch.random.fork_rng(), thread_count(threads):
            starter = range_starter(data, recipe, repeat=repeat, seed=seed)
            rows += range_test(starter, steps=RANGE_STEPS)
    except (FitwellError, ArithmeticError):
        pass
    return rows


def range_starter(
    data: Data, recipe: Recipe, *, repeat: int, seed: int
) -> Callable[[int], Callable[[float], float]]:
    """What `range_test` starts: seed -> a fresh training of fold 0, one step a call."""
    from fitwell.train.job import build_job
    from fitwell.train.loop import clip
    from fitwell.train.machine import autocast

    parts = split.fold_rows(data, recipe.section("data"), fold=0, repeat=repeat, seed=seed)
    settings = recipe.section("train")

    def start(run_seed: int) -> Callable[[float], float]:
        job = build_job(data, parts, recipe, seed=seed + run_seed)
        batches = (batch for epoch in range(10**9) for batch in job.batches.epoch(epoch))
        job.start_epoch(job.epochs)  # whatever is trained in the end

        def step(lr: float) -> float:
            batch = next(batches)
            job.set_lr(lr)
            with autocast(job.precision, job.device):
                outputs = job.model(batch.x)
            values = job.values(outputs.float(), batch)
            loss = values.sum() / job.task.normaliser(values, batch.y)
            loss.backward()
            clip(job.model, settings, measure=False)
            job.step()
            return float(loss.item())

        return step

    return start
