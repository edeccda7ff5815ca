"""Optimizers against their published updates in float64, and penalties against scikit-learn."""

import copy
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError, validate_call
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet, Lasso, Ridge
from sklearn.preprocessing import scale
from torch import nn

from fitwell.errors import SettingError
from fitwell.optim import OPTIMIZERS, adam, nadam, parameter_groups, rmsprop, sgd

STEPS = 12
Update = Iterator[np.ndarray]
# A gradient that depends on the weight, so that a wrong step shows in all that follow.
_A = np.diag([3.0, 1.0, 0.2])
_B = np.array([1.0, -2.0, 0.5])
START = np.array([1.0, -1.0, 2.0])


def gradient(w: np.ndarray) -> np.ndarray:
    return _A @ w - _B


def sgd_twin(
    *, lr: float, momentum: float, nesterov: bool, weight_decay: float, l1: float = 0.0
) -> Update:
    w, v = START.copy(), None
    while True:
        g = gradient(w) + weight_decay * w
        v = g if v is None else momentum * v + g
        w = w - lr * (g + momentum * v if nesterov else v)
        t = lr * l1 / (1 - momentum)
        w = np.sign(w) * np.maximum(np.abs(w) - t, 0)
        yield w


def adam_twin(
    *, lr: float, beta1: float, beta2: float, epsilon: float, weight_decay: float, coupled: bool
) -> Update:
    """Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2."""
    w, m, s, t = START.copy(), np.zeros(3), np.zeros(3), 0
    while True:
        t += 1
        g = gradient(w) + (weight_decay * w if coupled else 0)
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * g**2
        step = (m / (1 - beta1**t)) / (np.sqrt(s / (1 - beta2**t)) + epsilon)
        w = w - lr * step - (0 if coupled else lr * weight_decay * w)
        yield w


def rmsprop_twin(
    *, lr: float, alpha: float, momentum: float, epsilon: float, weight_decay: float
) -> Update:
    """Tieleman and Hinton 2012: an uncentred second moment."""
    w, s, v = START.copy(), np.zeros(3), np.zeros(3)
    while True:
        g = gradient(w) + weight_decay * w
        s = alpha * s + (1 - alpha) * g**2
        v = momentum * v + g / (np.sqrt(s) + epsilon)
        w = w - lr * v
        yield w


def nadam_twin(
    *,
    lr: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    momentum_decay: float,
    weight_decay: float,
) -> Update:
    """Dozat 2016, algorithm 2, with its warming momentum."""
    w, m, s, t, product = START.copy(), np.zeros(3), np.zeros(3), 0, 1.0
    while True:
        t += 1
        g = gradient(w) + weight_decay * w
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
        product *= mu
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * g**2
        m_hat = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
        w = w - lr * m_hat / (np.sqrt(s / (1 - beta2**t)) + epsilon)
        yield w


_MOMENTS = {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6, "weight_decay": 0.1}
CASES: list[tuple[str, Callable[..., Update], dict[str, Any], dict[str, Any]]] = [
    (
        "sgd",
        sgd_twin,
        {"lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
        {},
    ),
    ("sgd", sgd_twin, {"lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.1}, {}),
    ("sgd", sgd_twin, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, {}),
    (
        "sgd",
        sgd_twin,
        {"lr": 0.1, "momentum": 0.5, "nesterov": False, "weight_decay": 0.1, "l1": 0.7},
        {},
    ),
    ("adam", adam_twin, _MOMENTS, {"coupled": True}),
    ("adamw", adam_twin, _MOMENTS, {"coupled": False}),
    (
        "rmsprop",
        rmsprop_twin,
        {"lr": 0.05, "alpha": 0.9, "momentum": 0.4, "epsilon": 1e-6, "weight_decay": 0.1},
        {},
    ),
    ("nadam", nadam_twin, _MOMENTS | {"momentum_decay": 0.01}, {}),
]


def _make(name: str, w: torch.Tensor, **options: Any) -> torch.optim.Optimizer:
    return OPTIMIZERS[name]([{"params": [w]}], **options)


def _step(optimizer: torch.optim.Optimizer, w: torch.Tensor) -> None:
    w.grad = torch.tensor(gradient(w.detach().numpy()), dtype=w.dtype)
    optimizer.step()


@pytest.fixture
def double() -> Iterator[None]:
    """float64 also for the scalars that an optimizer makes itself (NAdam's product of momenta)."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(("name", "twin", "options", "more"), CASES)
def test_follows_the_published_update(
    name: str, twin: Callable[..., Update], options: dict[str, Any], more: dict[str, Any]
) -> None:
    w = nn.Parameter(torch.tensor(START))
    optimizer = _make(name, w, **options)
    reference = twin(**options, **more)
    for _ in range(STEPS):
        _step(optimizer, w)
        np.testing.assert_allclose(w.detach().numpy(), next(reference), rtol=1e-10, atol=1e-12)


def test_every_entry_has_a_twin() -> None:
    assert {name for name, *_ in CASES} == set(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resumes_bit_for_bit(name: str) -> None:
    options = {"l1": 0.01} if name == "sgd" else {}
    w = nn.Parameter(torch.tensor(START, dtype=torch.float32))
    optimizer = _make(name, w, **options)
    for _ in range(3):
        _step(optimizer, w)
    kept, weights = copy.deepcopy(optimizer.state_dict()), w.detach().clone()
    for _ in range(3):
        _step(optimizer, w)
    again = nn.Parameter(weights)
    second = _make(name, again, **options)
    second.load_state_dict(kept)
    for _ in range(3):
        _step(second, again)
    assert torch.equal(w, again)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_setting_moves_the_weights(name: str) -> None:
    changed = {
        "lr": 0.07,
        "momentum": 0.3,
        "nesterov": True,
        "weight_decay": 0.5,
        "l1": 0.3,
        "beta1": 0.5,
        "beta2": 0.6,
        "alpha": 0.6,
        "epsilon": 0.1,
        "momentum_decay": 0.5,
    }

    def trained(**options: Any) -> torch.Tensor:
        w = nn.Parameter(torch.tensor(START))
        optimizer = _make(name, w, **options)
        for _ in range(3):
            _step(optimizer, w)
        return w.detach()

    names = [n for n in inspect.signature(OPTIMIZERS[name]).parameters if n != "groups"]
    for setting in names:
        assert not torch.equal(trained(), trained(**{setting: changed[setting]})), setting


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_schedule_can_set_the_rate(name: str) -> None:
    w = nn.Parameter(torch.tensor(START))
    optimizer = _make(name, w, weight_decay=0.0)
    optimizer.param_groups[0]["lr"] = 0.0
    _step(optimizer, w)
    np.testing.assert_array_equal(w.detach().numpy(), START)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    "bad", [{"lr": 0.0}, {"lr": -1.0}, {"lr": float("nan")}, {"weight_decay": -1}]
)
def test_ranges_are_in_the_signature(name: str, bad: dict[str, float]) -> None:
    checked = validate_call(config={"arbitrary_types_allowed": True})(OPTIMIZERS[name])
    with pytest.raises(ValidationError) as caught:
        checked([{"params": []}], **bad)
    assert caught.value.errors()[0]["loc"] == tuple(bad)


def test_defaults_and_where_l1_exists() -> None:
    def default(name: str, setting: str) -> Any:
        return inspect.signature(OPTIMIZERS[name]).parameters[setting].default

    assert {n: default(n, "lr") for n in OPTIMIZERS} == {
        "sgd": 0.05,
        "adam": 1e-3,
        "adamw": 1e-3,
        "rmsprop": 1e-3,
        "nadam": 1e-3,
    }
    # A penalty that Adam divides by the gradient's scale would be no l1 any more.
    assert [n for n in OPTIMIZERS if "l1" in inspect.signature(OPTIMIZERS[n]).parameters] == ["sgd"]


def test_fused_kernels_are_used_where_torch_has_them() -> None:
    w = nn.Parameter(torch.zeros(3))
    for name in ("sgd", "adam", "adamw"):
        assert OPTIMIZERS[name]([w]).defaults["fused"] is True, name
    for make in (rmsprop, nadam):
        assert make([w]).defaults["foreach"] is True


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(SettingError, match=r"optim\.nesterov") as caught:
        sgd([nn.Parameter(torch.zeros(1))], momentum=0.0, nesterov=True)
    assert caught.value.setting == "optim.nesterov"


class _Odd(nn.Module):
    """Everything that must not be decayed, beside weights; one of these is shared, one frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.tied = nn.Linear(3, 3)
        self.tied.weight = self.first.weight
        self.slope = nn.PReLU()
        self.norm = nn.LayerNorm([2, 3])  # weights of two dimensions, in a normalisation layer
        self.attention = nn.MultiheadAttention(4, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_groups_decay_weights_alone() -> None:
    model = _Odd()
    decayed, free = parameter_groups(model, 0.1)
    assert decayed["names"] == [
        "first.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
    ]
    assert decayed["weight_decay"] == 0.1 and free["weight_decay"] == 0.0
    listed = [*decayed["names"], *free["names"]]
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert set(listed) == trained and len(listed) == len(trained)
    by_name = dict(model.named_parameters())
    for group in (decayed, free):
        assert all(by_name[n] is p for n, p in zip(group["names"], group["params"], strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_biases_and_norms_are_never_pulled(name: str) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    options = {"l1": 0.1} if name == "sgd" else {}
    optimizer = OPTIMIZERS[name](parameter_groups(model, 0.5), weight_decay=0.5, **options)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"0.weight"}


def test_callers_groups_are_left_alone() -> None:
    groups = parameter_groups(nn.Linear(2, 2), 0.1)
    kept = [dict(g) for g in groups]
    sgd(groups, l1=0.1)
    assert [set(g) for g in groups] == [set(g) for g in kept]


def test_nothing_to_train_is_said() -> None:
    with pytest.raises(SettingError, match="no parameter to train"):
        parameter_groups(nn.Sequential(nn.ReLU()), 0.1)


def test_parameters_without_gradient_stay() -> None:
    used, unused = (nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    optimizer = sgd([used, unused], l1=0.5)
    used.grad = torch.zeros(2, 2)
    optimizer.step()
    assert (used < 1).all() and (unused == 1).all()


def _fit_linear(lr: float, steps: int, **options: Any) -> np.ndarray:
    """Weights of linear least squares on standardised diabetes, whole batches, float64."""
    x, y = (torch.tensor(a) for a in _diabetes())
    layer = nn.Linear(x.shape[1], 1).double()
    decay = options.pop("weight_decay", 0.0)
    factor = options.pop("factor")
    optimizer = sgd(parameter_groups(layer, decay), lr=lr, **options)
    for _ in range(steps):
        loss = factor * (layer(x)[:, 0] - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return layer.weight.detach().numpy()[0]


def _diabetes() -> tuple[Any, Any]:
    x, y = load_diabetes(return_X_y=True)
    return scale(x), scale(y)


def test_weight_decay_is_ridge() -> None:
    """alpha = n lambda / 2 for the squared error without the half."""
    x, y = _diabetes()
    decay = 0.3
    got = _fit_linear(0.1, 4000, momentum=0.5, weight_decay=decay, factor=1.0)
    expected: Any = Ridge(alpha=len(y) * decay / 2, tol=1e-12).fit(x, y).coef_
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-4


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_l1_is_lasso_with_its_zeros(momentum: float, nesterov: bool) -> None:
    """alpha = l1 for half the squared error."""
    x, y = _diabetes()
    lr = 0.2 * (1 - momentum)
    got = _fit_linear(
        lr, 4000, momentum=momentum, nesterov=nesterov, l1=0.05, weight_decay=0.0, factor=0.5
    )
    expected: Any = Lasso(alpha=0.05, tol=1e-12, max_iter=100_000).fit(x, y).coef_
    assert 0 < (expected == 0).sum() < len(expected)
    np.testing.assert_array_equal(got == 0, expected == 0)
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-3


def test_both_penalties_are_the_elastic_net() -> None:
    x, y = _diabetes()
    l1, decay = 0.04, 0.06
    got = _fit_linear(0.1, 4000, momentum=0.5, l1=l1, weight_decay=decay, factor=0.5)
    model = ElasticNet(alpha=l1 + decay, l1_ratio=l1 / (l1 + decay), tol=1e-12, max_iter=100_000)
    expected: Any = model.fit(x, y).coef_
    np.testing.assert_array_equal(got == 0, expected == 0)
    assert np.linalg.norm(got - expected) / np.linalg.norm(expected) < 1e-3


def test_decay_is_coupled_in_adam_and_apart_in_adamw() -> None:
    """With no gradient of the loss, Adam moves by lr whatever lambda is; AdamW by lr lambda w."""
    moved = {}
    for name in ("adam", "adamw"):
        w = nn.Parameter(torch.tensor([2.0]).double())
        optimizer = OPTIMIZERS[name]([{"params": [w]}], lr=0.1, weight_decay=0.01)
        w.grad = torch.zeros_like(w)
        optimizer.step()
        moved[name] = 2 - w.item()
    assert moved["adam"] == pytest.approx(0.1, rel=1e-5)
    assert moved["adamw"] == pytest.approx(0.1 * 0.01 * 2)
    assert adam is OPTIMIZERS["adam"]
