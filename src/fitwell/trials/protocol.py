"""The verdict protocol: screen every variant on K folds, confirm the best two on fresh ones.

Testing everything at once sees nothing: with Holm over 8 variants the interval is twice as wide. So
the screen only orders, and never gives a verdict; the confirm stage has fresh seeds and fresh
partitions, and what the screen saw is never pooled with it.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from fitwell.record import Decision, Run, Verdict
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.racing import behind, futile
from fitwell.trials.scoring import smallest_effect
from fitwell.trials.statistics import confirm as corrected_tests
from fitwell.trials.statistics import equivalence, round_alpha
from fitwell.trials.trial import Task

REPEATS = 3  # of the confirm stage
FINALISTS = 2  # variants that reach it
# A variant this many smallest effects (5 points of accuracy) below the baseline on each of its
# first folds is given up; forgiving, since an early greedy cut loses good variants (Bergman et al.
# 2024).
HOPELESS = 10.0
FIRST_FOLDS = 2
# A variant within this many smallest effects of the baseline, on the screen's folds or after a whole
# repeat of the confirm stage, is not followed further: it could only become `helps` by luck. That
# costs time and finds nothing; a verdict it never makes easier, since stopping only takes chances
# to say `helps` away.
NEGLIGIBLE = 0.5


@dataclass
class Screening:
    """`effects` of the variants that ended the screen, best first; verdicts of the others."""

    effects: dict[str, tuple[Variant, np.ndarray]]
    stopped: list[Verdict]
    untried: list[Variant]
    runs: dict[str, list[Run]]
    negligible: float = 0.0  # an effect below this is not followed further


def screen(
    bench: Bench, baseline: Variant, variants: Sequence[Variant], *, repeat: int, round_number: int
) -> Screening:
    """Every variant on the same K folds and seed as the baseline.

    Variants come in the order of their promise; where the budget is short, the last are left
    untried. A screen decides nothing, so room is kept to confirm one of them.
    """
    base_tasks = [bench.task(baseline, repeat, fold) for fold in range(bench.folds)]
    everything = {v.name: [bench.task(v, repeat, f) for f in range(bench.folds)] for v in variants}

    def fits(some: Sequence[Variant], confirmed: Sequence[Variant]) -> bool:
        tasks = [*base_tasks, *(t for v in some for t in everything[v.name])]
        # The repeats of the confirm stage are others; they cost the same.
        later = _tasks_of(bench, [baseline, *confirmed], range(repeat + 1, repeat + 1 + REPEATS))
        return bench.budget.fits([*tasks, *(later if confirmed else [])], bench.executor)

    chosen = list(variants)
    while chosen and not fits(chosen, chosen[:1]):
        chosen.pop()
    if not chosen and fits(variants[:1], []):
        chosen = list(variants[:1])  # it will not be confirmed, and a later call can go on from it
    untried = [v for v in variants if v not in chosen]
    result = Screening({}, [], untried, {})
    if not chosen:
        return result
    announced = [*base_tasks, *(t for v in chosen for t in everything[v.name])]
    bench.phase("screen", announced, round=round_number)
    base_runs = bench.run(base_tasks)
    base = bench.baseline_scores(base_tasks, base_runs)
    smallest = smallest_effect(bench.recipe, float(base.mean()))
    hopeless, result.negligible = HOPELESS * smallest, NEGLIGIBLE * smallest

    def batch(alive: Sequence[Variant], folds: range) -> None:
        # Fold by fold and not variant by variant: neighbours in time are then compared.
        tasks = [everything[v.name][f] for f in folds for v in alive]
        for task, run in zip(tasks, bench.run(tasks), strict=True):
            result.runs.setdefault(task.variant, []).append(run)

    first = range(min(FIRST_FOLDS, bench.folds))
    batch(chosen, first)
    alive = []
    for variant in chosen:
        runs = result.runs[variant.name]
        gains = bench.differences(base[: len(first)], runs)
        why = _failure(runs)
        if not why and bench.race and (gains < -hopeless).all():
            worst = ", ".join(f"{g:+.3g}" for g in gains)
            why = f"{worst} on its first {len(first)} folds: too far below to be confirmed."
        if why:
            verdict = _verdict(bench, variant, gains, "screen", "stopped early", round_number)
            result.stopped.append(_because(verdict, why))
        else:
            alive.append(variant)
    alive.sort(key=lambda v: -bench.differences(base[: len(first)], result.runs[v.name]).mean())
    while alive and not fits(alive, alive[:1] if len(alive) > 1 else []):
        # Now it is known what each costs: one network takes ten times what another does.
        variant = alive.pop()
        gains = bench.differences(base[: len(first)], result.runs[variant.name])
        verdict = _verdict(bench, variant, gains, "screen", "stopped early", round_number)
        why = "The budget has no room for it"
        why += " beside those that did better on their first folds." if alive else "."
        result.stopped.append(_because(verdict, why))
    done = len(first)
    while alive and done < bench.folds:
        gains = {v.name: bench.differences(base[:done], result.runs[v.name]) for v in alive}
        whole = {name: row.tolist() for name, row in gains.items() if np.isfinite(row).all()}
        late = behind(whole, bench.folds, FINALISTS, result.negligible) if bench.race else set()
        for variant in [v for v in alive if v.name in late]:
            alive.remove(variant)
            values = gains[variant.name]
            verdict = _verdict(bench, variant, values, "screen", "stopped early", round_number)
            why = f"{values.mean():+.3g} after {done} of {bench.folds} folds: too far behind."
            result.stopped.append(_because(verdict, why))
        if alive:  # as many folds at a time as keep the workers busy
            ahead = min(bench.folds, done + max(1, bench.executor.workers // len(alive)))
            batch(alive, range(done, ahead))
            done = ahead
    found = {}
    for variant in alive:
        runs = result.runs[variant.name]
        gains = bench.differences(base, runs)
        if why := _failure(runs):
            verdict = _verdict(bench, variant, gains, "screen", "screened out", round_number)
            result.stopped.append(_because(verdict, why))
        else:
            found[variant.name] = (variant, gains)
    ordered = sorted(found.items(), key=lambda item: -float(item[1][1].mean()))
    result.effects = dict(ordered)
    return result


def judge(
    bench: Bench, baseline: Variant, screening: Screening, *, first_repeat: int, round_number: int
) -> list[Verdict]:
    """Confirm the best of a screening; verdicts of all its variants, those of this stage first."""
    promising = [
        v for v, gains in screening.effects.values() if gains.mean() >= screening.negligible
    ]
    repeats = range(first_repeat, first_repeat + REPEATS)
    both = promising[:FINALISTS]
    finalists = next(
        (
            some
            for some in (both, *([variant] for variant in both))
            if bench.budget.fits(_tasks_of(bench, [baseline, *some], repeats), bench.executor)
        ),
        [],
    )
    verdicts = (
        confirm(bench, baseline, finalists, repeats, round_number=round_number) if finalists else []
    )
    confirmed = {v.name for v in finalists}
    for variant, gains in screening.effects.values():
        if variant.name in confirmed:
            continue
        # Those that would have been confirmed, had the budget allowed, are not judged by the
        # screen.
        cut_off = variant in promising[:FINALISTS]
        decision: Decision = "unconfirmed" if cut_off else "screened out"
        verdict = _verdict(bench, variant, gains, "screen", decision, round_number)
        why = "The budget ended before the confirm stage." if cut_off else ""
        verdicts.append(_because(verdict, why))
    return [*verdicts, *screening.stopped]


def confirm(
    bench: Bench,
    baseline: Variant,
    finalists: Sequence[Variant],
    repeats: range,
    *,
    round_number: int,
) -> list[Verdict]:
    """Fresh repeats of all folds, for the baseline and each finalist; their verdicts."""
    tasks_of = partial(_tasks_of, bench)
    bench.phase("confirm", tasks_of([baseline, *finalists], repeats), round=round_number)
    stage = _Confirming(bench, baseline, finalists, round_number)
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


def _tasks_of(bench: Bench, arms: Sequence[Variant], repeats: Iterable[int]) -> list[Task]:
    return [bench.task(a, r, f) for r in repeats for f in range(bench.folds) for a in arms]


class _Confirming:
    """The confirm stage, a repeat at a time. `alive` are the variants still on trial."""

    def __init__(
        self, bench: Bench, baseline: Variant, finalists: Sequence[Variant], round_number: int
    ) -> None:
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
            elif futile(gains.tolist(), self.bench.folds, REPEATS, self.smallest):
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
                verdict = _verdict(bench, variant, values, "confirm", decision, self.round)
                verdicts.append(_because(verdict, why))
                continue
            interval, decision = decided[variant.name]
            verdicts.append(
                Verdict(
                    **_common(bench, variant, values, self.round),
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
        return "no evidence", _failure(self.runs[variant.name])


def unequal(baseline: Sequence[Run], variant: Sequence[Run]) -> str:
    """In what the arms of a pair differ beside the edit, as a sentence; mostly empty.

    Trained for more epochs a recipe sees more examples, with another batch size it takes another
    number of steps: part of the edit, and to be known.
    """
    said = []
    for what, count in (("examples", _examples), ("steps", lambda run: len(run.steps))):
        before, after = (sum(map(count, runs)) for runs in (baseline, variant))
        if before and abs(after / before - 1) > 0.01:
            said.append(f"{after / before:.3g} times the {what}")
    return f"It had {' and '.join(said)} of the baseline." if said else ""


def _examples(run: Run) -> int:
    return sum(int(row.get("examples") or 0) for row in run.epochs)


def _common(bench: Bench, variant: Variant, gains: np.ndarray, round_number: int) -> dict[str, Any]:
    known = gains[np.isfinite(gains)]
    return {
        "remedy": variant.remedy or variant.name,
        "metric": bench.metric,
        "effect": float(known.mean()) if len(known) else math.nan,
        "trials": len(gains),
        "settings": dict(variant.settings),
        "finding": variant.finding,
        "round": round_number,
        "differences": tuple(None if math.isnan(g) else float(g) for g in gains),
    }


def _verdict(
    bench: Bench,
    variant: Variant,
    gains: np.ndarray,
    stage: Any,
    decision: Decision,
    round_number: int,
) -> Verdict:
    """A verdict without an interval: nothing was tested."""
    common = _common(bench, variant, gains, round_number)
    return Verdict(**common, stage=stage, low=None, high=None, p=None, decision=decision)


def _because(verdict: Verdict, why: str) -> Verdict:
    return replace(verdict, why=why)


def _failure(runs: Sequence[Run]) -> str:
    """The sentence of the first trial that failed; empty if none did."""
    failed = [r for r in runs if r.status != "done" or not r.scores]
    return (failed[0].failure or "A trial has no score.") if failed else ""
