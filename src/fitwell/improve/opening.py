"""Where an improvement or a search runs its trials: the bench, with what is left of the budget."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from fitwell.data import split
from fitwell.data.types import Data
from fitwell.improve.state import State
from fitwell.recipe import Recipe
from fitwell.trials.bench import Bench
from fitwell.trials.budget import Budget, Limit, counted
from fitwell.trials.choosing import open_executor
from fitwell.trials.crossval import Progress, silent, write_folds
from fitwell.trials.reusing import Executor

NOTED = 5.0  # seconds: a killed run has spent at most so many, and a trial, more than it noted


def examples_of_fold(data: Data, recipe: Recipe) -> int:
    """Examples that a fold trains on.

    Raises:
        SettingError: data.folds does not suit the data.
    """
    seed = int(recipe["train.seed"])  # type: ignore[arg-type]
    return len(split.fold_rows(data, recipe.section("data"), fold=0, repeat=0, seed=seed).train)


@contextmanager
def opened(
    data: Data,
    recipe: Recipe,
    state: State,
    examples: int,
    budget: Limit | float | None,
    progress: Progress | None,
    executor: Executor | None,
) -> Iterator[Bench]:
    """The bench of a run folder; in the end what was spent is noted, and an executor of its own closed.

    Args:
        examples: that a fold trains on.
        budget: with what earlier calls for this folder spent.
        executor: by default processes of this machine.
    """
    seed = int(recipe["train.seed"])  # type: ignore[arg-type]
    final = split.final_rows(data, recipe.section("data"), seed)
    if state.finished:
        state.reopen()
    write_folds(state.folder, data, recipe)
    spending = Budget(
        budget,
        spent=state.seconds,
        overhead=state.overhead,
        rows=len(final.train) / examples,
        done=counted(state.folder),
    )

    def note() -> None:
        if spending.seconds - state.seconds >= NOTED:
            state.spend(spending)

    given = nullcontext(executor) if executor else open_executor(data, recipe, state.folder)
    try:
        with given as runner:
            yield Bench(data, runner, spending, progress or silent, recipe, ended=note)
    finally:
        state.spend(spending)
