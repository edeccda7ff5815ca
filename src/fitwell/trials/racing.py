"""Racing: which variants can no longer get anywhere, so that their remaining trials need not be run.

By fold, rules predict where a mean will end from the folds so far: it keeps its place, give or take what
the trials to come add by their spread. They are forgiving: what has one chance in fifty goes on, and few
folds, which tell their spread badly, have wide bounds (Student's t). By epoch, a trial ends that is far
behind. Stopping takes chances to say `helps` away and adds none.

Source: forgiving rather than greedy, as Bergman, Purucker and Hutter 2024 (AutoML) found for folds;
prediction as in stochastic curtailment, Lan, Simon and Halperin 1982
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from fitwell.trials.statistics import half_width

CHANCE = 0.02
_FROM = 0.6  # of a trial's epochs
_ALIKE = 4  # degrees of freedom that the spread of all variants together is worth for one of them


def behind(gains: Mapping[str, Sequence[float]], folds: int, places: int) -> set[str]:
    """Variants that will not be among the best `places` of a screen.

    Args:
        gains: name -> [fold] differences from the baseline so far, equally many of each.
        folds: how many there will be.
        places: how many go on to the confirm stage.

    >>> so_far = {"a": [0.03, 0.02, 0.04], "b": [0.02, 0.03, 0.02], "c": [-0.06, -0.05, -0.07]}
    >>> behind(so_far, 5, 2)
    {'c'}
    """
    table, count = _table(gains)
    if not 2 <= count < folds or len(table) <= places:
        return set()
    means = table.mean(1)
    away = table - means[:, None]
    # An easy or a hard fold moves all of them alike: it is nothing between two.
    away -= away.mean(0)
    freedom = (len(table) - 1) * (count - 1)
    spread = math.sqrt(2 * float((away**2).sum()) / freedom)
    reach = _quantile(freedom) * spread * math.sqrt(1 / count - 1 / folds)
    last = sorted(means.tolist(), reverse=True)[places - 1]
    return {name for name, mean in zip(gains, means.tolist(), strict=True) if mean + reach < last}


def unlikely(
    gains: Mapping[str, Sequence[float]], folds: int, repeats: int, min_effect: float
) -> set[str]:
    """Variants of a screen that will not be found to help by the trials of a confirm stage.

    Args:
        gains: name -> [fold] differences from the baseline so far, equally many of each.
        folds, repeats: of the confirm stage.
        min_effect: the least that helps.

    >>> so_far = {"a": [0.03, 0.02, 0.04], "b": [-0.02, 0.0, -0.02], "c": [0.001, 0.0, 0.0]}
    >>> unlikely(so_far, 5, 3, 0.005)
    {'b'}
    """
    table, count = _table(gains)
    if count < 2:
        return set()
    away = table - table.mean(1, keepdims=True)
    alike = float((away**2).mean()) * count / (count - 1)
    freedom = _ALIKE + count - 1
    found = set()
    for name, mean, own in zip(gains, table.mean(1).tolist(), away, strict=True):
        spread = math.sqrt((_ALIKE * alike + float((own**2).sum())) / freedom)
        reach = _quantile(freedom) * spread * math.sqrt(1 / count + 1 / (folds * repeats))
        if mean + reach < _needed(folds, repeats, spread, min_effect):
            found.add(name)
    return found


def futile(
    gains: Sequence[float],
    folds: int,
    repeats: int,
    min_effect: float,
    before: Sequence[float] = (),
) -> bool:
    """Whether a finalist will not be found to help, whatever the repeats to come may bring.

    Args:
        gains: [trial] differences so far.
        folds, repeats: of the whole stage.
        min_effect: the least that helps.
        before: its differences in the screen, which tell their spread, too.

    >>> futile([-0.01, 0.0, -0.02, 0.01, -0.01], 5, 3, 0.005), futile([0.01, 0.03, 0.02], 5, 3, 0.005)
    (True, False)
    """
    values, whole = np.asarray(gains, dtype=float), folds * repeats
    count = len(values)
    if not 2 <= count < whole:
        return False
    rows = [values] if len(before) < 2 else [values, np.asarray(before, dtype=float)]
    away = np.concatenate([row - row.mean() for row in rows])
    freedom = len(away) - len(rows)
    spread = math.sqrt(float((away**2).sum()) / freedom)
    reach = _quantile(freedom) * spread * math.sqrt(1 / count - 1 / whole)
    return float(values.mean()) + reach < _needed(folds, repeats, spread, min_effect)


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


def _table(gains: Mapping[str, Sequence[float]]) -> tuple[np.ndarray, int]:
    """([variant, fold] differences, how many folds)."""
    table = np.array(list(gains.values()), dtype=float, ndmin=2)
    return table, table.shape[1]


def _needed(folds: int, repeats: int, spread: float, min_effect: float) -> float:
    """The mean of a confirm stage from which on it says `helps`."""
    return max(min_effect, half_width(folds, repeats) * spread)


def _quantile(freedom: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(1 - CHANCE, freedom))
