"""The trials of a search, batch by batch: which are asked for, whether they fit, what each trains."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from fitwell.errors import SettingError, going_on
from fitwell.improve.state import State
from fitwell.improve.variants import edited
from fitwell.recipe import Recipe
from fitwell.record import Run
from fitwell.search.asking import FIRST_FOLDS
from fitwell.search.proof import FRESH
from fitwell.search.result import Plan
from fitwell.search.rows import Row
from fitwell.search.study import Asked, Study
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.budget import MARGIN, Limit
from fitwell.trials.confirming import REPEATS
from fitwell.trials.scoring import score_of
from fitwell.trials.trial import Task

# Of what the proof will take, kept beside it: a search that used its time up to the last second and has
# nothing proved was in vain.
SLACK = 0.5
SPARE = 1.2  # of the budget that is asked for where one is too small
HOPELESS = 20  # trials that failed one and all: so will the next


@dataclass
class Candidate:
    """A trial under way, and the variant that it trains."""

    asked: Asked
    variant: Variant


class Explorer:
    """What asks for points and trains them.

    Args:
        first: the recipe that the search starts from.
    """

    def __init__(
        self, bench: Bench, state: State, plan: Plan, study: Study, first: Variant
    ) -> None:
        self.bench, self.state, self.plan, self.study = bench, state, plan, study
        self.first = first

    def run(self) -> None:
        """Batches of points, as many as there are workers, until time, trials or points are used up."""
        begun = False
        while batch := self.batch():
            if not begun:
                self.bench.progress("phase", name="search", total=0)
            begun = True
            self.train(batch)
            self.state.spend(self.bench.budget)

    def batch(self) -> list[Candidate]:
        """What is trained next: what an interruption left in the middle, then new points."""
        found = [c for asked in self.study.under_way() if (c := self.candidate(asked))]
        width = max(2, self.bench.executor.workers)
        rows = self.study.rows()
        while len(found) < width and self.room(rows, len(found) + 1):
            asked = self.study.ask([c.asked.settings for c in found])
            if asked is None:
                break
            if candidate := self.candidate(asked):
                found.append(candidate)
            else:
                rows = self.study.rows()
        return found

    def room(self, rows: Sequence[Row], count: int) -> bool:
        """Whether so many more trials fit, with the proof and the final model after them.

        Args:
            rows: what has ended.

        Raises:
            SettingError: not even one does.
        """
        tried = [row for row in rows if not row.start]
        if self.plan.trials and len(tried) + count > self.plan.trials:
            return False
        if len(tried) >= HOPELESS and all(row.state == "failed" for row in tried):
            return False
        bench, budget = self.bench, self.bench.budget
        trials = [self.reserve(f"reserve{i}", 0, f) for i in range(count) for f in self.folds]
        proof = self.proof(self.study.best_of(rows))
        workers = bench.executor.workers
        kept = SLACK * budget.cost(proof, workers) if budget.unit == "seconds" else 0.0
        margin = MARGIN + (kept / budget.limit.amount if budget.limit else 0.0)
        if budget.fits([*trials, *proof], bench.executor, margin=margin):
            return True
        if tried or count > 1:
            return False
        needed = budget.cost([*trials, *proof], workers) + kept
        needed += budget.ending([*trials, *proof], bench.executor)
        least = Limit(math.ceil((budget.spent + needed) * SPARE), budget.unit)
        raise SettingError(
            f"budget = {budget.limit}: too small for one trial. {bench.folds} folds, the proof of "
            f"{REPEATS} times as many for both recipes, and the final model take about {needed:.0f} "
            f"{budget.unit} more. Give at least {least}: `{going_on(self.state.folder)} --budget {least}`.",
            setting="budget",
        )

    def proof(self, best: Row | None) -> list[Task]:
        """The trials of the confirm stage, of the best recipe so far."""
        winner = self.first.recipe if best is None or best.start else self.variant(best).recipe
        tasks = [self.bench.task(self.first, r, f) for r in FRESH for f in self.folds]
        return tasks + [self.reserve("reserve", r, f, winner) for r in FRESH for f in self.folds]

    def train(self, batch: Sequence[Candidate]) -> None:
        """Fold by fold, the first ones in one go; what the pruner gives up is trained no further."""
        bench, alive = self.bench, list(batch)
        first = min(bench.folds, FIRST_FOLDS.get(self.plan.pruner, bench.folds))
        for folds in (range(first), *(range(f, f + 1) for f in range(first, bench.folds))):
            tasks = [bench.task(c.variant, 0, f) for c in alive for f in folds]
            runs = bench.run(tasks)
            for place, candidate in enumerate(tuple(alive)):
                own = runs[place * len(folds) : (place + 1) * len(folds)]
                if not self.goes_on(candidate, folds, own):
                    alive.remove(candidate)
            if not alive:
                break
        for candidate in alive:
            self.study.end(candidate.asked, "done")
        best = self.study.best_of(self.study.rows())
        if best is not None:
            bench.progress("best", metric=bench.metric, score=best.score)

    def goes_on(self, candidate: Candidate, folds: range, runs: Sequence[Run]) -> bool:
        """Tell the study what the folds scored; whether the trial is worth its further folds."""
        for fold, run in zip(folds, runs, strict=True):
            score = score_of(run, self.bench.metric)
            if not math.isfinite(score):
                why = run.failure or "A fold has no score."
                self.study.end(candidate.asked, "failed", why)
                return False
            if self.study.score(candidate.asked, fold, score):
                self.study.end(candidate.asked, "stopped early")
                return False
        return True

    def candidate(self, asked: Asked) -> Candidate | None:
        """What a point trains; None where its settings do not go together, which fails this trial alone."""
        try:
            return Candidate(asked, self.variant(asked))
        except SettingError as error:
            self.study.end(asked, "failed", error.message)
            return None

    def variant(self, point: Asked | Row) -> Variant:
        """The recipe of a point. Its folder is named by the recipe, so that folds that were trained once
        are found again whatever number the study gives to it."""
        start = self.state.recipe
        recipe = edited(start, point.settings, self.bench.data.spec)
        mark = hashlib.sha256(recipe.to_toml().encode()).hexdigest()[:12]
        edit = {k: after for k, (_, after) in start.changes(recipe).items() if after is not None}
        title = f"trial {point.number}"
        return Variant(f"trial-{mark}", recipe, f"{title} of the search", edit, title=title)

    @property
    def folds(self) -> range:
        return range(self.bench.folds)

    def reserve(self, name: str, repeat: int, fold: int, recipe: Recipe | None = None) -> Task:
        """A trial that stands for one to come, for the budget."""
        return Task(recipe or self.state.recipe, fold, repeat, variant=name)
