"""Learning-rate range test: raise the rate step by step and see where the loss falls and breaks.

One batch with a high loss must not decide (a spike early in the test fooled published finders),
and neither must one seed: the curve is smoothed by a running median, a break must last, and several
seeds are run.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from fitwell.record import Row

StepFunction = Callable[[float], float]

_WINDOW = 7  # steps of the running median at least: up to three spikes side by side vanish
_SHARE = 0.42  # of a decade that it covers where rates lie closer, or noise would pass for a fall
_LASTING = 5 / 7  # of the window: how long a break must last
_LEARNED = 0.05  # share of the first loss that must be gained to speak of a fall


def range_test(
    start: Callable[[int], StepFunction],
    *,
    seeds: Sequence[int] = (0, 1, 2),
    low: float = 1e-5,
    high: float = 10.0,
    steps: int = 100,
    beyond: float = 1.0,
    seed_done: Callable[[Row], object] = lambda row: None,
) -> list[Row]:
    """One evidence row a seed: the losses over rising rates, where they fall and where they break.

    Args:
        start: seed -> a fresh training, as a function that makes one step at a learning rate and
            gives the loss before it. It should use the optimizer of the recipe.
        low: first learning rate; they rise by a constant factor.
        high: last learning rate.
        steps: how many; the test ends early once the loss has clearly broken.
        beyond: how many times further than `high` the rates rise, by the same factor, where the loss
            has not broken by then.
        seed_done: called with the row of each seed.

    Returns:
        Rows `{"experiment": "range_test", "seed", "lr": [...], "loss": [...], "steepest_lr",
        "divergence_lr"}`. `steepest_lr` is None where the loss never fell, `divergence_lr` where it
        never broke. A loss that is not finite is None.

    Source: Smith, Cyclical learning rates for training neural networks, WACV 2017, section 3.3
    """
    factor = (high / low) ** (1 / (steps - 1))
    more = int(math.log(beyond) / math.log(factor) + 1e-9)
    rates = low * factor ** np.arange(steps + more)
    rows = []
    for seed in seeds:
        rows.append(_one_seed(start(seed), seed, rates, steps))
        seed_done(rows[-1])
    return rows


def _one_seed(step: StepFunction, seed: int, rates: np.ndarray, steps: int) -> Row:
    losses: list[float] = []
    for rate in rates:
        if len(losses) >= steps and divergence(rates, losses) is not None:
            break
        losses.append(float(step(float(rate))))
        if _hopeless(losses, window_of(rates)):
            break
    tried = rates[: len(losses)]
    return {
        "experiment": "range_test",
        "seed": seed,
        "lr": [float(rate) for rate in tried],
        "loss": [loss if math.isfinite(loss) else None for loss in losses],
        "steepest_lr": steepest(tried, losses),
        "divergence_lr": divergence(tried, losses),
    }


def _hopeless(losses: Sequence[float], window: int) -> bool:
    """Not finite, or ten times the first losses for as long as a break must last."""
    if not math.isfinite(losses[-1]):
        return True
    lasting = round(_LASTING * window)
    late = losses[-lasting:]
    first = float(np.median(losses[:lasting]))
    # Ten times a loss that is above 0; a log-likelihood of densities may be below.
    return len(losses) > 2 * lasting and min(late) > first + 9 * abs(first)


def divergence(rates: Sequence[float] | np.ndarray, losses: Sequence[float]) -> float | None:
    """The rate at which the loss breaks for good: half of what was gained is lost, or more.

    Where nothing was gained, the loss must rise to half as much again as it was at first.
    """
    window = window_of(rates)
    lasting = round(_LASTING * window)
    smooth = smoothed(losses, window)
    first = float(smooth[0])
    noise = _noise(losses, window)
    for i in range(1, len(smooth)):
        best = float(np.min(smooth[:i]))
        gained = first - best
        learned = gained > max(_LEARNED * abs(first), 4 * noise)
        limit = best + 0.5 * gained if learned else first + 0.5 * abs(first) + 2 * noise
        after = smooth[i : i + lasting]
        # The end counts as lasting where the test was stopped there for a loss that is not finite.
        whole = len(after) == lasting or not math.isfinite(losses[-1])
        if whole and np.all(after > limit):
            return float(rates[i])
    # The test stops at the first loss that is not finite, too early for the median to see it.
    return float(rates[len(losses) - 1]) if not math.isfinite(losses[-1]) else None


def steepest(rates: Sequence[float] | np.ndarray, losses: Sequence[float]) -> float | None:
    """The rate at which the smoothed loss falls fastest by log rate, before it breaks."""
    broken = divergence(rates, losses)
    end = len(losses) if broken is None else int(np.searchsorted(np.asarray(rates), broken))
    window = window_of(rates)
    if end < 2 * window:
        return None
    smooth = smoothed(losses[:end], window)
    # A second, straight smoothing: the slope of a median is a staircase.
    padded = np.pad(smooth, window // 2, mode="edge")
    line = np.convolve(padded, np.ones(window) / window, mode="valid")
    if line[0] - line.min() <= max(_LEARNED * abs(line[0]), 4 * _noise(losses, window)):
        return None
    slope = np.gradient(line, np.log(np.asarray(rates[:end], dtype=float)))
    return float(rates[int(np.argmin(slope))])


def window_of(rates: Sequence[float] | np.ndarray) -> int:
    """Steps of the running median: 7, or an odd number that covers 0.42 of a decade.

    >>> window_of([1.0, 2.0, 4.0]), window_of(np.geomspace(1e-5, 10, 200))
    (7, 15)
    """
    spacing = math.log10(rates[1] / rates[0]) if len(rates) > 1 else 1.0
    return max(_WINDOW, round(_SHARE / spacing) | 1)


def _noise(losses: Sequence[float], window: int) -> float:
    """Spread of a smoothed loss from batch to batch, from the first, lowest rates.

    Differences of neighbours leave a slow fall out; 1.48 turns their median size into a standard
    deviation, and the median of n losses has 1.25 / sqrt(n) of the spread of one.
    """
    early = np.asarray(losses[: max(20, len(losses) // 4)], dtype=float)
    steps = np.diff(early[np.isfinite(early)])
    spread = 1.48 * float(np.median(np.abs(steps))) / math.sqrt(2) if len(steps) else 0.0
    return 1.25 / math.sqrt(window) * spread


def smoothed(losses: Sequence[float], window: int = _WINDOW) -> np.ndarray:
    """Running median, shorter at the ends; not-a-number counts as infinitely bad.

    >>> smoothed([3.0, 3.0, 90.0, 3.0, 3.0]).tolist()
    [3.0, 3.0, 3.0, 3.0, 3.0]
    """
    values = np.array([loss if math.isfinite(loss) else math.inf for loss in losses])
    reach = window // 2
    return np.array(
        [np.median(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]
    )
