"""What flows through the network: gradients that vanish, units that died or saturated."""

from collections.abc import Sequence

import numpy as np

from fitwell.findings.reading import (
    COLLAPSED,
    by_layer,
    confidence,
    folds_of,
    is_fitted,
    layer_medians,
    mean_interval,
    median,
    rounded,
    share,
    weights_left,
)
from fitwell.findings.through_time import is_measured, vanishing_through_time
from fitwell.record import Finding, NotAssessed, Row, Run

_VANISHED = 0.02  # first layer's gradient over the last's; healthy runs: 0.15 and more
_FAINT = 1e-3  # likewise, where an optimizer scales every step alike
_LOSS_LEFT = 0.5  # of the first steps' loss
_SMALL_UPDATE = 1e-3
_DEAD = 0.4  # healthy runs on Fashion-MNIST end with up to 0.3 in a layer
_GROWN = 0.1
_ALL_DEAD = 0.9
_SATURATED = 0.25
_FEW_ROWS = 30  # fewer cannot tell a dead unit from a rare one: 3 / 30 = 10 % (rule of three)
CAN_DIE = frozenset({"relu", "relu6", "threshold", "hardswish"})
BOUNDED = frozenset({"sigmoid", "tanh", "hardsigmoid", "hardtanh", "softsign", "logsigmoid"})


def vanishing_gradient(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The gradient shrinks on its way to the first layers, or to the first steps, which hardly count.

    Symptom: the first layers' gradient is a small fraction of the last layer's, and their weights
        stay where they were drawn, while the last layer moves. Of a recurrent network: what it says is
        the same whatever the order of the steps.
    Mechanism: back-propagation multiplies by each layer's weights and the activation's derivative;
        sigmoid's is at most 1/4, so every layer shrinks the gradient; so does every step.
    Threshold: in at least half of the runs: RMS gradient of the first layer below 2 % of the last
        one's, falling towards the input (slope of its logarithm over depth above 0, with 95 %
        confidence over the sampled steps), and the first layer's update below 1e-3 of its norm and
        below 0.3 of the last layer's; or, since adaptive optimizers make long steps of faint gradients,
        below 0.1 % of the last one's where the loss has not halved. Not where a penalty has taken the
        weights away. Through time, in at least half of the runs: the gradient with respect to the furthest
        quarter of the steps (median) below 1 % of the largest of the last quarter (experiment
        "through_time"), where new examples still cost half of the first loss and more, and with their
        steps in any order (experiment "shuffled_order") less than 0.1 of it more, with 95 % confidence;
        or where the fit is short of the reference models (as for underfitting); not where learning had
        not ended (as for stopped_too_early). Of language only the former, with 0.01 for 0.1, and where the
        gradient is down to 1 % within 10 tokens. Of low confidence where no reference model is better than
        trivial.
    Source: Hochreiter 1991; Glorot and Bengio 2010, AISTATS; Pascanu, Mikolov and Bengio 2013, ICML
        (through time); 2 % calibrated on digits, Fashion-MNIST and small tables, where healthy runs lie
        above 15 %, sick ones below 0.4 %
    """
    deep = _through_depth(runs)
    if isinstance(deep, Finding):
        return deep
    found = vanishing_through_time(runs)
    return found if found or is_measured(runs) else deep


def _through_depth(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    folds = [run for run in folds_of(runs) if len(by_layer(run, "step", "grad_rms")) >= 3]
    if not folds:
        known = [run for run in folds_of(runs) if by_layer(run, "step", "grad_rms")]
        if known:
            return None  # one or two layers: nowhere to vanish
        return NotAssessed("vanishing_gradient", "probe rows of steps (grad_rms of each layer)")
    flags, ratios, firsts, lasts, slopes = [], [], [], [], []
    for run in folds:
        gradients = list(layer_medians(run, "grad_rms", hot_only=False).values())
        updates = list(layer_medians(run, "update_ratio").values())
        ratio = gradients[0] / gradients[-1] if gradients[-1] > 0 else float("nan")
        first, last = (updates[0], updates[-1]) if updates else (float("nan"), float("nan"))
        slope = _slope_by_depth(run)
        low, _ = mean_interval(slope)
        still = first < _SMALL_UPDATE and first < 0.3 * last
        faint = ratio < _FAINT and _loss_left(run) > _LOSS_LEFT
        # Where a penalty has taken the weights away, nothing is left to pass a gradient on.
        gone = weights_left(run) < COLLAPSED
        flags.append(bool(ratio < _VANISHED and low > 0 and (still or faint) and not gone))
        ratios.append(ratio)
        firsts.append(first)
        lasts.append(last)
        slopes.append(median(slope))
    if share(flags) < 0.5 or is_fitted(runs):
        return None
    layers = list(layer_medians(folds[0], "grad_rms", hot_only=False))
    evidence = rounded(
        {
            "runs_vanishing": sum(flags),
            "runs": len(folds),
            "first_layer": layers[0],
            "last_layer": layers[-1],
            "gradient_first_over_last": median(ratios),
            "powers_of_ten_a_layer": median(slopes),
            "update_first": median(firsts),
            "update_last": median(lasts),
        }
    )
    sentence = (
        f"The gradient of {layers[0]} is {median(ratios):.1e} of {layers[-1]}'s, and a step moves "
        f"it by {median(firsts):.1e} of its size ({layers[-1]}: {median(lasts):.1e})."
    )
    settings = ("model.activation", "model.init", "model.norm")
    level = confidence(folds, sum(flags), strong=median(ratios) < _VANISHED / 2)
    return Finding("vanishing_gradient", level, evidence, sentence, settings)


def dying_relu(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Units of a ReLU layer fire on no training example, and get no gradient to come back.

    Symptom: a growing share of a layer's units gives zero for every training example.
    Mechanism: one long step makes the bias so negative that the unit never fires; its gradient is
        then exactly zero for ever.
    Threshold: in at least half of the runs: more than 40 % of a layer's units inactive on all of at
        least 30 rows (each then fires on under 10 % of the examples, with 95 % confidence: rule of
        three), and 10 points more than at the first measurement; or 90 % whenever.
    Source: Lu et al. 2020, Dying ReLU and initialization; 40 % and growth (AutoTrainer: 70 %)
        calibrated: fresh LeNets have up to 36 % and lose them while they learn, healthy ones on
        Fashion-MNIST end with up to 30 %
    """
    folds = [run for run in folds_of(runs) if _activations(run, CAN_DIE)]
    if not folds:
        return _no_activations("dying_relu", runs)
    worst = [_worst(run, CAN_DIE, "dead") for run in folds]
    if all(rows < _FEW_ROWS for *_, rows in worst):
        return NotAssessed("dying_relu", f"activations on at least {_FEW_ROWS} training rows")
    flags = [
        rows >= _FEW_ROWS and ((end > _DEAD and end - start >= _GROWN) or end >= _ALL_DEAD)
        for _, start, end, rows in worst
    ]
    if share(flags) < 0.5 or is_fitted(runs):
        return None
    chosen = [entry for entry, flag in zip(worst, flags, strict=True) if flag]
    layers = sorted({layer for layer, *_ in chosen})
    start, end = median(s for _, s, _, _ in chosen), median(e for _, _, e, _ in chosen)
    rows = int(median(r for *_, r in chosen))
    evidence = rounded(
        {
            "runs_dying": sum(flags),
            "runs": len(folds),
            "layers": layers,
            "dead_first": start,
            "dead_last": end,
            "rows": rows,
            "active_on_at_most": 3 / rows,
        }
    )
    sentence = (
        f"{end:.0%} of the units of {', '.join(layers)} fire on none of {rows} training examples "
        f"(at first {start:.0%})."
    )
    level = confidence(folds, sum(flags), strong=end >= 0.5 and rows >= 100)
    settings = ("optim.lr", "model.activation", "model.init")
    return Finding("dying_relu", level, evidence, sentence, settings)


def saturated_activation(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Units of a bounded activation sit on its flat ends, where nothing is learned.

    Symptom: most outputs of a sigmoid or tanh layer are near its bounds for every example.
    Mechanism: far from zero the derivative is nearly 0, and the gradient is multiplied by it.
    Threshold: in at least half of the runs: more than 25 % of a layer's units have a mean
        derivative below 5 % of its maximum, over the training sample.
    Source: Glorot and Bengio 2010, AISTATS, section 3; 25 % calibrated on digits, where healthy
        tanh runs have none
    """
    folds = [run for run in folds_of(runs) if _activations(run, BOUNDED)]
    if not folds:
        return _no_activations("saturated_activation", runs)
    worst = [_worst(run, BOUNDED, "saturated", grown=False) for run in folds]
    flags = [end > _SATURATED for _, _, end, _ in worst]
    if share(flags) < 0.5 or is_fitted(runs):
        return None
    chosen = [entry for entry, flag in zip(worst, flags, strict=True) if flag]
    layers = sorted({layer for layer, *_ in chosen})
    end = median(e for _, _, e, _ in chosen)
    evidence = rounded(
        {"runs_saturated": sum(flags), "runs": len(folds), "layers": layers, "saturated": end}
    )
    sentence = (
        f"{end:.0%} of the units of {', '.join(layers)} are saturated: their derivative is on "
        "average below 5 % of what it can be."
    )
    level = confidence(folds, sum(flags), strong=end >= 0.5)
    settings = ("model.activation", "model.norm", "model.init", "optim.lr")
    return Finding("saturated_activation", level, evidence, sentence, settings)


def _slope_by_depth(run: Run) -> list[float]:
    """A sampled step: powers of ten that the gradient grows by a layer towards the output."""
    steps: dict[int, list[tuple[int, float]]] = {}
    for depth, values in enumerate(by_layer(run, "step", "grad_rms").values()):
        for step, value in values:
            if value > 0:
                steps.setdefault(step, []).append((depth, np.log10(value)))
    return [
        float(np.polyfit([d for d, _ in points], [g for _, g in points], 1)[0])
        for points in steps.values()
        if len({depth for depth, _ in points}) >= 3
    ]


def _loss_left(run: Run) -> float:
    """The loss of the last tenth of the steps over that of the first; nan where it is not positive."""
    losses = np.array([row["loss"] for row in run.steps if row.get("loss") is not None])
    tenth = max(1, len(losses) // 10)
    if not len(losses) or not (losses[:tenth] > 0).all():
        return float("nan")
    return float(np.median(losses[-tenth:]) / np.median(losses[:tenth]))


def _activations(run: Run, kinds: frozenset[str]) -> list[Row]:
    return [
        row
        for row in run.probes
        if row.get("kind") == "epoch"
        and str(row.get("activation", "")).replace("_", "") in kinds
        and not row.get("head")  # at the end units are to be sure
    ]


def _worst(
    run: Run, kinds: frozenset[str], key: str, *, grown: bool = True
) -> tuple[str, float, float, int]:
    """(layer, share at first, share at last, rows) of the layer that is worst off."""
    layers: dict[str, list[Row]] = {}
    for row in sorted(_activations(run, kinds), key=lambda r: r.get("epoch", 0)):
        if row.get(key) is not None:
            layers.setdefault(str(row.get("layer", "")), []).append(row)
    entries = [
        (layer, float(rows[0][key]), float(rows[-1][key]), int(rows[-1].get("rows", 0)))
        for layer, rows in layers.items()
    ]

    def badness(entry: tuple[str, float, float, int]) -> tuple[bool, float]:
        _, start, end, _ = entry
        flagged = end >= _ALL_DEAD or (end > _DEAD and end - start >= _GROWN)
        return (flagged if grown else False, end)

    return max(entries, key=badness, default=("", 0.0, 0.0, 0))


def _no_activations(name: str, runs: Sequence[Run]) -> NotAssessed | None:
    """Nothing to say of a network without such activations; not assessed where none were probed."""
    # Probed from its first steps, a network without rows after its first epoch has no activations.
    measured = any(run.probes and run.epochs for run in folds_of(runs))
    return None if measured else NotAssessed(name, "probe rows of activations")
