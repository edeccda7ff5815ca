"""Losses against torch's own, scipy and high-precision formulas; one value an example."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from fitwell.nn.losses import LOSSES, cross_entropy, huber, log_cosh, mse

REGRESSION = [n for n in LOSSES if n != "cross_entropy"]


def _numbers(seed: int = 0, n: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, 1, generator=generator, dtype=torch.float64) * 3,
        torch.randn(n, generator=generator, dtype=torch.float64) * 3,
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_cross_entropy_is_the_smoothed_surprise(smoothing: float) -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(16, 5)), rng.integers(0, 5, 16)
    q = np.full((16, 5), smoothing / 5)
    q[np.arange(16), y] += 1 - smoothing
    expected = -(q * log_softmax(z, axis=1)).sum(1)
    got = cross_entropy(label_smoothing=smoothing)(torch.tensor(z), torch.tensor(y))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "reference", "options"),
    [
        ("mse", F.mse_loss, {}),
        ("mae", F.l1_loss, {}),
        ("huber", F.huber_loss, {"delta": 1.0}),
        ("huber", F.huber_loss, {"delta": 0.3}),
    ],
)
def test_regression_losses_are_torchs(name: str, reference: Any, options: dict[str, float]) -> None:
    z, y = _numbers()
    got = LOSSES[name](**options)(z, y)
    expected = reference(z[:, 0], y, reduction="none", **options)
    assert got.shape == (32,)
    torch.testing.assert_close(got, expected)


def test_log_cosh_is_stable_where_cosh_overflows() -> None:
    error = torch.tensor([0.0, 1e-4, 1.0, -3.0, 50.0])
    naive = torch.log(torch.cosh(error.double())).float()
    # Absolute tolerance: near 0 the value is e^2/2 while the sum cancels to float32's own step.
    torch.testing.assert_close(
        log_cosh()(error[:, None], torch.zeros(5)), naive, atol=2e-7, rtol=1e-6
    )
    large = torch.tensor([[1e4], [-1e30]], requires_grad=True)
    values = log_cosh()(large, torch.zeros(2))
    assert values[0].item() == pytest.approx(1e4 - math.log(2))
    values.sum().backward()
    assert large.grad is not None and large.grad.flatten().tolist() == [1.0, -1.0]


@pytest.mark.parametrize("name", REGRESSION)
def test_shapes_never_broadcast(name: str) -> None:
    loss = LOSSES[name]()
    z, y = _numbers()
    assert torch.equal(loss(z, y), loss(z[:, 0], y))
    assert torch.equal(loss(z, y), loss(z, y[:, None]))
    assert torch.equal(loss(z[:1], y[:1]), loss(z, y)[:1])
    with pytest.raises(ValueError, match="differ"):
        loss(z.expand(-1, 2), y)


@pytest.mark.parametrize("name", REGRESSION)
def test_several_outputs_are_averaged(name: str) -> None:
    loss = LOSSES[name]()
    z, y = torch.randn(8, 3), torch.randn(8, 3)
    by_output = torch.stack([loss(z[:, i], y[:, i]) for i in range(3)], dim=1)
    torch.testing.assert_close(loss(z, y), by_output.mean(1))


@pytest.mark.parametrize("name", REGRESSION)
@settings(max_examples=50, deadline=None)
@given(error=st.floats(-100, 100), shift=st.floats(-10, 10))
def test_even_shift_free_and_zero_at_the_target(name: str, error: float, shift: float) -> None:
    def value(z: float, y: float) -> float:
        tensors = [torch.tensor([v], dtype=torch.float64) for v in (z, y)]
        return LOSSES[name]()(*tensors).item()

    # log(2) leaves a rounding of 1e-16 at the target.
    assert value(0.0, 0.0) == pytest.approx(0, abs=1e-15)
    assert value(error, 0.0) == pytest.approx(value(-error, 0.0), abs=1e-12)
    assert value(error + shift, shift) == pytest.approx(value(error, 0.0), rel=1e-9, abs=1e-9)
    assert value(error, 0.0) >= -1e-15


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_in_float64(name: str) -> None:
    torch.manual_seed(0)
    if name == "cross_entropy":
        z = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
        y = torch.tensor([0, 1, 2, 3, 0, 1])
    else:
        z, y = _numbers(n=6)
        z.requires_grad_(True)
    loss = LOSSES[name]()
    assert torch.autograd.gradcheck(lambda outputs: loss(outputs, y), (z,))


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_outputs_give_float32_values(name: str) -> None:
    z = torch.randn(4, 3 if name == "cross_entropy" else 1)
    y = torch.tensor([0, 1, 2, 0]) if name == "cross_entropy" else torch.randn(4)
    rounded = z.bfloat16()
    values = LOSSES[name]()(rounded, y)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, LOSSES[name]()(rounded.float(), y))


def test_settings_move_the_values() -> None:
    z, y = _numbers()
    assert not torch.equal(huber(delta=0.5)(z, y), huber(delta=2.0)(z, y))
    torch.testing.assert_close(huber(delta=1e6)(z, y), mse()(z, y) / 2)
