"""Where the means of a cross-validation's scores lie. No torch."""

import math
from collections.abc import Sequence

from fitwell.metrics import METRICS
from fitwell.record import Run
from fitwell.trials.statistics import paired_verdict


def mean_intervals(runs: Sequence[Run]) -> dict[str, list[float]]:
    """95 % interval of the mean of every held-out score, by the corrected resampled t-test.

    Only of scores that every fold of every repeat has, and that differ between them.
    """
    repeats = len({run.repeat for run in runs})
    if not repeats or len(runs) % repeats or len(runs) < 2 * repeats:
        return {}
    held = [run.scores.get("held_out") or {} for run in runs]
    found = {}
    for name in held[0]:
        values = [scores.get(name) for scores in held]
        known = [v for v in values if v is not None and math.isfinite(v)]
        if len(known) < len(values):
            continue
        interval = paired_verdict(known, len(runs) // repeats, repeats)
        if interval.low is not None and interval.high is not None:
            bounded = name in METRICS and METRICS[name].bounded
            found[name] = [interval.low, min(1.0, interval.high) if bounded else interval.high]
    return found
