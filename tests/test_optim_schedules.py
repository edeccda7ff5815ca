"""Schedules: pure, within [0, 1], and equal to torch's schedulers where they mean the same."""

import inspect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fitwell.schedules import SCHEDULES, cosine, linear, one_cycle, step

FALLING = [n for n in SCHEDULES if n != "constant"]


def _torch_rates(make: type, steps: int, **options: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer, **options)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_cosine_is_torchs() -> None:
    expected = _torch_rates(torch.optim.lr_scheduler.CosineAnnealingLR, 50, T_max=50, eta_min=0.1)
    assert [cosine(floor=0.1)(i / 50) for i in range(50)] == pytest.approx(expected)


def test_linear_is_torchs() -> None:
    options = {"start_factor": 1.0, "end_factor": 0.2, "total_iters": 50}
    expected = _torch_rates(torch.optim.lr_scheduler.LinearLR, 50, **options)
    assert [linear(floor=0.2)(i / 50) for i in range(50)] == pytest.approx(expected)


def test_step_is_torchs() -> None:
    expected = _torch_rates(torch.optim.lr_scheduler.StepLR, 100, step_size=30, gamma=0.5)
    assert [step(every=0.3, gamma=0.5)(i / 100) for i in range(100)] == pytest.approx(expected)


def test_one_cycle_rises_straight_and_ends_near_nothing() -> None:
    f = one_cycle(warmup=0.2)
    assert f(0.1) == pytest.approx((f(0.0) + f(0.2)) / 2)
    assert f(0.2) == 1 and 0 < f(0.0) < 0.1 and f(1.0) == pytest.approx(1e-4)
    assert f(0.6) == pytest.approx(0.5, abs=1e-3)


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
    changed = {"warmup": 0.33, "floor": 0.21, "every": 0.41, "gamma": 0.57}
    grid = [i / 97 for i in range(98)]
    default = [SCHEDULES[name]()(t) for t in grid]
    for setting in inspect.signature(SCHEDULES[name]).parameters:
        moved = [SCHEDULES[name](**{setting: changed[setting]})(t) for t in grid]
        assert moved != default, setting


@pytest.mark.parametrize("name", FALLING)
def test_ends_low(name: str) -> None:
    assert SCHEDULES[name]()(1.0) <= 0.01 + 1e-9 and not math.isnan(SCHEDULES[name]()(1.0))
