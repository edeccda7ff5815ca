"""What the best trial of a search is worth: it was selected by its score, so it is put on trial on
folds and seeds that selected nothing."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fitwell.record import Run, Verdict
from fitwell.search.rows import Row
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.confirming import REPEATS
from fitwell.trials.protocol import Screening, judge
from fitwell.trials.scoring import score_of, smallest_effect

FRESH = range(1, 1 + REPEATS)  # repeats of the proof; 0 is that of the search


def prove(
    bench: Bench, first: Variant, winner: Variant, best: Row, baseline: Sequence[Run]
) -> list[Verdict]:
    """The winner against the starting recipe, by the protocol that judges remedies.

    Args:
        first: the starting recipe.
        best: the trial of the winner, of repeat 0.
        baseline: the folds of the starting recipe in repeat 0.
    """
    base = bench.baseline_scores([bench.task(first, 0, f) for f in range(bench.folds)], baseline)
    pairs = zip(base, best.folds, strict=True)
    gains = np.array([bench.function.gain(float(before), after) for before, after in pairs])
    smallest = smallest_effect(bench.recipe, float(base.mean()))
    trained = np.array([math.isfinite(score_of(run, bench.metric)) for run in baseline])
    effects = {winner.name: (winner, gains)}
    screening = Screening(effects, [], [], {}, smallest=smallest, trained=trained)
    verdicts = judge(bench, first, screening, first_repeat=FRESH[0], round_number=1)
    return [_explained(verdict) for verdict in verdicts]


def flattered(bench: Bench, winner: Variant, best: Row) -> dict[str, float | None]:
    """The winner's score on the folds that selected it, and on those of the proof that were run.

    The best of many scores is the luckiest among them, too: "optimism" is by how much (positive:
    flattered).
    """
    tasks = [bench.task(winner, repeat, fold) for repeat in FRESH for fold in range(bench.folds)]
    missing = set(bench.executor.missing(tasks))
    runs = bench.run([task for task in tasks if task not in missing])
    known = [s for run in runs if math.isfinite(s := score_of(run, bench.metric))]
    if not known or best.score is None:
        return {"score": best.score, "fresh": None, "optimism": None}
    fresh = float(np.mean(known))
    return {"score": best.score, "fresh": fresh, "optimism": bench.function.gain(fresh, best.score)}


def _explained(verdict: Verdict) -> Verdict:
    """With the reason where the protocol takes it as understood."""
    if verdict.decision != "screened out" or verdict.why:
        return verdict
    why = "On the folds of the search it gains less than counts, so it was not confirmed."
    return replace(verdict, why=why)
