"""Single rules where they must speak, and where they must not."""

from dataclasses import replace

import numpy as np
import pytest
from findings_rows import (
    a_run,
    at_one_rate,
    copies,
    domain,
    fitted,
    folds,
    healthy_rows,
    imbalanced,
    linear,
    linearity,
    names,
    noisy_labels,
    outputs,
    problem,
    range_rows,
    reference,
    regularised,
    run_again,
    scored,
    shrunk,
    targets,
    unfitted,
    waiting,
    with_layer,
    with_norms,
    with_rows,
)

from fitwell.findings import RULES, diagnose
from fitwell.findings.labels import order_of_doubt
from fitwell.recipe import Recipe
from fitwell.record import Finding, NotAssessed, Predictions, Run
from fitwell.spec import Spec, TaskName


def test_late_small_gradients_and_single_leaps_are_no_explosion() -> None:
    rule = RULES["exploding_gradient"]
    assert rule([with_norms(run) for run in folds(end=1e-3)]) is None
    assert rule([with_norms(run, spikes=(30,)) for run in folds()]) is None
    runs = folds()
    for run in runs:
        for number, row in enumerate(run.steps[::10]):
            # Twenty times what is beside it, but small beside how it began.
            row["grad_norm"] = 5.0 if number < 20 else 2.0 if number in (30, 40, 50, 55) else 0.1
    assert rule(runs) is None
    for run in runs:
        for number in (30, 40, 50, 55):
            run.steps[10 * number]["grad_norm"] = 20.0
    assert isinstance(rule(runs), Finding)


def test_a_leap_before_the_end_in_not_a_number_is_an_explosion() -> None:
    runs = [with_norms(run, spikes=(40,), size=1e4) for run in folds()]
    for run in runs:
        run.status = "failed"
    assert isinstance(RULES["exploding_gradient"](runs), Finding)


def test_a_smooth_bend_is_no_swing() -> None:
    runs = folds(epochs=40, rise=10.0)
    for run in runs:
        for row in run.epochs:
            row["validation"]["loss"] = 0.5 + 0.5 * (row["epoch"] / 40 - 0.6) ** 2
    assert RULES["oscillating"](runs) is None


def test_a_rare_class_that_is_merely_hard_is_not_overlooked() -> None:
    assert (
        RULES["class_imbalance"]([imbalanced(s, recall=0.4, hard=True) for s in range(5)]) is None
    )
    assert RULES["class_imbalance"]([imbalanced(s, recall=0.95) for s in range(5)]) is None
    finding = RULES["class_imbalance"]([imbalanced(s) for s in range(5)])
    assert isinstance(finding, Finding) and finding.evidence["worst_class"] == "x"


def test_one_rare_class_of_five_may_be_missed_by_chance() -> None:
    """Interval of 9 of 12 against 970 of 1,000: apart for one class, not for one of five."""

    def run_of(classes: int) -> Run:
        run, frequent = a_run(), np.arange(1000) % 2
        target = np.concatenate([frequent, 2 + np.repeat(np.arange(classes), 12)])
        prediction = target.copy()
        prediction[:30] = 1 - prediction[:30]
        prediction[1000:1003] = 0  # of the first rare class
        part = run.predictions["held_out"]
        run.spec = None
        run.predictions = {"held_out": replace(part, target=target, prediction=prediction)}
        return run

    assert isinstance(RULES["class_imbalance"]([run_of(1)]), Finding)
    assert RULES["class_imbalance"]([run_of(5)]) is None


def test_a_class_without_examples_claims_none() -> None:
    probability = np.array([[0.2, 0.1, 0.7], [0.9, 0.05, 0.05], [0.1, 0.8, 0.1]])
    assert order_of_doubt(np.array([0, 0, 1]), probability).tolist() == []


def test_labels_that_stand_for_another_class_are_told_from_hard_examples() -> None:
    """Of class 0 three in ten are labelled 1, as the network has learned; a third of all are hard."""
    random, rows = np.random.default_rng(1), np.arange(900)
    named = np.array([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    likely = np.repeat([0, 1, 2], 300)
    other = (likely + random.integers(1, 3, 900)) % 3
    own = np.where(random.random(900) < 0.3, random.uniform(0.3, 0.7, 900), 0.98)
    true = np.zeros((900, 3))
    true[rows, likely], true[rows, other] = own, 1 - own
    drawn = np.where(random.random(900) < own, likely, other)
    wrong = (drawn == 0) & (random.random(900) < 0.3)
    order = order_of_doubt(np.where(wrong, 1, drawn), true @ named)
    # The label's own probability alone finds 0.6 of them.
    assert wrong[order[: wrong.sum()]].mean() > 0.75


def test_a_confusion_of_labels_that_was_learned_is_doubted_before_hard_examples() -> None:
    """A third of class 0 is labelled 1, and the network says so; hard examples of 2 are taken for 1."""
    said = {0: [0.66, 0.33, 0.01], 1: [0.01, 0.98, 0.01], 2: [0.01, 0.01, 0.98]}
    of = np.repeat([0, 1, 2], 60)
    probability = np.array([said[c] for c in of] + [[0.05, 0.7, 0.25]] * 10)
    target = np.append(of, [2] * 10)
    target[:20] = 1
    order = order_of_doubt(target, probability)
    assert set(order[:20]) == set(range(20)) and set(order[20:]) == set(range(180, 190))
    # Labels changed at random: the smaller the label's own probability, the more doubtful.
    target[:20], target[60:80] = 0, 2
    probability[60:80, 2] = np.linspace(0.001, 0.02, 20)
    assert order_of_doubt(target, probability)[:20].tolist() == list(range(60, 80))


def test_doubtful_labels_are_the_flipped_ones() -> None:
    runs = [noisy_labels(seed) for seed in range(5)]
    finding = RULES["label_noise"](runs)
    assert isinstance(finding, Finding)
    keys = [str(key) for key in finding.evidence["keys"]]
    flipped = sum(str(k).split("-")[1] == "x" for r in runs for k in r.predictions["held_out"].keys)
    hits = sum(key.split("-")[1] == "x" for key in keys)
    assert hits >= 0.8 * len(keys) and hits >= 0.7 * flipped
    assert RULES["label_noise"]([noisy_labels(seed, 0.0) for seed in range(5)]) is None


def test_who_says_the_most_frequent_class_alone_doubts_nothing() -> None:
    runs = []
    for seed in range(5):
        run, random = noisy_labels(seed, 0.0), np.random.default_rng(seed)
        part = run.predictions["held_out"]
        part.target = (random.random(len(part.target)) < 0.1).astype(int)
        part.prediction = np.zeros_like(part.target)
        part.probabilities = np.tile([0.9, 0.1], (len(part.target), 1))
        runs.append(run)
    assert isinstance(RULES["label_noise"](runs), NotAssessed)


def test_errors_that_become_rarer_with_certainty_are_the_networks_own() -> None:
    """Classes that overlap: the surest quarter errs too, the next one far more."""
    runs = []
    for seed in range(5):
        run, random = noisy_labels(seed, 0.0), np.random.default_rng(seed)
        part = run.predictions["held_out"]
        sure = random.uniform(0.5, 1.0, len(part.target))
        part.target = (random.random(len(sure)) > 0.5).astype(int)
        part.prediction = np.where(random.random(len(sure)) < sure, part.target, 1 - part.target)
        part.probabilities = np.where(
            np.arange(2) == part.prediction[:, None], sure[:, None], 1 - sure[:, None]
        )
        runs.append(run)
    assert RULES["label_noise"](runs) is None


def test_numbers_have_no_classes_to_overlook() -> None:
    runs = folds()
    for run in runs:
        part = run.predictions["held_out"]
        part.target, part.prediction = part.target.astype(float), part.prediction.astype(float)
    assert isinstance(RULES["class_imbalance"](runs), NotAssessed)


def test_who_fits_the_training_part_fits_a_batch_of_it() -> None:
    rule = RULES["cannot_fit_one_batch"]
    unknown = [row for row in healthy_rows() if row["experiment"] != "one_batch"]
    for train, told in ((0.99, None), (0.3, NotAssessed)):
        runs = folds(train=train)
        runs[0].evidence = unknown
        result = rule(runs)
        assert result is None if told is None else isinstance(result, told)


def test_a_batch_that_is_learned_at_one_rate_is_learned() -> None:
    rule = RULES["cannot_fit_one_batch"]
    assert rule(unfitted(folds(train=0.3), 0.95)) is None
    runs = unfitted(folds(train=0.3), 0.95)
    runs[0].evidence += fitted(0.1, 1)  # of the same seed: its best counts
    assert rule(runs) is None
    few = rule(unfitted(folds(train=0.3), 0.1, seeds=1))
    assert isinstance(few, Finding) and few.confidence == "low"


def test_a_linear_model_need_not_learn_a_batch_by_heart() -> None:
    rule = RULES["cannot_fit_one_batch"]
    for layers, deviation, fit, told in (
        (1, 1e-6, 0.6, False),
        (1, 1e-6, 0.1, True),  # it learns nothing at all
        (3, 1e-6, 0.6, True),
        (1, 0.2, 0.6, True),
    ):
        runs = with_rows(unfitted(folds(train=0.3), fit), linearity(deviation, layers))
        assert isinstance(rule(runs), Finding) == told


def test_what_check_merely_notes_is_no_leak() -> None:
    rule = RULES["leakage"]
    assert rule(with_rows(folds(), problem("files_across_split", "note"))) is None
    assert rule(with_rows(folds(), problem("few_examples"))) is None


def test_copies_across_folds_are_a_leak_where_the_score_owes_something_to_them() -> None:
    rule = RULES["leakage"]

    finding = rule(with_rows(folds(), problem("duplicate_examples"), *copies(30, 0.8)))
    assert isinstance(finding, Finding) and finding.evidence["copied"] == 0.15
    assert "0.8 instead of 0.9" in finding.sentence
    assert rule(with_rows(folds(), problem("duplicate_examples"), *copies(3, 0.8))) is None
    assert rule(with_rows(folds(), problem("duplicate_examples"), *copies(30, 0.9))) is None
    once = [*copies(30, 0.8, 1), *copies(30, 0.91, 2)]
    assert rule(with_rows(folds(), problem("duplicate_examples"), *once)) is None
    # Across the test part they are a leak whatever they bring.
    assert isinstance(rule(with_rows(folds(), problem("duplicate_across_split"), *once)), Finding)
    none = {"experiment": "copies", "held_out": 200, "copies": 0}
    assert rule(with_rows(folds(), problem("duplicate_examples"), none)) is None


def test_logits_between_zero_and_one_by_chance_are_few() -> None:
    rule = RULES["head_loss_mismatch"]
    assert rule(with_rows(folds(), outputs(low=-0.1, high=0.9))) is None
    untrained = outputs(low=0.02, high=0.31, row_sum_low=1.2, row_sum_high=1.3)
    assert rule(with_rows(folds(), untrained)) is None
    assert rule(with_rows(folds(), outputs("mse", units=1, low=0.1, high=0.9))) is None
    one_of_two = [outputs(low=0.0, high=0.97), outputs()]  # runs of one recipe agree
    assert rule(with_rows(folds(), *one_of_two)) is None


def test_targets_that_are_fitted_are_within_reach() -> None:
    rule = RULES["unreachable_targets"]
    assert rule(with_rows(folds(), targets(std=5000.0))) is None
    assert rule(with_rows(folds(), targets(fit=0.2))) is None  # a poor fit alone
    bounded = targets(fit=0.1, beyond=0.5, at_the_ends=0.6)
    assert isinstance(rule(with_rows(folds(), {**bounded, "before": "sigmoid"})), Finding)
    assert rule(with_rows(folds(), {**bounded, "before": ""})) is None  # nothing bounds them
    assert rule(with_rows(folds(), targets(fit=0.2, beyond=0.3))) is None  # drawn to the mean
    assert rule(with_rows(folds(), targets(fit=0.2, at_the_ends=0.9))) is None  # all one number
    assert (
        RULES["bad_target"](with_rows(folds(), targets(), targets("validation", std=2.0))) is None
    )


def test_a_smaller_loss_in_evaluation_is_no_shift_nor_is_a_doubled_trifle() -> None:
    runs = folds(end=1e-4)
    for run in runs:
        for row in run.epochs:
            row["train"]["loss"] *= 4
    assert RULES["shift"](runs) is None
    assert RULES["shift"](with_rows(folds(), domain(0.62))) is None


def test_cannot_tell_asks_for_what_the_recipe_asks_for() -> None:
    runs = [scored(run, 0.7 + 0.06 * (run.seed - 2)) for run in folds()]
    for run in runs:
        assert run.recipe is not None
        run.recipe = Recipe({**run.recipe, "score.min_effect": 0.2})
    assert RULES["cannot_tell"](runs) is None


def test_a_longer_training_is_no_way_down_where_the_validation_loss_rises() -> None:
    runs = folds(end=0.5, tau=2.0, updates=(9e-3, 8e-3, 9e-3))
    assert isinstance(RULES["stopped_too_early"](runs), Finding)
    for run in runs:
        for row in run.epochs:
            row["validation"]["loss"] = 2.3 + 0.01 * row["epoch"]
    assert RULES["stopped_too_early"](runs) is None


def test_one_layer_may_be_linear_and_a_linear_end_may_fit_better() -> None:
    assert RULES["linear_network"](linear(folds(train=0.9), layers=1)) is None
    assert RULES["linear_network"](linear(folds(train=0.99))) is None


def test_few_joined_layers_and_those_of_one_run_alone_are_no_linear_network() -> None:
    rule = RULES["linear_network"]
    bent = {"one": [("0", "1")], "two of seven": [("0", "1"), ("1", "2")], "none": []}
    for (what, joined), layers in zip(bent.items(), (3, 7, 3), strict=True):
        assert rule(with_rows(folds(), {**linearity(0.4, layers), "joined": joined})) is None, what
    rows = [{**linearity(0.4, 5), "joined": pairs} for pairs in ([("0", "1"), ("3", "4")], [])]
    assert rule(with_rows(folds(), *rows)) is None


def test_long_steps_of_weights_that_a_penalty_took_away_are_no_high_rate() -> None:
    rule, long = RULES["lr_too_high"], (0.3, 0.4, 0.3)
    assert isinstance(rule(folds(updates=long)), Finding)
    assert rule([shrunk(run) for run in folds(updates=long)]) is None
    # Weights that shrink without a penalty are no sign of one.
    short = {"train": 0.3, "end": 2.2}
    assert RULES["over_regularised"]([shrunk(run) for run in folds(**short)]) is None


def test_a_rate_that_decays_hides_whether_the_loss_would_still_fall() -> None:
    rule = RULES["stopped_too_early"]
    assert isinstance(rule([at_one_rate(r) for r in folds(epochs=2, tau=0.4)]), Finding)
    assert rule(folds(epochs=2, tau=0.4)) is None
    assert rule([at_one_rate(r) for r in folds(epochs=2)]) is None


def test_what_twice_the_epochs_fit_far_better_was_stopped_too_early() -> None:
    rule, poor = RULES["stopped_too_early"], {"train": 0.8, "validation": 0.79, "end": 0.6}
    assert rule(folds(**poor)) is None
    # Of 0.17 that are missing 0.1 are made good.
    finding = rule(with_rows(folds(**poor), run_again("longer", 0.9, "train.epochs")))
    assert isinstance(finding, Finding) and finding.evidence["train_longer"] == 0.9
    assert "40 epochs bring the training accuracy from 0.8 to 0.9" in finding.sentence
    assert rule(with_rows(folds(**poor), run_again("longer", 0.85, "train.epochs"))) is None
    assert rule(with_rows(folds(), run_again("longer", 0.9, "train.epochs"))) is None  # it fits


def test_what_is_still_learned_is_of_no_use_where_the_validation_loss_never_fell() -> None:
    rule, runs = RULES["stopped_too_early"], folds(end=0.5, tau=2.0)
    assert isinstance(rule(runs), Finding)
    for run in runs:
        for row in run.epochs:
            row["validation"]["loss"] = 2.3 - 0.001 * row["epoch"]
    assert rule(runs) is None


@pytest.mark.parametrize(
    ("classes", "scores", "told"),
    [
        (10, {"accuracy": 0.12}, True),
        (10, {"accuracy": 0.2}, False),
        (100, {"accuracy": 0.04}, False),  # four times as good as guessing
        (100, {"accuracy": 0.015}, True),
        (10, {"loss": 2.3}, True),
        (10, {"loss": 2.1}, False),
    ],
)
def test_validation_scores_of_guessing(classes: int, scores: dict[str, float], told: bool) -> None:
    row = {"experiment": "first_loss", "loss": 2.3, "classes": classes}
    epochs = [{"epoch": i, "train": {"loss": 1.0}, "validation": scores} for i in range(6)]
    rule = RULES["no_better_than_trivial"]
    assert isinstance(rule([Run(epochs=epochs, evidence=[row])]), Finding) == told
    assert isinstance(rule([Run(epochs=epochs[:3], evidence=[row])]), NotAssessed)


def test_what_new_examples_gain_by_more_steps_was_stopped_too_early() -> None:
    """Few steps, at the level of the simple models: nothing but a run again can tell."""
    rule = RULES["stopped_too_early"]
    row = {**run_again("longer", 0.9, "train.epochs"), "loss": 0.5, "loss_again": 0.3}
    found = rule(with_rows(folds(), {**row, "fall_low": 0.1}))
    assert isinstance(found, Finding) and found.confidence == "high"
    assert "40 epochs bring the training accuracy from 0.8 to 0.9" in found.sentence
    assert rule(with_rows(folds(), {**row, "fall_low": 0.04})) is None  # less than a tenth, perhaps
    same = {**row, "train_again": 0.805, "fall_low": 0.1}
    assert rule(with_rows(folds(), same)) is None


def test_a_poor_fit_without_penalties_is_not_over_regularised() -> None:
    rule, sick = RULES["over_regularised"], {"train": 0.8, "validation": 0.79, "end": 0.6}
    assert rule(folds(**sick)) is None
    assert rule([regularised(run, decay=1e-4) for run in folds(**sick)]) is None
    # Decoupled decay is compared with the step, which is as long however small the gradient.
    decoupled = [regularised(r, 0.5, "adamw", 1e-3) for r in folds(lr=1e-3, **sick)]
    assert rule(decoupled) is None
    assert rule([regularised(run) for run in folds()]) is None  # strong, and fits all the same


def test_dropout_that_holds_the_fit_back_is_seen_by_a_run_without_it() -> None:
    rule, sick = RULES["over_regularised"], {"train": 0.8, "validation": 0.79, "end": 0.6}

    def dropped(**settings: float) -> list[Run]:
        runs = folds(**sick)
        for run in runs:
            assert run.recipe is not None
            run.recipe = Recipe({**run.recipe, "model.dropout": 0.9, **settings})
        return runs

    result = rule(dropped())
    assert isinstance(result, NotAssessed) and "unrestrained" in result.missing
    finding = rule(
        with_rows(dropped(), run_again("unrestrained", 0.95, "augment.hflip", "model.dropout"))
    )
    assert isinstance(finding, Finding) and finding.settings == ("augment.hflip", "model.dropout")
    assert "without augment.hflip, model.dropout the same training reaches 0.95" in (
        finding.sentence
    )
    # Half of 0.17 is 0.085.
    assert isinstance(
        rule(with_rows(dropped(), run_again("unrestrained", 0.886, "model.dropout"))), Finding
    )
    assert rule(with_rows(dropped(), run_again("unrestrained", 0.88, "model.dropout"))) is None
    fitting = with_rows(folds(), run_again("unrestrained", 0.99, "model.dropout"))
    assert rule(fitting) is None


def test_a_last_layer_of_zeros_is_no_bad_start() -> None:
    """Its units get gradients of their own; and where they do not, the target tells them apart."""
    assert RULES["bad_init"]([with_layer(run, 2, twins=1.0) for run in folds()]) is None
    assert RULES["bad_init"]([with_layer(run, 2, input_rms=1e-2) for run in folds()]) is None


def test_twins_of_a_later_step_say_nothing_about_the_start() -> None:
    runs = folds()
    for run in runs:
        for row in run.probes:
            row |= {"twins": 1.0} if row.get("step") == 50 else {}
    assert RULES["bad_init"](runs) is None


def test_a_layer_that_moves_now_and_then_is_not_stuck() -> None:
    runs = [with_layer(run, 0, grad_rms=0.0, update_ratio=0.0) for run in folds()]
    for run in runs:
        [*_, last] = [
            r for r in run.probes if r["kind"] == "step" and r["index"] == 0 and r["step"] < 200
        ]
        last |= {"grad_rms": 1e-3, "update_ratio": 1e-3}
    assert RULES["no_gradient"](runs) is None
    stuck = [with_layer(run, 0, grad_rms=None) for run in folds()]
    for run in stuck:
        run.status = "failed"  # numbers that are not finite are None too
    assert RULES["no_gradient"](stuck) is None


def test_the_first_epoch_fills_caches_and_may_wait() -> None:
    runs = [waiting(run, 0.02) for run in folds()]
    for run in runs:
        run.epochs = [run.epochs[0] | {"waiting": 0.9}, run.epochs[1]]
    assert RULES["slow_pipeline"](runs) is None


def test_a_range_test_speaks_for_and_against() -> None:
    runs = folds()
    runs[0].evidence += range_rows(0.03)
    assert names(runs) == ["lr_too_high"]
    assert diagnose(runs).findings[0].confidence == "low"
    slow = folds(end=0.6, updates=(5e-3, 5e-3, 5e-3), train=0.99)
    assert names(slow) == []
    slow[0].evidence += range_rows(6.0)
    assert names(slow) == ["lr_too_low"]


def test_a_validation_loss_that_still_falls_is_enough() -> None:
    runs = folds(epochs=30)
    assert names(runs) == []
    for run in runs:
        for row in run.epochs:
            # Half of the way down at once, the other half in a straight line to the end.
            row["validation"]["loss"] = 1.0 - row["epoch"] / 30 + (row["epoch"] == 0)
    finding = RULES["stopped_too_early"](runs)
    assert isinstance(finding, Finding) and 0.1 < finding.evidence["fall_in_last_third"] < 0.3
    for run in runs:
        for row in run.epochs[20:]:  # the last third stands still
            row["validation"]["loss"] = run.epochs[20]["validation"]["loss"]
    assert RULES["stopped_too_early"](runs) is None


def test_dead_gradients_are_not_a_low_rate() -> None:
    runs = folds(end=2.25, updates=(1e-9,) * 3, gradients=(0.0,) * 3, dead=(0.2, 1.0))
    assert "lr_too_low" not in names(runs) and "dying_relu" in names(runs)


def test_warm_up_steps_alone_do_not_judge_the_rate() -> None:
    runs = folds(steps=40, epochs=1, tau=1.0, end=2.0, updates=(9e-5,) * 3)
    assert isinstance(RULES["lr_too_low"](runs), NotAssessed)


def test_units_at_the_end_are_to_be_sure() -> None:
    rule, sick = RULES["saturated_activation"], {"activation": "sigmoid", "saturated": (0.4, 0.9)}
    runs = folds(**sick)
    assert isinstance(rule(runs), Finding)
    for run in runs:
        for row in run.probes:
            row["head"] = row["kind"] == "epoch"
    assert not isinstance(rule(runs), Finding)


def test_few_rows_cannot_tell_a_dead_unit() -> None:
    assert isinstance(RULES["dying_relu"](folds(dead=(0.1, 0.6), rows=12)), NotAssessed)


@pytest.mark.parametrize("kind", ["relu", "tanh"])
def test_other_activations_are_not_judged(kind: str) -> None:
    other = "saturated_activation" if kind == "relu" else "dying_relu"
    runs = folds(activation=kind, dead=(0.1, 0.9), saturated=(0.1, 0.9))
    assert RULES[other](runs) is None


def trivial_run(
    target: np.ndarray,
    prediction: np.ndarray,
    metric: str,
    task: TaskName = "classification",
    repeat: int = 0,
) -> Run:
    n = len(target)
    part = Predictions(np.arange(n).astype(str), np.arange(n), target, prediction, None, np.ones(n))
    spec = Spec("table", task, (3,), ("a", "b") if task == "classification" else ())
    run = Run(recipe=Recipe({"score.name": metric}), spec=spec, repeat=repeat)
    run.predictions["held_out"] = part
    return run


def test_trivial_is_judged_by_the_score_that_counts() -> None:
    rule, random = RULES["no_better_than_trivial"], np.random.default_rng(0)
    target = (random.random(400) < 0.1).astype(int)
    # Finds the rare class half of the time, at the price of accuracy.
    rare = np.where(target == 1, random.random(400) < 0.6, random.random(400) < 0.15).astype(int)
    assert isinstance(rule([trivial_run(target, rare, "accuracy")]), Finding)
    assert rule([trivial_run(target, rare, "balanced_accuracy")]) is None
    majority = np.zeros(400, int)
    assert isinstance(rule([trivial_run(target, majority, "balanced_accuracy")]), Finding)
    y = random.normal(5, 2, 100)
    mean = trivial_run(y, np.full(100, y.mean()), "rmse", "regression")
    good = trivial_run(y, y + random.normal(0, 1.5, 100), "rmse", "regression")
    assert isinstance(rule([mean]), Finding) and rule([good]) is None
    few = trivial_run(target[:10], majority[:10], "accuracy")
    assert isinstance(rule([few]), NotAssessed)
    one = trivial_run(np.zeros(50, int), np.zeros(50, int), "accuracy")
    assert rule([one]) is None


def test_regression_scores_are_turned_round() -> None:
    runs = folds(metric="rmse", train=20.0, validation=60.0, rise=20.0)
    for run in runs:
        for row in run.epochs:  # errors fall
            row["train"]["rmse"], row["validation"]["rmse"] = 20.0, 60.0
    assert isinstance(RULES["overfitting"](runs), Finding)
    for run in runs:
        for row in run.epochs:
            row["train"]["rmse"], row["validation"]["rmse"] = 60.0, 60.0
        run.scores = {"train": {"rmse": 60.0}}
    assert RULES["overfitting"](runs) is None
    runs[0].evidence = reference(40.0, "rmse")
    for row in runs[0].evidence:
        row["held_out"] = {"trivial": 80.0, "nearest_neighbour": 45.0, "linear": 40.0}[row["model"]]
    finding = RULES["underfitting"](runs)
    assert isinstance(finding, Finding) and finding.evidence["reference"] == "linear"


def test_repeats_do_not_count_an_example_twice() -> None:
    random = np.random.default_rng(1)
    target = random.integers(0, 2, 60)
    # Slightly better than the majority: significant only if the same examples counted ten times.
    prediction = np.where(random.random(60) < 0.58, target, 1 - target)
    runs = [trivial_run(target, prediction, "accuracy", repeat=r) for r in range(10)]
    single = RULES["no_better_than_trivial"](runs[:1])
    many = RULES["no_better_than_trivial"](runs)
    assert isinstance(single, Finding) and isinstance(many, Finding)
    assert many.evidence["examples"] == 60


def test_a_little_better_than_trivial_beyond_doubt_is_no_sign() -> None:
    """540 rows, 70 % of one class, accuracy 0.74: McNemar's test would not show it better."""
    rule, random = RULES["no_better_than_trivial"], np.random.default_rng(1)
    target = (np.arange(540) % 10 < 3).astype(int)
    said = np.where(target == 1, random.random(540) < 0.42, random.random(540) < 0.12).astype(int)
    assert 0.7 < np.mean(said == target) < 0.76
    assert rule([trivial_run(target, said, "accuracy")]) is None
    apart = random.permutation(said)
    assert isinstance(rule([trivial_run(target, apart, "accuracy")]), Finding)
    # A better score alone, which chance gives as often.
    few = np.arange(40) % 2
    lucky = np.where(np.arange(40) < 22, few, 1 - few)
    assert isinstance(rule([trivial_run(few, lucky, "accuracy")]), Finding)


def test_accuracies_in_percent_are_read_as_such() -> None:
    runs = folds(train=0.99, validation=0.8, rise=0.5)
    told = [finding.sentence for finding in diagnose(runs).findings]
    assert any(f.name == "overfitting" for f in diagnose(runs).findings)
    for run in runs:
        for row in run.epochs:
            for part in ("train", "validation"):
                row[part]["accuracy"] *= 100
    assert [finding.sentence for finding in diagnose(runs).findings] == told


@pytest.mark.parametrize(
    ("simple", "level", "said"),
    [
        (0.80, "low", "all that so few examples"),
        (0.82, "low", "all that so few examples"),
        (0.85, "high", "the best simple model (nearest neighbour) 0.85."),
        (0.95, "high", "a simple model"),
        (0.6, "high", ""),
    ],
)
def test_overfitting_is_seen_beside_simple_models(simple: float, level: str, said: str) -> None:
    runs = folds(train=0.99, validation=0.8, rise=0.5)
    for run, score in zip(runs, (0.79, 0.8, 0.81, 0.8, 0.8), strict=True):
        run.scores["held_out"] = {"accuracy": score}
    runs[0].evidence = []
    alone = RULES["overfitting"](runs)
    assert isinstance(alone, Finding) and alone.confidence == "high"
    runs[0].evidence = reference(simple)
    found = RULES["overfitting"](runs)
    assert isinstance(found, Finding) and found.confidence == level
    assert said in found.sentence and bool(said) == (len(found.sentence) > len(alone.sentence))
    assert found.evidence["of_simple_model"] == simple


def test_what_a_simple_model_tells_far_better_was_learned_by_heart() -> None:
    """The validation loss stays flat where the network is sure of everything from the start."""
    rule = RULES["overfitting"]
    for metric, simple, told in (
        ("accuracy", 0.95, True),
        ("accuracy", 0.85, False),
        ("accuracy", 0.6, False),
        ("rmse", 60.0, True),
        ("rmse", 85.0, False),
    ):
        train, end = (0.99, 0.8) if metric == "accuracy" else (20.0, 100.0)
        runs = folds(metric=metric, train=train, validation=end)
        for run in runs:
            for row in run.epochs:
                row["train"][metric], row["validation"][metric] = train, end
            run.scores["held_out"] = {metric: end}
        assert rule([replace(run, evidence=[]) for run in runs]) is None
        runs[0].evidence = reference(simple, metric)
        for row in runs[0].evidence:
            row["held_out"] = simple
        found = rule(runs)
        assert isinstance(found, Finding) == told, (metric, simple)
        if isinstance(found, Finding):
            assert found.confidence == "high" and "has risen" not in found.sentence
            assert "can be told better" in found.sentence


def test_weights_that_a_penalty_took_away_pass_no_gradient_on() -> None:
    """L1 under plain SGD to the last weight: what vanished is the network, and not a gradient."""
    runs = folds(train=0.1, validation=0.1)
    for run in runs:
        run.recipe = Recipe({**(run.recipe or {}), "optim.l1": 0.01})
        last = max(row["step"] for row in run.probes if row["kind"] == "step")
        for row in run.probes:
            if row["kind"] == "step" and row["step"] >= last / 4:
                row |= {"weight_rms": 0.0, "grad_rms": 0.0, "update_ratio": None}
    found = names(runs)
    assert found and found[0] == "over_regularised" and "vanishing_gradient" not in found


def test_a_spread_that_five_folds_may_have_by_chance_is_no_reason_to_say_that_they_cannot_tell() -> (
    None
):
    rule = RULES["cannot_tell"]
    for width, told in ((0.045, False), (0.07, True)):  # 1.21 of it can be shown, 0.05 is asked for
        runs = folds()
        scores = np.array([-1.0, -1.0, 0.0, 1.0, 1.0]) * width + 0.8
        assert np.isclose(scores.std(ddof=1), width)
        for run, score in zip(runs, scores, strict=True):
            run.scores["held_out"] = {"accuracy": float(score)}
        assert isinstance(rule(runs), Finding) == told


@pytest.mark.parametrize(("last", "told"), [(2.2, True), (0.2, False)])
def test_faint_gradients_under_adaptive_steps_vanish_where_little_is_learned(
    last: float, told: bool
) -> None:
    sizes = (1e-7, 1e-5, 1e-3, 1e-1)
    probes = [
        {"kind": "step", "step": step, "epoch": 0, "layer": str(i), "index": i}
        | {"grad_rms": size, "update_ratio": 5e-3, "weight_rms": 0.1}
        for step in range(0, 100, 10)
        for i, size in enumerate(sizes)
    ]
    steps = [
        {"step": i, "epoch": 0, "loss": float(loss), "lr": 0.001, "grad_norm": None, "examples": 8}
        for i, loss in enumerate(np.linspace(2.3, last, 100))
    ]
    found = RULES["vanishing_gradient"]([Run(status="done", probes=probes, steps=steps)])
    assert isinstance(found, Finding) == told


@pytest.mark.parametrize(("loss", "confidence"), [(20.0, "medium"), (6.0, "low"), (3.0, "")])
def test_how_sure_a_first_loss_makes_of_the_weights(loss: float, confidence: str) -> None:
    first = {"kind": "step", "step": 0, "epoch": 0, "layer": "0", "index": 0, "input_rms": 1.0}
    evidence = [{"experiment": "first_loss", "loss": loss, "classes": 10}]
    found = RULES["bad_init"]([Run(status="done", probes=[first], evidence=evidence)])
    assert (found.confidence if isinstance(found, Finding) else "") == confidence


@pytest.mark.parametrize(
    ("scale", "moved", "told"),
    [(1.0, 0.1, False), (1.8, 0.8, False), (2.5, 0.1, True), (0.4, 0.1, True), (1.0, 1.5, True)],
)
def test_inputs_of_another_spread_or_mean_are_a_shift(
    scale: float, moved: float, told: bool
) -> None:
    loop = {"experiment": "loop", "scale_evaluated": scale, "shift_evaluated": moved}
    found = RULES["shift"]([Run(status="done", evidence=[loop])])
    assert isinstance(found, Finding) == told


@pytest.mark.parametrize(("count", "told"), [(2, False), (3, True)])
def test_a_rare_class_of_a_loop_needs_three_kept_examples(count: int, told: bool) -> None:
    target = np.array([*range(5)] * 40 + [5] * count)
    said = np.where(target == 5, 0, target)
    index = np.arange(len(target))
    kept = Predictions(index.astype(str), index, target, said, None, np.zeros(len(target)))
    found = RULES["class_imbalance"]([Run(status="done", predictions={"train": kept})])
    assert isinstance(found, Finding) == told


@pytest.mark.parametrize(("train", "told"), [(1.0, False), (0.5, True)])
def test_a_gap_of_losses_alone_must_be_wide(train: float, told: bool) -> None:
    risen = [2.0, 1.5, 1.1, 1.0, 1.0, 1.1, 1.2, 1.3, 1.3, 1.3]
    epochs = [
        {"epoch": i, "train": {"loss": train}, "validation": {"loss": loss}}
        for i, loss in enumerate(risen)
    ]
    found = RULES["overfitting"]([Run(status="done", epochs=epochs)])
    assert isinstance(found, Finding) == told
