"""The verdict protocol: screen every variant on K folds, confirm the best two on fresh ones.

Testing everything at once sees nothing: with Holm over 8 variants the interval is twice as wide. So
the screen only orders, and never gives a verdict; the confirm stage has fresh seeds and fresh
partitions, and what the screen saw is never pooled with it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fitwell.record import Decision, Run, Verdict
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.scoring import smallest_effect
from fitwell.trials.statistics import confirm as corrected_tests
from fitwell.trials.statistics import round_alpha
from fitwell.trials.trial import Task

REPEATS = 3  # of the confirm stage
FINALISTS = 2  # variants that reach it
# A variant this many smallest effects (5 points of accuracy) below the baseline on each of its
# first folds is given up; forgiving, since an early greedy cut loses good variants (Bergman et al.
# 2024).
HOPELESS = 10.0
FIRST_FOLDS = 2


@dataclass
class Screening:
    """`effects` of the variants that ended the screen, best first; verdicts of the others."""

    effects: dict[str, tuple[Variant, np.ndarray]]
    stopped: list[Verdict]
    untried: list[Variant]
    runs: dict[str, list[Run]]


def screen(
    bench: Bench, baseline: Variant, variants: Sequence[Variant], *, repeat: int, round_number: int
) -> Screening:
    """Every variant on the same K folds and seed as the baseline.

    Variants come in the order of their promise; where the budget is short, the last are left
    untried.
    """
    base_tasks = [bench.task(baseline, repeat, fold) for fold in range(bench.folds)]
    everything = {v.name: [bench.task(v, repeat, f) for f in range(bench.folds)] for v in variants}
    chosen = list(variants)
    while chosen and not bench.budget.fits(
        [*base_tasks, *(t for v in chosen for t in everything[v.name])], bench.executor
    ):
        chosen.pop()
    untried = [v for v in variants if v not in chosen]
    result = Screening({}, [], untried, {})
    if not chosen:
        return result
    total = bench.folds * (len(chosen) + 1)
    bench.progress("phase", name="screen", total=total, round=round_number)
    base_runs = bench.run(base_tasks)
    base = bench.baseline_scores(base_tasks, base_runs)
    hopeless = HOPELESS * smallest_effect(bench.recipe, float(base.mean()))

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
        if not why and (gains < -hopeless).all():
            worst = ", ".join(f"{g:+.3g}" for g in gains)
            why = f"{worst} on its first {len(first)} folds: too far below to be confirmed."
        if why:
            verdict = _verdict(bench, variant, gains, "screen", "stopped early", round_number)
            result.stopped.append(_because(verdict, why))
        else:
            alive.append(variant)
    if alive and len(first) < bench.folds:
        batch(alive, range(len(first), bench.folds))
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
    positive = [v for v, gains in screening.effects.values() if gains.mean() > 0]
    finalists = positive[:FINALISTS]

    def tasks_of(arms: Sequence[Variant]) -> list[Task]:
        repeats = range(first_repeat, first_repeat + REPEATS)
        return [bench.task(a, r, f) for r in repeats for f in range(bench.folds) for a in arms]

    while finalists and not bench.budget.fits(tasks_of([baseline, *finalists]), bench.executor):
        finalists.pop()
    verdicts: list[Verdict] = []
    if finalists:
        arms = [baseline, *finalists]
        tasks = tasks_of(arms)
        bench.progress("phase", name="confirm", total=len(tasks), round=round_number)
        runs = bench.run(tasks)
        by_arm = {
            a.name: [r for t, r in zip(tasks, runs, strict=True) if t.variant == a.name]
            for a in arms
        }
        base_tasks = [t for t in tasks if t.variant == baseline.name]
        base = bench.baseline_scores(base_tasks, by_arm[baseline.name])
        verdicts = _confirmed(bench, finalists, base, by_arm, round_number)
    confirmed = {v.name for v in finalists}
    for variant, gains in screening.effects.values():
        if variant.name in confirmed:
            continue
        # Those that would have been confirmed, had the budget allowed, are not judged by the
        # screen.
        cut_off = variant in positive[:FINALISTS]
        decision: Decision = "unconfirmed" if cut_off else "screened out"
        verdict = _verdict(bench, variant, gains, "screen", decision, round_number)
        why = "The budget ended before the confirm stage." if cut_off else ""
        verdicts.append(_because(verdict, why))
    return [*verdicts, *screening.stopped]


def _confirmed(
    bench: Bench,
    finalists: Sequence[Variant],
    base: np.ndarray,
    by_arm: Mapping[str, Sequence[Run]],
    round_number: int,
) -> list[Verdict]:
    gains = {v.name: bench.differences(base, by_arm[v.name]) for v in finalists}
    whole = [v for v in finalists if np.isfinite(gains[v.name]).all()]
    tested = corrected_tests(
        [gains[v.name].tolist() for v in whole],
        bench.folds,
        REPEATS,
        min_effect=smallest_effect(bench.recipe, float(base.mean())),
        # A variant that failed was still one of the hypotheses: it keeps its share of the level.
        alpha=round_alpha(round_number) * len(whole) / len(finalists),
    )
    decided = dict(zip([v.name for v in whole], tested, strict=True))
    verdicts = []
    for variant in finalists:
        values = gains[variant.name]
        if variant.name not in decided:
            verdict = _verdict(bench, variant, values, "confirm", "no evidence", round_number)
            verdicts.append(_because(verdict, _failure(by_arm[variant.name])))
            continue
        interval, decision = decided[variant.name]
        verdicts.append(
            Verdict(
                **_common(bench, variant, values, round_number),
                stage="confirm",
                low=interval.low,
                high=interval.high,
                p=interval.p,
                level=interval.level,
                decision=decision,
            )
        )
    return verdicts


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
