"""What a run notes of its inputs, outputs and targets at its end, and the rules that read it."""

from typing import Any

import numpy as np
import pytest
from torch import nn

import fitwell as fw
from fitwell.findings import diagnose
from fitwell.probes import describe_inputs, describe_outputs
from fitwell.record import Row


def rows_of(run: Any, experiment: str) -> list[Row]:
    return [row for row in run.evidence if row["experiment"] == experiment]


def test_scales_are_robust_and_of_columns_that_have_one() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 5)).astype(np.float32)
    x[:, 1] *= 300
    x[:, 2] = random.random(200) < 0.01  # two values: rare, not small
    x[:, 3] = 7.0
    x[0, 4] = 1e9  # one outlier is no scale
    row = describe_inputs(x)
    assert row is not None
    assert row["high_column"] == 1 and row["low_column"] in (0, 4)
    assert 150 < row["scale_high"] / row["scale_low"] < 600
    rim = x[:, [0] * 7 + [1]].copy()
    rim[:, 0] /= 1e6  # one column that hardly varies does no harm to the others
    rim[:, 1:7] *= np.arange(1, 7)
    row = describe_inputs(rim)
    assert row is not None and row["low_column"] == 1 and row["high_column"] == 7
    mostly_zero = np.where(random.random((200, 1)) < 0.9, 0.0, 1e6 * random.normal(size=(200, 1)))
    row = describe_inputs(np.concatenate([x[:, :1], mostly_zero.astype(np.float32)], 1))
    assert row is not None and row["high_column"] == 1 and row["scale_high"] > 1e5
    assert describe_inputs(np.arange(10)) is None and describe_inputs(x[:1]) is None
    picture = describe_inputs(np.full((4, 1, 2, 2), 3.0, np.float32))
    assert picture == {"experiment": "inputs", "features": 4, "rms": 3.0, "mean": 3.0}


def test_of_several_numbers_the_one_out_of_reach_is_described() -> None:
    random = np.random.default_rng(0)
    asked = random.normal(size=(400, 3)).astype(np.float32)
    said = asked + 0.1 * random.normal(size=asked.shape).astype(np.float32)
    said[:, 1] = np.minimum(asked[:, 1], 0.0)  # as below a bound
    [outputs, row] = describe_outputs(said, asked, "mse")
    assert (outputs["units"], outputs["loss"]) == (3, "mse")
    assert outputs["high"] == said.max() and row["said_high"] == 0.0
    assert 0.4 < row["beyond"] < 0.6 and 0.4 < row["at_the_ends"] < 0.6
    assert row["std"] == pytest.approx(asked[:, 1].std(), rel=1e-5)
    classes = describe_outputs(said, np.zeros(400, np.int64), "cross_entropy")
    assert [row["experiment"] for row in classes] == ["outputs"]


def test_a_run_describes_both_parts_and_healthy_ones_raise_nothing() -> None:
    run = fw.fit("diabetes", settings={"train.epochs": 3})
    train, validation = rows_of(run, "targets")
    assert (train["part"], validation["part"]) == ("train", "validation")
    assert train["mean"] != validation["mean"] and train["std"] == pytest.approx(1, abs=0.1)
    assert rows_of(run, "inputs")[0]["features"] == 10
    assert len(rows_of(run, "linearity")) == len(rows_of(run, "outputs")) == 1
    digits = fw.fit("digits", model="mlp", settings={"train.epochs": 2})
    assert not rows_of(digits, "targets") and rows_of(digits, "outputs")[0]["units"] == 10
    mismatches = {"head_loss_mismatch", "unreachable_targets", "unscaled_inputs", "bad_target"}
    for each in (run, digits):
        assert not mismatches & {finding.name for finding in diagnose(each)}


def softmaxed(spec: Any) -> nn.Module:
    units = int(np.prod(spec.input_shape))
    return nn.Sequential(nn.Flatten(), nn.Linear(units, spec.num_outputs), nn.Softmax(1))


def bounded(spec: Any) -> nn.Module:
    last = nn.Linear(spec.input_shape[0], 1)
    nn.init.constant_(last.bias, -1.0)
    return nn.Sequential(last, nn.ReLU())


@pytest.mark.parametrize(
    ("source", "model", "cause"),
    [
        ("digits", softmaxed, "head_loss_mismatch"),
        ("diabetes", bounded, "unreachable_targets"),
    ],
)
def test_a_wrong_head_is_the_first_thing_that_is_found(source: str, model: Any, cause: str) -> None:
    run = fw.fit(source, model=model, settings={"train.epochs": 15})
    assert diagnose(run).findings[0].name == cause
