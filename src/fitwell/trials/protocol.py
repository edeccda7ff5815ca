"""The verdict protocol: screen every variant on K folds, confirm the best two on fresh ones.

Testing everything at once sees nothing: with Holm over 8 variants the interval is twice as wide. So
the screen only orders, and never gives a verdict; the confirm stage has fresh seeds and fresh
partitions, and what the screen saw is never pooled with it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fitwell.record import Decision, Run, Verdict
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.confirming import NEGLIGIBLE, REPEATS, confirm, tasks_of_all
from fitwell.trials.racing import behind, floor_of, unlikely
from fitwell.trials.scoring import score_of, smallest_effect
from fitwell.trials.trial import Task
from fitwell.trials.verdicts import because, failure_of, verdict_of

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
    smallest: float = 0.0  # the least effect that counts
    # [fold] whether the baseline was trained: elsewhere a trivial score stands.
    trained: np.ndarray | None = None


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
        later = tasks_of_all(bench, [baseline, *confirmed], range(repeat + 1, repeat + 1 + REPEATS))
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
    result.trained = np.array([math.isfinite(score_of(run, bench.metric)) for run in base_runs])
    smallest = smallest_effect(bench.recipe, float(base.mean()))
    hopeless, result.smallest = HOPELESS * smallest, smallest
    if bench.race:
        margin = 2 * hopeless  # nothing is known of the spread within a training
        for variant in chosen:
            tasks = zip(everything[variant.name], base_runs, strict=True)
            everything[variant.name] = [_floored(bench, task, run, margin) for task, run in tasks]

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
        why = failure_of(runs)
        if not why and bench.race and (gains < -hopeless).all():
            worst = ", ".join(f"{g:+.3g}" for g in gains)
            why = f"{worst} on its first {len(first)} folds: too far below to be confirmed."
        if why:
            verdict = verdict_of(bench, variant, gains, "screen", "stopped early", round_number)
            result.stopped.append(because(verdict, why))
        else:
            alive.append(variant)
    alive.sort(key=lambda v: -bench.differences(base[: len(first)], result.runs[v.name]).mean())
    while alive and not fits(alive, alive[:1] if len(alive) > 1 else []):
        # Now it is known what each costs: one network takes ten times what another does.
        variant = alive.pop()
        gains = bench.differences(base[: len(first)], result.runs[variant.name])
        verdict = verdict_of(bench, variant, gains, "screen", "stopped early", round_number)
        why = "The budget has no room for it"
        why += " beside those that did better on their first folds." if alive else "."
        result.stopped.append(because(verdict, why))
    done = len(first)
    while alive and done < bench.folds:
        gains = {v.name: bench.differences(base[:done], result.runs[v.name]) for v in alive}
        whole = {name: row.tolist() for name, row in gains.items() if np.isfinite(row).all()}
        late = behind(whole, bench.folds, FINALISTS) if bench.race else set()
        idle = unlikely(whole, bench.folds, REPEATS, smallest) if bench.race else set()
        for variant in [v for v in alive if v.name in late | idle]:
            alive.remove(variant)
            values = gains[variant.name]
            verdict = verdict_of(bench, variant, values, "screen", "stopped early", round_number)
            why = "too far behind" if variant.name in late else "it could hardly be found to help"
            said = f"{values.mean():+.3g} after {done} of {bench.folds} folds: {why}."
            result.stopped.append(because(verdict, said))
        if alive:  # as many folds at a time as keep the workers busy
            ahead = min(bench.folds, done + max(1, bench.executor.workers // len(alive)))
            batch(alive, range(done, ahead))
            done = ahead
    found = {}
    for variant in alive:
        runs = result.runs[variant.name]
        gains = bench.differences(base, runs)
        if why := failure_of(runs):
            given_up = any(run.environment.get("given_up") for run in runs)
            decision: Decision = "stopped early" if given_up else "screened out"
            verdict = verdict_of(bench, variant, gains, "screen", decision, round_number)
            result.stopped.append(because(verdict, why))
        else:
            found[variant.name] = (variant, gains)
    ordered = sorted(found.items(), key=lambda item: -float(item[1][1].mean()))
    result.effects = dict(ordered)
    return result


def _floored(bench: Bench, task: Task, baseline: Run, margin: float) -> Task:
    """The task, to be given up where it is far behind what the baseline was on the same fold."""
    rows = [row.get("validation") or {} for row in baseline.epochs]
    curve = [float(row[bench.metric]) for row in rows if bench.metric in row]
    if len(curve) != len(rows) or not curve or baseline.status != "done":
        return task
    better = bench.function.higher_is_better
    epochs = int(task.recipe["train.epochs"])  # type: ignore[arg-type]
    return replace(task, floor=floor_of(curve, epochs, margin, higher_is_better=better))


def best_of(bench: Bench, screening: Screening) -> list[Variant]:
    """The variants that are to be confirmed, best first: those that a confirm stage may find to help."""
    gains = {name: row.tolist() for name, (_, row) in screening.effects.items()}
    idle = unlikely(gains, bench.folds, REPEATS, screening.smallest) if bench.race else set()
    promising = [
        variant
        for name, (variant, row) in screening.effects.items()
        if row.mean() >= NEGLIGIBLE * screening.smallest and name not in idle
    ]
    return promising[:FINALISTS]


def judge(
    bench: Bench, baseline: Variant, screening: Screening, *, first_repeat: int, round_number: int
) -> list[Verdict]:
    """Confirm the best of a screening; verdicts of all its variants, those of this stage first."""
    repeats = range(first_repeat, first_repeat + REPEATS)
    both = best_of(bench, screening)
    finalists = next(
        (
            some
            for some in (both, *([variant] for variant in both))
            if bench.budget.fits(tasks_of_all(bench, [baseline, *some], repeats), bench.executor)
        ),
        [],
    )
    verdicts = []
    if finalists:
        # Where the baseline failed, a difference is no sign of how far differences spread.
        told = slice(None) if screening.trained is None else screening.trained
        screened = {name: row[told].tolist() for name, (_, row) in screening.effects.items()}
        verdicts = confirm(
            bench, baseline, finalists, repeats, round_number=round_number, screened=screened
        )
    confirmed = {v.name for v in finalists}
    for variant, row in screening.effects.values():
        if variant.name in confirmed:
            continue
        # Those that would have been confirmed, had the budget allowed, are not judged by the
        # screen.
        cut_off = variant in both
        decision: Decision = "unconfirmed" if cut_off else "screened out"
        verdict = verdict_of(bench, variant, row, "screen", decision, round_number)
        why = "The budget ended before the confirm stage." if cut_off else ""
        verdicts.append(because(verdict, why))
    return [*verdicts, *screening.stopped]
