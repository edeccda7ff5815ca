"""What every rule does on sick rows, healthy rows and missing rows; and what they add up to."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from boxes_said import a_detector, by_class
from findings_rows import (
    a_run,
    any_order,
    at_one_rate,
    boxed,
    burst,
    copies,
    domain,
    evaluated_worse,
    failed,
    folds,
    forgetful,
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
    scaled,
    scored,
    shrunk,
    swinging,
    targets,
    unfitted,
    waiting,
    with_layer,
    with_norms,
    with_rows,
)

from fitwell import findings
from fitwell.catalog import entry_of
from fitwell.findings import RULES, diagnose
from fitwell.recipe import Recipe
from fitwell.record import Finding, NotAssessed, Run

SICK: dict[str, list[Callable[[], list[Run]]]] = {
    "lr_too_high": [
        lambda: [forgetful(s) for s in range(5)],
        lambda: [forgetful(s, back=0.4) for s in range(5)],
        lambda: [failed(s) for s in range(3)],
        lambda: folds(updates=(0.3, 0.4, 0.3)),
        lambda: [burst(s) for s in range(3)],
    ],
    "lr_too_low": [
        lambda: folds(end=2.1, tau=1.0, updates=(3e-5, 6e-5, 4e-5), train=0.3, validation=0.3),
        lambda: folds(end=0.3, tau=0.7, updates=(6e-4, 5e-4, 7e-4)),
    ],
    "stopped_too_early": [
        lambda: folds(steps=80, epochs=2, tau=1.0, updates=(9e-3, 8e-3, 9e-3)),
        lambda: folds(end=0.5, tau=2.0, updates=(9e-3, 8e-3, 9e-3)),
        lambda: [at_one_rate(run) for run in folds(epochs=2, tau=0.4)],
        lambda: with_rows(
            folds(train=0.8, validation=0.79, end=0.6), run_again("longer", 0.95, "train.epochs")
        ),
    ],
    "vanishing_gradient": [
        lambda: folds(gradients=(1e-6, 1e-4, 1e-2), updates=(2e-5, 1e-4, 5e-3)),
    ],
    "dying_relu": [
        lambda: folds(dead=(0.1, 0.6)),
        lambda: folds(dead=(0.95, 0.95)),
    ],
    "saturated_activation": [
        lambda: folds(activation="tanh", saturated=(0.1, 0.7)),
        lambda: folds(activation="sigmoid", saturated=(0.4, 0.4)),
    ],
    "exploding_gradient": [
        lambda: [with_norms(run, spikes=(9, 20, 31, 40, 47, 55)) for run in folds()],
        lambda: [with_norms(run, spikes=(9, 20, 31), size=300.0) for run in folds(3)],
    ],
    "oscillating": [
        lambda: [swinging(run, 0.1) for run in folds(epochs=40)],
        lambda: [swinging(run, 0.05) for run in folds(3, epochs=80, rise=1.0)],
    ],
    "class_imbalance": [
        lambda: [imbalanced(seed) for seed in range(5)],
        lambda: [imbalanced(seed, recall=0.4) for seed in range(3)],
        lambda: by_class(folds(3), {"cell": (400, 380, 400), "spot": (40, 18, 20)}),
    ],
    "leakage": [
        lambda: with_rows(folds(), problem("duplicate_across_split")),
        lambda: with_rows(
            folds(3), problem("target_in_features", "error"), problem("few_examples")
        ),
        lambda: with_rows(folds(), problem("duplicate_examples"), *copies(30, 0.8)),
    ],
    "bad_target": [
        lambda: with_rows(folds(), targets(most_common=1.0, std=0.0)),
        lambda: with_rows(folds(), targets(), targets("validation", std=80.0, mean=300.0)),
        lambda: with_rows(folds(), targets(), targets("validation", std=20.0)),
        lambda: with_rows(folds(3), targets(), targets("validation", mean=5.0)),
    ],
    "head_loss_mismatch": [
        lambda: with_rows(folds(), outputs(low=0.0, high=0.99, row_sum_low=1.0, row_sum_high=1.0)),
        lambda: with_rows(folds(), outputs(low=0.01, high=0.97, row_sum_low=0.2, row_sum_high=4.0)),
        lambda: with_rows(folds(), outputs("binary_cross_entropy", units=1, low=1.0, high=1.0)),
        lambda: with_rows(folds(3), outputs("BCEWithLogitsLoss", units=1, low=0.02, high=0.96)),
    ],
    "unreachable_targets": [
        lambda: with_rows(folds(), targets(fit=0.1, beyond=0.5, at_the_ends=0.6)),
        lambda: with_rows(folds(), targets(fit=-3.0, std=5000.0)),
        lambda: with_rows(folds(3), targets(fit=-900.0, mean=300.0)),
    ],
    "unscaled_inputs": [
        lambda: with_rows(folds(), scaled(0.01, 30.0)),
        lambda: with_rows(folds(), {"experiment": "inputs", "rms": 150.0, "mean": 120.0}),
        lambda: with_rows(folds(3), {"experiment": "inputs", "rms": 1e-3, "mean": 0.0}),
    ],
    "shift": [
        lambda: with_rows(folds(), domain(0.8)),
        lambda: [evaluated_worse(run) for run in folds(3)],
    ],
    "shifted_boxes": [
        lambda: [a_detector(seed, shifted=0.1) for seed in range(3)],
        lambda: [a_detector(seed, offset=0.2) for seed in range(3)],
    ],
    "missing_boxes": [
        lambda: boxed(folds(), odd=4, tiny=20),
        lambda: boxed(folds(3), odd=2, elsewhere=0.8),
    ],
    "objects_too_small": [
        lambda: boxed(folds(), tiny=20, tiny_found=5),
        lambda: boxed(folds(3), tiny=40, tiny_found=14),
    ],
    "cannot_tell": [
        lambda: [scored(run, 0.7 + 0.06 * (run.seed - 2)) for run in folds()],
        lambda: [scored(run, 0.7 + 0.1 * run.seed) for run in folds(3)],
    ],
    "bad_init": [
        lambda: [with_layer(run, 1, twins=1.0) for run in folds()],
        lambda: [with_layer(run, 2, input_rms=1e-5) for run in folds()],
        lambda: [with_layer(run, 2, input_rms=1e5) for run in folds(3)],
    ],
    "no_gradient": [
        lambda: [with_layer(run, 0, grad_rms=None) for run in folds()],
        lambda: [with_layer(run, 1, grad_rms=0.0, update_ratio=0.0) for run in folds()],
        lambda: [with_layer(run, 1, update_ratio=0.0) for run in folds(3)],
    ],
    "label_noise": [
        lambda: [noisy_labels(seed) for seed in range(5)],
        lambda: [noisy_labels(seed, 0.3, examples=1000) for seed in range(3)],
        lambda: [a_detector(seed, swapped=0.1) for seed in range(3)],
    ],
    "slow_pipeline": [
        lambda: [waiting(run, 0.6) for run in folds()],
        lambda: [waiting(run, 0.3) for run in folds(3)],
    ],
    "overfitting": [lambda: folds(train=1.0, validation=0.85, rise=20.0)],
    "cannot_fit_one_batch": [
        lambda: unfitted(folds(train=0.3, validation=0.3, end=2.0), 0.2),
        lambda: unfitted(folds(3, train=0.8, validation=0.8, end=0.6), 0.8),
    ],
    "idle_state": [
        lambda: [any_order(run) for run in folds(train=0.1, validation=0.1, end=2.2)],
        lambda: [any_order(run, rise=0.1) for run in folds(3, train=0.1, validation=0.1, end=2.2)],
    ],
    "linear_network": [
        lambda: linear(folds(train=0.9, validation=0.9, end=0.3)),
        lambda: linear(folds(3, train=0.92, validation=0.91, end=0.3)),
        lambda: with_rows(folds(), {**linearity(0.4, 5), "joined": [("0", "1"), ("3", "4")]}),
    ],
    "over_regularised": [
        lambda: [regularised(r) for r in folds(train=0.8, validation=0.79, end=0.6)],
        lambda: [
            regularised(r, name="adamw", lr=1e-3, decay=10.0) for r in folds(train=0.8, end=0.6)
        ],
        lambda: [regularised(r) for r in folds(3, train=0.9, validation=0.89, end=0.3)],
        lambda: [regularised(r, decay=0.0, l1=0.01) for r in folds(train=0.8, end=0.6)],
        lambda: [shrunk(regularised(r, decay=1e-3)) for r in folds(train=0.3, end=2.2)],
        lambda: with_rows(
            folds(train=0.8, end=0.6), run_again("unrestrained", 0.95, "model.dropout")
        ),
        lambda: with_rows(
            [a_detector(seed, train=0.3) for seed in range(3)],
            {**run_again("unrestrained", 0.6, "augment.mosaic"), "metric": "map50", "train": 0.3},
        ),
    ],
    "underfitting": [
        lambda: folds(train=0.8, validation=0.79, end=0.6),
        lambda: [a_detector(seed, train=0.3) for seed in range(3)],
    ],
    "no_better_than_trivial": [
        lambda: folds(right=0.0),
        lambda: [a_detector(seed, blind=True) for seed in range(3)],
    ],
}


def test_what_holds_back_is_drawn_as_it_was_found() -> None:
    from fitwell.report.evidence import picture

    found = [RULES["over_regularised"](make()) for make in SICK["over_regularised"]]
    by_pull, by_run = found[0], found[-1]
    assert isinstance(by_pull, Finding) and isinstance(by_run, Finding)
    without = replace(by_run, evidence={**by_run.evidence, "train_without": None})
    assert picture(by_run, folds(), "accuracy") != picture(without, folds(), "accuracy")
    assert picture(by_pull, folds(), "accuracy") is not None


@pytest.mark.parametrize(
    ("name", "make"), [(name, make) for name, makes in SICK.items() for make in makes]
)
def test_sick_rows_are_flagged_with_numbers_and_settings(
    name: str, make: Callable[[], list[Run]]
) -> None:
    runs = make()
    finding = RULES[name](runs)
    assert isinstance(finding, Finding), name
    assert finding.name == name
    assert finding.confidence in ("high", "medium")
    assert finding.settings and finding.sentence.endswith(".") and "nan" not in finding.sentence
    assert finding.evidence["runs"] == len(runs)
    json.dumps(finding.to_json(), allow_nan=False)


@pytest.mark.parametrize("name", RULES)
def test_one_run_alone_is_medium_at_most(name: str) -> None:
    for make in SICK[name]:
        run = make()[0]
        result = RULES[name]([run])
        if name == "cannot_tell":  # is about the spread of several
            assert isinstance(result, NotAssessed)
            continue
        assert isinstance(result, Finding) and result.confidence != "high"


HEALTHY: dict[str, dict[str, Any]] = {
    "relu": {},
    "tanh": {"activation": "tanh"},
    "sparse relu": {"dead": (0.36, 0.05)},
    "steady dead units": {"dead": (0.5, 0.5)},
    "small gap without rise": {"train": 1.0, "validation": 0.93, "simple": 0.95},
    "rising loss without gap": {"rise": 20.0, "train": 0.98, "validation": 0.975},
    "adam": {"lr": 1e-3, "updates": (2e-3, 2e-3, 2e-3)},
    "converged with small steps": {"end": 0.002, "updates": (1e-4, 1e-4, 1e-4)},
    "gradients grow to the input": {"gradients": (1e-2, 1e-3, 1e-4)},
    "small gradients, real updates": {"gradients": (1e-6, 1e-4, 1e-2)},
    "few epochs, done": {"epochs": 3, "steps": 300},
    "regression": {"metric": "rmse", "train": 50.0, "validation": 52.0},
}


@pytest.mark.parametrize("case", HEALTHY)
def test_healthy_rows_are_left_alone(case: str) -> None:
    settings = dict(HEALTHY[case])
    simple = settings.pop("simple", 0.97)  # what the best simple model reaches on new examples
    for count in (1, 3, 5):
        runs = with_rows(folds(count, **settings), *reference(simple))
        if settings.get("metric") == "rmse":
            runs = folds(count, **settings)
            for run in runs:
                run.evidence = []
        else:
            runs[0].evidence += range_rows(0.5 if settings.get("lr") is None else 0.05)
        assert names(runs) == [], (case, count)


def test_false_alarms_over_many_noisy_healthy_runs_stay_below_five_per_cent() -> None:
    alarms = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        runs = [
            a_run(
                1000 * seed + i,
                tau=0.06 + 0.06 * random.random(),
                train=0.98 + 0.02 * random.random(),
                validation=0.96 + 0.02 * random.random(),
                dead=(0.3 * random.random(), 0.3 * random.random()),
                rise=2 * random.random(),
            )
            for i in range(3)
        ]
        runs[0].evidence = healthy_rows()
        alarms += bool(names(runs))
    assert alarms <= 3


@pytest.mark.parametrize("name", RULES)
def test_without_rows_it_is_not_assessed_and_says_what_is_missing(name: str) -> None:
    result = RULES[name]([Run()])
    assert isinstance(result, NotAssessed) and result.name == name and len(result.missing) > 10


def test_missing_evidence_is_never_silent() -> None:
    runs = folds()
    for run in runs:
        run.evidence = []
    without_evidence = [n.name for n in diagnose(runs).not_assessed]
    assert without_evidence == [
        "leakage",
        "bad_target",
        "head_loss_mismatch",
        "unreachable_targets",
        "unscaled_inputs",
        "cannot_fit_one_batch",
        "linear_network",
        "over_regularised",
        "underfitting",
        "label_noise",
    ]
    for run in runs:
        run.probes = []
    missing = {n.name for n in diagnose(runs).not_assessed}
    assert missing - set(without_evidence) == {
        "vanishing_gradient",
        "saturated_activation",
        "dying_relu",
        "lr_too_low",
        "bad_init",
        "no_gradient",
    }
    assert missing >= set(without_evidence)


def test_trials_of_a_run_are_its_folds() -> None:
    whole = Run(trials=SICK["dying_relu"][0]())
    [finding] = diagnose(whole).findings
    assert finding.name == "dying_relu" and finding.confidence == "high"


def test_rows_of_others_may_lack_the_number_of_the_step() -> None:
    runs = [a_run(seed, end=2.1, tau=0.5, lr=1e-4) for seed in range(3)]
    expected = [f.name for f in diagnose(runs).findings]
    for run in runs:
        run.steps = [{k: v for k, v in row.items() if k != "step"} for row in run.steps]
    assert [f.name for f in diagnose(runs).findings] == expected


def test_rows_that_lack_a_value_are_not_assessed_and_end_no_diagnosis() -> None:
    run = replace(folds(steps=100)[0], evidence=[outputs(), targets(), scaled(1.0, 5e3)])
    for part in ("evidence", "probes", "steps", "epochs"):
        own = getattr(run, part)
        for key in {key for row in own for key in row} - {"experiment"}:
            for lost in ({}, {key: None}):
                poor = replace(run)
                rows = [{k: v for k, v in row.items() if k != key} | lost for row in own]
                setattr(poor, part, rows)
                assert diagnose(poor).rules == len(RULES)
    unscaled = [{k: v for k, v in row.items() if k != "rms"} for row in [scaled(1.0, 2.0)]]
    found = diagnose(replace(run, evidence=unscaled)).not_assessed
    assert NotAssessed("unscaled_inputs", "rows with a value of 'rms'") in found


def test_causes_come_before_what_they_explain() -> None:
    runs = folds(
        end=2.29,
        gradients=(1e-6, 1e-4, 1e-2),
        updates=(2e-5, 6e-5, 5e-3),
        activation="sigmoid",
        train=0.1,
        validation=0.1,
        right=0.0,
    )
    found = diagnose(runs).findings
    assert [f.name for f in found] == [
        "vanishing_gradient",
        "lr_too_low",
        "underfitting",
        "no_better_than_trivial",
    ]
    assert "explained_by" not in found[0].evidence
    assert all(f.evidence["explained_by"][0] == "vanishing_gradient" for f in found[1:])
    assert "may follow from vanishing_gradient" in found[1].sentence


def test_a_finding_points_at_settings_that_the_network_has() -> None:
    runs = folds(train=0.1, validation=0.1, right=0.0)
    for run in runs:
        run.recipe = Recipe({**(run.recipe or {}), "model.name": "yolo", "model.size": "nano"})
    underfitting = next(f for f in diagnose(runs).findings if f.name == "underfitting")
    assert underfitting.settings == ("model.size", "model.name", "train.epochs", "optim.lr")


def test_a_network_without_activations_does_not_ask_for_longer_training_first() -> None:
    runs = linear(folds(train=0.9, validation=0.9, end=0.5, tau=2.0, updates=(9e-3, 8e-3, 9e-3)))
    found = {finding.name: finding.evidence for finding in diagnose(runs).findings}
    assert found["stopped_too_early"]["explained_by"] == ["linear_network"]


def test_a_low_guess_explains_nothing_and_stands_last() -> None:
    runs = [forgetful(0), *(a_run(s, dead=(0.1, 0.7)) for s in range(1, 5))]
    found = diagnose(runs).findings
    assert [f.name for f in found] == ["dying_relu", "lr_too_high"]
    assert found[1].confidence == "low" and "explained_by" not in found[0].evidence


def test_one_collapsed_fold_is_told() -> None:
    runs = [*(a_run(s) for s in range(4)), forgetful(4, back=1.0)]
    [finding] = diagnose(runs).findings
    assert finding.name == "lr_too_high" and finding.evidence["runs_broken"] == 1


def test_every_rule_is_documented_for_explain() -> None:
    for name, rule in RULES.items():
        entry = entry_of(rule)
        assert all(
            entry[part] for part in ("summary", "symptom", "mechanism", "threshold", "source")
        )
        assert rule.__name__ == name
    for cause, effects in findings.EXPLAINS.items():
        assert cause in RULES and set(effects) <= set(RULES) - {cause}


def test_findings_and_remedies_import_no_torch() -> None:
    code = (
        "import sys, fitwell.findings as f, fitwell.remedies;"
        "from fitwell.record import Run; f.diagnose(Run());"
        "assert not {'torch', 'scipy', 'sklearn'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", list(RULES))
def test_each_finding_has_a_picture_of_its_own_evidence(name: str) -> None:
    from fitwell.findings.reading import metric_of
    from fitwell.report.evidence import PICTURES, picture

    drawn = []
    for build in SICK[name]:
        runs = build()
        finding = next(f for f in diagnose(runs) if f.name == name)
        metric = metric_of(runs) or "accuracy"
        image = picture(finding, runs, metric)
        assert image is not None and image.startswith("data:image/")
        drawn.append(PICTURES[name](finding, runs, metric) if name in PICTURES else None)
    assert any(drawn), "only the curve of the scores"


@pytest.mark.parametrize(("odd", "elsewhere"), [(0, 0.95), (1, 0.95), (4, 0.6)])
def test_boxes_beside_the_annotated_ones_may_be_mistakes(odd: int, elsewhere: float) -> None:
    """Of one picture, or of a detector that is often wrong elsewhere too, nothing is said."""
    assert RULES["missing_boxes"](boxed(folds(), odd, elsewhere)) is None
    assert isinstance(RULES["missing_boxes"]([Run()]), NotAssessed)
    assert RULES["missing_boxes"](folds()) is None  # of classes


@pytest.mark.parametrize("counts", [(20, 18), (20, 14), (1, 0), (0, 0)])
def test_small_things_that_are_found_or_few_are_no_finding(counts: tuple[int, int]) -> None:
    tiny, found = counts
    assert RULES["objects_too_small"](boxed(folds(), tiny=tiny, tiny_found=found)) is None
