"""How evenly it trains: gradients that explode, losses that swing, time spent waiting for data."""

from collections.abc import Sequence

import numpy as np

from fitwell.findings.reading import (
    confidence,
    epoch_series,
    folds_of,
    median,
    rounded,
    share,
    step_series,
)
from fitwell.findings.through_time import far_over_near
from fitwell.record import Finding, NotAssessed, Run

_SPIKE = 10.0  # times the gradients beside it
_OVER_EARLY = (
    2.0  # times those of the first fifth: late, small gradients vary by more than spikes do
)
_AGAIN = 3  # spikes of a run
_GROWN = 10.0  # times, from the last steps of a sequence to the first
_FEWEST_NORMS = 20
_BESIDE = 5  # measured steps on either side
_SWING = 1.5  # standard errors of the validation loss
_FEWEST_EPOCHS = 8
_WAITING = 0.25  # share of an epoch's time


def exploding_gradient(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Now and then the gradient is ten and more times as long as usual, and one step undoes many.

    Symptom: spikes of the gradient's norm again and again, the loss leaps with them; at worst it
        becomes not-a-number.
    Mechanism: back-propagation multiplies by each layer's (or step's) weights; where these products
        exceed 1 they grow exponentially with depth or time, and the loss has walls.
    Threshold: in at least half of the runs: at least 3 measured steps whose gradient is more than 10
        times the median of the 10 measured beside it and more than 2 times the median of the first
        fifth, or the loss became not-a-number after such a step.
    Source: Pascanu, Mikolov and Bengio 2013, ICML. Measured beside each step, since the gradient of a
        healthy run falls by as much while it learns
    """
    folds = [run for run in folds_of(runs) if np.isfinite(_norms(run)).sum() >= _FEWEST_NORMS]
    if not folds:
        return NotAssessed(
            "exploding_gradient",
            f"the gradient's norm (grad_norm) of at least {_FEWEST_NORMS} steps",
        )
    spikes = [_spikes(run) for run in folds]
    flags = [
        len(found) >= _AGAIN or (run.status == "failed" and len(found) > 0)
        for run, found in zip(folds, spikes, strict=True)
    ]
    if share(flags) < 0.5:
        return None
    worst = median(float(np.max(found)) for found in spikes if len(found))
    usual = median(float(np.nanmedian(_norms(run))) for run in folds)
    grown = median(ratio for run in folds if (ratio := far_over_near(run)) is not None)
    evidence = rounded(
        {
            "runs_exploding": sum(flags),
            "runs": len(folds),
            "spikes": median(len(found) for found in spikes),
            "steps_measured": median(int(np.isfinite(_norms(run)).sum()) for run in folds),
            "times_the_steps_beside": worst,
            "usual_norm": usual,
            "norm_p90": median(float(np.nanpercentile(_norms(run), 90)) for run in folds),
            **({"gradient_far_over_near": grown} if grown > 1 else {}),
        }
    )
    sentence = (
        f"In {sum(flags)} of {len(folds)} runs the gradient leapt again and again, up to "
        f"{worst:.3g} times that of the steps beside it (usual norm {usual:.2g})."
    )
    if grown > _GROWN:
        sentence += f" Back through time it grows to {grown:.2g} times its size."
    level = confidence(folds, sum(flags), strong=median(len(f) for f in spikes) >= 2 * _AGAIN)
    settings = ("train.clip_norm", "optim.lr", "model.norm", "model.init")
    return Finding("exploding_gradient", level, evidence, sentence, settings)


def oscillating(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The loss swings from epoch to epoch, so that what is kept is a matter of the last epoch's luck.

    Symptom: late in training the validation loss goes up and down by more than its examples explain.
    Mechanism: steps of a constant size jump from side to side of a valley; their noise falls with
        the learning rate and with the number of examples a step.
    Threshold: in at least half of the runs, over the second half of the epochs (8 at least): the
        spread of the validation loss about its trend (1.48 times the median size of its second
        differences, divided by the root of 6) is above 1.5 standard errors of that loss.
    Source: Bottou, Curtis and Nocedal 2018, SIAM Review 60, section 4 (the noise ball of a fixed
        step); second differences as in Gasser, Sroka and Jennen-Steinmetz 1986, Biometrika 73
    """
    folds = [run for run in folds_of(runs) if _error(run) is not None]
    if not folds:
        return NotAssessed(
            "oscillating",
            f"the validation loss of at least {2 * _FEWEST_EPOCHS} epochs, and of its examples",
        )
    swings, errors = [_spread(_late(run)) for run in folds], [_error(run) or 0.0 for run in folds]
    flags = [swing > _SWING * error for swing, error in zip(swings, errors, strict=True)]
    if share(flags) < 0.5:
        return None
    swing, error = median(swings), median(errors)
    ratio = swing / error if error > 0 else float("inf")
    evidence = rounded(
        {
            "runs_oscillating": sum(flags),
            "runs": len(folds),
            "swing": swing,
            "standard_error": error,
            "swing_over_error": ratio,
        }
    )
    sentence = (
        f"In the second half of the epochs the validation loss swings by {swing:.2g} about its trend, "
        f"{ratio:.2g} times the standard error of its examples ({error:.2g})."
    )
    level = confidence(folds, sum(flags), strong=ratio > 2 * _SWING)
    settings = ("schedule.name", "optim.lr", "train.batch_size", "train.ema")
    return Finding("oscillating", level, evidence, sentence, settings)


def slow_pipeline(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Training waits for its data.

    Symptom: a good part of each epoch passes while no step is computed.
    Mechanism: reading, decoding or converting an example takes longer than learning from it.
    Threshold: in at least half of the runs more than 25 % of the time of an epoch, in the median of
        the epochs after the first, which may fill caches.
    Source: Mohan et al. 2021, VLDB 14 (data stalls)
    """
    folds = [run for run in folds_of(runs) if len(_waiting(run))]
    if not folds:
        return NotAssessed(
            "slow_pipeline", "the share of time waiting for data (waiting), by epoch"
        )
    shares = [median(_waiting(run)) for run in folds]
    flags = [value > _WAITING for value in shares]
    if share(flags) < 0.5:
        return None
    evidence = rounded({"runs_waiting": sum(flags), "runs": len(folds), "waiting": median(shares)})
    sentence = f"{median(shares):.0%} of the time of an epoch passes while waiting for data."
    level = confidence(folds, sum(flags), strong=median(shares) > 2 * _WAITING)
    return Finding("slow_pipeline", level, evidence, sentence, ("train.batch_size",))


def _norms(run: Run) -> np.ndarray:
    return step_series(run, "grad_norm")


def _spikes(run: Run) -> np.ndarray:
    """How many times the gradients beside it each leap is."""
    norms = _norms(run)
    norms = norms[np.isfinite(norms)]
    early = float(np.median(norms[: max(_AGAIN, len(norms) // 5)]))
    padded = np.pad(norms, _BESIDE, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _BESIDE + 1).copy()
    windows[:, _BESIDE] = np.nan
    beside = np.nanmedian(windows, axis=1)
    with np.errstate(over="ignore"):
        ratio = norms / np.maximum(beside, np.finfo(float).tiny)
    return ratio[(ratio > _SPIKE) & (norms > _OVER_EARLY * early)]


def _late(run: Run) -> np.ndarray | None:
    """[epoch] the validation loss of the second half, where it is long enough."""
    losses = epoch_series(run, "validation")
    late = losses[len(losses) // 2 :]
    return late if np.isfinite(late).sum() >= _FEWEST_EPOCHS else None


def _spread(values: np.ndarray | None) -> float:
    """Standard deviation about a smooth trend, from second differences."""
    assert values is not None
    bends = np.diff(values[np.isfinite(values)], 2)
    return float(1.4826 * np.median(np.abs(bends)) / np.sqrt(6))


def _error(run: Run) -> float | None:
    """Standard error of the late validation loss.

    From the examples of that part, or of another held-out one, as a share of their mean: they were
    predicted by the weights that were kept, which need not be the last ones.
    """
    part = run.predictions.get("validation") or run.studied
    if part is None or len(part.loss) < 2:
        return None
    loss, late = np.asarray(part.loss, dtype=float), _late(run)
    if late is None or not loss.mean() > 0:
        return None
    return float(loss.std(ddof=1) / np.sqrt(len(loss)) / loss.mean() * np.nanmedian(np.abs(late)))


def _waiting(run: Run) -> list[float]:
    """The share of each epoch's time, the first left out where there are others."""
    known = [float(row["waiting"]) for row in run.epochs if row.get("waiting") is not None]
    return known[1:] or known
