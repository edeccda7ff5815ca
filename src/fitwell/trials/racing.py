"""Racing: which variants can no longer get anywhere, so that their remaining trials need not be run.

By fold, two rules predict where a mean will end from the folds so far: it keeps its place, give or take
what the folds to come add by their spread. They are forgiving: what has one chance in a hundred goes on,
and few folds, which tell their spread badly, have wide bounds (Student's t). By epoch, a trial ends that is
far behind. Stopping takes chances to say `helps` away and adds none.

Source: forgiving rather than greedy, as Bergman, Purucker and Hutter 2024 (AutoML) found for folds;
prediction as in stochastic curtailment, Lan, Simon and Halperin 1982
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fitwell.trials.statistics import half_width

CHANCE = 0.01
_FROM = 0.6  # of a trial's epochs


def behind(gains: Mapping[str, Sequence[float]], folds: int, places: int, floor: float) -> set[str]:
    """Variants that will not be among the best `places` of a screen, or not reach `floor`.

    Args:
        gains: name -> [fold] differences from the baseline so far, equally many of each.
        folds: how many there will be.
        places: how many go on to the confirm stage.
        floor: a mean below this does not.

    >>> so_far = {"a": [0.03, 0.02, 0.04], "b": [0.02, 0.03, 0.02], "c": [-0.06, -0.05, -0.07]}
    >>> behind(so_far, 5, 2, 0.0025)
    {'c'}
    """
    values = {name: np.asarray(row, dtype=float) for name, row in gains.items()}
    count = min((len(row) for row in values.values()), default=0)
    if not 2 <= count < folds:
        return set()
    freedom = len(values) * (count - 1)
    within = sum(float(((row - row.mean()) ** 2).sum()) for row in values.values())
    reach = _quantile(freedom) * math.sqrt(within / freedom) * _to_come(count, folds)
    means = {name: float(row.mean()) for name, row in values.items()}
    last = sorted(means.values(), reverse=True)[:places][-1]
    return {
        name
        for name, mean in means.items()
        if mean + reach < floor or mean + math.sqrt(2) * reach < last
    }


def futile(gains: Sequence[float], folds: int, repeats: int, min_effect: float) -> bool:
    """Whether a variant will not be found to help, whatever the repeats to come may bring.

    Args:
        gains: [trial] differences so far.
        folds, repeats: of the whole stage.
        min_effect: the least that helps.

    >>> futile([-0.01, 0.0, -0.02, 0.01, -0.01], 5, 3, 0.005), futile([0.01, 0.03, 0.02], 5, 3, 0.005)
    (True, False)
    """
    values, whole = np.asarray(gains, dtype=float), folds * repeats
    count = len(values)
    if not 2 <= count < whole:
        return False
    spread = float(values.std(ddof=1))
    needed = max(min_effect, half_width(folds, repeats) * spread)
    reach = _quantile(count - 1) * spread * _to_come(count, whole)
    return float(values.mean()) + reach < needed


def floor_of(
    curve: Sequence[float], epochs: int, margin: float, *, higher_is_better: bool
) -> tuple[float | None, ...]:
    """[epoch] the least validation score with which a trial goes on: by a margin below what the baseline's
    had been after a third of the way; asked for from six tenths of the way on.

    Forgiving, since a high rate is rough until the schedule lets it down.

    Args:
        curve: [epoch] the baseline's validation score on the same fold; it may have other epochs.
        epochs: of the trial.
        margin: in the score's unit.

    >>> floor_of([0.5, 0.75, 0.9, 0.95, 0.96, 0.97], 5, 0.25, higher_is_better=True)
    (None, None, 0.5, 0.5, 0.5)
    """
    worse = -margin if higher_is_better else margin
    found: list[float | None] = []
    for epoch in range(1, epochs + 1):
        way = epoch / epochs
        place = math.ceil(way / 3 * len(curve) - 1e-9) - 1
        found.append(curve[place] + worse if way >= _FROM and place >= 0 else None)
    return tuple(found)


def _to_come(count: int, whole: int) -> float:
    """Standard deviation of the final mean around the present one, over that of a single value."""
    return math.sqrt(1 / count - 1 / whole)


def _quantile(freedom: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(1 - CHANCE, freedom))
