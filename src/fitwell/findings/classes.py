"""What the classes do to the network: a few that are drowned by the many."""

from collections.abc import Sequence

import numpy as np

from fitwell.findings.reading import (
    confidence,
    evidence_of,
    first_repeat,
    folds_of,
    median,
    rounded,
)
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
        below that of the other classes together, with 95 % confidence (exact intervals, Bonferroni
        over the rare classes) and by more than 0.1, and which is predicted for less than 80 % as many
        examples as have it. Of a loop that is watched the kept training examples are read, as they end, and
        classes with at least 3 of them. Of a detector the held-out boxes are counted, and those found with
        a score of 0.25 and more. The ratio of the classes alone is no finding.
    Source: He and Garcia 2009, IEEE TKDE 21; Clopper and Pearson 1934, Biometrika 26
    """
    folds = of_classes(runs, "train")
    if not folds:
        return _of_boxes(runs)
    parts = parts_of(folds, "train")
    target = np.concatenate([np.asarray(part.target) for part in parts])
    prediction = np.concatenate([np.asarray(part.prediction) for part in parts])
    if len(target) < _FEWEST:
        return NotAssessed("class_imbalance", f"at least {_FEWEST} held-out examples")
    classes, counts = np.unique(target, return_counts=True)
    found = [int((prediction[target == code] == code).sum()) for code in classes]
    said = [int((prediction == code).sum()) for code in classes]
    held = folds[0].studied is not None
    overlooked = _overlooked(counts, found, said, 1 if held else _FEWEST_KEPT)
    if not overlooked:
        return None
    recall, worst = overlooked[0]
    code, count = classes[worst], int(counts[worst])
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
            "worst_class_predicted": said[worst],
            "worst_class_recall": recall,
            "accuracy": usual,
        }
    )
    sentence = (
        f"Of {count} {'held-out' if held else 'training'} examples of {name} {recall:.0%} are found, "
        f"of all {usual:.0%}; it is predicted {said[worst]} times."
    )
    level = confidence(folds, len(folds), strong=recall < usual - 2 * _SHORT)
    return Finding(
        "class_imbalance", level, evidence, sentence, ("loss.class_weights", "loss.name")
    )


def _overlooked(
    counts: np.ndarray, found: Sequence[int], said: Sequence[int], least: int
) -> list[tuple[float, int]]:
    """(recall, place) of the rare classes that are overlooked, the worst first.

    Args:
        counts: [class] how many there are.
        found: [class] how many of them are found.
        said: [class] how often it is said.
        least: so many a rare class needs.
    """
    total, right = int(counts.sum()), sum(found)
    rare = np.flatnonzero((counts < _RARE * total / max(1, len(counts))) & (counts >= least))
    overlooked = []
    for place in rare.tolist():
        count = int(counts[place])
        _, high = exact(found[place], count, 0.05 / len(rare))
        low, _ = exact(right - found[place], total - count, 0.05 / len(rare))
        recall, usual = found[place] / count, (right - found[place]) / (total - count)
        if high < low and recall < usual - _SHORT and said[place] < _UNDERSAID * count:
            overlooked.append((recall, place))
    return sorted(overlooked, key=lambda entry: entry[0])


def _of_boxes(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The same of annotated boxes: those found with a score of 0.25 and more."""
    folds = folds_of(runs)
    rows = [row for row in evidence_of(folds and first_repeat(folds), "boxes") if "classes" in row]
    tables = [row["classes"] for row in rows if all("found" in one for one in row["classes"])]
    if not tables:
        return NotAssessed("class_imbalance", "held-out predictions of classes, or of boxes")
    named = [one["name"] for one in tables[0]]
    boxes, found, said = (
        [sum(table[i][key] for table in tables) for i in range(len(named))]
        for key in ("boxes", "found", "said")
    )
    if sum(boxes) < _FEWEST:
        return NotAssessed("class_imbalance", f"at least {_FEWEST} held-out boxes")
    kept = [i for i, count in enumerate(boxes) if count]
    counts, found, said = (np.array(values)[kept] for values in (boxes, found, said))
    overlooked = _overlooked(counts, found.tolist(), said.tolist(), 1)
    if not overlooked:
        return None
    recall, worst = overlooked[0]
    scores = {i: median(table[i]["map50"] for table in tables) for i in kept}
    usual = float(found.sum() / counts.sum())
    evidence = rounded(
        {
            "runs": len(folds),
            "boxes": int(counts.sum()),
            "classes": len(kept),
            "classes_overlooked": len(overlooked),
            "worst_class": named[kept[worst]],
            "worst_class_boxes": int(counts[worst]),
            "worst_class_found": int(found[worst]),
            "worst_class_said": int(said[worst]),
            "worst_class_recall": recall,
            "worst_class_map50": scores[kept[worst]],
            "recall": usual,
            "map50": float(np.mean(list(scores.values()))),
        }
    )
    sentence = (
        f"Of {counts[worst]:,} held-out boxes of {named[kept[worst]]} {recall:.0%} are found, of all "
        f"{usual:.0%}; it is said {said[worst]:,} times. Its map50 is {evidence['worst_class_map50']}, the "
        f"mean of the classes {evidence['map50']}."
    )
    level = confidence(folds, len(folds), strong=recall < usual - 2 * _SHORT)
    return Finding("class_imbalance", level, evidence, sentence, ("loss.gamma", "train.epochs"))


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


def exact(hits: int, count: int, level: float) -> tuple[float, float]:
    """Clopper and Pearson's interval of a share, both ends at `level` together: right for few, too.

    >>> [round(end, 3) for end in exact(1, 2, 0.05)]
    [0.013, 0.987]
    """
    from scipy import stats

    interval = stats.binomtest(hits, count).proportion_ci(1 - level, "exact")
    return float(interval.low), float(interval.high)


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
