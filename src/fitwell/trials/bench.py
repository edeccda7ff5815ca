"""Where the trials of an improvement run: variants, the budget, and pairs of scores."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fitwell.data.split import fold_rows
from fitwell.data.types import Data
from fitwell.recipe import Recipe
from fitwell.record import Run
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


# Of the budget: what begins must end by so much before the limit, so that a machine that slows down a
# little does not cost two thirds of a stage.
MARGIN = 0.05


class Budget:
    """Seconds left, and what trials cost as far as was seen. Without a limit everything fits.

    Args:
        spent: seconds of earlier calls.
        overhead: wall time of a batch of trials against what they say they took.
        rows: examples that a final model trains on, against those of a fold.
    """

    def __init__(
        self,
        seconds: float | None,
        spent: float = 0.0,
        overhead: float = 1.0,
        rows: float = 1.0,
    ) -> None:
        self.limit = seconds
        self.started = time.monotonic() - spent
        self.epoch_seconds: dict[Recipe, dict[str, float]] = {}  # by trial
        self.overhead = overhead
        self.rows = rows
        self.origin: Recipe | None = None  # what untried variants are edits of
        self.closing: list[Task] = []  # what is run at the end, whatever is adopted

    @property
    def spent(self) -> float:
        return time.monotonic() - self.started

    @property
    def left(self) -> float:
        return math.inf if self.limit is None else self.limit - self.spent

    def learn(self, tasks: Sequence[Task], runs: Sequence[Run]) -> None:
        """What an epoch costs, by recipe: one network costs ten times what another does.

        Trials of an earlier call count too: taken up again, an improvement plans as it did before.
        """
        for task, run in zip(tasks, runs, strict=True):
            if run.status == "done" and run.epochs:
                each = self.epoch_seconds.setdefault(task.recipe, {})
                each[task.folder_name] = run.seconds / len(run.epochs)

    def learn_overhead(self, runs: Sequence[Run], wall_seconds: float, workers: int) -> None:
        """From trials that were run just now, side by side."""
        took = sum(run.seconds for run in runs if run.status == "done" and run.epochs)
        if took > 0:
            width = min(workers, len(runs))
            self.overhead = min(10.0, max(1.0, wall_seconds * width / took))

    def cost(self, tasks: Sequence[Task], workers: int) -> float:
        """Seconds that the tasks will take; 0 as long as nothing is known."""
        if not self.epoch_seconds or not tasks:
            return 0.0
        known = {
            recipe: float(np.median([*each.values()]))
            for recipe, each in self.epoch_seconds.items()
        }
        usual = float(np.median(list(known.values())))
        if self.origin in known:  # once a large network is adopted, its edits are as large
            usual = max(usual, known[self.origin])
        each = [
            self.overhead
            * known.get(t.recipe, usual)
            * (t.epochs or int(t.recipe["train.epochs"]))  # type: ignore[arg-type]
            * (self.rows if t.kind == "final" else 1.0)
            for t in tasks
        ]
        return max(sum(each) / workers, max(each))

    def ending(self, tasks: Sequence[Task], executor: Executor) -> float:
        """Seconds from the last verdict to the end, should the dearest recipe of these be adopted."""
        always = executor.missing(self.closing)
        finals = {t.recipe: Task(t.recipe, kind="final", variant="reserve") for t in tasks}
        return max(self.cost([*always, final], executor.workers) for final in finals.values())

    def fits(self, tasks: Sequence[Task], executor: Executor, *, margin: float = MARGIN) -> bool:
        """Whether the tasks not done yet, and the final models after them, end in time.

        Args:
            margin: share of the whole budget that must be left then.
        """
        if self.limit is None or not (missing := executor.missing(tasks)):
            return True
        needed = self.cost(missing, executor.workers) + self.ending(tasks, executor)
        return needed <= self.left - margin * self.limit


@dataclass
class Bench:
    """Where trials of an improvement run, and what they are scored by."""

    data: Data
    executor: Executor
    budget: Budget
    progress: Progress
    recipe: Recipe  # any of the recipes: metric and folds are the same in all
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
