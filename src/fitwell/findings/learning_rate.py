"""The size of the steps: too high, too low, and too few of them."""

from collections.abc import Sequence

import numpy as np

from fitwell.findings.reading import (
    COLLAPSED,
    block_medians,
    by_layer,
    confidence,
    epoch_series,
    evidence_of,
    folds_of,
    layer_medians,
    median,
    rounded,
    share,
    step_series,
    theil_sen,
    weights_left,
)
from fitwell.record import Finding, NotAssessed, Run

_LOST = 0.3  # share of what was gained that the loss gave back; healthy runs reach 0.18
_SPIKE = 3.0  # loss over the first losses, for at least three of five steps
_BURST = 100.0  # first losses over the first
_BURST_SIGN = "the loss leapt up at the first steps"
_LARGE_UPDATE = 0.1  # of a layer's norm a step
_SMALL_UPDATE = 2e-4  # likewise; healthy runs that still learn reach down to 4e-4
_LATE_UPDATE = 1e-3
_UNFITTED = 0.2  # of the first loss that is left at the end
_LATE = 0.35  # share of the training until half of the fall; healthy runs reach 0.2
_FAR_BELOW = 100  # times below the rate at which the range test broke
_LEARNED = 0.02  # of the first loss that must be gained to speak of a fall
_STILL_FALLING = 0.08  # share of the whole fall that came in the last third
_HALF_FALLING = 0.12  # likewise in the second half of the steps
_FEWEST_LOSSES = 40  # steps
_POINTS = 100


def lr_too_high(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Steps are so long that training breaks or forgets.

    Symptom: the loss becomes not-a-number, leaps up, or gives back what it had gained.
    Mechanism: a step beyond 2 / curvature overshoots further each time; ReLU units are thrown to
        where they never fire again.
    Threshold: in at least 2/3 of the runs: not-a-number; 30 % of the gain lost again (median of
        5 % of the steps); three times the first loss; or steps of more than 0.1 of the weights'
        norm in the median layer. Or optim.lr above the rate at which the range test broke (half
        of it where a run broke).
    Source: Smith 2017, WACV; 0.1 as in DeepLocalize; 30 % calibrated on digits and Fashion-MNIST,
        where healthy runs lose at most 18 %
    """
    folds = [run for run in folds_of(runs) if run.steps or run.status == "failed"]
    if not folds:
        return NotAssessed("lr_too_high", "step rows (the loss of each step)")
    signs = [_broken(run) for run in folds]
    broken = [bool(sign) for sign in signs]
    collapsed = [_collapsed(run, sign) for run, sign in zip(folds, signs, strict=True)]
    rate = median(_rate(run) for run in folds)
    limit = _range_limit(runs)
    enough = share(broken) >= 2 / 3
    # Half of it with a broken run: a schedule that decays forgives more than the test does.
    beyond = rate > limit or (any(broken) and rate > limit / 2)
    # One collapsed fold in five is not a matter of taste: the mean score has lost a fifth.
    if not enough and not beyond and share(collapsed) < 0.2:
        return None
    evidence = rounded(
        {
            "runs_broken": sum(broken),
            "runs": len(folds),
            "signs": sorted({sign for sign in signs if sign}),
            "lr": rate,
            "update_ratio": median(_median_update(run) for run in folds),
            "divergence_lr": limit,
        }
    )
    if sum(broken):
        what = "; ".join(evidence["signs"])
        sentence = f"In {sum(broken)} of {len(folds)} runs training broke at lr {rate:.3g}: {what}."
    else:
        sentence = (
            f"The learning rate {rate:.3g} lies above {limit:.3g}, where the range test broke."
        )
    strong = any(collapsed) or _BURST_SIGN in signs
    level = confidence(folds, sum(broken), strong=strong) if enough else "low"
    if beyond and sum(broken) and level == "low":
        level = "medium"
    return Finding("lr_too_high", level, evidence, sentence, ("optim.lr",))


def lr_too_low(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Steps are so short that the weights hardly move.

    Symptom: the loss falls slowly and evenly, or has not begun to, and ends high.
    Mechanism: the weights walk lr x gradient a step; over the whole training that is too short a
        way from where they were drawn.
    Threshold: real update below 2e-4 of the weights' norm in the median layer while the rate is
        high (or below 1e-3, with half of the fall after 35 % of the training), and more than 20 %
        of the first loss left at the end. Or optim.lr 100 times below where the range test
        broke, with such an end.
    Source: 1e-3 as the rule of thumb of Karpathy (CS231n); 2e-4 calibrated on digits,
        Fashion-MNIST and small tables, where healthy runs that still learn reach down to 4e-4
    """
    folds = [run for run in folds_of(runs) if run.steps]
    if not folds:
        return NotAssessed("lr_too_low", "step rows (the loss of each step)")
    updates = [_median_update(run) for run in folds]
    limit = _range_limit(runs)
    if not np.isfinite(updates).any() and not np.isfinite(limit):
        return NotAssessed("lr_too_low", "probe rows of steps (update_ratio), or a range test")
    rate = median(_rate(run) for run in folds)
    far_below = rate * _FAR_BELOW < limit
    flags = []
    for run, update in zip(folds, updates, strict=True):
        unfitted = _left(run) > _UNFITTED and not _broken(run) and _has_gradient(run)
        late = update < _LATE_UPDATE and _half_fall(run) >= _LATE and len(run.steps) >= 200
        flags.append(unfitted and (update < _SMALL_UPDATE or late or far_below))
    if share(flags) < 0.5:
        return None
    update, left = median(updates), median(_left(run) for run in folds)
    evidence = rounded(
        {
            "runs_slow": sum(flags),
            "runs": len(folds),
            "lr": rate,
            "update_ratio": update,
            "loss_left": left,
            "half_of_the_fall_at": median(_half_fall(run) for run in folds),
            "divergence_lr": limit,
        }
    )
    sentence = (
        f"A step moves the median layer by {update:.1e} of its size, and {left:.0%} of the first "
        f"loss is left at the end (lr {rate:.3g})."
    )
    level = confidence(folds, sum(flags), strong=update < _SMALL_UPDATE)
    return Finding("lr_too_low", level, evidence, sentence, ("optim.lr",))


def stopped_too_early(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Training ended while it was still getting better.

    Symptom: the loss is still falling at the end, or has only begun to.
    Mechanism: too few steps for this learning rate; a schedule that decays to zero hides it, since
        the last steps stand still whatever is left to learn.
    Threshold: in at least half of the runs: half of the fall of the loss came after 35 % of the
        training; or the slope of the validation loss over the last third is negative (Theil-Sen,
        95 %) and that third brought 8 % of the whole fall. Of fewer than 8 epochs the loss of the steps is
        read so, where the learning rate had not begun to fall: the second half of at least 40, and 12 %.
    Source: Prechelt 1998, Early stopping, but when?; cut-offs calibrated on digits and
        Fashion-MNIST, where healthy runs are half down after 5 to 20 %
    """
    folds = [run for run in folds_of(runs) if run.steps or len(run.epochs) >= 8]
    if not folds:
        return NotAssessed("stopped_too_early", "step rows, or the validation loss of 8 epochs")
    late = [_half_fall(run) for run in folds]
    falls = [_last_third(run) for run in folds]
    steps = [_last_steps(run) for run in folds]
    flags = [
        run.status != "failed"
        and not _broken(run)
        and (
            begun >= _LATE
            or (fall >= _STILL_FALLING and high < 0)
            or (half >= _HALF_FALLING and half_high < 0)
        )
        for run, begun, (fall, high), (half, half_high) in zip(
            folds, late, falls, steps, strict=True
        )
    ]
    if share(flags) < 0.5:
        return None
    fall, half = median(fall for fall, _ in falls), median(half for half, _ in steps)
    evidence = rounded(
        {
            "runs_unfinished": sum(flags),
            "runs": len(folds),
            "half_of_the_fall_at": median(late),
            "fall_in_last_third": fall,
            "fall_in_second_half": half,
            "epochs": median(len(run.epochs) for run in folds),
            "steps": median(len(run.steps) for run in folds),
        }
    )
    parts = []
    if median(late) >= _LATE:
        parts.append(f"half of the loss's fall came after {median(late):.0%} of the training")
    if fall >= _STILL_FALLING:
        parts.append(f"the last third still brought {fall:.0%} of it")
    elif half >= _HALF_FALLING:
        parts.append(f"the second half of the steps still brought {half:.0%} of the loss's fall")
    what = ", and ".join(parts) or "the loss was still falling at the end"
    sentence = f"In {sum(flags)} of {len(folds)} runs learning had not ended: {what}."
    level = confidence(
        folds, sum(flags), strong=median(late) >= _LATE or fall >= 0.15 or half >= 0.15
    )
    return Finding(
        "stopped_too_early", level, evidence, sentence, ("train.epochs", "train.patience")
    )


def _range_limit(runs: Sequence[Run]) -> float:
    """Median rate at which the range test broke, over its seeds; nan where fewer than two broke."""
    limits = [row.get("divergence_lr") for row in evidence_of(runs, "range_test")]
    known = [limit for limit in limits if limit]
    return median(known) if len(known) >= 2 else float("nan")


def _broken(run: Run) -> str:
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
        return _BURST_SIGN
    first = float(np.median(known[:5]))
    blocks = block_medians(known)
    best = np.minimum.accumulate(blocks)[:-1]
    gained = first - best
    # Giving back a gain that is within the noise of the losses is no sign.
    lost = np.where(gained > 0.2 * abs(first), (blocks[1:] - best) / np.maximum(gained, 1e-12), 0)
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
    # Beside weights that a penalty has taken away any step is large.
    if _median_update(run) > _LARGE_UPDATE and not weights_left(run) < COLLAPSED:
        return "steps as large as the weights"
    return ""


def _collapsed(run: Run, sign: str) -> bool:
    """Whether nothing was left of what had been learned."""
    return sign == "not a number" or (bool(sign) and _left(run) > 0.9)


def _runs_of_five(values: np.ndarray) -> np.ndarray:
    """Median of each five neighbours."""
    return np.median(np.lib.stride_tricks.sliding_window_view(values, 5), axis=1)


def _most_dead(run: Run) -> float:
    shares = [values[-1][1] for values in by_layer(run, "epoch", "dead").values()]
    return max(shares, default=0.0)


def _median_update(run: Run) -> float:
    """Median over layers of the real update a step, relative to the weights."""
    return median(layer_medians(run, "update_ratio").values())


def _has_gradient(run: Run) -> bool:
    """False where every layer's gradient is zero: then no learning rate helps."""
    gradients = list(layer_medians(run, "grad_rms", hot_only=False).values())
    return not gradients or max(gradients) > 0


def _rate(run: Run) -> float:
    """The peak learning rate: the recipe's, or the largest that was used."""
    if run.recipe is not None and "optim.lr" in run.recipe:
        return float(run.recipe["optim.lr"])  # type: ignore[arg-type]
    rates = step_series(run, "lr")
    return float(np.nanmax(rates)) if np.isfinite(rates).any() else float("nan")


def _left(run: Run) -> float:
    """Share of the first loss that is left at the end."""
    losses = step_series(run)
    losses = losses[np.isfinite(losses)]
    if len(losses) < 10:
        return float("nan")
    return float(block_medians(losses)[-1] / max(abs(float(np.median(losses[:5]))), 1e-12))


def _half_fall(run: Run) -> float:
    """Share of the training until the loss had fallen half of its way; nan where it never fell."""
    losses = step_series(run)
    losses = losses[np.isfinite(losses)]
    if len(losses) < 15:
        return float("nan")
    first, blocks = float(np.median(losses[:5])), block_medians(losses)
    fall = first - float(blocks.min())
    if fall < _LEARNED * abs(first):
        return float("nan")
    return float(np.argmax(blocks <= first - fall / 2)) / len(blocks)


def _last_third(run: Run) -> tuple[float, float]:
    """(share of the validation loss's whole fall in the last third, upper bound of the slope)."""
    losses = epoch_series(run, "validation")
    if len(losses) < 8 or not np.isfinite(losses).all():
        return float("nan"), float("nan")
    third = losses[-max(4, len(losses) // 3) :]
    slope, _, high = theil_sen(third)
    whole = float(losses[0] - losses.min())
    if whole < _LEARNED * abs(float(losses[0])):
        return float("nan"), float("nan")
    return -slope * (len(third) - 1) / whole, high


def _last_steps(run: Run) -> tuple[float, float]:
    """(share of the steps' loss's whole fall in the second half, upper bound of the slope); unknown of few
    steps and of a rate that fell."""
    rates, losses = step_series(run, "lr"), step_series(run)
    falls = np.isfinite(rates).any() and not rates[-1] >= np.nanmax(rates)
    losses = losses[np.isfinite(losses)]
    if len(losses) < _FEWEST_LOSSES or falls or len(run.epochs) >= 8:
        return float("nan"), float("nan")
    half = losses[len(losses) // 2 :]
    half = half if len(half) <= _POINTS else block_medians(half, _POINTS)
    slope, _, high = theil_sen(half, 0.1)
    blocks = block_medians(losses)
    whole = float(blocks[0] - blocks.min())
    if whole < _LEARNED * abs(float(blocks[0])):
        return float("nan"), float("nan")
    return -slope * (len(half) - 1) / whole, high
