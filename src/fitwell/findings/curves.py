"""What the losses and updates of a run show: how the loss fell, and whether training broke."""

import numpy as np

from fitwell.findings.reading import (
    COLLAPSED,
    block_medians,
    by_layer,
    layer_medians,
    median,
    step_series,
    weights_left,
)
from fitwell.record import Run

LEARNED = 0.02  # of the first loss that must be gained to speak of a fall
LATE = 0.35  # share of the training until half of the fall; healthy runs reach 0.2
BURST_SIGN = "the loss leapt up at the first steps"
STEP_SIGN = "the first step was larger than the weights, and the loss leapt up"
_LOST = 0.3  # share of what was gained that the loss gave back; healthy runs reach 0.18
_BEYOND_NOISE = 4.0  # standard errors: the best of all blocks is itself lower by chance
_LONG_BLOCK = 10  # steps
_SPIKE = 3.0  # loss over the first losses, for at least three of five steps
_BURST = 100.0  # first losses over the first
_LEAPT = 1.5  # likewise, where the first step was larger than the weights
_RESTING = 0.02  # of its whole fall
_WANING = 0.1
_GONE = 0.01  # of the peak of the learning rate
_LARGE_UPDATE = 0.1  # of a layer's norm a step


def how_it_broke(run: Run) -> str:
    """How training broke, in a few words; empty where it did not."""
    losses = step_series(run)
    nan_loss = bool(len(losses)) and not np.isfinite(losses[-1])
    if nan_loss or (run.status == "failed" and "is nan" in run.failure):
        return "not a number"
    if run.status == "failed" and "is inf" in run.failure:
        return "not a number"
    known = losses[np.isfinite(losses)]
    if len(known) < 10:
        return ""
    if np.max(known[1:5]) > _BURST * abs(known[0]):
        return BURST_SIGN
    if first_update(run) > 1 and np.max(known[1:5]) > _LEAPT * abs(known[0]):
        return STEP_SIGN
    first = float(np.median(known[:5]))
    blocks = block_medians(known)
    best = np.minimum.accumulate(blocks)[:-1]
    gained = first - best
    # Giving back a gain that is within the noise of the losses is no sign.
    back = blocks[1:] - best
    beyond = back > _BEYOND_NOISE * _noise(known, len(known) / len(blocks))
    large = (gained > 0.2 * abs(first)) & beyond
    lost = np.where(large, back / np.maximum(gained, 1e-12), 0)
    spike = float(_runs_of_five(known)[2:].max() / max(abs(first), 1e-12))
    if len(lost) and lost.max() >= 0.8:
        return "the loss came back to its start"
    if len(lost) and lost.max() >= _LOST:
        return "the loss gave back much of what it had gained"
    if spike >= _SPIKE:
        return "the loss leapt up"
    never = best[-1] > 0.95 * first if len(best) else False
    if never and spike > 1.05 and _most_dead(run) > 0.5:
        return "the loss leapt up and the units died"
    if _have_died(run) and blocks[-1] > 0.95 * first:
        return "the units died and the loss came back to its start"
    # Beside weights that a penalty has taken away any step is large.
    if median_update(run) > _LARGE_UPDATE and not weights_left(run) < COLLAPSED:
        return "steps as large as the weights"
    return ""


def _noise(losses: np.ndarray, block: float) -> float:
    """Standard error of the median of a block of step losses, of few steps; 0 of blocks so long that it is
    small.

    Formula: 1.25 s / sqrt(block), s from the differences of neighbours
    """
    if block >= _LONG_BLOCK:
        return 0.0
    spread = 1.4826 * float(np.median(np.abs(np.diff(losses)))) / np.sqrt(2)
    return 1.25 * spread / np.sqrt(max(block, 1.0))


def _runs_of_five(values: np.ndarray) -> np.ndarray:
    """Median of each five neighbours."""
    return np.median(np.lib.stride_tricks.sliding_window_view(values, 5), axis=1)


def _most_dead(run: Run) -> float:
    shares = [values[-1][1] for values in by_layer(run, "epoch", "dead").values()]
    return max(shares, default=0.0)


def _have_died(run: Run) -> bool:
    """Whether nearly all units of a layer fire on nothing, most of which did at first."""
    layers = by_layer(run, "epoch", "dead").values()
    return any(values[-1][1] >= 0.9 and values[0][1] < 0.5 for values in layers)


def median_update(run: Run) -> float:
    """Median over layers of the real update a step, relative to the weights."""
    return median(layer_medians(run, "update_ratio").values())


def first_update(run: Run) -> float:
    """The same of the very first step, where it was measured."""
    rows = [r for r in run.probes if r.get("kind") == "step" and r.get("step") == 0]
    return median(r["update_ratio"] for r in rows if r.get("update_ratio") is not None)


def share_left(run: Run) -> float:
    """Share of the first loss that is left at the end."""
    losses = step_series(run)
    losses = losses[np.isfinite(losses)]
    if len(losses) < 10:
        return float("nan")
    return float(block_medians(losses)[-1] / max(abs(float(np.median(losses[:5]))), 1e-12))


def at_rest(run: Run) -> bool:
    """Whether the loss has fallen and then stood still: shorter or longer steps end there, too."""
    return _rested(step_series(run), _RESTING)


def _rested(losses: np.ndarray, most: float) -> bool:
    """Whether the last third brought less than a share of the whole fall."""
    losses = losses[np.isfinite(losses)]
    blocks = block_medians(losses)
    if len(blocks) < 6:
        return False
    first, late, last = np.median(losses[:5]), blocks[-1 - len(blocks) // 3], blocks[-1]
    fall = first - last
    return bool(abs(late - last) < most * fall)


def rate_gone_at(run: Run) -> float:
    """Share of the training after which the learning rate stayed below a hundredth of its peak; nan where
    it did not, or where the loss had hardly fallen any more before the rate was halved, as a schedule for
    plateaus waits for."""
    rates, losses = step_series(run, "lr"), step_series(run)
    if len(rates) < 20 or not np.isfinite(rates).all():
        return float("nan")
    gone = int(np.flatnonzero(rates >= _GONE * rates.max())[-1]) + 1
    if gone == len(rates):
        return float("nan")
    peak = int(np.argmax(rates))
    halved = peak + int(np.argmax(rates[peak:] < rates.max() / 2))
    return float("nan") if _rested(losses[:halved], _WANING) else gone / len(rates)


def half_fall(run: Run) -> float:
    """Share of the training until the loss had fallen half of its way; nan where it never fell."""
    losses = step_series(run)
    losses = losses[np.isfinite(losses)]
    if len(losses) < 15:
        return float("nan")
    first, blocks = float(np.median(losses[:5])), block_medians(losses)
    fall = first - float(blocks.min())
    if fall < LEARNED * abs(first):
        return float("nan")
    return float(np.argmax(blocks <= first - fall / 2)) / len(blocks)
