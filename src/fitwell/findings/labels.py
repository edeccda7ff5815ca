"""Labels that the network doubts: on examples it never trained on, and sure of itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fitwell.box_matching import Said, said_of
from fitwell.box_scores import SHOWN
from fitwell.findings.classes import of_classes, parts_of, wilson
from fitwell.findings.reading import confidence, first_repeat, folds_of, rounded
from fitwell.record import Finding, NotAssessed, Run

_FEWEST, _FEWEST_OF_TRAINING = 100, 200  # examples held out, or those of a loop that are kept
_FLOOR = 0.02  # share of wrong ones among the surest quarter
_FLAT = 2.0  # of the second quarter over the first
_MOST = 0.4  # of the labels
_RANKS = 0.01  # of chance, that sure ones are as often wrong
_SMOOTH = 1.0  # examples a class that are added to those with its own label
_UNSTEADY = 0.05  # of the examples
_TINY = 1e-9
_ELSE = "learning"  # of a watched loop
# Of what the wrong labels and the most frequent class leave to be learned; of examples that are trained on
# more is known.
_LEARNED, _LEARNED_OF_TRAINING = 0.5, 0.7


def label_noise(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """A part of the labels is wrong: the list of doubtful examples is worth a look.

    Symptom: however sure the network is of a held-out example, a steady share of them has another
        label than it says. Of a loop that is watched: of its kept examples, on average while it learned.
    Mechanism: wrong labels are no property of the example, so the errors that they make do not become
        fewer where the examples are easy, as a network's own errors do. Wrong labels of training examples
        are contradicted until they are known by heart.
    Threshold: among the quarter of held-out examples of which the network is surest more than 2 % have
        another label, with 95 % confidence (Wilson), and among the next quarter at most twice as many and
        no fewer (beyond what chance explains), of both together at most 40 %. A network that has learned
        less than half of what they and the most frequent class leave to be learned (0.7 of training
        examples) cannot tell. The doubtful examples are those whose label is wrong most likely, by what
        the network says and by which labels stand for which class (confident learning): as many as the
        surer half's share says there are. Of a detector the annotated boxes are read at which it says
        something with a score of 0.25 and more, each box said for the annotated one that it overlaps
        most, by a half; and within the surer half the wrong ones are no less sure (Mann-Whitney, 1 %).
    Source: Northcutt, Jiang and Chuang 2021, JAIR 70 (confident learning); Arpit et al. 2017, ICML, and
        Pleiss et al. 2020, NeurIPS (while it learns)
    """
    folds = [
        run
        for run in of_classes(runs, _ELSE)
        if all(part.probabilities is not None for part in parts_of([run], _ELSE))
    ]
    if not folds:
        return _of_boxes(runs)
    parts = parts_of(folds, _ELSE)
    target = np.concatenate([np.asarray(part.target) for part in parts])
    probability = np.concatenate([np.asarray(part.probabilities) for part in parts])
    keys = np.concatenate([np.asarray(part.keys) for part in parts])
    held = folds[0].studied is not None
    fewest, kind = (_FEWEST, "held-out") if held else (_FEWEST_OF_TRAINING, "training")
    if len(target) < fewest:
        return NotAssessed("label_noise", f"the predictions of at least {fewest} {kind} examples")
    noise = _noise(target, probability, _LEARNED if held else _LEARNED_OF_TRAINING)
    if not isinstance(noise, tuple):
        return noise
    if not held and _worse_at_last(folds):
        return None
    facts, doubtful = noise
    evidence = rounded(
        {
            "runs": len(folds),
            "examples": len(target),
            **facts,
            "keys": [str(key) for key in keys[doubtful]],
        }
    )
    sentence = (
        f"Of the quarter of {len(target)} {'held-out' if held else 'training'} examples that the network "
        f"{'is surest of' if held else 'was surest of while it learned'} "
        f"{facts['wrong_where_surest']:.1%} have another label than it says, of the next quarter "
        f"{facts['wrong_in_the_next_quarter']:.1%}: about {facts['share']:.1%} of all labels may be wrong; "
        f"the {len(doubtful)} most doubtful are listed"
        f"{'' if held else ', by the batches of the first epoch, from 1, and their rows, from 0'}."
    )
    return _told(folds, facts, evidence, sentence, ("loss.label_smoothing", "loss.name"))


def _told(
    folds: Sequence[Run],
    facts: dict[str, Any],
    evidence: dict[str, Any],
    sentence: str,
    settings: tuple[str, ...],
) -> Finding:
    strong = facts["wrong_where_surest_low"] > 2 * _FLOOR
    level = confidence(folds, len(folds), strong=strong)
    return Finding("label_noise", level, evidence, sentence, settings)


def _of_boxes(runs: Sequence[Run]) -> Finding | NotAssessed | None:
    """The same of annotated boxes at which something is said with a score of 0.25 and more."""
    found = said_at_boxes(runs)
    if found is None:
        return NotAssessed("label_noise", "held-out predictions with the probability of each class")
    folds, said, names = found
    shown = np.flatnonzero(said.scores.max(1, initial=0) >= SHOWN)
    if len(shown) < _FEWEST:
        return NotAssessed(
            "label_noise", f"at least {_FEWEST} held-out boxes where something is said"
        )
    target, scores = said.target[shown], said.scores[shown]
    noise = _noise(target, scores, _LEARNED)
    if not isinstance(noise, tuple):
        return noise
    if fewer_where_sure(scores.argmax(1) != target, scores.max(1)):
        return None
    facts, doubtful = noise
    classes = folds[0].spec.classes  # type: ignore[union-attr]
    evidence = rounded(
        {
            "runs": len(folds),
            "boxes": len(shown),
            **facts,
            "keys": [
                f"{names[shown[i]]}: {classes[target[i]]} ({classes[scores[i].argmax()]}?)"
                for i in doubtful
            ],
        }
    )
    sentence = (
        f"Of the quarter of {len(shown):,} held-out boxes that the network is surest of "
        f"{facts['wrong_where_surest']:.1%} have another class than it says, of the next quarter "
        f"{facts['wrong_in_the_next_quarter']:.1%}: about {facts['share']:.1%} of all may have a wrong "
        f"class; the {len(doubtful)} most doubtful are listed."
    )
    return _told(folds, facts, evidence, sentence, ("data.annotations",))


def said_at_boxes(runs: Sequence[Run]) -> tuple[list[Run], Said, list[str]] | None:
    """The folds of a detector, what they say at the held-out boxes, and the name of each box; None where
    there are none. Further repeats hold the same boxes again."""
    folds = [run for run in folds_of(runs) if run.spec is not None and run.spec.task == "detection"]
    folds = [run for run in folds if run.studied is not None and run.studied.target.ndim == 3]
    if not folds:
        return None
    parts = [part for run in first_repeat(folds) if (part := run.studied) is not None]
    said = said_of(parts, len(folds[0].spec.classes))  # type: ignore[union-attr]
    keys = np.concatenate([part.keys for part in parts])
    pairs = zip(keys[said.picture], said.box + 1, strict=True)
    return folds, said, [f"{key} box {number}" for key, number in pairs]


def steady(wrong: np.ndarray, sure: np.ndarray) -> dict[str, float] | None:
    """Shares of what is wrong, where they are as large where the network is surest as elsewhere: then it is
    the annotations that are wrong; else None.

    Args:
        wrong: [example] whether it is annotated otherwise than the network says.
        sure: [example] how sure the network is.
    """
    first, second = np.array_split(wrong[np.argsort(-sure, kind="stable")], 4)[:2]
    low, _ = wilson(int(first.sum()), len(first), 0.1)
    beyond, reach = wilson(int(second.sum()), len(second), 0.1)
    share = float(np.concatenate([first, second]).mean())
    if not (low > _FLOOR and beyond <= _FLAT * first.mean() and low <= reach) or share > _MOST:
        return None
    return {
        "wrong_where_surest": float(first.mean()),
        "wrong_where_surest_low": low,
        "wrong_in_the_next_quarter": float(second.mean()),
        "share": share,
    }


def fewer_where_sure(wrong: np.ndarray, sure: np.ndarray) -> bool:
    """Whether within the surer half what is wrong is less sure than the rest (one-sided Mann-Whitney test
    at 1 %): quarters alone leave this open where a network's errors become fewer slowly."""
    from scipy import stats

    half = np.argsort(-sure, kind="stable")[: len(sure) // 2]
    own, others = sure[half][wrong[half]], sure[half][~wrong[half]]
    if not len(own) or not len(others):
        return False
    return bool(stats.mannwhitneyu(own, others, alternative="less").pvalue < _RANKS)


def _noise(
    target: np.ndarray, probability: np.ndarray, learned: float
) -> tuple[dict[str, Any], np.ndarray] | NotAssessed | None:
    """How many labels may be wrong, and the rows of the doubtful ones; None where the errors are its own.

    Args:
        learned: the least share of what wrong labels and the most frequent class leave to be learned.
    """
    said = probability.argmax(1)
    facts = steady(said != target, probability.max(1))
    if facts is None:
        return None  # it errs by itself
    usual = float(np.bincount(target).max() / len(target))
    if float((said == target).mean()) - usual <= learned * max(0.0, 1 - facts["share"] - usual):
        return NotAssessed("label_noise", "a network that has learned more of these data")
    wrong = max(1, round(facts["share"] * len(target)))
    doubtful = order_of_doubt(target, probability)[:wrong]
    return {**facts, "doubtful": len(doubtful)}, doubtful


def _worse_at_last(loops: Sequence[Run]) -> bool:
    """Whether loops end with fewer of the kept examples right than they had on average while they learned:
    such a training was not steady enough to tell."""
    right = [
        [1 - float(run.predictions[part].wrong.mean()) for part in (_ELSE, "train")]
        for run in loops
        if "train" in run.predictions
    ]
    return any(last < before - _UNSTEADY for before, last in right)


def order_of_doubt(target: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Rows of the examples of which another class is said, those whose label is wrong most likely first.

    How sure the network is of the label is weighed by how often that label stands for the class that it
    says instead: a network that learned from wrong labels says them too.

    Formula: the label y is right with p[y] T[y, y] / sum over j of p[j] T[j, y], where T[j, i] is the share
        of label i among the examples that are class j for sure (p of j at least what that class's own
        examples have on average)
    Source: Northcutt, Jiang and Chuang 2021, JAIR 70 (T, the confident joint)

    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.1, 0.9], [0.05, 0.95]])
    >>> order_of_doubt(np.array([0, 0, 1, 1, 0]), p).tolist()
    [4]
    """
    count = np.bincount(target, minlength=probability.shape[1])
    probability = probability * (count > 0)  # a class without examples claims none
    own = probability[np.arange(len(target)), target]
    usual = np.bincount(target, own, minlength=len(count)) / np.maximum(count, 1)
    sure = np.where((probability >= usual) & (count > 0), probability, -1.0)
    known = sure.max(1) >= 0
    labels = _TINY * np.ones((len(count), len(count))) + np.diag(np.full(len(count), _SMOOTH))
    np.add.at(labels, (sure[known].argmax(1), target[known]), 1.0)
    labels /= labels.sum(1, keepdims=True)
    doubted = np.flatnonzero(probability.argmax(1) != target)
    said, given = probability[doubted], target[doubted]
    joint = said * labels[:, given].T
    right = joint[np.arange(len(given)), given] / np.maximum(joint.sum(1), _TINY)
    return doubted[np.lexsort((own[doubted], right))]
