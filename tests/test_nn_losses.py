"""Losses against torch's, scikit-learn's and scipy's own, and formulas in float64; one value an example."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from sklearn.metrics import hinge_loss, mean_pinball_loss
from sklearn.utils.class_weight import compute_class_weight

from fitwell.errors import SettingError
from fitwell.nn.losses import LOSSES, training_loss
from fitwell.tasks import TASKS

CLASSES = TASKS["classification"].losses
NUMBERS = TASKS["regression"].losses
LABELS = TASKS["multilabel"].losses
BOXES = TASKS["detection"].losses  # tests/test_nn_boxes.py


def test_every_loss_belongs_to_a_task() -> None:
    assert sorted([*CLASSES, *NUMBERS, *BOXES]) == sorted(LOSSES)
    assert set(LABELS) <= set(CLASSES)


@pytest.mark.parametrize("name", TASKS["multilabel"].losses)
def test_losses_of_labels_are_the_mean_over_them(name: str) -> None:
    rng = np.random.default_rng(0)
    z, y = torch.tensor(3 * rng.normal(size=(8, 3))), torch.tensor(rng.integers(0, 2, (8, 3)))
    p = torch.where(y == 1, torch.sigmoid(z), 1 - torch.sigmoid(z))
    fade = (1 - p) ** 2 if name == "focal" else 1
    expected = (-fade * p.log()).mean(1)
    torch.testing.assert_close(LOSSES[name]()(z, y.to(torch.uint8)), expected)


def test_smoothed_labels() -> None:
    z, y = torch.tensor([[1.0, -2.0]]), torch.tensor([[1, 0]], dtype=torch.uint8)
    expected = F.binary_cross_entropy_with_logits(z, torch.tensor([[0.9, 0.1]]), reduction="none")
    loss = LOSSES["binary_cross_entropy"](label_smoothing=0.2)
    torch.testing.assert_close(loss(z, y), expected.mean(1))


def _numbers(seed: int = 0, n: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n, 1, generator=generator, dtype=torch.float64) * 3,
        torch.randn(n, generator=generator, dtype=torch.float64) * 3,
    )


def _classes(n: int = 32, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return 3 * rng.normal(size=(n, classes)), rng.integers(0, classes, n)


def _batch(name: str, n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch that suits the loss, float64."""
    if name in NUMBERS:
        return _numbers(n=n)
    z, y = _classes(n, 2 if name == "binary_cross_entropy" else 4)
    width = 1 if name == "binary_cross_entropy" else 4
    return torch.tensor(z[:, :width]), torch.tensor(y)


def _smoothed(z: np.ndarray, y: np.ndarray, smoothing: float) -> np.ndarray:
    n, classes = z.shape
    q = np.full((n, classes), smoothing / classes)
    q[np.arange(n), y] += 1 - smoothing
    return -(q * log_softmax(z, axis=1)).sum(1)


def _focal(z: np.ndarray, y: np.ndarray, gamma: float) -> np.ndarray:
    p = softmax(z, axis=1)[np.arange(len(y)), y]
    return -((1 - p) ** gamma) * np.log(p)


def _gce(z: np.ndarray, y: np.ndarray, q: float) -> np.ndarray:
    return (1 - softmax(z, axis=1)[np.arange(len(y)), y] ** q) / q


def _hinge(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    labels = np.arange(z.shape[1])
    return np.array(
        [hinge_loss([k], [row], labels=labels) for k, row in zip(y, z, strict=True)]
    )  # of several classes: Crammer and Singer's


@pytest.mark.parametrize(
    ("name", "reference", "options"),
    [
        *(("cross_entropy", _smoothed, {"label_smoothing": s}) for s in (0.0, 0.1, 0.5)),
        *(("focal", _focal, {"gamma": g}) for g in (0.0, 0.5, 2.0)),
        *(("gce", _gce, {"q": q}) for q in (0.1, 0.7, 1.0)),
        ("hinge", _hinge, {}),
    ],
)
def test_losses_of_classes_follow_their_formula(
    name: str, reference: Callable[..., np.ndarray], options: dict[str, float]
) -> None:
    z, y = _classes()
    got = LOSSES[name](**options)(torch.tensor(z), torch.tensor(y))
    np.testing.assert_allclose(got.numpy(), reference(z, y, *options.values()), rtol=1e-10)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_one_logit_is_the_two_class_softmax(smoothing: float) -> None:
    """sigmoid(z) is the second entry of softmax(0, z)."""
    z, y = _classes(classes=2)
    logit, target = torch.tensor(z[:, :1]), torch.tensor(y)
    both = torch.cat([torch.zeros_like(logit), logit], dim=1)
    one = LOSSES["binary_cross_entropy"](label_smoothing=smoothing)(logit, target)
    two = LOSSES["cross_entropy"](label_smoothing=smoothing)(both, target)
    torch.testing.assert_close(one, two)
    far = torch.tensor([[200.0], [-200.0]])
    values = LOSSES["binary_cross_entropy"]()(far, torch.tensor([0, 1]))
    assert values.tolist() == [200.0, 200.0]


def test_sure_answers_have_a_finite_slope() -> None:
    """A power below 1 has none at 0, where the softmax of a sure answer lies in float32."""
    for gamma in (0.0, 0.5, 1.0, 2.0):
        z = torch.tensor([[60.0, 0.0], [-200.0, 0.0]], requires_grad=True)
        values = LOSSES["focal"](gamma=gamma)(z, torch.tensor([0, 0]))
        values.sum().backward()
        assert z.grad is not None and z.grad.isfinite().all()
        assert values[0] < 1e-20 and values[1] == 200


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


@pytest.mark.parametrize("tau", [0.05, 0.5, 0.9])
def test_quantile_is_scikit_learns_and_finds_the_quantile(tau: float) -> None:
    z, y = _numbers()
    loss = LOSSES["quantile"](tau=tau)
    expected = [mean_pinball_loss([a], [b], alpha=tau) for a, b in zip(y, z[:, 0], strict=True)]
    np.testing.assert_allclose(loss(z, y).numpy(), expected, rtol=1e-12)
    places = torch.linspace(-9, 9, 1801, dtype=torch.float64)
    best = places[min(range(1801), key=lambda i: loss(places[i].expand(32), y).mean().item())]
    assert abs((y <= best).double().mean().item() - tau) <= 1 / 32


def test_log_cosh_is_exact_from_tiny_to_huge_errors() -> None:
    """|e| from 1e-8 to 1e8 in float32, against float64 forms that do not cancel there."""
    error = torch.tensor(np.geomspace(1e-8, 1e8, 2001), dtype=torch.float32)
    e = error.double().numpy()
    # The series log cosh e = e^2/2 - e^4/12 + e^6/45 - ... below 0.01: the next term is 1e-15 of it.
    small = e**2 / 2 - e**4 / 12 + e**6 / 45
    large = e + np.log1p(np.exp(-2 * e)) - np.log(2)
    middle = np.log(np.cosh(np.minimum(e, 20)))
    expected = np.where(e < 0.01, small, np.where(e < 20, middle, large))
    for sign in (1, -1):
        outputs = (sign * error).requires_grad_(True)
        values = LOSSES["log_cosh"]()(outputs, torch.zeros(len(error)))
        assert values.dtype == torch.float32
        np.testing.assert_allclose(values.detach().numpy(), expected, rtol=1e-6)
        values.sum().backward()
        assert outputs.grad is not None
        np.testing.assert_allclose(outputs.grad.numpy(), sign * np.tanh(e), rtol=1e-6)
    zero = torch.zeros(1, requires_grad=True)
    LOSSES["log_cosh"]()(zero, torch.zeros(1)).sum().backward()
    assert zero.grad is not None and zero.grad.item() == 0


@pytest.mark.parametrize("name", NUMBERS)
def test_shapes_never_broadcast(name: str) -> None:
    loss = LOSSES[name]()
    z, y = _numbers()
    assert torch.equal(loss(z, y), loss(z[:, 0], y))
    assert torch.equal(loss(z, y), loss(z, y[:, None]))
    assert torch.equal(loss(z[:1], y[:1]), loss(z, y)[:1])
    with pytest.raises(ValueError, match="differ"):
        loss(z.expand(-1, 2), y)


@pytest.mark.parametrize("name", NUMBERS)
def test_several_outputs_are_averaged(name: str) -> None:
    loss = LOSSES[name]()
    z, y = torch.randn(8, 3), torch.randn(8, 3)
    by_output = torch.stack([loss(z[:, i], y[:, i]) for i in range(3)], dim=1)
    torch.testing.assert_close(loss(z, y), by_output.mean(1))


@pytest.mark.parametrize("name", NUMBERS)
@settings(max_examples=50, deadline=None)
@given(error=st.floats(-100, 100), shift=st.floats(-10, 10))
def test_even_shift_free_and_zero_at_the_target(name: str, error: float, shift: float) -> None:
    def value(z: float, y: float) -> float:
        tensors = [torch.tensor([v], dtype=torch.float64) for v in (z, y)]
        return LOSSES[name]()(*tensors).item()

    assert value(0.0, 0.0) == 0
    assert value(error, 0.0) == pytest.approx(value(-error, 0.0), abs=1e-12)
    assert value(error + shift, shift) == pytest.approx(value(error, 0.0), rel=1e-9, abs=1e-9)
    assert value(error, 0.0) >= 0


@pytest.mark.parametrize("name", [*CLASSES, *NUMBERS])
def test_an_example_has_its_own_value(name: str) -> None:
    z, y = _batch(name)
    loss = LOSSES[name]()
    together = loss(z, y)
    assert together.shape == y.shape
    alone = torch.cat([loss(z[i : i + 1], y[i : i + 1]) for i in range(len(y))])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", [*CLASSES, *NUMBERS])
def test_gradient_in_float64(name: str) -> None:
    z, y = _batch(name, 6)
    loss = LOSSES[name]()
    assert torch.autograd.gradcheck(lambda outputs: loss(outputs, y), (z.requires_grad_(True),))


@pytest.mark.parametrize("name", [*CLASSES, *NUMBERS])
def test_half_precision_outputs_give_float32_values(name: str) -> None:
    z, y = _batch(name)
    rounded, target = z.bfloat16(), y if name in CLASSES else y.float()
    values = LOSSES[name]()(rounded, target)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, LOSSES[name]()(rounded.float(), target))


COUNTS = torch.tensor([60, 30, 10])


def test_balanced_weights_are_scikit_learns() -> None:
    y = np.repeat([0, 1, 2], COUNTS.tolist())
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)
    loss = training_loss(LOSSES["cross_entropy"](class_weights="balanced"), COUNTS)
    ratio = loss(torch.zeros(3, 3), torch.arange(3)) / math.log(3)
    np.testing.assert_allclose(ratio.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("weights", ["balanced", [1.0, 2.0, 4.0], [10.0, 20.0, 40.0]])
def test_weights_have_mean_one_over_the_training_examples(weights: str | list[float]) -> None:
    z, y = torch.randn(100, 3), torch.repeat_interleave(torch.arange(3), COUNTS)
    plain = LOSSES["cross_entropy"]()(z, y)
    loss = LOSSES["cross_entropy"](class_weights=weights)
    weighted = training_loss(loss, COUNTS)(z, y)
    assert (weighted / plain).mean().item() == pytest.approx(1, rel=1e-5)
    if isinstance(weights, list):  # the mean that torch takes: its normaliser is the sum of weights
        expected = F.cross_entropy(z, y, weight=torch.tensor(weights))
        assert weighted.mean().item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.equal(loss(z, y), plain)  # what is recorded compares with other recipes


@pytest.mark.parametrize("name", CLASSES)
def test_every_loss_of_classes_takes_weights(name: str) -> None:
    z, y = _batch(name)
    counts = torch.bincount(y)
    weights = [0.0] * (len(counts) - 1) + [1.0]
    loss = LOSSES[name](class_weights=weights)
    values = training_loss(loss, counts)(z, y)
    last = y == len(counts) - 1
    assert (values[~last] == 0).all()
    torch.testing.assert_close(values[last], loss(z, y)[last] * len(y) / counts[-1])
    with pytest.raises(SettingError, match=r"5 weights, and there are") as caught:
        training_loss(LOSSES[name](class_weights=[1.0] * 5), counts)
    assert caught.value.setting == "loss.class_weights"
    with pytest.raises(SettingError, match="above 0"):
        training_loss(LOSSES[name](class_weights=[0.0] * len(counts)), counts)


def test_a_class_without_training_examples_breaks_nothing() -> None:
    loss = training_loss(LOSSES["cross_entropy"](class_weights="balanced"), torch.tensor([5, 0, 5]))
    assert loss(torch.zeros(2, 3), torch.tensor([0, 2])).tolist() == pytest.approx(
        [math.log(3)] * 2
    )


def test_a_loss_of_numbers_has_no_classes_to_weigh() -> None:
    loss = LOSSES["mse"]()
    assert training_loss(loss, torch.empty(0)) is loss


def test_limits_join_the_losses() -> None:
    z, y = _numbers()
    torch.testing.assert_close(LOSSES["huber"](delta=1e6)(z, y), LOSSES["mse"]()(z, y) / 2)
    torch.testing.assert_close(LOSSES["quantile"]()(z, y), LOSSES["mae"]()(z, y) / 2)
    logits, target = _batch("gce")
    plain = LOSSES["cross_entropy"]()(logits, target)
    torch.testing.assert_close(LOSSES["gce"](q=1e-9)(logits, target), plain)
