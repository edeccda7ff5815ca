"""Verdicts as they are written down, and the sentences beside them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fitwell.record import Decision, Run, Verdict
from fitwell.trials.bench import Bench, Variant


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


def common(bench: Bench, variant: Variant, gains: np.ndarray, round_number: int) -> dict[str, Any]:
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


def verdict_of(
    bench: Bench,
    variant: Variant,
    gains: np.ndarray,
    stage: Any,
    decision: Decision,
    round_number: int,
) -> Verdict:
    """A verdict without an interval: nothing was tested."""
    facts = common(bench, variant, gains, round_number)
    return Verdict(**facts, stage=stage, low=None, high=None, p=None, decision=decision)


def because(verdict: Verdict, why: str) -> Verdict:
    return replace(verdict, why=why)


def failure_of(runs: Sequence[Run]) -> str:
    """The sentence of the first trial that failed; empty if none did."""
    failed = [r for r in runs if r.status != "done" or not r.scores]
    return (failed[0].failure or "A trial has no score.") if failed else ""
