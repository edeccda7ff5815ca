"""Schedules: pure, within [0, 1], and equal to torch's schedulers where they mean the same."""

import inspect
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from fitwell.schedules import (
    SCHEDULES,
    cosine,
    exponential,
    linear,
    multistep,
    one_cycle,
    plateau,
    step,
)

FALLING = [n for n in SCHEDULES if n not in ("constant", "plateau")]


def _torch_rates(make: type, steps: int, **options: Any) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer, **options)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_cosine_is_torchs() -> None:
    expected = _torch_rates(lr_scheduler.CosineAnnealingLR, 50, T_max=50, eta_min=0.1)
    assert [cosine(floor=0.1)(i / 50) for i in range(50)] == pytest.approx(expected)


def test_cosine_with_restarts_is_torchs() -> None:
    expected = _torch_rates(lr_scheduler.CosineAnnealingWarmRestarts, 90, T_0=30, eta_min=0.1)
    f = cosine(floor=0.1, restarts=2)
    assert [f(i / 90) for i in range(90)] == pytest.approx(expected)
    assert f(1.0) == pytest.approx(0.1)  # the end of the last cycle, not the start of one more


def test_linear_is_torchs() -> None:
    options = {"start_factor": 1.0, "end_factor": 0.2, "total_iters": 50}
    expected = _torch_rates(lr_scheduler.LinearLR, 50, **options)
    assert [linear(floor=0.2)(i / 50) for i in range(50)] == pytest.approx(expected)


def test_step_is_torchs() -> None:
    expected = _torch_rates(lr_scheduler.StepLR, 100, step_size=30, gamma=0.5)
    assert [step(every=0.3, gamma=0.5)(i / 100) for i in range(100)] == pytest.approx(expected)


def test_multistep_is_torchs() -> None:
    expected = _torch_rates(lr_scheduler.MultiStepLR, 100, milestones=[30, 60, 90], gamma=0.5)
    f = multistep(milestones=[0.3, 0.6, 0.9], gamma=0.5)
    assert [f(i / 100) for i in range(100)] == pytest.approx(expected)


def test_exponential_is_torchs() -> None:
    expected = _torch_rates(lr_scheduler.ExponentialLR, 50, gamma=0.05 ** (1 / 50))
    assert [exponential(floor=0.05)(i / 50) for i in range(50)] == pytest.approx(expected)


def test_one_cycle_falls_as_torchs() -> None:
    """The rise is straight here, and along a cosine there."""
    options = {"max_lr": 1.0, "total_steps": 100, "pct_start": 0.21, "final_div_factor": 400.0}
    expected = _torch_rates(lr_scheduler.OneCycleLR, 100, div_factor=25.0, **options)
    f = one_cycle(warmup=20 / 99, floor=1 / 25 / 400)
    assert [f(i / 99) for i in range(20, 100)] == pytest.approx(expected[20:])
    assert f(0.0) == pytest.approx(expected[0])


def test_one_cycle_rises_straight_and_ends_near_nothing() -> None:
    f = one_cycle(warmup=0.2)
    assert f(0.1) == pytest.approx((f(0.0) + f(0.2)) / 2)
    assert f(0.2) == 1 and 0 < f(0.0) < 0.1 and f(1.0) == pytest.approx(1e-4)
    assert f(0.6) == pytest.approx(0.5, abs=1e-3)


@settings(max_examples=100, deadline=None)
@given(
    losses=st.lists(st.sampled_from([3.0, 2.0, 1.9999, 1.9, 1.0, 0.5]), max_size=40),
    patience=st.integers(0, 4),
    gamma=st.sampled_from([0.1, 0.5]),
)
def test_plateau_is_torchs(losses: list[float], patience: int, gamma: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    options = {"patience": patience, "factor": gamma, "min_lr": 0.01}
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    f = plateau(patience=patience, gamma=gamma, floor=0.01)
    for epoch, loss in enumerate(losses, start=1):
        scheduler.step(loss)
        rate = optimizer.param_groups[0]["lr"]
        assert f(0.5, losses[:epoch]) == pytest.approx(rate, rel=1e-6)


def test_plateau_counts_what_is_not_finite_as_no_better() -> None:
    f = plateau(patience=1, gamma=0.1)
    assert f(0.5, [1.0, None, math.nan]) == pytest.approx(0.1)
    assert f(0.5, [None, 1.0, 0.9]) == 1.0


@pytest.mark.parametrize("name", SCHEDULES)
@settings(max_examples=100, deadline=None)
@given(warmup=st.floats(0, 0.9), a=st.floats(0, 1), b=st.floats(0, 1))
def test_rises_then_falls_within_bounds(name: str, warmup: float, a: float, b: float) -> None:
    f = SCHEDULES[name](warmup=warmup)
    early, late = min(a, b), max(a, b)
    assert -1e-12 <= f(early) <= 1 + 1e-12
    if late < warmup:
        assert f(early) <= f(late) + 1e-12
    elif early >= warmup:
        assert f(early) >= f(late) - 1e-12
    assert f(warmup) == pytest.approx(1)
    assert f(a) == f(a)  # pure: the same answer whatever was asked in between


@pytest.mark.parametrize("name", SCHEDULES)
def test_first_step_moves_and_beyond_the_end_stays(name: str) -> None:
    f = SCHEDULES[name](warmup=0.5)
    assert f(0.0) > 0
    assert f(1.2) == f(1.0) and f(-0.1) == f(0.0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_setting_moves_the_curve(name: str) -> None:
    changed: dict[str, Any] = {
        "warmup": 0.33,
        "floor": 0.21,
        "every": 0.41,
        "gamma": 0.57,
        "milestones": [0.2],
        "restarts": 2,
        "patience": 7,
    }
    grid = [i / 97 for i in range(98)]
    flat = [1.0] * 40  # without a better loss since the first

    def curve(**options: Any) -> list[float]:
        return [SCHEDULES[name](**options)(t, flat) for t in grid]

    for setting in inspect.signature(SCHEDULES[name]).parameters:
        assert curve(**{setting: changed[setting]}) != curve(), setting


@pytest.mark.parametrize("name", FALLING)
def test_ends_low(name: str) -> None:
    assert SCHEDULES[name]()(1.0) <= 0.01 + 1e-9 and not math.isnan(SCHEDULES[name]()(1.0))
