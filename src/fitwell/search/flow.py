"""Baseline -> points that Optuna asks for, K folds each -> the best one on trial as a remedy is -> the
final model.

Called again for the same folder it goes on where it stopped: the study knows what was tried, and finished
folds stand in the run folder.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fitwell import store
from fitwell.data.types import Data
from fitwell.errors import TrainingError
from fitwell.improve.final import epochs_found, finish
from fitwell.improve.flow import sentence_of
from fitwell.improve.opening import examples_of_fold, opened
from fitwell.improve.state import State, open_state
from fitwell.recipe import Recipe
from fitwell.record import Run, Verdict
from fitwell.search.explore import Explorer
from fitwell.search.proof import flattered, prove
from fitwell.search.result import STATE, Plan, Searched, read_search
from fitwell.search.rows import Row, importance
from fitwell.search.storage import place_of
from fitwell.search.study import Study
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.budget import Limit
from fitwell.trials.crossval import Progress
from fitwell.trials.reusing import Executor
from fitwell.trials.scoring import metric_of, score_of
from fitwell.trials.trial import Task

# Settings that say where the data is and what computes: machines that share a study may differ in them.
OF_THE_PLACE = ("source", "train.threads", "train.device")


def search(
    data: Data,
    recipe: Recipe,
    plan: Plan,
    *,
    out: Path,
    budget: Limit | float | None = None,
    progress: Progress | None = None,
    executor: Executor | None = None,
    more: bool = False,
) -> Searched:
    """Search for better settings, prove the best ones, and train the final model.

    Args:
        recipe: complete: the baseline.
        out, budget, progress, executor, more: as for `fitwell.improve.improve`. Time for the
            proof and the final model is kept.

    Raises:
        SettingError: data.folds does not suit the data, the study belongs to something else, or the
            budget is too small for one trial.
        TrainingError: every trial failed.
        StorageError: the database stopped answering; the same call goes on.
        Interrupted: Ctrl-C; the same call goes on.
    """
    # Refused before anything is written, where data.folds does not suit the data.
    examples = examples_of_fold(data, recipe)
    state = open_state(Path(out), recipe, STATE)
    if state.finished and not more:
        return read_search(state.folder)
    study = _study(data, recipe, plan, state.folder)
    place = opened(data, recipe, state, examples, budget, progress, executor)
    with place as bench, study:
        bench.budget.origin = recipe
        return _Searching(bench, state, plan, study).run()


def _study(data: Data, recipe: Recipe, plan: Plan, folder: Path) -> Study:
    settings = {k: v for k, v in recipe.items() if k not in OF_THE_PLACE}
    return Study(
        place_of(plan.storage, folder),
        plan.study,
        plan.space,
        sampler=plan.sampler,
        pruner=plan.pruner,
        folds=int(recipe["data.folds"]),
        seed=int(recipe["train.seed"]),
        owner=plan.owner,
        about={
            "data": data.fingerprint,
            "recipe": settings,
            "space": {d.name: d.text for d in plan.space},
            "pruner": plan.pruner,
        },
        greater_is_better=metric_of(recipe)[1].higher_is_better,
    )


class _Searching:
    """One search under way. The methods are the steps, in the order they are taken."""

    def __init__(self, bench: Bench, state: State, plan: Plan, study: Study) -> None:
        self.bench, self.state, self.plan, self.study = bench, state, plan, study
        self.first = Variant("baseline", state.recipe)
        self.explorer = Explorer(bench, state, plan, study, self.first)
        self.sentences: list[str] = []

    def run(self) -> Searched:
        bench = self.bench
        baseline_folds = self.train_baseline()
        self.plan_ending(baseline_folds)
        self.explorer.run()
        rows = self.study.rows()
        tried = [row for row in rows if not row.start]
        best = self.study.best_of(rows)
        self.say_tried(tried)
        winner = None if best is None or best.start else self.explorer.variant(best)
        current, confirmed = self.first, False
        result = Searched(
            run=Run(),
            recipe=self.state.recipe,
            baseline_recipe=self.state.recipe,
            baseline_folds=baseline_folds,
            final_folds=baseline_folds,
            sentences=self.sentences,
            folder=self.state.folder,
            trials=rows,
            best=best,
            space={d.name: d.text for d in self.plan.space},
            sampler=self.plan.sampler,
            pruner=self.plan.pruner,
        )
        if winner is not None and best is not None:
            result.verdicts = prove(bench, self.first, winner, best, baseline_folds)
            self.record(result.verdicts)
            confirmed = bool(result.helped)
            result.selected = flattered(bench, winner, best)
            self.say_flattered(result.selected)
        else:
            self.say("No trial did better than the starting recipe, which stays as it is.")
        result.importance = importance(rows, self.plan.space, bench.base_seed)
        if confirmed and winner is not None:
            # Not on the folds of the search, by which the recipe was chosen: those flatter it.
            current = winner
            result.recipe = winner.recipe
            result.baseline_folds = bench.run(self.folds(self.first, 1))
            result.final_folds = bench.run(self.folds(winner, 1))
        finish(bench, self.state, result, current, self.first)
        return result

    def train_baseline(self) -> list[Run]:
        """K folds of the recipe as it came: what the best trial has to beat, and what a trial costs."""
        bench = self.bench
        tasks = self.folds(self.first, 0)
        bench.phase("baseline", tasks)
        bench.run(tasks[: bench.executor.workers])
        # The first ones waited for their workers to start; those after them tell what a trial takes.
        runs = bench.run(tasks)
        bench.settle_precision(runs)
        scores = [score_of(run, bench.metric) for run in runs]
        if all(map(math.isfinite, scores)):
            settings = {d.name: self.state.recipe.get(d.name) for d in self.plan.space}
            self.study.offer(settings, scores)
            self.say(f"Baseline: {bench.metric} {np.mean(scores):.4g}, mean of {len(runs)} folds.")
            bench.progress("best", metric=bench.metric, score=float(np.mean(scores)))
        else:
            why = next(run.failure for run in runs if run.status != "done")
            self.say(f"The starting recipe fails, and is worth the trivial prediction: {why}")
        return runs

    def plan_ending(self, baseline_folds: Sequence[Run]) -> None:
        """Tell the budget what follows the search whatever it finds: the baseline's final model."""
        epochs = epochs_found(baseline_folds)
        self.bench.budget.closing = [
            Task(self.first.recipe, kind="final", variant="reserve", epochs=epochs)
        ]

    def folds(self, variant: Variant, repeat: int) -> list[Task]:
        return [self.bench.task(variant, repeat, fold) for fold in range(self.bench.folds)]

    def say_tried(self, tried: Sequence[Row]) -> None:
        """How many trials there were, and how they ended.

        Raises:
            TrainingError: all of them failed.
        """
        failed = [row for row in tried if row.state == "failed"]
        if tried and len(failed) == len(tried):
            raise TrainingError(
                f"Every one of the {len(tried)} trials failed; the first: {failed[0].failure} Narrow the "
                "space with --space, and search into a new folder.",
                where=str(self.state.folder),
            )
        stopped = sum(row.state == "stopped early" for row in tried)
        whole = len(tried) - stopped - len(failed)
        said = (
            f"{len(tried)} trials by {self.plan.sampler}: {whole} on all {self.bench.folds} folds"
        )
        said += f", {stopped} stopped early by {self.plan.pruner}" if stopped else ""
        said += f", {len(failed)} failed (the first: {failed[0].failure})" if failed else ""
        self.say(f"{said.rstrip('.')}.")

    def record(self, verdicts: Sequence[Verdict]) -> None:
        document = [verdict.to_json() for verdict in verdicts]
        store.write_json(self.state.folder / "verdicts.json", document)
        for verdict in verdicts:
            said = sentence_of(verdict).removeprefix(f"Round {verdict.round}, ")
            self.say(said[:1].upper() + said[1:])
            self.bench.progress("verdict", verdict=verdict)
        self.state.spend(self.bench.budget)

    def say_flattered(self, selected: Mapping[str, float | None]) -> None:
        if selected["fresh"] is not None:
            self.say(
                f"Its {self.bench.metric} was {selected['score']:.4g} on the folds that selected it, "
                f"and is {selected['fresh']:.4g} on fresh ones."
            )

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)
        self.bench.progress("note", text=sentence)
