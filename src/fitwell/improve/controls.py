"""Controls of an improvement: what its proof says of three arms that were not chosen to help.

The same recipe with other seeds, which can only seem to help; the recipe with its learning rate tuned anew,
since what a remedy does beside that is its own; and a remedy drawn at random.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from fitwell.improve.variants import variants_of
from fitwell.lr_range import lr_range
from fitwell.recipe import Recipe
from fitwell.record import Finding, Remedy, Row, Verdict
from fitwell.remedies import REMEDIES, name_of
from fitwell.trials.bench import Bench, Variant
from fitwell.trials.confirming import REPEATS, confirm

FINDING = "control"  # what the verdicts are "for"
SAME = "control: the same recipe, other seeds"
_NOTHING = Finding("nothing_wrong", "low", {}, "")
_TIMES = (3.0, 1 / 3)  # the rates that are tried beside that of the range test
_FRESH = range(1, 1 + REPEATS)  # by repeat 0 the rate is chosen


def judge_controls(
    bench: Bench, first: Variant, *, evidence: Sequence[Row], tried: Collection[Recipe]
) -> list[Verdict]:
    """Confirm the three beside the recipe as it came; nothing where the budget does not reach.

    Args:
        evidence: rows of the first round, of which the range test is read.
        tried: recipes that the improvement put on trial itself: no random remedy is one of them.
    """
    folds = range(bench.folds)
    null = Variant("control-null", first.recipe, SAME, {}, FINDING, SAME, shift=1)
    rates, drawn = _rates(bench, first, evidence), _drawn(bench, first, tried)
    screen = [bench.task(variant, 0, fold) for variant in rates for fold in folds]
    arms = [first, null, *rates[:1], *drawn]
    proof = [bench.task(arm, repeat, fold) for arm in arms for repeat in _FRESH for fold in folds]
    if not bench.budget.fits([*screen, *proof], bench.executor):
        return []
    best = _best(bench, first, rates)
    return confirm(bench, first, [null, *best, *drawn], _FRESH, round_number=1)


def _best(bench: Bench, first: Variant, variants: Sequence[Variant]) -> list[Variant]:
    """The one that does best on the folds of the screen."""
    folds = range(bench.folds)
    tasks = [bench.task(variant, 0, fold) for variant in (first, *variants) for fold in folds]
    bench.phase("controls", tasks)
    runs = bench.run(tasks)
    base = bench.baseline_scores(tasks[: bench.folds], runs[: bench.folds])
    means = [
        float(np.mean(bench.differences(base, runs[i : i + bench.folds])))
        for i in range(bench.folds, len(runs), bench.folds)
    ]
    return [variants[int(np.nanargmax(means))]] if np.isfinite(means).any() else []


def _rates(bench: Bench, first: Variant, evidence: Sequence[Row]) -> list[Variant]:
    """Other learning rates: that of the range test, a third, and three times as much."""
    rate = float(first.recipe["optim.lr"])  # type: ignore[arg-type]
    found = lr_range([row for row in evidence if row.get("experiment") == "range_test"]).lr
    rates = [*([found] if found else []), *(rate * times for times in _TIMES)]
    return _variants(bench, first, [{"optim.lr": float(f"{value:.3g}")} for value in rates])


def _drawn(bench: Bench, first: Variant, tried: Collection[Recipe]) -> list[Variant]:
    """A remedy of the table that suits the recipe and was not on trial."""
    random = np.random.default_rng([bench.base_seed, 83])
    for name in random.permutation(list(REMEDIES)):
        edits = REMEDIES[str(name)](first.recipe, bench.data.spec, _NOTHING)
        for variant in _variants(bench, first, edits[:1]):
            if variant.recipe not in tried:
                return [variant]
    return []


def _variants(bench: Bench, first: Variant, edits: Sequence[dict[str, Any]]) -> list[Variant]:
    named = [(Remedy(f"control: {name_of(edit, first.recipe)}", edit), FINDING) for edit in edits]
    return variants_of(named, first.recipe, bench.data.spec, round_number=1)[0]
