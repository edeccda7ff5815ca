"""Where the trials of an improvement run: variants, and pairs of scores."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fitwell.data.split import fold_rows
from fitwell.data.types import Data
from fitwell.recipe import Recipe
from fitwell.record import Run
from fitwell.trials.budget import Budget
from fitwell.trials.crossval import Progress, report_start, report_trial, seed_of
from fitwell.trials.reusing import Executor
from fitwell.trials.scoring import metric_of, score_of, trivial_score
from fitwell.trials.trial import Task


@dataclass(frozen=True)
class Variant:
    """A recipe under a name: the baseline, or the baseline edited by a remedy."""

    name: str  # unique in the improvement: the trials stand under it
    recipe: Recipe
    remedy: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    finding: str = ""
    title: str = "baseline"  # for people
    shift: int = 0  # see Task


@dataclass
class Bench:
    """Where trials of an improvement run, and what they are scored by."""

    data: Data
    executor: Executor
    budget: Budget
    progress: Progress
    recipe: Recipe  # any of the recipes: metric and folds are the same in all
    race: bool = True  # stop variants that can no longer get anywhere
    ended: Callable[[], object] = lambda: None  # called after each new trial
    precision: str = ""  # of every trial, once the baseline has shown which; empty: the recipe's

    def __post_init__(self) -> None:
        self.metric, self.function = metric_of(self.recipe)
        self.folds = int(self.recipe["data.folds"])  # type: ignore[arg-type]
        self.base_seed = int(self.recipe["train.seed"])  # type: ignore[arg-type]

    def settle_precision(self, baseline: Sequence[Run]) -> None:
        """From here on every trial computes as the baseline did, in both arms of every pair.

        `train.precision=auto` might choose another for another network or batch size.
        """
        known = (run.environment.get("precision") for run in baseline)
        self.precision = next((str(p) for p in known if p), "")

    def task(self, variant: Variant, repeat: int, fold: int) -> Task:
        return Task(
            variant.recipe,
            fold,
            repeat,
            self.seed(repeat),
            variant=variant.name,
            title=variant.title,
            precision=self.precision,
            shift=variant.shift,
        )

    def seed(self, repeat: int) -> int:
        return seed_of(self.base_seed, repeat)

    def phase(self, name: str, tasks: Sequence[Task], **facts: Any) -> None:
        """Say what begins, and how many trials of it are not done yet."""
        total = len(self.executor.missing(tasks))
        self.progress("phase", name=name, total=total, **facts)

    def phase_goes_on(self, tasks: Sequence[Task]) -> None:
        """Say what is left of the phase, where it is less than was announced."""
        self.progress("left", total=len(self.executor.missing(tasks)))

    def run(self, tasks: Sequence[Task]) -> list[Run]:
        """Run the tasks, report each new one as it ends, and learn what they cost."""
        missing = set(self.executor.missing(tasks))

        def done(task: Task, run: Run) -> None:
            if task in missing:
                report_trial(self.progress, task, run, self.metric)
                self.ended()

        def started(task: Task) -> None:
            report_start(self.progress, task)

        begin = time.monotonic()
        runs = self.executor.run(tasks, done, started)
        seconds = time.monotonic() - begin
        self.budget.learn(tasks, runs)
        fresh = [r for t, r in zip(tasks, runs, strict=True) if t in missing]
        self.budget.learn_overhead(fresh, seconds, self.executor.workers)
        return runs

    def baseline_scores(self, tasks: Sequence[Task], runs: Sequence[Run]) -> np.ndarray:
        """[trial]; a baseline that failed is worth what the trivial prediction scores."""
        scores = []
        for task, run in zip(tasks, runs, strict=True):
            score = score_of(run, self.metric)
            if math.isnan(score):
                options = task.recipe.section("data")
                place = {"fold": task.fold, "repeat": task.repeat, "seed": task.seed}
                rows = fold_rows(self.data, options, **place)
                score = trivial_score(self.data, rows, self.function)
            scores.append(score)
        return np.array(scores)

    def differences(self, baseline: np.ndarray, runs: Sequence[Run]) -> np.ndarray:
        """[trial] variant - baseline, positive is better; nan where the variant failed."""
        return np.array(
            [
                self.function.gain(float(b), score_of(r, self.metric))
                for b, r in zip(baseline, runs, strict=True)
            ]
        )
