"""What the classes do to the network: a few that are drowned by the many."""

from collections.abc import Sequence

import numpy as np

from fitwell.findings.reading import confidence, first_repeat, folds_of, rounded
from fitwell.record import Finding, NotAssessed, Predictions, Run

_RARE = 0.5  # of an even share of the examples
_FEWEST = 20  # held-out examples
_SHORT = 0.1  # of recall
_UNDERSAID = 0.8  # of its examples
_FEWEST_KEPT = 3  # of a class, where the kept examples of a loop are all that there is


def class_imbalance(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """Rare classes are overlooked because they are rare.

    Symptom: of a rare class few examples are found, and it is predicted less often than it occurs.
    Mechanism: the loss adds up examples, so a class with a hundredth of them has a hundredth of the
        say; where in doubt the network says the frequent one.
    Threshold: a class with less than half of an even share of the held-out examples whose recall is
        more than 0.1 below that of the other classes together, with 95 % confidence (Wilson intervals,
        Bonferroni over the rare classes), and which is predicted for less than 80 % as many examples
        as have it. Of a loop that is watched the kept training examples are read, as they end, and
        classes with at least 3 of them. The ratio of the classes alone is no finding.
    Source: He and Garcia 2009, IEEE TKDE 21; Wilson 1927, JASA 22
    """
    folds = of_classes(runs, "train")
    if not folds:
        return NotAssessed("class_imbalance", "held-out predictions of classes")
    parts = parts_of(folds, "train")
    target = np.concatenate([np.asarray(part.target) for part in parts])
    prediction = np.concatenate([np.asarray(part.prediction) for part in parts])
    if len(target) < _FEWEST:
        return NotAssessed("class_imbalance", f"at least {_FEWEST} held-out examples")
    classes, counts = np.unique(target, return_counts=True)
    held = folds[0].studied is not None
    enough = counts >= (1 if held else _FEWEST_KEPT)
    rare = (counts < _RARE * len(target) / max(1, len(classes))) & enough
    overlooked = []
    for code, count in zip(classes[rare], counts[rare], strict=True):
        own = target == code
        found, said = int((prediction[own] == code).sum()), int((prediction == code).sum())
        others = int((prediction[~own] == target[~own]).sum())
        _, high = wilson(found, int(count), 0.05 / int(rare.sum()))
        low, _ = wilson(others, int((~own).sum()), 0.05 / int(rare.sum()))
        if high < low - _SHORT and said < _UNDERSAID * count:
            overlooked.append((found / int(count), int(count), said, code))
    if not overlooked:
        return None
    recall, count, said, code = min(overlooked, key=lambda entry: entry[0])
    spec = folds[0].spec
    name = spec.classes[int(code)] if spec is not None and spec.classes else str(code)
    usual = float((prediction == target).mean())
    evidence = rounded(
        {
            "runs": len(folds),
            "examples": len(target),
            "classes": len(classes),
            "classes_overlooked": len(overlooked),
            "worst_class": name,
            "worst_class_examples": count,
            "worst_class_predicted": said,
            "worst_class_recall": recall,
            "accuracy": usual,
        }
    )
    sentence = (
        f"Of {count} {'held-out' if held else 'training'} examples of {name} {recall:.0%} are found, "
        f"of all {usual:.0%}; it is predicted {said} times."
    )
    level = confidence(folds, len(folds), strong=recall < usual - 2 * _SHORT)
    return Finding(
        "class_imbalance", level, evidence, sentence, ("loss.class_weights", "loss.name")
    )


def of_classes(runs: Sequence[Run], else_of: str = "") -> list[Run]:
    """The folds whose predictions are classes.

    Args:
        else_of: the part that is read of a watched loop, which has no held-out predictions.
    """
    return [
        run
        for run in folds_of(runs)
        if (run.spec is None or run.spec.task == "classification")
        and (part := _read(run, else_of)) is not None
        and np.asarray(part.target).dtype.kind in "iu"
        and np.ndim(part.target) == 1
    ]


def parts_of(folds: Sequence[Run], else_of: str) -> list[Predictions]:
    """The predictions of folds `of_classes`; further repeats hold the same examples again."""
    return [part for run in first_repeat(folds) if (part := _read(run, else_of)) is not None]


def _read(run: Run, else_of: str) -> Predictions | None:
    return run.studied or run.predictions.get(else_of)


def wilson(hits: int, count: int, level: float) -> tuple[float, float]:
    """Wilson's score interval of a share, both ends at `level` together.

    >>> [round(end, 3) for end in wilson(8, 10, 0.05)]
    [0.49, 0.943]
    """
    from scipy import stats

    z = float(stats.norm.ppf(1 - level / 2))
    share, spread = hits / count, z * z / count
    centre = (share + spread / 2) / (1 + spread)
    reach = z / (1 + spread) * np.sqrt(share * (1 - share) / count + spread / (4 * count))
    return float(centre - reach), float(centre + reach)
