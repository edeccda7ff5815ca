"""Rules that were sharpened by pairs of scores, and by what few examples leave open."""

from dataclasses import replace

import numpy as np
import pytest
from findings_rows import folds, reference
from test_findings_rules import noisy_labels

from fitwell.findings import RULES
from fitwell.record import Finding, NotAssessed, Predictions, Row, Run


def overfitted(scores: list[float], metric: str = "accuracy") -> list[Run]:
    """Folds that fit their training examples and reach these scores on held-out ones."""
    runs = folds(train=0.99, validation=float(np.mean(scores)), metric=metric)
    for run, score in zip(runs, scores, strict=True):
        run.scores["held_out"] = {metric: score}
        for row in run.epochs:
            row["train"][metric], row["validation"][metric] = 0.99, score
    return runs


def paired(scores: list[float]) -> list[Row]:
    """A simple model's score of each fold."""
    return [{**row, "fold": i} for i, score in enumerate(scores) for row in reference(score)]


def test_folds_that_are_hard_for_both_hide_no_difference() -> None:
    """The scores spread by 0.2, what the simple model is better by hardly at all."""
    own = [0.40, 0.85, 0.55, 0.75, 0.45]
    simple = [score + 0.14 for score in own[:3]]
    runs = overfitted(own)
    runs[0].evidence = paired(simple)
    found = RULES["overfitting"](runs)
    assert isinstance(found, Finding) and found.confidence == "high"
    assert "can be told better" in found.sentence
    assert found.evidence["held_out"] == pytest.approx(0.6)  # of the folds that both have
    assert found.evidence["of_simple_model"] == pytest.approx(0.74)
    # Without the folds that they belong to the same scores say nothing.
    runs[0].evidence = [{k: v for k, v in row.items() if k != "fold"} for row in paired(simple)]
    assert RULES["overfitting"](runs) is None


def test_an_r2_is_of_squares() -> None:
    """0.45 for 0.62 is 1.45 times the squared error, and 1.2 times the error."""
    runs = overfitted([0.45] * 5, "r2")
    runs[0].evidence = reference(0.62, "r2")
    assert isinstance(RULES["overfitting"](runs), Finding)
    runs = overfitted([0.45] * 5)
    runs[0].evidence = reference(0.62)
    assert RULES["overfitting"](runs) is None


def test_a_small_gap_beside_a_better_simple_model_is_no_more_than_a_remark() -> None:
    for score, level in ((0.945, "low"), (0.85, "high")):  # gaps of 0.045 and 0.14
        runs = overfitted([score] * 5)
        runs[0].evidence = reference(0.999)
        found = RULES["overfitting"](runs)
        assert isinstance(found, Finding) and found.confidence == level


def test_the_gap_counts_the_held_out_examples_too() -> None:
    """Of a validation part of 12 examples nobody knows; the 29 that were held out tell."""
    validation = [0.99, 0.99, 0.90, 0.99, 0.83]
    runs = overfitted([0.88] * 5)
    for run, score in zip(runs, validation, strict=True):
        for row in run.epochs:
            row["validation"]["accuracy"] = score
        part = run.predictions["held_out"]
        short = replace(part, index=part.index[:12], loss=part.loss[:12])
        run.predictions = {"validation": short, "held_out": replace(part, index=part.index[:29])}
    runs[0].evidence = reference(0.99)
    assert RULES["overfitting"](runs) is None  # the weights of another epoch were kept
    for run in runs:
        run.best_epoch = len(run.epochs) - 1
    found = RULES["overfitting"](runs)
    assert isinstance(found, Finding)
    mean = np.mean([(12 * (0.99 - v) + 29 * 0.11) / 41 for v in validation])
    gaps = [(12 * (0.99 - v) + 29 * 0.11) / 41 for v in validation]
    assert found.evidence["gap"] == pytest.approx(np.median(gaps), abs=1e-3) and mean > 0.06


def few(errors: list[int], examples: int) -> list[Run]:
    """Folds of so many examples, so many of them wrong."""
    runs = folds()
    for run, wrong in zip(runs, errors, strict=True):
        part = run.predictions["held_out"]
        run.predictions = {"held_out": replace(part, index=np.arange(examples))}
        run.scores["held_out"] = {"accuracy": 1 - wrong / examples}
    return runs


def test_few_examples_that_happen_to_look_alike_cannot_tell() -> None:
    rule = RULES["cannot_tell"]
    alike = rule(few([3, 3, 3, 3, 4], 10))
    assert isinstance(alike, Finding)
    chance = 0.32 * 0.68 / 10
    scores = [0.7, 0.7, 0.7, 0.7, 0.6]
    assert alike.evidence["spread_of_the_folds"] == pytest.approx(
        np.sqrt((np.var(scores, ddof=1) + chance) / 2), rel=0.01
    )
    assert rule(few([300, 300, 300, 300, 310], 1000)) is None


def test_how_sure_it_is_that_folds_cannot_tell() -> None:
    """Their spread may be less than it looks: with 99 % confidence it is high, with 90 % medium."""
    found = {}
    for width in (0.07, 0.12):
        runs = few([0] * 5, 1000)
        for run, place in zip(runs, (-1.0, -1.0, 0.0, 1.0, 1.0), strict=True):
            run.scores["held_out"] = {"accuracy": 0.8 + width * place}
        finding = RULES["cannot_tell"](runs)
        assert isinstance(finding, Finding)
        found[width] = finding.confidence
    assert found == {0.07: "medium", 0.12: "high"}


def test_a_hundred_held_out_labels_are_enough() -> None:
    runs = [noisy_labels(seed, 0.2) for seed in range(5)]
    for count, assessed in ((30, True), (19, False)):  # of each fold
        for run in runs:
            part = run.predictions["held_out"]
            run.predictions["held_out"] = replace(
                part,
                **{  # type: ignore[arg-type]
                    name: getattr(part, name)[:count]
                    for name in ("keys", "index", "target", "prediction", "probabilities", "loss")
                },
            )
        found = RULES["label_noise"](runs)
        assert isinstance(found, NotAssessed) != assessed
        assert assessed or "at least 100 held-out" in str(found)


def test_one_loss_that_rose_tenfold_does_not_hide_that_all_rose() -> None:
    runs = overfitted([0.85] * 5)
    runs[0].evidence = []
    for run, factor in zip(runs, (1.8, 1.8, 10.0, 5.5, 1.3), strict=True):
        half = len(run.epochs) // 2
        for row in run.epochs:
            row["validation"]["loss"] = 0.5 if row["epoch"] < half else 0.5 * factor
    found = RULES["overfitting"](runs)
    assert isinstance(found, Finding) and found.evidence["validation_loss_rise"] == 0.8
    for run in runs[:3]:  # the others stayed as they were
        for row in run.epochs:
            row["validation"]["loss"] = 0.5
    assert RULES["overfitting"](runs) is None


@pytest.mark.parametrize(("examples", "told"), [(30, True), (6, False)])
def test_accuracies_differ_by_as_much_as_their_examples_tell(examples: int, told: bool) -> None:
    """Three folds spread too much to say so, 90 examples do; 18 do not."""
    own = [0.65, 0.97, 0.88, 0.85, 0.85]
    runs = overfitted(own)
    runs[0].evidence = paired([0.99, 0.99, 0.99])
    rows = np.arange(examples)
    part = Predictions(rows.astype(str), rows, rows * 0, rows * 0, None, rows * 0.0)
    for run in runs:
        run.predictions["held_out"] = part
    found = RULES["overfitting"](runs)
    assert isinstance(found, Finding) == told
    if isinstance(found, Finding):
        assert "can be told better" in found.sentence
    for run in runs:
        run.predictions.clear()
    assert RULES["overfitting"](runs) is None
