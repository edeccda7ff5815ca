"""The confirm stage: fresh repeats of all folds, for baseline and finalists. It alone gives verdicts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np

from fitwell.record import Decision, Run, Verdict
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.racing import futile
from fitwell.trials.scoring import smallest_effect
from fitwell.trials.statistics import confirm as corrected_tests
from fitwell.trials.statistics import equivalence, round_alpha
from fitwell.trials.trial import Task
from fitwell.trials.verdicts import because, common, failure_of, unequal, verdict_of

REPEATS = 3
# A variant within this many smallest effects of the baseline, on the screen's folds or after a whole
# repeat of the confirm stage, is not followed further: it could only become `helps` by luck. That
# costs time and finds nothing; a verdict it never makes easier, since stopping only takes chances
# to say `helps` away.
NEGLIGIBLE = 0.5


def confirm(
    bench: Bench,
    baseline: Variant,
    finalists: Sequence[Variant],
    repeats: range,
    *,
    round_number: int,
    screened: Mapping[str, Sequence[float]] | None = None,
) -> list[Verdict]:
    """Fresh repeats of all folds, for the baseline and each finalist; their verdicts.

    Args:
        screened: name -> differences in the screen. They tell how far differences spread, for what is
            stopped early; no verdict is made of them.
    """
    tasks_of = partial(tasks_of_all, bench)
    bench.phase("confirm", tasks_of([baseline, *finalists], repeats), round=round_number)
    stage = _Confirming(bench, baseline, finalists, round_number, screened or {})
    for repeat in repeats:
        stage.run(tasks_of([baseline, *stage.alive], [repeat]))
        remaining = range(repeat + 1, repeats[-1] + 1)
        if remaining:
            stage.stop_negligible()
            stage.stop_unaffordable(partial(tasks_of, repeats=remaining))
        if not stage.alive:
            break
        bench.phase_goes_on(tasks_of([baseline, *stage.alive], remaining))
    return stage.verdicts()


def tasks_of_all(bench: Bench, arms: Sequence[Variant], repeats: Iterable[int]) -> list[Task]:
    return [bench.task(a, r, f) for r in repeats for f in range(bench.folds) for a in arms]


class _Confirming:
    """The confirm stage, a repeat at a time. `alive` are the variants still on trial."""

    def __init__(
        self,
        bench: Bench,
        baseline: Variant,
        finalists: Sequence[Variant],
        round_number: int,
        screened: Mapping[str, Sequence[float]],
    ) -> None:
        self.screened = screened
        self.bench, self.baseline, self.round = bench, baseline, round_number
        self.finalists, self.alive = list(finalists), list(finalists)
        self.runs: dict[str, list[Run]] = {}
        self.base = np.empty(0)  # [trial] scores of the baseline
        self.stopped: dict[str, str] = {}  # name -> why
        self.cut_off: set[str] = set()  # names that the budget did not reach for

    def run(self, tasks: Sequence[Task]) -> None:
        runs = self.bench.run(tasks)
        for task, run in zip(tasks, runs, strict=True):
            self.runs.setdefault(task.variant, []).append(run)
        own = [(t, r) for t, r in zip(tasks, runs, strict=True) if t.variant == self.baseline.name]
        scores = self.bench.baseline_scores([t for t, _ in own], [r for _, r in own])
        self.base = np.concatenate([self.base, scores])

    def gains(self, variant: Variant) -> np.ndarray:
        runs = self.runs[variant.name]
        return self.bench.differences(self.base[: len(runs)], runs)

    @property
    def smallest(self) -> float:
        return smallest_effect(self.bench.recipe, float(self.base.mean()))

    def stop_negligible(self) -> None:
        """Variants that failed, or are worth so little that the rest of the stage is not."""
        for variant in tuple(self.alive):
            gains = self.gains(variant)
            pairs = f"{gains.mean():+.4f} after {len(gains)} of {REPEATS * self.bench.folds} pairs"
            if not np.isfinite(gains).all():
                self.alive.remove(variant)
                continue
            if not self.bench.race:
                continue
            if abs(gains.mean()) < NEGLIGIBLE * self.smallest:
                why = f"{pairs}, where {self.smallest:.2g} is the least that counts."
            elif futile(
                gains.tolist(),
                self.bench.folds,
                REPEATS,
                self.smallest,
                before=self.screened.get(variant.name, ()),
            ):
                why = f"{pairs}: those to come could hardly make it helpful."
            else:
                continue
            self.stopped[variant.name] = why
            self.alive.remove(variant)

    def stop_unaffordable(self, remaining: Callable[[Sequence[Variant]], list[Task]]) -> None:
        """Variants that cannot be confirmed in time after all: the machine was slower than thought."""
        while self.alive and not self.bench.budget.fits(
            remaining([self.baseline, *self.alive]), self.bench.executor, margin=0.0
        ):
            worst = min(self.alive, key=lambda v: float(self.gains(v).mean()))
            self.alive.remove(worst)
            self.cut_off.add(worst.name)

    def verdicts(self) -> list[Verdict]:
        bench, gains = self.bench, {v.name: self.gains(v) for v in self.finalists}
        whole = [v for v in self.alive if np.isfinite(gains[v.name]).all()]
        tested = corrected_tests(
            [gains[v.name].tolist() for v in whole],
            bench.folds,
            REPEATS,
            min_effect=self.smallest,
            # One that failed or was stopped was still one of the hypotheses: it keeps its share of
            # the level.
            alpha=round_alpha(self.round) * len(whole) / len(self.finalists),
        )
        decided = dict(zip([v.name for v in whole], tested, strict=True))
        verdicts = []
        for variant in self.finalists:
            values = gains[variant.name]
            if variant.name not in decided:
                decision, why = self._undecided(variant)
                verdict = verdict_of(bench, variant, values, "confirm", decision, self.round)
                verdicts.append(because(verdict, why))
                continue
            interval, decision = decided[variant.name]
            verdicts.append(
                Verdict(
                    **common(bench, variant, values, self.round),
                    stage="confirm",
                    low=interval.low,
                    high=interval.high,
                    p=interval.p,
                    level=interval.level,
                    decision=decision,
                    equivalence=equivalence(values.tolist(), bench.folds, REPEATS, self.smallest),
                    why=unequal(self.runs[self.baseline.name], self.runs[variant.name]),
                )
            )
        return verdicts

    def _undecided(self, variant: Variant) -> tuple[Decision, str]:
        """Decision and reason of a finalist that was not tested."""
        if variant.name in self.stopped:
            return "stopped early", self.stopped[variant.name]
        if variant.name in self.cut_off:
            return "unconfirmed", "The budget ended within the confirm stage."
        return "no evidence", failure_of(self.runs[variant.name])
