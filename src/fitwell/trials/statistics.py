"""From paired differences to a decision: corrected t-test, Holm, paired test-set intervals.

Scores of folds that share training examples are correlated, and the plain t-test takes them for
independent: it finds effects that are not there. Nadeau and Bengio (2003) enlarge the variance by
the share of test to training examples, which is 1 / (K - 1) for K folds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fitwell.record import Decision


@dataclass(frozen=True)
class Interval:
    """An effect and its two-sided interval; bounds and p are None where nothing varied.

    `level` is the error rate it was made for (0.05: a 95 % interval).
    """

    effect: float
    low: float | None
    high: float | None
    p: float | None
    level: float


def variance_factor(folds: int, repeats: int) -> float:
    """Variance of the mean difference, in units of the variance of one: 1/(KR) + 1/(K-1)."""
    if folds < 2 or repeats < 1:
        raise ValueError(f"folds = {folds}, repeats = {repeats}: at least 2 folds and 1 repeat.")
    return 1 / (folds * repeats) + 1 / (folds - 1)


def half_width(folds: int, repeats: int, level: float = 0.05) -> float:
    """Half width of the interval in standard deviations of a difference.

    >>> round(half_width(5, 1), 2), round(half_width(5, 3), 2)
    (1.86, 1.21)
    """
    from scipy import stats

    t = float(stats.t.ppf(1 - level / 2, folds * repeats - 1))
    return t * math.sqrt(variance_factor(folds, repeats))


def paired_verdict(
    differences: Sequence[float], folds: int, repeats: int, level: float = 0.05
) -> Interval:
    """Corrected resampled t-test of K folds x R repeats against zero.

    Args:
        differences: [fold * repeat] variant - baseline on the same fold and seed, signed so that
            positive is better.
        folds: K.
        repeats: R; folds * repeats is the number of differences.
        level: two-sided error rate of the interval.

    Raises:
        ValueError: the number of differences is another, or one is not finite.

    Source: Nadeau and Bengio, Inference for the generalization error, Machine Learning 52 (2003).
    """
    from scipy import stats

    values = np.asarray(differences, dtype=float)
    if values.shape != (folds * repeats,):
        raise ValueError(f"{values.size} differences for {folds} folds x {repeats} repeats.")
    if not np.isfinite(values).all():
        raise ValueError("A difference is not finite; score the failed trial first.")
    effect = float(values.mean())
    spread = float(values.std(ddof=1))
    if _constant(values):
        # Equal in every fold: no noise to judge by (both arms may be one model): no evidence.
        return Interval(effect, None, None, None, level)
    error = spread * math.sqrt(variance_factor(folds, repeats))
    degrees = folds * repeats - 1
    reach = float(stats.t.ppf(1 - level / 2, degrees)) * error
    p = float(2 * stats.t.sf(abs(effect) / error, degrees))
    return Interval(effect, effect - reach, effect + reach, p, level)


def equivalence(
    differences: Sequence[float], folds: int, repeats: int, region: float
) -> dict[str, float]:
    """How probable it is that the variant is worse, practically equal, or better than the baseline.

    Args:
        differences, folds, repeats: as for `paired_verdict`.
        region: an effect within plus or minus this counts as equal (region of practical equivalence).

    Returns:
        `{"region", "worse", "equal", "better"}`; the last three sum to 1.

    Formula: the effect is t-distributed around its mean with KR - 1 degrees of freedom and the variance
        s^2 (1/(KR) + 1/(K - 1)): the Bayesian correlated t-test, whose correlation of two folds is 1/K
    Source: Benavoli, Corani, Demsar and Zaffalon 2017, JMLR 18

    >>> found = equivalence([0.02, 0.03, 0.01, 0.02, 0.04], 5, 1, region=0.005)
    >>> {name: round(value, 3) for name, value in found.items()}
    {'region': 0.005, 'worse': 0.01, 'equal': 0.024, 'better': 0.966}
    """
    from scipy import stats

    values = np.asarray(differences, dtype=float)
    if values.shape != (folds * repeats,) or not np.isfinite(values).all():
        raise ValueError(f"{values.size} differences for {folds} folds x {repeats} repeats.")
    middle = float(values.mean())
    if _constant(values):
        below, above = float(middle < -region), float(middle > region)
    else:
        error = float(values.std(ddof=1)) * math.sqrt(variance_factor(folds, repeats))
        degrees = folds * repeats - 1
        below = float(stats.t.cdf((-region - middle) / error, degrees))
        above = float(stats.t.sf((region - middle) / error, degrees))
    return {"region": region, "worse": below, "equal": 1 - below - above, "better": above}


def _constant(values: np.ndarray) -> bool:
    """Whether the differences are all the same, up to rounding of scores."""
    return bool(np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())))


def round_alpha(round_number: int, alpha: float = 0.05) -> float:
    """Error rate of a round of an improvement: alpha / round**2.

    The sum over all rounds stays below alpha * pi**2 / 6, however long the improvement goes on.
    """
    if round_number < 1:
        raise ValueError(f"round = {round_number}: rounds are counted from 1.")
    return alpha / round_number**2


def holm_levels(p_values: Sequence[float | None], alpha: float = 0.05) -> list[float]:
    """The level each hypothesis is judged at by Holm's step-down procedure.

    The smallest p is compared with alpha/m, the next with alpha/(m-1), and so on until the first
    that is not rejected; those after it are judged at its level, where none of them can be
    rejected. So "rejected" and "the interval at this level excludes zero" say the same.
    A p of None (nothing varied) is never rejected and counts in m.
    """
    values = [math.inf if p is None else p for p in p_values]
    levels = [alpha] * len(values)
    level, rejecting = alpha, True
    for rank, index in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        if rejecting:
            level = alpha / (len(values) - rank)
            rejecting = values[index] <= level
        levels[index] = level
    return levels


def decide(interval: Interval, min_effect: float) -> Decision:
    """`helps` needs a lower bound above zero and an estimate of at least `min_effect`.

    `hurts` needs an upper bound below zero; all else is `no evidence`.
    """
    if interval.low is None or interval.high is None:
        return "no evidence"
    if interval.low > 0 and interval.effect >= min_effect:
        return "helps"
    return "hurts" if interval.high < 0 else "no evidence"


def confirm(
    differences: Sequence[Sequence[float]],
    folds: int,
    repeats: int,
    *,
    min_effect: float,
    alpha: float = 0.05,
) -> list[tuple[Interval, Decision]]:
    """The confirm stage: the variants tested together, Holm over these only.

    Returns for each variant the interval at the level that decided, and the decision.
    """
    p_values = [paired_verdict(d, folds, repeats, alpha).p for d in differences]
    intervals = [
        paired_verdict(d, folds, repeats, level)
        for d, level in zip(differences, holm_levels(p_values, alpha), strict=True)
    ]
    return [(interval, decide(interval, min_effect)) for interval in intervals]


def default_min_effect(baseline: float, *, bounded: bool) -> float:
    """Smallest effect worth having: half a point for scores in [0, 1], else 2 % of the baseline."""
    return 0.005 if bounded else 0.02 * abs(baseline)


def mcnemar(first: np.ndarray, second: np.ndarray) -> float | None:
    """Exact two-sided McNemar test of two models on the same examples.

    Args:
        first: [example] whether the first model is right.
        second: [example] likewise.

    Returns:
        p, or None where the models never differ.
    """
    from scipy import stats

    first, second = _same_length(first, second)
    only_first = int(np.sum(first.astype(bool) & ~second.astype(bool)))
    only_second = int(np.sum(~first.astype(bool) & second.astype(bool)))
    if only_first + only_second == 0:
        return None
    return float(stats.binomtest(only_second, only_first + only_second).pvalue)


def paired_proportions(first: np.ndarray, second: np.ndarray, level: float = 0.05) -> Interval:
    """Difference in accuracy of two models on the same test examples, second - first.

    The interval adds half a count to each cell of the 2 x 2 table (Agresti and Min, 2005), which
    keeps its coverage where few examples differ; p is McNemar's.

    Args:
        first: [example] whether the first model is right.
        second: [example] likewise.
        level: two-sided error rate.
    """
    from scipy import stats

    first, second = _same_length(first, second)
    effect = float(second.astype(float).mean() - first.astype(float).mean())
    p = mcnemar(first, second)
    if p is None:
        return Interval(effect, None, None, None, level)
    total = first.size + 2
    gained = float(np.sum(~first.astype(bool) & second.astype(bool))) + 0.5
    lost = float(np.sum(first.astype(bool) & ~second.astype(bool))) + 0.5
    middle = (gained - lost) / total
    error = math.sqrt(gained + lost - (gained - lost) ** 2 / total) / total
    reach = float(stats.norm.ppf(1 - level / 2)) * error
    return Interval(effect, max(-1.0, middle - reach), min(1.0, middle + reach), p, level)


def paired_bootstrap(
    first: np.ndarray,
    second: np.ndarray,
    statistic: Callable[[np.ndarray], float],
    *,
    greater_is_better: bool = True,
    level: float = 0.05,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Difference of any score of two models on the same test examples, positive is better.

    Examples are drawn with replacement, the same ones for both models (percentile interval, with
    (hits + 1) / (draws + 1) for p, which is never 0).

    Args:
        first: [example] or [example, column] what the score is made of, for the first model.
        second: likewise, the same examples in the same order.
        statistic: turns such rows into the score, e.g. `lambda e: float(np.sqrt(e.mean()))` of
            squared errors.
        greater_is_better: False for errors; the effect is turned round.
    """
    first, second = _same_length(first, second)
    sign = 1.0 if greater_is_better else -1.0
    effect = sign * (statistic(second) - statistic(first))
    if np.array_equal(first, second):
        return Interval(0.0, None, None, None, level)
    random = np.random.default_rng(seed)
    drawn = np.empty(draws)
    for i in range(draws):
        rows = random.integers(0, len(first), len(first))
        drawn[i] = sign * (statistic(second[rows]) - statistic(first[rows]))
    # A draw may hold no example of some class and have no score.
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [level / 2, 1 - level / 2])
    against = min(np.sum(drawn <= 0), np.sum(drawn >= 0))
    p = min(1.0, 2 * (float(against) + 1) / (len(drawn) + 1))
    return Interval(float(effect), float(low), float(high), p, level)


def _same_length(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape or first.shape[0] == 0:
        raise ValueError(f"Not the same test examples: {first.shape} and {second.shape}.")
    return first, second
