"""The size of the steps: too high and too low."""

from collections.abc import Sequence

import numpy as np

from fitwell.findings.curves import (
    BURST_SIGN,
    LATE,
    STEP_SIGN,
    at_rest,
    half_fall,
    how_it_broke,
    median_update,
    rate_gone_at,
    share_left,
)
from fitwell.findings.reading import (
    confidence,
    evidence_of,
    folds_of,
    layer_medians,
    median,
    rounded,
    share,
    step_series,
)
from fitwell.lr_range import lr_range
from fitwell.record import Finding, NotAssessed, Run

_CARRIED = "gradients are not cleared between steps, each of which repeats all before it"
_SMALL_UPDATE = 2e-4  # of a layer's norm a step; healthy runs that still learn reach down to 4e-4
_LATE_UPDATE = 1e-3
_USUAL_UPDATE = 1e-3
_UNFITTED = 0.2  # of the first loss that is left at the end
_GONE_EARLY = 0.5  # of the training after which the rate is gone
_GONE_UNFITTED = 0.02  # of the first loss that is left then
_FAR_BELOW = 100  # times below the rate at which the range test broke


def lr_too_high(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Steps are so long that training breaks or forgets.

    Symptom: the loss becomes not-a-number, leaps up, or gives back what it had gained.
    Mechanism: a step beyond 2 / curvature overshoots further each time; ReLU units are thrown to
        where they never fire again.
    Threshold: in at least 2/3 of the runs: not-a-number; 30 % of the gain lost again (median of
        5 % of the steps); three times the first loss; steps of more than 0.1 of the weights' norm in the
        median layer; 100 times the first loss within five steps; most units of a layer dead, and the
        loss at its start; or a first step larger than the weights, and half the first loss more after
        it. Or, in one run of five, such a sign and 90 % of the first loss left. Or optim.lr above the rate
        at which the range test broke (half of it where a run broke). Or a loop that does not clear its
        gradients between steps, each of which then repeats all before it.
    Source: Smith 2017, WACV; 0.1 as in DeepLocalize; 30 % calibrated on digits and Fashion-MNIST,
        where healthy runs lose at most 18 %
    """
    folds = [run for run in folds_of(runs) if run.steps or run.status == "failed"]
    if not folds:
        return NotAssessed("lr_too_high", "step rows (the loss of each step)")
    signs = [how_it_broke(run) for run in folds]
    broken = [bool(sign) for sign in signs]
    collapsed = [_collapsed(run, sign) for run, sign in zip(folds, signs, strict=True)]
    rate = median(_rate(run) for run in folds)
    limit = _range_limit(runs)
    loops = evidence_of(runs, "loop")
    carried = bool(loops) and all(row.get("carried") for row in loops)
    enough = share(broken) >= 2 / 3 or carried
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
            "update_ratio": median(median_update(run) for run in folds),
            "divergence_lr": limit,
            **_range_rate(runs),
        }
    )
    if carried:
        evidence["signs"].append(_CARRIED)
    if sum(broken) or carried:
        what = "; ".join(evidence["signs"])
        broke = (
            f"In {sum(broken)} of {len(folds)} runs training broke" if sum(broken) else "It runs"
        )
        sentence = f"{broke} at lr {rate:.3g}: {what}."
    else:
        sentence = (
            f"The learning rate {rate:.3g} lies above {limit:.3g}, where the range test broke."
        )
    strong = any(collapsed) or bool({BURST_SIGN, STEP_SIGN} & set(signs))
    told = len(folds) if carried else sum(broken)
    level = confidence(folds, told, strong=strong or carried) if enough else "low"
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
        of the first loss left at the end; unless the loss had fallen and come to rest, the last third
        bringing less than 2 % of its fall. Or optim.lr 100 times below where the range test
        broke, with such an end. Or a schedule that leaves less than 1 % of the rate for more than half of
        the training, while 2 % of the first loss is left, unless the loss stood still before the rate was
        halved.
    Source: 1e-3 as the rule of thumb of Karpathy (CS231n); 2e-4 calibrated on digits,
        Fashion-MNIST and small tables, where healthy runs that still learn reach down to 4e-4
    """
    folds = [run for run in folds_of(runs) if run.steps]
    if not folds:
        return NotAssessed("lr_too_low", "step rows (the loss of each step)")
    updates = [median_update(run) for run in folds]
    limit = _range_limit(runs)
    if not np.isfinite(updates).any() and not np.isfinite(limit):
        return NotAssessed("lr_too_low", "probe rows of steps (update_ratio), or a range test")
    rate = median(_rate(run) for run in folds)
    far_below = rate * _FAR_BELOW < limit
    flags = []
    for run, update in zip(folds, updates, strict=True):
        unfitted = share_left(run) > _UNFITTED and not how_it_broke(run) and _has_gradient(run)
        late = update < _LATE_UPDATE and half_fall(run) >= LATE and len(run.steps) >= 200
        slow = (update < _SMALL_UPDATE or late) and not at_rest(run)
        flags.append(unfitted and (slow or far_below))
    if share(flags) < 0.5:
        return _rate_gone(folds, rate)
    update, left = median(updates), median(share_left(run) for run in folds)
    evidence = rounded(
        {
            "runs_slow": sum(flags),
            "runs": len(folds),
            "lr": rate,
            "update_ratio": update,
            "loss_left": left,
            "half_of_the_fall_at": median(half_fall(run) for run in folds),
            "divergence_lr": limit,
            **_range_rate(runs),
        }
    )
    sentence = (
        f"A step moves the median layer by {update:.1e} of its size, and {left:.0%} of the first "
        f"loss is left at the end (lr {rate:.3g})."
    )
    if update > 0 and (factor := _USUAL_UPDATE / update) >= 20:
        power = 10 ** round(np.log10(factor))
        sentence += (
            f" A step of a thousandth of it, as is usual, takes about {power:,} times the rate."
        )
    level = confidence(folds, sum(flags), strong=update < _SMALL_UPDATE)
    return Finding("lr_too_low", level, evidence, sentence, ("optim.lr",))


def _rate_gone(folds: Sequence[Run], rate: float) -> Finding | None:
    """A schedule that ends the training in its first half."""
    ends = [rate_gone_at(run) for run in folds]
    flags = [
        end < _GONE_EARLY and share_left(run) > _GONE_UNFITTED and not how_it_broke(run)
        for run, end in zip(folds, ends, strict=True)
    ]
    if share(flags) < 0.5:
        return None
    left = median(share_left(run) for run in folds)
    evidence = rounded(
        {
            "runs_slow": sum(flags),
            "runs": len(folds),
            "lr": rate,
            "rate_gone_at": median(ends),
            "loss_left": left,
        }
    )
    sentence = (
        f"After {median(ends):.0%} of the training less than a hundredth of the learning rate is left, and "
        f"{left:.0%} of the first loss."
    )
    level = confidence(folds, sum(flags))
    return Finding("lr_too_low", level, evidence, sentence, ("optim.schedule", "optim.lr"))


def _range_limit(runs: Sequence[Run]) -> float:
    """Median rate at which the range test broke, over its seeds; nan where fewer than two broke."""
    limits = [row.get("divergence_lr") for row in evidence_of(runs, "range_test")]
    known = [limit for limit in limits if limit]
    return median(known) if len(known) >= 2 else float("nan")


def _range_rate(runs: Sequence[Run]) -> dict[str, float]:
    """The rate that the range test asks for; nothing where it gives no verdict."""
    found = lr_range(evidence_of(runs, "range_test"))
    return {} if found.lr is None else {"range_lr": found.lr}


def _collapsed(run: Run, sign: str) -> bool:
    """Whether nothing was left of what had been learned."""
    return sign == "not a number" or (bool(sign) and share_left(run) > 0.9)


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
