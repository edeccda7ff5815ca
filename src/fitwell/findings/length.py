"""Whether training was long enough."""

from collections.abc import Sequence

import numpy as np

from fitwell.findings.curves import LATE, LEARNED, half_fall, how_it_broke
from fitwell.findings.reading import (
    block_medians,
    confidence,
    epoch_series,
    evidence_of,
    folds_of,
    median,
    rounded,
    share,
    step_series,
    theil_sen,
)
from fitwell.findings.reference import gain_of, makes_good, margin_of, short_of_reference
from fitwell.record import Finding, NotAssessed, Row, Run

_STILL_FALLING = 0.08  # share of the whole fall that came in the last third
_HALF_FALLING = 0.12  # likewise in the second half of the steps
_FEWEST_LOSSES = 40  # steps
_POINTS = 100
_FALL = 0.1  # of the loss of new examples, which a longer training must bring


def stopped_too_early(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Training ended while it was still getting better.

    Symptom: the loss is still falling at the end, or has only begun to; the fit is poor.
    Mechanism: too few steps for this learning rate; a schedule that decays to zero hides it, since
        the last steps stand still whatever is left to learn.
    Threshold: in at least half of the runs: half of the fall of the loss came after 35 % of the
        training; or the slope of the validation loss over the last third is negative (Theil-Sen,
        95 %) and that third brought 8 % of the whole fall. Of fewer than 8 epochs the loss of the steps is
        read so, where the learning rate had not begun to fall: the second half of at least 40, and 12 %.
        The steps say nothing where a validation loss of 3 epochs and more never fell by 2 %. Or
        a run again of twice the epochs, and of 300 steps (experiment "longer"), makes good half of what the
        training score is below the reference models' (as for underfitting), or brings it 0.01 (1 % of the
        error) and the loss of examples that neither saw down by a tenth, with 95 % confidence over them.
    Source: Prechelt 1998, Early stopping, but when?; cut-offs calibrated on digits and
        Fashion-MNIST, where healthy runs are half down after 5 to 20 %
    """
    folds = [run for run in folds_of(runs) if run.steps or len(run.epochs) >= 8]
    if not folds:
        return NotAssessed("stopped_too_early", "step rows, or the validation loss of 8 epochs")
    late = [half_fall(run) for run in folds]
    falls = [_last_third(run) for run in folds]
    steps = [_last_steps(run) for run in folds]
    longer = evidence_of(runs, "longer")
    gains = makes_good(short_of_reference(runs), longer) or _brings(longer)
    flags = [
        run.status != "failed"
        and not how_it_broke(run)
        and not _rises(run)
        and (
            (begun >= LATE and not _stands(run))
            or (fall >= _STILL_FALLING and high < 0)
            or (half >= _HALF_FALLING and half_high < 0 and not _stands(run))
            or gains
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
            "train_longer": median(row["train_again"] for row in longer),
            "epochs": median(len(run.epochs) for run in folds),
            "steps": median(len(run.steps) for run in folds),
        }
    )
    parts = []
    if median(late) >= LATE:
        parts.append(f"half of the loss's fall came after {median(late):.0%} of the training")
    if fall >= _STILL_FALLING:
        parts.append(f"the last third still brought {fall:.0%} of it")
    elif half >= _HALF_FALLING:
        parts.append(f"the second half of the steps still brought {half:.0%} of the loss's fall")
    if gains:
        row = longer[0]
        parts.append(
            f"{row['epochs']} epochs bring the training {row['metric'].replace('_', ' ')} from "
            f"{row['train']:.4g} to {row['train_again']:.4g}"
        )
    what = ", and ".join(parts) or "the loss was still falling at the end"
    sentence = f"In {sum(flags)} of {len(folds)} runs learning had not ended: {what}."
    level = confidence(
        folds, sum(flags), strong=median(late) >= LATE or fall >= 0.15 or half >= 0.15 or gains
    )
    return Finding(
        "stopped_too_early", level, evidence, sentence, ("train.epochs", "train.patience")
    )


def _brings(rows: Sequence[Row]) -> bool:
    """Whether a longer training fits its own examples better, and those that it did not see much better."""
    seen = [row for row in rows if "fall_low" in row]
    return bool(seen) and all(
        gain_of(row) > margin_of(row["metric"], row["train"])
        and row["fall_low"] > _FALL * abs(row["loss"])
        for row in seen
    )


def _rises(run: Run) -> bool:
    """Whether the validation loss ended above where it began: a longer training is no way down then."""
    losses = epoch_series(run, "validation")
    losses = losses[np.isfinite(losses)]
    return len(losses) > 1 and float(losses[-1]) > float(losses[0])


def _stands(run: Run) -> bool:
    """Whether the validation loss never fell, in at least 3 epochs: what is still learned is of no use."""
    losses = epoch_series(run, "validation")
    losses = losses[np.isfinite(losses)]
    return len(losses) >= 3 and float(losses[0] - losses.min()) < LEARNED * abs(float(losses[0]))


def _last_third(run: Run) -> tuple[float, float]:
    """(share of the validation loss's whole fall in the last third, upper bound of the slope)."""
    losses = epoch_series(run, "validation")
    if len(losses) < 8 or not np.isfinite(losses).all():
        return float("nan"), float("nan")
    third = losses[-max(4, len(losses) // 3) :]
    slope, _, high = theil_sen(third)
    whole = float(losses[0] - losses.min())
    if whole < LEARNED * abs(float(losses[0])):
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
    if whole < LEARNED * abs(float(blocks[0])):
        return float("nan"), float("nan")
    return -slope * (len(half) - 1) / whole, high
