"""What the rules read from recorded runs: series, folds, intervals. No torch.

Every function takes rows as `fitwell.record` describes them and copes with what is missing, since a
run may be old, foreign, hand-written or cut short.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fitwell.metrics import METRICS
from fitwell.record import Confidence, Row, Run

FITTED = 0.9  # of what there is to fit: below it is too little
_WELL = 0.95  # likewise: above it nothing is left to learn
COLLAPSED = 0.1  # of the weights' size at first: a penalty has taken them away
LOSS = "loss"


def folds_of(runs: Iterable[Run]) -> list[Run]:
    """The runs themselves; a run that holds trials stands for its trials."""
    return [fold for run in runs for fold in (folds_of(run.trials) if run.trials else [run])]


def evidence_of(runs: Iterable[Run], experiment: str) -> list[Row]:
    """Evidence rows of one experiment, from runs and from their trials."""
    found: list[Row] = []
    for run in runs:
        found += [row for row in run.evidence if row.get("experiment") == experiment]
        found += evidence_of(run.trials, experiment)
    return found


def is_fitted(runs: Sequence[Run]) -> bool:
    """Whether nearly all of what there is to fit in the kept examples of watched loops is fitted: then what
    looks ill within does no harm to the fit. False where it is not known."""
    fits = [row["fit"] for row in evidence_of(runs, "sample")]
    return bool(fits) and min(fits) >= _WELL


def first_repeat(runs: Sequence[Run]) -> list[Run]:
    """The folds of the first repeat: further ones hold the same examples again."""
    first = min(run.repeat for run in runs)
    return [run for run in runs if run.repeat == first]


def metric_of(runs: Sequence[Run]) -> str:
    """The score that counts: the recipe's, else the first metric that the epochs or the end of the training
    examples hold."""
    for run in runs:
        if run.recipe is not None and run.recipe.get("score.name"):
            return str(run.recipe["score.name"])
    held = {key for run in runs for row in run.epochs for key in row.get("train") or {}}
    held |= {key for run in runs for key in run.scores.get("train") or {}}
    return next((name for name in METRICS if name in held), "")


def goodness(metric: str, values: Any) -> np.ndarray:
    """Scores turned so that more is better."""
    higher = METRICS[metric].higher_is_better if metric in METRICS else metric != LOSS
    return np.asarray(values, dtype=float) * (1.0 if higher else -1.0)


def is_bounded(metric: str) -> bool:
    """Whether the score runs up to 1 whatever the data."""
    return METRICS[metric].bounded if metric in METRICS else metric != LOSS


def epoch_series(run: Run, part: str, key: str = LOSS) -> np.ndarray:
    """[epoch] a score of a part by epoch; nan where it is absent.

    Loops and records of others tell accuracies in percent, too: where a score that runs up to 1 exceeds it,
    it is taken as such.
    """
    found = np.array([_number((row.get(part) or {}).get(key)) for row in run.epochs], dtype=float)
    percent = key in METRICS and METRICS[key].bounded and bool((found > 1).any())
    return found / 100 if percent else found


def step_series(run: Run, key: str = LOSS) -> np.ndarray:
    """[step] a value of the step rows; nan where it is absent."""
    return np.array([_number(row.get(key)) for row in run.steps], dtype=float)


def block_medians(values: np.ndarray, blocks: int = 20) -> np.ndarray:
    """[block] median of the finite values of so many equal stretches; fewer of few values."""
    values = values[np.isfinite(values)]
    if not len(values):
        return np.empty(0)
    parts = np.array_split(values, min(blocks, max(1, len(values) // 3)))
    return np.array([np.median(part) for part in parts])


def hot_steps(run: Run) -> set[int]:
    """The steps at half of the highest learning rate or more: no warm-up, no end of a decay."""
    rates = {
        int(row.get("step", number)): _number(row.get("lr")) for number, row in enumerate(run.steps)
    }
    peak = max((r for r in rates.values() if math.isfinite(r)), default=0.0)
    return {step for step, rate in rates.items() if rate >= 0.5 * peak}


def by_layer(run: Run, kind: str, key: str) -> dict[str, list[tuple[int, float]]]:
    """layer -> (step, value) in the order of time; layers in the order of depth."""
    rows = [row for row in run.probes if row.get("kind") == kind and row.get(key) is not None]
    rows.sort(key=lambda row: (row.get("index", 0), row.get("step", 0)))
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        found.setdefault(str(row.get("layer", "")), []).append(
            (int(row.get("step", 0)), float(row[key]))
        )
    return found


def layer_medians(run: Run, key: str, *, hot_only: bool = True) -> dict[str, float]:
    """layer -> median of a step probe, over the steps at a high learning rate or over all.

    A layer with no such step is left out: the update of a warm-up step says nothing.
    """
    hot = hot_steps(run) if hot_only else set()
    medians: dict[str, float] = {}
    for layer, values in by_layer(run, "step", key).items():
        chosen = [v for step, v in values if not hot or step in hot]
        if chosen:
            medians[layer] = float(np.median(chosen))
    return medians


def weights_left(run: Run) -> float:
    """Size of the weights at the last measured step over that at the first: median over layers."""
    sizes = by_layer(run, "step", "weight_rms").values()
    return median(rows[-1][1] / rows[0][1] for rows in sizes if len(rows) > 1 and rows[0][1] > 0)


def mean_interval(values: Sequence[float], level: float = 0.1) -> tuple[float, float]:
    """t interval of the mean over runs; of one run, the value twice.

    The rules ask for one side only, so 90 % between the bounds is 95 % for each.
    """
    known = np.array([v for v in values if math.isfinite(v)], dtype=float)
    if not len(known):
        return math.nan, math.nan
    if len(known) == 1:
        return float(known[0]), float(known[0])
    from scipy import stats

    reach = stats.t.ppf(1 - level / 2, len(known) - 1) * known.std(ddof=1) / math.sqrt(len(known))
    return float(known.mean() - reach), float(known.mean() + reach)


def theil_sen(values: np.ndarray, level: float = 0.05) -> tuple[float, float, float]:
    """(slope a position, low, high): the median of all slopes between two points, and its interval.

    Source: Sen, Journal of the American Statistical Association 63 (1968)
    """
    from scipy import stats

    known = np.isfinite(values)
    if known.sum() < 3:
        return math.nan, math.nan, math.nan
    result = stats.theilslopes(values[known], np.flatnonzero(known), 1 - level)
    return float(result.slope), float(result.low_slope), float(result.high_slope)


def share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0


def confidence(runs: Sequence[Run], agreeing: int, *, strong: bool = True) -> Confidence:
    """High needs three runs, nearly all agreeing, and a strong signal; one run: medium at most.

    Args:
        agreeing: how many of the runs show it.
        strong: whether the signal lies well beyond its threshold.
    """
    if len(runs) < 3:
        return "medium" if strong else "low"
    most = agreeing >= 0.8 * len(runs)
    return "high" if most and strong else "medium" if most or strong else "low"


def median(values: Iterable[float]) -> float:
    known = [v for v in values if v is not None and math.isfinite(v)]
    return float(np.median(known)) if known else math.nan


def rounded(evidence: dict[str, Any]) -> dict[str, Any]:
    """Numbers to four digits: evidence is read by people."""
    return {key: _round(value) for key, value in evidence.items()}


def _round(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_round(v) for v in value]
    if isinstance(value, dict):
        return {k: _round(v) for k, v in value.items()}
    return value


def _number(value: Any) -> float:
    """A float; None and text are nan."""
    return float(value) if isinstance(value, int | float | np.number) else math.nan
