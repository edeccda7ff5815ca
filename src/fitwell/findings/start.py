"""How it starts: weights from which nothing can be learned, and weights that no gradient reaches."""

import math
from collections.abc import Sequence

import numpy as np

from fitwell.findings.reading import (
    FITTED,
    confidence,
    evidence_of,
    folds_of,
    median,
    rounded,
    share,
)
from fitwell.findings.reference import LINEAR, short_of_reference
from fitwell.record import Finding, NotAssessed, Row, Run

_TWINS = 0.5  # of a layer's units
_SHRUNK = 1e-3  # signal at the last layer over that at the second; grown: the inverse
_FEWEST_STEPS = 2  # measured
_FEWEST_IDLE, _IDLE = 10, 0.8  # of the passes in training
_FIRST = 2.0  # times log K
_SURE = 5.0  # likewise: beyond doubt
_LINEAR_FIT = 0.25  # of one batch, by a single linear layer


def bad_init(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The weights that it starts from let no signal through, or make units each other's copies.

    Symptom: the loss stays where it is; units of a layer have the same weights; or what reaches the
        last layer is a thousandth, or a thousand times, of what left the first.
    Mechanism: units with equal weights and equal gradients stay equal for ever: a layer of them is one
        unit. Weights that are too small or too large by a factor a layer are so by its power of depth.
    Threshold: in at least half of the runs, at the first step: half of the units of a layer before the
        last have the weights and gradients of another unit; or the root mean square of what enters
        the last layer is below 1e-3 or above 1e3 times that of what enters the second; or, of a loop that
        was watched, the first cross-entropy is twice log K and at least 1 above it (K classes; a guess
        below five times).
    Source: Glorot and Bengio 2010, AISTATS; He et al. 2015, ICCV; Mishkin and Matas 2016, ICLR
    """
    folds = [run for run in folds_of(runs) if _first_rows(run)]
    if not folds:
        return NotAssessed("bad_init", "probe rows of the first step (input_rms, twins)")
    signs = [_bad_start(run) or _first_loss(run) for run in folds]
    flags = [sign is not None for sign in signs]
    if share(flags) < 0.5:
        return None
    chosen = [sign for sign in signs if sign is not None]
    symmetric = [sign for sign in chosen if "layer" in sign]
    facts = symmetric[0] if symmetric else chosen[0]
    first = facts.get("first_loss")
    strong = first is None or float(first) > _SURE * float(facts["log_classes"])
    evidence = rounded({"runs_badly_started": sum(flags), "runs": len(folds), **facts})
    if symmetric:
        sentence = (
            f"{facts['twins']:.0%} of the units of {facts['layer']} start with the weights and "
            "gradients of another unit, so that no step can tell them apart."
        )
    elif "first_loss" in facts:
        sentence = (
            f"The first loss is {facts['first_loss']:.3g}; to know nothing of {facts['classes']} classes "
            f"costs {facts['log_classes']:.3g}: the weights start sure of what is wrong."
        )
    else:
        ratio = float(facts["last_over_second"])
        sentence = (
            f"What enters the last layer is {ratio:.1e} times what enters the second: each layer "
            f"{'weakens' if ratio < 1 else 'amplifies'} the signal."
        )
    settings = ("model.init", "model.norm", "model.activation")
    level = confidence(folds, sum(flags), strong=strong)
    return Finding("bad_init", level, evidence, sentence, settings)


def cannot_fit_one_batch(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The network cannot learn a single batch by heart.

    Symptom: trained on one batch alone, again and again, it still gets many of its examples wrong.
    Mechanism: what it computes cannot tell them apart, or no gradient tells it how: too few units, a
        layer that cuts the signal off, outputs and loss that do not belong together, targets that
        contradict each other.
    Threshold: at the best of four learning rates the fit stays below 0.9 (accuracy over what always
        saying the same gives, R squared, or map50) in at least two thirds of the seeds, three of them. A
        single linear layer that learns a quarter of its batch does what it can: see underfitting.
    Source: Karpathy 2019, A recipe for training neural networks ("overfit one batch")
    """
    rows = evidence_of(runs, "one_batch")
    if not rows:
        short = short_of_reference(runs)
        if not isinstance(short, str) and not short.clear:
            return None  # who fits all of the training part fits a batch of it
        return NotAssessed("cannot_fit_one_batch", "a training on one batch (experiment one_batch)")
    seeds = sorted({row["seed"] for row in rows})
    best = [max((r for r in rows if r["seed"] == s), key=lambda r: r["fit"]) for s in seeds]
    flags = [row["fit"] < FITTED for row in best]
    if share(flags) < 2 / 3:
        return None
    one_layer = [
        r["layers"] == 1 and r["deviation"] <= LINEAR for r in evidence_of(runs, "linearity")
    ]
    if one_layer and all(one_layer) and median(row["fit"] for row in best) >= _LINEAR_FIT:
        return None  # a batch of more rows than inputs is beyond any weights of it
    evidence = rounded(
        {
            "runs": len(folds_of(runs)),
            "seeds_unfitted": sum(flags),
            "seeds": len(seeds),
            "fit": median(row["fit"] for row in best),
            "loss_first": median(row["first"] for row in best),
            "loss_last": median(row["last"] for row in best),
            "lr_tried": sorted({row["lr"] for row in rows}),
            "steps": max(row["steps"] for row in rows),
        }
    )
    sentence = (
        f"Trained on one batch alone for up to {evidence['steps']} steps it reaches a fit of "
        f"{evidence['fit']:.2g} of 1 at the best of {len(evidence['lr_tried'])} learning rates."
    )
    strong = len(seeds) >= 3 and all(flags)
    level = "medium" if strong or len(seeds) >= 3 else "low"
    if strong and len(folds_of(runs)) >= 3:
        level = "high"
    settings = ("model.width", "model.init", "model.activation", "loss.name")
    return Finding("cannot_fit_one_batch", level, evidence, sentence, settings)


def no_gradient(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """A weight that is to be trained never gets a gradient, or never moves.

    Symptom: a layer ends with the weights that it began with.
    Mechanism: its output does not reach the loss, or only through `.data`, `.detach()`, `argmax` or
        another piece of code that gradients do not pass; or the optimizer does not have it.
    Threshold: in at least half of the runs, at every measured step: no
        gradient or one of zeros, or an update of nothing, in the same layer. Of a watched loop: the
        optimizer made no step, or lacks a parameter.
    Source: the documentation of torch.autograd, "Locally disabling gradient computation"
    """
    if (found := _outside(runs)) is not None:
        return found
    folds = [run for run in folds_of(runs) if len(_measured(run)) >= _FEWEST_STEPS]
    if not folds:
        return NotAssessed("no_gradient", f"probe rows of at least {_FEWEST_STEPS} steps")
    stuck = [_stuck(run) for run in folds]
    flags = [bool(layers) for layers in stuck]
    if share(flags) < 0.5:
        return None
    layers = next(found for found in stuck if found)
    steps = int(median(len(_measured(run)) for run in folds))
    evidence = rounded(
        {
            "runs_stuck": sum(flags),
            "runs": len(folds),
            "layers": list(layers),
            "why": sorted(set(layers.values())),
            "steps": steps,
        }
    )
    named = "; ".join(f"{layer}: {why}" for layer, why in list(layers.items())[:3])
    more = f" and {len(layers) - 3} more layers" if len(layers) > 3 else ""
    sentence = f"Over {steps} measured steps {named}{more}."
    settings = tuple(list(layers)[:5])
    return Finding("no_gradient", confidence(folds, sum(flags)), evidence, sentence, settings)


def _outside(runs: Sequence[Run]) -> Finding | None:
    """Of loops that were watched: an optimizer that makes no step, or lacks parameters."""
    rows = evidence_of(runs, "loop")
    idle = [row for row in rows if row.get("updates") == 0 and row["losses"] >= _FEWEST_STEPS]
    missing = sorted({name for row in rows for name in row.get("missing", ())})
    if idle:
        evidence = {"runs": len(rows), "losses": idle[0]["losses"], "updates": 0}
        sentence = (
            f"{idle[0]['losses']} losses were told, and the optimizer made no step: optimizer.step() is "
            "never called."
        )
    elif missing:
        evidence = {"runs": len(rows), "parameters": missing}
        named = ", ".join(missing[:3]) + (
            f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        )
        sentence = f"The optimizer does not have {named}, which will never move."
    elif rows and all(_mostly_idle(row) for row in rows):
        used, idle = int(rows[0]["passes_used"]), int(rows[0]["passes_idle"])
        evidence = {"runs": len(rows), "passes_used": used, "passes_idle": idle}
        sentence = (
            f"Of {used + idle} training passes that were looked at {idle} got no gradient: backward() and "
            "step() stand outside the loop over the batches, or a validation runs in training mode with "
            "gradients."
        )
    else:
        return None
    level = confidence(folds_of(runs), len(rows))
    return Finding("no_gradient", level, evidence, sentence, tuple(missing[:5]))


def _mostly_idle(row: Row) -> bool:
    used, idle = row.get("passes_used") or 0, row.get("passes_idle") or 0
    return idle >= _FEWEST_IDLE and idle >= _IDLE * (used + idle)


def _first_rows(run: Run) -> list[Row]:
    rows = [row for row in run.probes if row.get("kind") == "step" and row.get("step") == 0]
    rows = [row for row in rows if "input_rms" in row or "twins" in row]
    return sorted(rows, key=lambda row: row.get("index", 0))


def _bad_start(run: Run) -> dict[str, float | str] | None:
    rows = _first_rows(run)
    # The last layer may start from zeros: what enters it tells its units apart.
    alike = [row for row in rows[:-1] if (row.get("twins") or 0.0) >= _TWINS]
    if alike:
        worst = max(alike, key=lambda row: row["twins"])
        return {"layer": str(worst.get("layer", "")), "twins": float(worst["twins"])}
    inner = [float(row["input_rms"]) for row in rows[1:] if row.get("input_rms") is not None]
    if len(inner) < 2 or not inner[0] > 0:
        return None
    ratio = inner[-1] / inner[0]
    return None if _SHRUNK <= ratio <= 1 / _SHRUNK else {"last_over_second": ratio}


def _first_loss(run: Run) -> dict[str, float | str] | None:
    """The first loss of classes, where it is far above that of knowing nothing."""
    for row in evidence_of([run], "first_loss"):
        usual = math.log(row["classes"])
        if row["loss"] > max(_FIRST * usual, usual + 1):
            return {
                "first_loss": row["loss"],
                "classes": row["classes"],
                "log_classes": usual,
            }
    return None


def _measured(run: Run) -> set[int]:
    return {int(row.get("step", 0)) for row in run.probes if row.get("kind") == "step"}


def _stuck(run: Run) -> dict[str, str]:
    """layer -> why it does not learn; nothing of a run whose numbers broke."""
    if run.status == "failed":
        return {}
    layers: dict[str, list[Row]] = {}
    for row in sorted(run.probes, key=lambda r: r.get("index", 0)):
        if row.get("kind") == "step" and "grad_rms" in row:
            layers.setdefault(str(row.get("layer", "")), []).append(row)
    found = {}
    for layer, rows in layers.items():
        if len(rows) < _FEWEST_STEPS:
            continue
        gradients = [row["grad_rms"] for row in rows]
        # Zeros that were never moved have no size to measure the update by.
        still = [
            row.get("update_ratio") == 0
            or (row.get("update_ratio") is None and row.get("weight_rms") == 0)
            for row in rows
        ]
        if all(g is None for g in gradients):
            found[layer] = "no gradient"
        elif not np.any([g for g in gradients if g is not None]):
            found[layer] = "a gradient of zeros"
        elif all(still):
            found[layer] = "a gradient, but no update"
    return found
